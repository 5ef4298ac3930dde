"""The way of an event: stored first, handled once, in order."""

import asyncio
from typing import Any

import anyio

from nexmo_dispatch_webhooks import Context, Event, MessageStatus, parse_event
from nexmo_dispatch_webhooks.inbox import InboxHealth
from tests.webhooks.inbox.support import Recorder, Start, in_workflow, put, states, status_bytes
from tests.webhooks.payloads import encode, inbound_body, report_body


async def test_an_event_is_stored_and_then_handled(start: Start) -> None:
    """The handler gets the event and where it came from; the record says that it is done."""
    seen = []

    async def handler(event: MessageStatus, context: Context) -> None:
        seen.append(
            (event.message_uuid, context.path, context.received_at and context.received_at.timestamp())
        )

    inbox = await start(handler)

    await put(inbox, status_bytes(1), path="status")
    await inbox.idle()

    assert seen == [("m1", "status", 1_000_000.0)]
    (record,) = await inbox.list()
    assert (record.state, record.kind, record.path, record.attempts) == (
        "handled",
        "message-status",
        "status",
        0,
    )
    assert inbox.health() == InboxHealth("running", True, 0, 0, 0.0, 0, 0, 0, False)
    assert inbox.health().ready


async def test_a_repetition_is_handled_once(start: Start) -> None:
    """By what the event says (contract 5.10), also when other members differ, also long afterwards."""
    handler = Recorder()
    inbox = await start(handler)

    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(1, timestamp="2020-01-01T15:00:00.000Z"))
    await inbox.idle()
    await put(inbox, status_bytes(1))
    await asyncio.gather(*(put(inbox, status_bytes(2)) for _ in range(5)))
    await put(inbox, status_bytes(1, status="read"))
    await inbox.idle()

    assert [key for key, _ in handler.seen] == ["m1", "m2", "m1"]
    assert inbox.health().duplicates == 6


async def test_an_event_without_a_handler_is_done(start: Start) -> None:
    inbox = await start()

    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert await states(inbox) == ["handled"]
    assert inbox.health().unhandled == 1


async def test_one_workflow_in_order_different_ones_in_parallel(start: Start) -> None:
    """While the first event of a workflow is handled, its next ones wait and those of others do not."""
    log: list[str] = []
    gates = {name: asyncio.Event() for name in ("a1", "a2", "b1")}
    begun = asyncio.Event()

    async def handler(event: MessageStatus) -> None:
        name = event.client_ref or ""
        log.append(f"begin {name}")
        if name == "b1":
            begun.set()
        await gates[name].wait()
        log.append(f"end {name}")

    inbox = await start(handler)
    for number, name in enumerate(["a1", "a2", "b1"]):
        await put(inbox, in_workflow(number, name[0], client_ref=name))
    await begun.wait()
    assert log == ["begin a1", "begin b1"]

    for name in ("b1", "a1", "a2"):
        gates[name].set()
    await inbox.idle()

    assert log.index("end a1") < log.index("begin a2")
    assert sorted(log) == sorted(f"{what} {name}" for what in ("begin", "end") for name in gates)


async def test_no_more_than_half_of_concurrency_at_a_time_for_one_kind(start: Start) -> None:
    """As many as it leaves free; the other places are for other kinds."""
    running, most = 0, 0

    async def handler(event: Event) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    inbox = await start(handler, concurrency=6)
    await asyncio.gather(*(put(inbox, status_bytes(n)) for n in range(40)))
    await inbox.idle()

    assert most == 3
    assert inbox.health().pending == 0


async def test_waits_that_are_cancelled_pile_up_nowhere(start: Start) -> None:
    """A handler may cancel the task of its worker whenever it likes, and a caller may give up waiting."""
    tasks: list[Any] = []
    gate = asyncio.Event()

    async def handler(event: MessageStatus) -> None:
        tasks.append(asyncio.current_task())
        if event.message_uuid == "m2":
            await gate.wait()

    inbox = await start(handler, concurrency=4)
    await put(inbox, status_bytes(1))
    await inbox.idle()
    for _ in range(50):
        tasks[0].cancel()
        for _ in range(5):  # the worker waits again
            await asyncio.sleep(0)
    assert len(inbox._scheduler.notifier._waiters) == 4

    await put(inbox, status_bytes(2))
    while len(tasks) < 2:  # noqa: ASYNC110 - no event announces it
        await asyncio.sleep(0)
    for _ in range(50):
        with anyio.move_on_after(0):
            await inbox.idle()
    assert inbox._scheduler.idlers == []
    gate.set()
    await inbox.idle()


async def test_what_belongs_together_is_in_order(start: Start) -> None:
    """Statuses and report of a workflow; the messages of one customer to one number; each unknown alone."""
    from nexmo_dispatch_webhooks.inbox.records import lane_of

    def lane(body: Any) -> int:
        return lane_of(parse_event(encode(body) if isinstance(body, dict) else body))

    text = {"type": "text", "text": "hi"}
    assert lane(in_workflow(1, "DDDD")) == lane(report_body(dispatch_uuid="dddd"))
    assert lane(in_workflow(1, "d")) != lane(in_workflow(1, "e"))
    assert lane(status_bytes(1)) == lane(status_bytes(1, status="read"))
    assert lane(inbound_body(text, message_uuid="a")) == lane(inbound_body(text, message_uuid="b"))
    other = {"type": "whatsapp", "number": "447700900999"}
    assert lane(inbound_body(text, **{"from": other})) != lane(inbound_body(text))
    assert lane(inbound_body(text, **{"from": None})) == lane(inbound_body({"type": "x"}, **{"from": None}))
    assert lane({"x": 1}) != lane({"x": 2})
    assert lane(report_body(dispatch_uuid=None)) != lane(report_body(dispatch_uuid=None, status="error"))
