"""What an operator sees of failures: how many are set aside, which alike, where they were raised."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import Context, Event
from nexmo_dispatch_webhooks.inbox import FailureTally, HandlerRetryPolicy, StoredFailure
from tests.webhooks.inbox.support import (
    Make,
    ManualTime,
    Start,
    frozen,
    other_connection,
    put,
    states,
    status_bytes,
)
from tests.webhooks.payloads import encode, inbound_body

ONCE = HandlerRetryPolicy(attempts=1)
NUMBER = "447700900555"


async def bad(event: Event) -> None:
    secret = NUMBER
    raise LookupError(secret)


async def worse(event: Event) -> None:
    raise ValueError(NUMBER)


async def test_health_counts_the_quarantine_of_earlier_runs(make: Make, time: ManualTime) -> None:
    """And what a retry, a purge or the retention takes out of it counts no more."""
    hour = 3600.0
    inbox = make(retry=ONCE, keep_quarantined=hour, poll=hour / 2)
    await inbox.start(frozen(bad))
    for number in range(3):
        await put(inbox, status_bytes(number))
    await put(inbox, b"no json")
    await inbox.idle()
    assert inbox.health().quarantined == 4

    await inbox.aclose()
    await inbox.start(frozen())
    assert inbox.health().quarantined == 4
    assert await inbox.retry(1) == 1
    await inbox.idle()
    assert inbox.health().quarantined == 3
    await inbox.purge(record_id=2)
    assert inbox.health().quarantined == 2
    await time.advance(3 * hour)

    assert inbox.health().quarantined == 0


async def test_a_standby_and_other_processes_agree_with_it(
    make_sqlite: Make, time: ManualTime, tmp_path: Path
) -> None:
    """A standby counts at each look; what another process takes out is noticed within `poll`."""
    first, second = make_sqlite(retry=ONCE), make_sqlite()
    await first.start(frozen(bad))
    await second.start(frozen(bad))
    await put(first, status_bytes(1))
    await put(first, status_bytes(2))
    await first.idle()
    await time.advance(1.5)
    assert second.health().quarantined == 2

    with contextlib.closing(other_connection(tmp_path)) as other:
        other.execute("UPDATE events SET state = 3 WHERE id = 1")
    await time.advance(1.5)

    assert first.health().quarantined == 1


async def test_a_summary_counts_what_failed_alike(start: Start) -> None:
    """By state, kind, handler and exception, the most frequent first; one with two failures counts twice."""
    inbox = await start(bad, worse, retry=ONCE)
    name = f"{__name__}."
    for number in range(3):
        await put(inbox, status_bytes(number), at=1000.0 + number)
    await put(inbox, b"no json", at=999.0)
    await inbox.idle()

    found = await inbox.summary()

    assert [(t.state, t.kind, t.handler, t.error, t.count, t.oldest.timestamp()) for t in found] == [
        ("quarantined", "message-status", f"{name}bad", "LookupError", 3, 1000.0),
        ("quarantined", "message-status", f"{name}worse", "ValueError", 3, 1000.0),
        ("quarantined", "unparsable", None, None, 1, 999.0),
    ]
    assert isinstance(found[0], FailureTally)


async def test_a_summary_holds_what_waits_for_an_attempt(start: Start) -> None:
    """That is where a new fault shows first."""
    inbox = await start(bad, concurrency=1)
    await put(inbox, status_bytes(1))
    await inbox.idle()

    (tally,) = await inbox.summary()

    assert (tally.state, tally.count, tally.error) == ("pending", 1, "LookupError")


async def test_a_summary_without_failures_is_empty(start: Start) -> None:
    """What was handled, or waits for its first attempt, is none of its business."""
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    inbox = await start(slow)
    await put(inbox, status_bytes(1))
    assert await inbox.summary() == []
    gate.set()
    await inbox.idle()

    assert await inbox.summary() == []


async def test_retry_by_handler_or_kind(start: Start, time: ManualTime) -> None:
    """After a fix of one handler only what it failed at runs again."""
    failing = {"status", "inbound"}

    async def status(event: Event) -> None:
        if event.kind == "message-status" and "status" in failing:
            raise LookupError

    async def inbound(event: Event) -> None:
        if event.kind == "inbound-message" and "inbound" in failing:
            raise LookupError

    inbox = await start(status, inbound, retry=ONCE)
    await put(inbox, status_bytes(1))
    await put(inbox, encode(inbound_body({"type": "text", "text": "x"}, message_uuid="i1")))
    await put(inbox, b"no json")
    await inbox.idle()
    failing.clear()
    name = f"{status.__module__}.{status.__qualname__}"

    assert await inbox.retry("all", handler="none of that name") == 0
    assert await inbox.retry("all", handler=name, kind="inbound-message") == 0
    assert await inbox.retry(2, kind="message-status") == 0
    assert await inbox.retry(handler=name) == 1
    await inbox.idle()
    assert await states(inbox) == ["handled", "quarantined", "quarantined"]
    assert await inbox.retry(kind="inbound-message") == 1
    await inbox.idle()

    assert await states(inbox) == ["handled", "handled", "quarantined"]
    assert await inbox.retry(kind="unparsable") == 1


async def test_a_quarantined_record_says_where_it_failed(start: Start, tmp_path: Path) -> None:
    """Class, file and line, and our own words; no argument and no variable, in `repr` not even the places."""

    async def wrong(event: Event) -> None:
        _ = Context().transaction

    inbox = await start(bad, wrong, retry=ONCE)
    await put(inbox, status_bytes(1))
    await inbox.idle()

    record = await inbox.show(1)
    first, second = record.failed

    assert first.trace[-1].startswith(f"{__file__}:")
    assert first.trace[-1].endswith(" in bad")
    assert len(first.trace) == 1
    assert first.message == ""
    assert second.message.startswith("context.transaction needs an SQLite inbox")
    assert NUMBER not in str((first.trace, second.trace))
    assert repr(first) == f"Failure(handler='{__name__}.bad', error='LookupError')"
    assert "test_quarantine.py" not in repr(record)


async def test_failed_attempts_of_one_cause_are_one_line_in_the_log(
    start: Start, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """With a traceback; the line names handler, class, place, record and attempt."""
    inbox = await start(bad, retry=HandlerRetryPolicy(attempts=3))
    caplog.clear()  # what a store says at its opening
    for number in range(5):
        await put(inbox, status_bytes(number))
    await inbox.idle()
    await time.advance(2)
    await inbox.idle()

    (line,) = [record.getMessage() for record in caplog.records]
    first, *trace = line.splitlines()
    assert first.startswith(f"handler {__name__}.bad failed: LookupError at ")
    assert first.endswith(" (record 1, attempt 1)")
    assert trace
    assert NUMBER not in caplog.text


def test_failures_of_earlier_versions_are_read() -> None:
    """They have neither message nor trace."""
    assert StoredFailure("h", "ValueError") == StoredFailure("h", "ValueError", "", ())
