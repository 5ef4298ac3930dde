"""Which statuses a step had, and when it was reached by them."""

from datetime import timedelta
from typing import Any

import pytest

from nexmo_dispatch_async.tracking import StatusEntry
from tests.support.callbacks import WHATSAPP_THEN_SMS, moment, report, result_of, status


@pytest.mark.parametrize("order", [1, -1])
def test_the_first_status_that_was_enough_tells_how_long_it_took(order: int) -> None:
    """Contract 3.6: `read` comes after `delivered`, and the person was reached by the first of them."""
    events = [status("a", name, at) for name, at in (("submitted", 0), ("delivered", 5), ("read", 9))]

    result = result_of(*events[::order], report("completed", 10, ("a", "sms", "read")))

    assert result.elapsed == timedelta(seconds=5)


def test_a_status_that_only_the_report_tells_is_there_once_and_without_a_time() -> None:
    """Contract 5.4: the report may know more than the callbacks that came, and repeats those that did."""
    heard = [status("a", "submitted", 0, channel="whatsapp"), status("a", "delivered", 1, channel="whatsapp")]

    told = [
        result_of(*heard, report("completed", 9, ("a", "whatsapp", name)), workflow=WHATSAPP_THEN_SMS).steps[
            0
        ]
        for name in ("read", "delivered", "")
    ]

    known = (StatusEntry("submitted", moment(0)), StatusEntry("delivered", moment(1)))
    assert [step.statuses for step in told] == [(*known, StatusEntry("read")), known, known]


@pytest.mark.parametrize(
    "listed", [(), (("a", "whatsapp", "submitted"), (None, "sms", "submitted"))], ids=["nothing", "no uuid"]
)
def test_the_last_attempted_step_completed_the_workflow(listed: tuple[Any, ...]) -> None:
    """Failover rule 3, also where the report lists no messages, or does not name the last one."""
    heard = [status("a", "submitted", 0, channel="whatsapp")]
    if not listed:
        heard.append(status("b", "submitted", 602))

    result = result_of(*heard, report("completed", 605, *listed), workflow=WHATSAPP_THEN_SMS)

    assert (result.channel, result.step, result.elapsed) == ("sms", 2, timedelta(seconds=605))
    assert [step.reached for step in result.steps] == [False, True]


def test_without_the_time_of_its_end_nothing_is_said_about_time() -> None:
    """The report alone says that the step was read, and its timestamp could not be read."""
    result = result_of(
        status("a", "submitted", 0, channel="whatsapp"),
        report("completed", None, ("a", "whatsapp", "delivered")),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert (result.reached, result.channel, result.elapsed, result.started_at) == (
        True,
        "whatsapp",
        None,
        moment(0),
    )


def test_what_is_not_known_of_a_message_is_none() -> None:
    """Neither steps nor a readable `to`: of the one message only its status is known."""
    result = result_of(status("x", "submitted", 5, to={"type": None}))

    (step,) = result.steps
    assert (step.step, step.channel, step.until, step.price) == (1, None, None, None)
    assert (result.channel, result.step, result.elapsed) == (None, None, None)
