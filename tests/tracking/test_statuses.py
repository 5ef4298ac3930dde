"""Which statuses a step had, and when it was reached by them."""

from datetime import timedelta

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
