"""What people and probes see of an inbox, and how long it keeps what they see."""

import asyncio
import logging
import math
from datetime import timedelta
from typing import Any, cast

import pytest

from nexmo_dispatch_webhooks import ConfigurationError, Event, InboxError, UnknownRecordError
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, MemoryInbox
from tests.webhooks.inbox.support import Make, ManualTime, Recorder, Start, frozen, put, status_bytes
from tests.webhooks.payloads import encode, inbound_body


async def test_lists_have_pages_and_no_bodies(start: Start) -> None:
    inbox = await start(Recorder())
    for number in range(5):
        await put(inbox, status_bytes(number))
    await inbox.idle()

    first = await inbox.list("handled", limit=2)
    second = await inbox.list(limit=2, after=first[-1].id)

    assert [record.id for record in first + second] == [1, 2, 3, 4]
    assert {record.body for record in first} == {None}
    assert await inbox.list("pending") == []
    assert "4477" not in repr(await inbox.show(1))
    with pytest.raises(UnknownRecordError, match="there is no record 99"):
        await inbox.show(99)


async def test_purged_content_is_gone_and_its_repetition_still_known(start: Start, time: ManualTime) -> None:
    """Personal data goes, the key stays; what was not handled cannot be purged."""
    handler = Recorder()
    inbox = await start(handler)
    await put(inbox, status_bytes(1))
    await put(inbox, b"no json")
    await inbox.idle()
    time.now += 50
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await inbox.purge(older_than=49) == 1
    assert await inbox.purge(record_id=2) == 1
    assert await inbox.purge("quarantined") == 0
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert [(r.id, r.state) for r in await inbox.list()] == [(3, "handled")]
    gone = await inbox.show(1)
    assert (gone.state, gone.body, gone.path) == ("forgotten", None, "")
    assert len(handler.seen) == 2
    with pytest.raises(ConfigurationError, match="handled or quarantined"):
        await inbox.purge("pending")


async def test_a_number_that_counts_nothing_is_refused(start: Start) -> None:
    """`nan` purged nothing and said so; a store failed at a limit that it cannot hold."""
    inbox = await start(Recorder())

    for wrong in (math.nan, -1.0):
        with pytest.raises(ConfigurationError, match="older_than must be a number of seconds, at least 0"):
            await inbox.purge(older_than=wrong)
    with pytest.raises(ConfigurationError, match="limit must be a whole number, from 1 to"):
        await inbox.list(limit=1 << 63)
    with pytest.raises(ConfigurationError, match="after must be a whole number, from 0 to"):
        await inbox.list(after=-1)


async def test_retention_forgets_contents_and_later_keys(start: Start, time: ManualTime) -> None:
    """Contents after `keep`, quarantine after its own time, keys after `remember` (contract 5.10)."""
    handler = Recorder()
    hour = 3600.0
    inbox = await start(handler, keep=hour, keep_quarantined=2 * hour, remember=30 * hour, poll=0.5 * hour)
    await put(inbox, status_bytes(1))
    await put(inbox, b"no json")
    await inbox.idle()

    async def after(hours: float) -> list[str]:
        await time.advance(hours * hour)
        return [(await inbox.store.load(n)).state for n in (1, 2)]

    assert await after(0.6) == ["handled", "quarantined"]
    assert await after(1.5) == ["forgotten", "quarantined"]
    assert await after(2) == ["forgotten", "forgotten"]
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert len(handler.seen) == 1
    await time.advance(30 * hour)
    assert await inbox.list("forgotten") == []
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert len(handler.seen) == 2


async def test_it_can_be_looked_at_without_being_started(make: Make) -> None:
    """`async with`, or just the methods: they open the store."""
    async with make() as inbox:
        assert await inbox.list() == []
        assert inbox.health().state == "closed"
        await inbox.idle()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"concurrency": 0}, "concurrency must be a whole number, at least 1, not 0"),
        ({"concurrency": "8"}, "concurrency must be a whole number, at least 1, not str"),
        ({"max_pending": 0}, "max_pending must be a whole number, at least 1, not 0"),
        ({"poll": 0}, "poll must be a number of seconds, above 0, not 0"),
        ({"drain": -1}, "drain must be a number of seconds, at least 0, not -1"),
        ({"drain": None}, "drain must be a number of seconds, at least 0, not None"),
        (
            {"keep": timedelta(hours=24)},
            r"keep must be a number of seconds, at least 0, not timedelta: write its total_seconds\(\)",
        ),
        ({"keep": math.nan}, "keep must be a number of seconds, at least 0, not nan"),
        ({"remember": 3600}, "remember must be a number of seconds, at least 86400, not 3600"),
        (
            {"handler_timeout": "300"},
            "handler_timeout must be a number of seconds, .*, or None, not str",
        ),
        ({"retry": 3}, "retry must be of type HandlerRetryPolicy, not int"),
        (
            {"retry": HandlerRetryPolicy},
            "retry must be of type HandlerRetryPolicy, not HandlerRetryPolicy itself",
        ),
        ({"parse": None}, "parse must be a function, not None"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    """Refused where they are given: they would fail with an event, or in the housekeeping."""
    with pytest.raises(ConfigurationError, match=f"^{message}$"):
        MemoryInbox(**settings)


def test_contents_may_be_kept_for_ever() -> None:
    MemoryInbox(keep=math.inf, keep_quarantined=math.inf, remember=math.inf)


async def test_a_state_that_is_none_is_refused(start: Start) -> None:
    inbox = await start()
    with pytest.raises(ConfigurationError, match="state must be one of pending, quarantined, "):
        await inbox.list(cast("Any", "done"))


async def test_logs_hold_no_personal_data(
    start: Start, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails: no number, text or reference."""
    caplog.set_level(logging.DEBUG)
    inbox = await start(Recorder(failing=True), retry=HandlerRetryPolicy(attempts=2))

    for body in (
        status_bytes(1, client_ref="secret"),
        b"secret",
        encode(inbound_body({"type": "text", "text": "secret"})),
    ):
        await put(inbox, body)
    await inbox.idle()
    await time.advance(5)
    await inbox.idle()
    await inbox.retry("all")
    await inbox.idle()

    assert "447700900000" not in caplog.text
    assert "secret" not in caplog.text


async def test_it_is_ready_again_when_storing_works_again(
    make: Make, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request may arrive before it is ready."""
    inbox = make()
    await inbox.start(frozen())

    async def broken(*args: Any) -> None:
        raise InboxError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "add", broken)
        with pytest.raises(InboxError):
            await put(inbox, status_bytes(1))
        assert not inbox.health().ready
    await time.advance(2)

    assert inbox.health().ready


async def test_it_is_not_ready_while_too_many_wait(make: Make) -> None:
    """More would be refused."""
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        await gate.wait()

    inbox = make(max_pending=1)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    assert (inbox.health().full, inbox.health().ready) == (True, False)
    gate.set()
    await inbox.idle()
    assert inbox.health().ready


async def test_a_standby_knows_how_long_the_oldest_waits(make_sqlite: Make, time: ManualTime) -> None:
    """The lag is that of the file, whichever process handles events."""
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        await gate.wait()

    # a few rounds of housekeeping: in each, two writers wait for each other's lock
    first, second = (make_sqlite(poll=100.0, handler_timeout=None) for _ in range(2))
    await first.start(frozen(handler))
    await put(first, status_bytes(1))
    await second.start(frozen())
    await time.advance(500)

    assert second.health().state == "standby"
    assert (second.health().pending, second.health().lag) == (1, 500.0)
    gate.set()
    await first.idle()
