"""Failures in the log: one line with a traceback per burst, however many there are."""

import pytest

from nexmo_dispatch_core.bursts import BURST
from nexmo_dispatch_webhooks.logs import FailureLog, watchers

NUMBER = "447700900555"


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def fail(kind: type[Exception]) -> Exception:
    try:
        raise kind(NUMBER)
    except kind as error:
        return error


def test_a_burst_is_one_line_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """With class and place; another class, handler, or the next burst begins anew, with what was left out."""
    now = Now()
    log = FailureLog(now)

    for number, kind in enumerate((ValueError, ValueError, LookupError, ValueError), 1):
        log.note("handler h", fail(kind), f"record {number}, attempt 2")
    log.note("handler g", fail(ValueError))
    now.seconds = BURST
    log.note("handler h", fail(ValueError), "record 5, attempt 2")

    messages = [record.getMessage() for record in caplog.records]
    assert ["\n" in message for message in messages] == [True] * 4
    assert [message.partition(" at ")[0] for message in messages] == [
        "handler h failed: ValueError",
        "handler h failed: LookupError",
        "handler g failed: ValueError",
        "handler h failed: ValueError",
    ]
    assert messages[0].partition("\n")[0].endswith(" (record 1, attempt 2)")
    assert messages[3].partition("\n")[0].endswith(" (record 5, attempt 2) (2 more since the last such line)")
    assert all("test_logs.py:" in message for message in messages)
    assert NUMBER not in caplog.text


def test_a_record_in_the_name_of_what_failed_begins_no_burst(caplog: pytest.LogCaptureFixture) -> None:
    """A thousand records that cannot be read have one cause."""
    log = FailureLog(Now())

    for number in range(1000):
        log.note(f"reading record {number}", fail(ValueError))

    assert len(caplog.records) == 1


def test_those_who_watch_hear_of_each_failure() -> None:
    """The client for tests raises what a handler failed with, also within a burst."""
    seen: list[str] = []
    log = FailureLog(Now())

    def watch(what: str, _error: BaseException, _event: object) -> None:
        seen.append(what)

    watchers.append(watch)
    try:
        for _ in range(3):
            log.note("handler h", fail(ValueError))
    finally:
        watchers.remove(watch)

    assert seen == ["handler h"] * 3


def test_what_was_never_raised_has_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Nor a place."""
    FailureLog().note("handler h", TimeoutError())

    assert caplog.messages == ["handler h failed: TimeoutError"]


def test_classes_made_at_run_time_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """They are without number."""
    log = FailureLog(Now())

    for number in range(100):
        log.note("handler h", fail(type(f"E{number}", (Exception,), {})))

    assert len(caplog.records) == 100
