"""A store that fails: refusals, results that are written later, housekeeping that goes on."""

import asyncio
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Context, Event, InboxError, InboxFullError, MessageStatus
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, PendingEvent, Record
from nexmo_dispatch_webhooks.inbox import inbox as engine_module
from tests.webhooks.inbox.support import ManualTime, Recorder, Start, in_workflow, put, states, status_bytes


async def test_what_cannot_be_stored_is_not_acknowledged(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service repeats it; probes see that storing fails, until it works again."""
    inbox = await start(Recorder())

    async def broken(*args: Any, **settings: Any) -> None:
        raise InboxError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "add", broken)
        with pytest.raises(InboxError, match="disk full"):
            await put(inbox, status_bytes(1))
        assert not inbox.health().ready

    await put(inbox, status_bytes(1))
    assert inbox.health().ready


async def test_health_shows_a_store_that_refuses_some_events_for_lack_of_room(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk takes a small event between two larger ones: probes see the 503s."""
    inbox = await start(Recorder())

    async def full(*args: Any, **settings: Any) -> None:
        raise InboxFullError("full")

    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "add", full)
        for _ in range(2):
            with pytest.raises(InboxFullError):
                await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))  # it has room

    assert (inbox.health().storing, inbox.health().ready, inbox.health().not_stored) == (False, False, 2)
    await time.advance(11)
    assert (inbox.health().storing, inbox.health().ready, inbox.health().not_stored) == (True, True, 2)


async def test_too_many_waiting_events_are_refused(start: Start) -> None:
    """503: the service repeats for 24 hours, and the memory is bounded (contract 5.10)."""
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    inbox = await start(slow, max_pending=2)
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))

    with pytest.raises(InboxFullError, match="too many") as caught:
        await put(inbox, status_bytes(3))
    gate.set()
    await inbox.idle()
    await put(inbox, status_bytes(3))

    assert caught.value.status == 503
    assert inbox.health().not_stored == 1


async def test_a_result_that_cannot_be_written_is_tried_again(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of a handler while the store fails is not lost."""
    bad = Recorder(failing=True)
    inbox = await start(bad, retry=HandlerRetryPolicy(attempts=2))
    postpone = inbox.store.postpone

    async def broken(*args: Any, **settings: Any) -> None:
        monkeypatch.setattr(inbox.store, "postpone", postpone)
        raise InboxError("disk full")

    monkeypatch.setattr(inbox.store, "postpone", broken)
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert inbox.health().retrying == 1

    await time.advance(2)
    await inbox.idle()

    assert await states(inbox) == ["quarantined"]


@pytest.mark.one_process
async def test_housekeeping_survives_a_failing_store(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inbox = await start()

    async def broken() -> bool:
        raise InboxError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "changed", broken)
        await time.advance(1.5)
    await time.advance(1.5)

    assert "the inbox failed: InboxError" in caplog.text
    assert inbox.health().state == "running"


@pytest.mark.one_process
async def test_no_event_overtakes_one_that_the_store_could_not_read(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the older events of a conversation are known, newer ones wait, however often a look fails."""
    handler = Recorder()
    inbox = await start(handler)
    read, failures = inbox.store.pending, 0

    async def changed() -> bool:
        return failures == 0

    async def pending() -> list[PendingEvent]:
        nonlocal failures
        failures += 1
        if failures <= 2:
            await put(inbox, in_workflow(10 + failures, "w"))  # arrives while the store is read
            raise InboxError("the store is away")
        return await read()

    listener, inbox.store.on_added = inbox.store.on_added, None
    await put(inbox, in_workflow(1, "w"))  # as another process stores it
    inbox.store.on_added = listener
    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "changed", changed)
        patch.setattr(inbox.store, "pending", pending)
        await time.advance(1.5)
        await put(inbox, in_workflow(20, "w"))
        await time.advance(3)
        await inbox.idle()

    assert failures == 3
    assert [key.partition("/")[0] for key, _ in handler.seen] == ["m1", "m11", "m20", "m12"]


@pytest.mark.one_process
async def test_no_event_overtakes_one_of_a_second_look_at_the_same_time(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An operator retries twice while the store is read: the looks follow each other."""
    handler = Recorder()
    inbox = await start(handler)
    read, looks, gates = inbox.store.pending, 0, [asyncio.Event(), asyncio.Event()]

    async def pending() -> list[PendingEvent]:
        nonlocal looks
        looks += 1
        gate, items = gates[min(looks, 2) - 1], await read()
        await gate.wait()
        return items

    async def retry(*args: Any, **settings: Any) -> int:
        return 1

    async def look() -> asyncio.Task[int]:
        looking = asyncio.create_task(inbox.retry())
        for _ in range(100):  # as far as it comes
            await asyncio.sleep(0)
        return looking

    monkeypatch.setattr(inbox.store, "pending", pending)
    monkeypatch.setattr(inbox.store, "retry", retry)
    first = await look()
    await put(inbox, in_workflow(1, "w"))
    second = await look()
    gates[0].set()
    await first
    await put(inbox, in_workflow(2, "w"))
    await inbox._scheduler.idle()  # `inbox.idle()` waits for the second look too
    gates[1].set()
    await second
    await inbox.idle()

    assert [key.partition("/")[0] for key, _ in handler.seen] == ["m1", "m2"]


async def test_many_waiting_events_are_read_again_in_their_turn(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory holds ids only beyond a number; the handlers see no difference."""
    monkeypatch.setattr(engine_module, "_IN_MEMORY", 3)
    gate, seen = asyncio.Event(), []

    async def handler(event: MessageStatus, context: Context) -> None:
        await gate.wait()
        seen.append((event.message_uuid, context.path, context.received_at is not None))

    inbox = await start(handler, concurrency=1)
    for number in range(10):
        await put(inbox, status_bytes(number), path="p")
    gate.set()
    await inbox.idle()

    assert seen == [(f"m{number}", "p", True) for number in range(10)]


@pytest.mark.one_process
async def test_a_record_that_was_put_aside_meanwhile_is_skipped(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finished it, so its handlers do not run."""
    monkeypatch.setattr(engine_module, "_IN_MEMORY", 0)
    handler = Recorder()
    inbox = await start(handler)
    load = inbox.store.load

    async def finished(record_id: int) -> Record:
        inbox.store.finish(record_id)
        await inbox.store.count()
        return await load(record_id)

    monkeypatch.setattr(inbox.store, "load", finished)

    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert handler.seen == []
    assert inbox.health().pending == 0
