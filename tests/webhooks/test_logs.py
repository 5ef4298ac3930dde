"""Failures in the log: a line for each, the traceback once per burst."""

import pytest

from nexmo_dispatch_webhooks import logs
from nexmo_dispatch_webhooks.logs import BURST, FailureLog

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


def test_a_burst_has_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """A line for each failure, with class and place; another class, or the next burst, begins anew."""
    now = Now()
    log = FailureLog(now)

    for kind in (ValueError, ValueError, LookupError, ValueError):
        log.note("handler h", fail(kind), "record 1, attempt 2")
    now.seconds = BURST
    log.note("handler h", fail(ValueError))

    messages = [record.getMessage() for record in caplog.records]
    assert ["\n" in message for message in messages] == [True, False, True, False, True]
    assert messages[1].startswith("handler h failed: ValueError at ")
    assert messages[1].endswith(" (record 1, attempt 2)")
    assert "test_logs.py:" in messages[1]
    assert NUMBER not in caplog.text


def test_what_was_never_raised_has_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Nor a place."""
    FailureLog().note("handler h", TimeoutError())

    assert caplog.messages == ["handler h failed: TimeoutError"]


def test_the_memory_of_bursts_is_bounded(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Classes made at run time are without number."""
    monkeypatch.setattr(logs, "_MOST", 10)
    log = FailureLog(Now())

    for number in range(100):
        log.note("handler h", fail(type(f"E{number}", (Exception,), {})))

    assert len(log._began) <= 10
    assert len(caplog.records) == 100
