"""No line of the log comes at the rate of requests: one cause is one line, with what to do about it."""

import asyncio
import re
from pathlib import Path

import pytest

from nexmo_dispatch_core.bursts import BURST
from nexmo_dispatch_webhooks import Event, InboxError, InboxFullError, RawRequest, Receiver, Router
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, SqliteInbox
from tests.webhooks.inbox.support import Make, ManualTime, Start, frozen, put, status_bytes

LARGEST = 256 * 1024


async def fail(event: Event) -> None:
    raise LookupError


def lines(caplog: pytest.LogCaptureFixture, beginning: str) -> list[str]:
    return [line for line in caplog.messages if line.startswith(beginning)]


async def test_a_full_inbox_is_one_line_that_names_the_limit_the_size_and_the_cure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """However many callbacks are refused; after a minute the next line says how many."""
    time = ManualTime()
    inbox = SqliteInbox(tmp_path / "inbox.db", max_bytes=LARGEST, retry=HandlerRetryPolicy(wait_initial=9999))
    router = Router()
    router.register()(fail)
    refused = 0
    async with Receiver(router, verification=None, inbox=inbox, monotonic=time) as receiver:
        for number in range(1000):
            body = status_bytes(number, client_ref="x" * 500)
            refused += (await receiver.handle(RawRequest({}, body))).status == 503

        (line,) = lines(caplog, "answered with 503")
        assert refused > 100
        assert "not stored: InboxFullError: the inbox inbox.db is full" in line
        found = re.search(rf"the file has (\d+) bytes, and max_bytes is {LARGEST}\b", line)
        assert found is not None
        assert LARGEST - 8192 <= int(found[1]) <= LARGEST
        assert "nexmo-dispatch inbox summary inbox.db" in line
        assert "more max_bytes" in line

        time.now += BURST
        await receiver.handle(RawRequest({}, status_bytes(2000, client_ref="x" * 500)))
        (again,) = lines(caplog, "answered")[1:]
        assert again.endswith(f" ({refused - 1} more since the last such line)")


async def test_too_many_pending_events_name_their_limit(start: Start) -> None:
    """`max_pending` is another setting than `max_bytes`."""
    inbox = await start(fail, max_pending=1)
    await put(inbox, status_bytes(1))

    await inbox.idle()

    with pytest.raises(InboxFullError, match=r"max_pending is 1\. .* nexmo-dispatch inbox summary names$"):
        await put(inbox, status_bytes(2))


async def test_too_many_pending_events_name_the_handler_that_hangs(start: Start, time: ManualTime) -> None:
    """It has not failed yet, so no record names it."""
    begun = asyncio.Event()

    async def hang(event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    inbox = await start(hang, max_pending=1, handler_timeout=None, drain=0.0)
    await put(inbox, status_bytes(1))
    await asyncio.wait_for(begun.wait(), 20)
    time.now += 60

    with pytest.raises(InboxFullError, match=r"Mend their handler: .*\.hang has run for 60 s$"):
        await put(inbox, status_bytes(2))


async def test_a_handler_that_always_fails_is_two_lines(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """One of its exception, and one that its events are quarantined, for all of them."""
    inbox = await start(fail, retry=HandlerRetryPolicy(attempts=1))

    for number in range(50):
        await put(inbox, status_bytes(number))
    await inbox.idle()

    assert len(lines(caplog, "handler ")) == 1
    assert len(lines(caplog, "quarantined: ")) == 1
    assert (await inbox.store.count()).quarantined == 50


async def test_bodies_that_are_no_objects_are_one_line(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The service may change its format at any time, for all callbacks at once."""

    async def never(event: Event) -> None:
        raise AssertionError

    inbox = await start(never)
    for number in range(50):
        await put(inbox, b"[%d]" % number)

    assert lines(caplog, "quarantined: ") == ["quarantined: record 1 is authentic, but no JSON object"]


async def test_a_store_that_is_away_is_one_line_a_minute(
    make_sqlite: Make, time: ManualTime, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Housekeeping tries again every second, for as long as a database is away."""
    inbox = make_sqlite()
    await inbox.start(frozen())

    async def away() -> bool:
        raise InboxError("the inbox cannot be read or written: away")

    monkeypatch.setattr(inbox.store, "changed", away)
    for _ in range(100):
        await time.advance(1)

    found = lines(caplog, "the inbox failed: InboxError")
    assert len(found) == 2
    assert "more since the last such line)" in found[1]
