"""What the facts amount to: reached or not, where, how soon, at what cost, and the history of each step."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from nexmo_dispatch_async.channels import messenger, sms, whatsapp
from nexmo_dispatch_async.tracking import Money, StatusEntry, WorkflowResult
from nexmo_dispatch_async.workflow import Workflow
from tests.support.callbacks import (
    FOUR_CHANNELS,
    NUMBER,
    UUID,
    WHATSAPP_THEN_SMS,
    moment,
    report,
    result_of,
    status,
)

SINGLE = Workflow.failover(sms.text("Hello", from_="31647356950", to=NUMBER))
UNTIL_DELIVERED = Workflow.failover(
    whatsapp.text("Hello", from_="447418342140", to=NUMBER).until("delivered", within=600),
    sms.text("Hello", from_="31647356950", to=NUMBER),
)


def uuids(result: WorkflowResult) -> list[str | None]:
    return [step.message_uuid for step in result.steps]


# ---- the timelines of contract 10


def test_condition_met() -> None:
    """Contract 10.1: read in time on the first step."""
    result = result_of(
        status("a", "submitted", 0, channel="whatsapp"),
        status("a", "delivered", 2, channel="whatsapp", price="0.0625"),
        status("a", "read", 12.5, channel="whatsapp"),
        report("completed", 12.6, ("a", "whatsapp", "read", "0.0625"), total="0.0645"),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert (result.ended, result.status, result.reached) == (True, "completed", True)
    assert (result.channel, result.step) == ("whatsapp", 1)
    assert result.elapsed == timedelta(seconds=12.5)
    assert (result.cost, result.currency) == (Decimal("0.0645"), "EUR")
    assert (result.started_at, result.ended_at) == (moment(0), moment(12.6))
    assert str(result) == "reached on whatsapp after 12.5 s, EUR 0.0645"
    first, second = result.steps
    assert (first.step, first.until, first.status, first.reached, first.failed) == (
        1,
        "read",
        "read",
        True,
        False,
    )
    assert first.price == Money(Decimal("0.0625"), "EUR")
    assert first.statuses == (
        StatusEntry("submitted", moment(0)),
        StatusEntry("delivered", moment(2)),
        StatusEntry("read", moment(12.5)),
    )
    assert (second.step, second.channel, second.message_uuid, second.statuses) == (2, "sms", None, ())


def test_expiry() -> None:
    """Contract 10.2: the second step reaches; the first stays `submitted` and without a price."""
    result = result_of(
        status("a", "submitted", 0, channel="whatsapp"),
        status("b", "submitted", 602),
        status("b", "delivered", 604, price="0.0333"),
        report(
            "completed",
            604.05,
            ("a", "whatsapp", "submitted"),
            ("b", "sms", "delivered", "0.0333"),
            total="0.0353",
        ),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert str(result) == "reached on sms after 604 s, EUR 0.0353"
    assert [(step.status, step.reached) for step in result.steps] == [
        ("submitted", False),
        ("delivered", True),
    ]


def test_a_late_delivery_costs_extra_and_keeps_the_end() -> None:
    """Contract 3.6: statuses may come after the final report, whose usage then understates the cost."""
    result = result_of(
        status("a", "submitted", 0, channel="whatsapp"),
        status("b", "delivered", 604, price="0.0333"),
        report(
            "completed",
            604.05,
            ("a", "whatsapp", "submitted"),
            ("b", "sms", "delivered", "0.0333"),
            total="0.0353",
        ),
        status("a", "delivered", 9000, channel="whatsapp", price="0.0625"),
        status("a", "read", 9001, channel="whatsapp"),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert result.cost == Decimal("0.0978")
    assert (result.status, result.channel, result.elapsed) == ("completed", "sms", timedelta(seconds=604))
    assert [step.reached for step in result.steps] == [True, True]
    assert result.has("read")


def test_immediate_failure() -> None:
    """Contract 10.3: rejected without ever being submitted; the error stays with the step."""
    result = result_of(
        status("a", "rejected", 0.2, channel="whatsapp", code=1340),
        status("b", "submitted", 0.4),
        workflow=WHATSAPP_THEN_SMS,
    )

    first, second = result.steps
    assert (first.failed, first.error_code, first.statuses[0].error_class) == (True, 1340, "request")
    assert (second.failed, second.error_code, second.message_uuid) == (False, None, "b")
    assert (result.ended, result.reached, result.status) == (False, False, None)
    assert str(result) == "not reached, not ended"


def test_all_fail() -> None:
    """Contract 10.4."""
    result = result_of(
        status("a", "undeliverable", 1, channel="whatsapp", code=1300),
        status("b", "rejected", 2, code=1050),
        report("error", 2.05, ("a", "whatsapp", "undeliverable"), ("b", "sms", "rejected"), total="0.002"),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert (result.ended, result.status, result.reached, result.channel, result.elapsed) == (
        True,
        "error",
        False,
        None,
        None,
    )
    assert str(result) == "not reached, EUR 0.002"
    assert not result.has("delivered")


@pytest.mark.parametrize("said", ["submitted", "delivered"])
def test_the_report_before_the_last_delivered(said: str) -> None:
    """Contract 10.5: the report itself tells that the current step got what it waited for."""
    early = report("completed", 604.05, ("a", "whatsapp", "submitted"), ("b", "sms", said), total="0.0353")
    known = [status("a", "submitted", 0, channel="whatsapp"), status("b", "submitted", 602), early]

    before = result_of(*known, workflow=WHATSAPP_THEN_SMS)
    after = result_of(*known, status("b", "delivered", 604), workflow=WHATSAPP_THEN_SMS)

    assert (before.reached, before.channel, before.elapsed) == (True, "sms", timedelta(seconds=604.05))
    assert before.has("delivered")
    assert not before.has("read")
    assert after.elapsed == timedelta(seconds=604)
    late = result_of(*known, status("a", "read", 9000, channel="whatsapp"), workflow=WHATSAPP_THEN_SMS)
    assert (late.channel, late.step) == ("sms", 2)


def test_a_completed_step_that_waited_for_read_was_read() -> None:
    """Failover rule 3: only the current step decides, so `completed` says what was not heard yet."""
    result = result_of(report("completed", 9, ("a", "whatsapp", "delivered")), workflow=WHATSAPP_THEN_SMS)

    assert result.has("read")
    assert result.steps[0].reached


def test_a_single_step() -> None:
    """Contract 10.7."""
    result = result_of(
        status("a", "delivered", 3), report("completed", 3.05, ("a", "sms", "delivered")), workflow=SINGLE
    )

    assert (result.reached, result.channel, result.elapsed) == (True, "sms", timedelta(0))


# ---- reached


def test_delivered_does_not_reach_whom_it_should_have_been_read_by() -> None:
    """The step waited for `read`: on WhatsApp it was delivered only, and the SMS failed."""
    result = result_of(
        status("a", "delivered", 1, channel="whatsapp"),
        status("b", "rejected", 601),
        report("error", 602, ("a", "whatsapp", "delivered"), ("b", "sms", "rejected")),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert (result.reached, result.has("delivered")) == (False, True)


def test_reading_implies_delivery() -> None:
    """Contract 3.6."""
    result = result_of(status("a", "read", 1, channel="whatsapp"), workflow=UNTIL_DELIVERED)

    assert result.steps[0].reached
    assert result.has("delivered")


def test_delivered_after_all_counts() -> None:
    """Contract 5.3: carriers do send `delivered` after `undeliverable`."""
    result = result_of(
        status("a", "delivered", 9), status("a", "undeliverable", 3, code=1260), workflow=SINGLE
    )

    (step,) = result.steps
    assert (step.status, step.failed, step.reached, step.error_code) == ("delivered", False, True, 1260)


def test_the_first_to_reach_is_the_channel() -> None:
    """A step that is left behind may still reach its person, before or after the next one does."""
    late = status("a", "delivered", 700, channel="whatsapp")
    in_between = status("a", "delivered", 601, channel="whatsapp")
    rest = [status("a", "submitted", 0, channel="whatsapp"), status("b", "delivered", 604)]

    assert result_of(*rest, late, workflow=UNTIL_DELIVERED).channel == "sms"
    assert result_of(*rest, in_between, workflow=UNTIL_DELIVERED).channel == "whatsapp"


def test_without_steps_the_report_tells_who_was_reached() -> None:
    """Followed by its id alone: the last attempted message is the one that completed the workflow."""
    result = result_of(
        status("a", "delivered", 1, channel="whatsapp"),
        status("b", "delivered", 604),
        report("completed", 605, ("a", "whatsapp", "delivered"), ("b", "sms", "delivered")),
    )

    assert (result.reached, result.channel, result.step) == (True, "sms", 2)


def test_without_steps_and_report_only_read_is_sure() -> None:
    """`delivered` may not be what the step waited for."""
    delivered, read = (
        status("a", "delivered", 1, channel="whatsapp"),
        status("a", "read", 2, channel="whatsapp"),
    )

    assert not result_of(delivered).reached
    assert result_of(delivered, read).reached


def test_a_bare_report_still_says_that_it_was_completed() -> None:
    """Contract 5.4: no member is certain to be there."""
    result = result_of(report("completed", None), workflow=WHATSAPP_THEN_SMS)

    assert (result.reached, result.channel, result.elapsed, result.cost) == (True, None, None, None)
    assert str(result) == "reached"
    assert result.has("delivered")
    assert not result.has("read")


def test_without_times_nothing_is_said_about_time() -> None:
    """Contract 5.7: an unreadable timestamp is no reason to lose the status."""
    result = result_of(
        status("a", "submitted", None),
        status("a", "delivered", None),
        report("completed", None, ("a", "sms", "delivered")),
        workflow=SINGLE,
    )

    assert (result.reached, result.channel, result.elapsed, result.started_at) == (True, "sms", None, None)
    assert [seen.status for seen in result.steps[0].statuses] == ["submitted", "delivered"]


def test_a_report_stamped_too_early_takes_no_negative_time() -> None:
    result = result_of(
        status("a", "submitted", 10), report("completed", 5, ("a", "sms", "submitted")), workflow=SINGLE
    )

    assert result.elapsed == timedelta(0)


def test_unknown_statuses_are_kept_and_decide_nothing() -> None:
    """Contract 5.3."""
    result = result_of(status("a", "Seen", 1), status("a", "beamed", 2), workflow=SINGLE)

    assert [seen.status for seen in result.steps[0].statuses] == ["seen", "beamed"]
    assert not result.reached


# ---- cost


def test_before_the_end_the_cost_is_what_is_known() -> None:
    result = result_of(status("a", "delivered", 1, price="0.03"), status("b", "delivered", 2, price="0.04"))

    assert (result.cost, result.currency) == (Decimal("0.07"), "EUR")


def test_no_price_is_not_zero() -> None:
    """Contract 5.11."""
    assert result_of(status("a", "delivered", 1)).cost is None


def test_the_total_is_not_the_sum() -> None:
    """Contract 5.4: it holds a workflow fee; prices that it lists are not added again."""
    result = result_of(
        status("a", "delivered", 1, price="0.0333"),
        report("completed", 2, ("a", "sms", "delivered", "0.0333"), total="0.0353"),
    )

    assert result.cost == Decimal("0.0353")


@pytest.mark.parametrize(("at", "cost"), [(1, "0.0353"), (3, "0.0686")])
def test_a_total_without_a_list_holds_what_was_priced_before_it(at: float, cost: str) -> None:
    """Contract 5.4: no member is certain to be there."""
    result = result_of(status("a", "delivered", at, price="0.0333"), report("completed", 2, total="0.0353"))

    assert result.cost == Decimal(cost)


def test_a_message_that_the_list_leaves_out_is_added() -> None:
    result = result_of(
        status("b", "delivered", 1, price="0.01"),
        report("completed", 2, ("a", "sms", "delivered", "0.02"), total="0.03"),
    )

    assert result.cost == Decimal("0.04")


def test_two_currencies_make_no_sum() -> None:
    """Contract 9.19: any currency may come."""
    dollar: dict[str, Any] = {"usage": {"price": "1", "currency": "USD"}}
    result = result_of(status("a", "delivered", 1, price="1"), status("b", "delivered", 1, **dollar))

    assert (result.cost, result.currency) == (None, None)
    assert [step.price and step.price.currency for step in result.steps] == ["EUR", "USD"]


def test_a_price_without_currency_is_a_cost() -> None:
    bare: dict[str, Any] = {"usage": {"price": "0.5"}}

    assert str(result_of(status("a", "read", 1, **bare))) == "reached on sms after 0 s, cost 0.5, not ended"


# ---- which message belongs to which step (contract 9.29)


def test_the_report_decides() -> None:
    """It lists the messages in order, whatever the timestamps say."""
    result = result_of(
        status("a", "submitted", 9, channel="messenger"),
        status("b", "submitted", 5, channel="viber_service_msg"),
        status("d", "submitted", 1),
        status("c", "submitted", 2),
        report(
            "error",
            99,
            ("a", "messenger", "submitted"),
            ("b", "viber_service_msg", "submitted"),
            ("c", "sms", "submitted"),
            ("d", "sms", "submitted"),
        ),
        workflow=FOUR_CHANNELS,
    )

    assert uuids(result) == ["a", "b", "c", "d"]


def test_without_report_the_times_decide() -> None:
    result = result_of(
        status("y", "submitted", 130),
        status("x", "submitted", 191),
        status("z", "submitted", 0, channel="messenger"),
        workflow=FOUR_CHANNELS,
    )

    assert uuids(result) == ["z", None, "y", "x"]


def test_the_recipient_tells_steps_of_one_channel_apart() -> None:
    """The first of the two SMS was not heard of yet."""
    result = result_of(status("late", "delivered", 191, to="447700900999"), workflow=FOUR_CHANNELS)

    assert uuids(result) == [None, None, None, "late"]


def test_a_recipient_that_is_written_differently_does_not_matter() -> None:
    result = result_of(
        status("a", "submitted", 0, to="0770090012", channel="whatsapp"), workflow=WHATSAPP_THEN_SMS
    )

    assert uuids(result) == ["a", None]


def test_a_message_without_a_readable_channel_goes_where_there_is_room() -> None:
    """Contract 5.11: `to` may be missing."""
    nowhere = status("x", "submitted", 5, to={"type": None})

    result = result_of(status("a", "submitted", 0, channel="whatsapp"), nowhere, workflow=WHATSAPP_THEN_SMS)

    assert uuids(result) == ["a", "x"]
    assert result.steps[1].channel == "sms"


def test_a_message_without_time_goes_where_there_is_room() -> None:
    """Contract 5.7: its time could not be read, so it has no place in the order."""
    result = result_of(
        status("b", "submitted", 9), status("a", "read", None, channel="whatsapp"), workflow=WHATSAPP_THEN_SMS
    )

    assert uuids(result) == ["a", "b"]


def test_equal_times_do_not_keep_a_message_from_its_step() -> None:
    """Two statuses at the same instant: the order of the uuids is not the order of the steps."""
    result = result_of(
        status("z", "rejected", 0, channel="whatsapp"),
        status("a", "submitted", 0),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert uuids(result) == ["z", "a"]


def test_a_position_of_the_v1_format_decides() -> None:
    """Contract 5.8."""
    position: dict[str, Any] = {"workflow": {"id": UUID, "items_number": "4"}}
    result = result_of(status("d", "submitted", 0, **position), workflow=FOUR_CHANNELS)

    assert uuids(result) == [None, None, None, "d"]


def test_an_impossible_position_is_ignored() -> None:
    position: dict[str, Any] = {"workflow": {"id": UUID, "items_number": "9"}}
    result = result_of(status("a", "submitted", 0, **position), workflow=SINGLE)

    assert uuids(result) == ["a"]


def test_a_message_that_fits_no_step_is_shown_apart() -> None:
    """The wrong workflow was given to `follow`; no message is hidden."""
    result = result_of(
        status("a", "submitted", 1), status("f", "delivered", 0, channel="fax", price="1"), workflow=SINGLE
    )

    assert [(step.step, step.channel, step.reached) for step in result.steps] == [
        (1, "sms", False),
        (None, "fax", False),
    ]
    assert result.steps[1].price == Money(Decimal(1), "EUR")
    assert result.cost == Decimal(1)


def test_a_report_that_names_no_uuid_keeps_its_places() -> None:
    """Contract 5.4: no member is certain to be there, in an entry neither."""
    result = result_of(
        report("completed", 9, (None, "messenger", "rejected"), (None, "viber_service_msg", "delivered")),
        workflow=FOUR_CHANNELS,
    )

    assert [(step.channel, step.status) for step in result.steps[:2]] == [
        ("messenger", "rejected"),
        ("viber_service_msg", "delivered"),
    ]
    assert (result.channel, result.step) == ("viber_service_msg", 2)


def test_without_steps_the_messages_are_numbered_by_time() -> None:
    result = result_of(
        status("b", "submitted", 9), status("a", "submitted", 20), status("c", "submitted", None)
    )

    assert [(step.step, step.message_uuid) for step in result.steps] == [(1, "b"), (2, "a"), (3, "c")]


def test_without_steps_a_position_counts() -> None:
    """Contract 5.8: the message says it, and the one before it was not heard of, or says none itself."""
    second = status("b", "submitted", 5, workflow={"id": UUID, "items_number": "2", "items_total": "2"})
    senseless = status("c", "submitted", 7, workflow={"id": UUID, "items_number": "1000000000"})

    assert uuids(result_of(second)) == [None, "b"]
    assert uuids(result_of(second, status("a", "submitted", 9))) == ["a", "b"]
    assert uuids(result_of(second, senseless)) == ["c", "b"]


def test_a_messenger_step_is_found_by_psid() -> None:
    """Contract 3.3: on Messenger the `id` is the address."""
    two = Workflow.failover(
        messenger.text("Hello", from_="1", to="111").until("read", within=60),
        messenger.text("Hello", from_="1", to="222"),
    )

    assert uuids(result_of(status("b", "read", 1, channel="messenger", to="222"), workflow=two)) == [
        None,
        "b",
    ]
