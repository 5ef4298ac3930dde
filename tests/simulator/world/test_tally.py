"""The tally counts each workflow once, and its cost is what the workflows cost one by one."""

from decimal import Decimal

from tests.simulator.support import Box, box, step

READER, SILENT, REFUSED = "999000000001", "999500000001", "999313000001"


def cost_one_by_one(parts: Box) -> Decimal:
    """Return the prices of all messages, and a fee for each workflow that was charged or has ended."""
    fee = parts.settings.workflow_fee
    prices = [message.price or Decimal(0) for message in parts.engine.messages.values()]
    charged = [
        run
        for run in parts.engine.runs.values()
        if run.ended_ms is not None or any(message.price for message in run.messages)
    ]
    return sum(prices, Decimal(0)) + fee * len(charged)


def test_callbacks_failovers_and_cost_add_up() -> None:
    """A failover counts once for a workflow, whatever the number of its steps."""
    parts = box()
    parts.accept(step("sms", READER))
    parts.accept(
        step("whatsapp", REFUSED, within=60),
        step("viber_service_msg", REFUSED, within=60),
        step("sms", READER),
    )
    parts.accept(step("messenger", REFUSED))
    parts.accept(step("whatsapp", SILENT, within=600), step("sms", SILENT))
    parts.run(60)

    tally = parts.engine.tally

    counts = (tally.accepted, tally.completed, tally.errors, tally.failed_over)
    assert counts == (4, 2, 1, 1)
    assert tally.cost == cost_one_by_one(parts)
    assert tally.cost > 0


def test_the_fee_is_charged_once() -> None:
    """Neither a late delivery after the end nor a second charged message adds another fee."""
    parts = box()
    run = parts.accept(step("whatsapp", SILENT, within=60, until="read"), step("sms", SILENT))
    parts.engine.intervene(run.messages[0].uuid, "delivered")
    parts.run(60)
    parts.engine.intervene(run.messages[1].uuid, "undeliverable")
    ended = parts.engine.tally.errors
    parts.engine.intervene(run.messages[1].uuid, "delivered")

    assert ended == 1
    assert parts.engine.tally.cost == cost_one_by_one(parts)


def test_clearing_starts_a_new_tally() -> None:
    """Numbers and ids go on: a receiver must not take a new workflow for an old one."""
    parts = box()
    first = parts.accept(step("sms", READER))
    parts.run(10)

    parts.engine.clear()
    second = parts.accept(step("sms", READER))

    assert parts.engine.tally.accepted == 1
    assert (parts.engine.tally.completed, parts.engine.tally.cost) == (0, Decimal(0))
    assert (second.number, parts.engine.accepted) == (2, 2)
    assert second.dispatch_uuid != first.dispatch_uuid
