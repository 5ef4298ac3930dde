"""A store that answers slowly: what arrives meanwhile is bounded, and handled once and in order."""

import asyncio
from collections.abc import Sequence

import pytest

from nexmo_dispatch_webhooks import Event, InboxError, InboxFullError
from nexmo_dispatch_webhooks.inbox import MemoryInbox, PendingEvent, RecordCounts, StoreInbox
from nexmo_dispatch_webhooks.inbox import inbox as engine_module
from tests.webhooks.inbox.support import ManualTime, Recorder, Start, frozen, in_workflow, put

LANES = 5


def event(number: int) -> bytes:
    return in_workflow(number, f"w{number % LANES}")


async def put_all(inbox: StoreInbox, numbers: Sequence[int]) -> list[int]:
    """Send callbacks; return the numbers of the refused ones, which the service repeats."""
    refused: list[int] = []
    for number in numbers:
        try:
            await put(inbox, event(number))
        except InboxFullError:
            refused.append(number)
    return refused


def look(inbox: StoreInbox, monkeypatch: pytest.MonkeyPatch) -> asyncio.Task[int]:
    """Let the inbox read its store, as after an operator retried something."""

    async def retry(*args: object, **settings: object) -> int:
        return 1

    monkeypatch.setattr(inbox.store, "retry", retry)
    return asyncio.create_task(inbox.retry())


def assert_once_in_order(handler: Recorder, numbers: Sequence[int]) -> None:
    seen = [int(key.partition("/")[0].removeprefix("m")) for key, _ in handler.seen]
    assert sorted(seen) == sorted(numbers)
    for lane in range(LANES):
        of_lane = [number for number in seen if number % LANES == lane]
        assert of_lane == sorted(of_lane)


@pytest.mark.one_process
async def test_a_burst_beside_a_slow_read_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callbacks that arrive while the store is read count for `max_pending`, and few contents are kept."""
    monkeypatch.setattr(engine_module, "_IN_MEMORY", 10)
    handler, was_read, gate = Recorder(), asyncio.Event(), asyncio.Event()
    inbox = await start(handler, max_pending=50)
    read = inbox.store.pending

    async def slow() -> list[PendingEvent]:
        found = await read()
        was_read.set()
        await gate.wait()
        return found

    monkeypatch.setattr(inbox.store, "pending", slow)
    looking = look(inbox, monkeypatch)
    await was_read.wait()
    refused = await put_all(inbox, range(200))
    gathered, health = inbox._gathered, inbox.health()

    assert (len(gathered), sum(item.event is not None for item in gathered)) == (50, 10)
    assert (health.pending, health.full, handler.seen) == (50, True, [])
    assert refused == list(range(50, 200))
    gate.set()
    await looking
    await inbox.idle()
    while refused:
        refused = await put_all(inbox, refused)
        await inbox.idle()
    assert_once_in_order(handler, range(200))


@pytest.mark.one_process
async def test_a_burst_is_bounded_while_reads_fail(
    start: Start, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often the read fails, all that waits for it counts, and none is lost with a failure."""
    handler, failures, away = Recorder(), list[int](), True
    inbox = await start(handler, max_pending=50)
    read = inbox.store.pending

    async def failing() -> list[PendingEvent]:
        if away:
            failures.append(1)
            raise InboxError("the store is away")
        return await read()

    monkeypatch.setattr(inbox.store, "pending", failing)
    looking = look(inbox, monkeypatch)
    with pytest.raises(InboxError, match="away"):
        await looking
    refused = await put_all(inbox, range(40))
    await time.advance(1.5)
    refused += await put_all(inbox, range(40, 80))
    await time.advance(1.5)
    refused += await put_all(inbox, range(80, 100))

    assert len(failures) >= 3
    assert (refused, handler.seen) == (list(range(50, 100)), [])
    away = False
    await time.advance(2)
    await inbox.idle()
    assert_once_in_order(handler, range(50))


@pytest.mark.one_process
async def test_an_event_that_ends_while_others_are_counted_is_handled_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its mark cannot be written yet, as on a full disk, so that the store has it as pending."""
    begun, counted, gates = asyncio.Event(), asyncio.Event(), [asyncio.Event(), asyncio.Event()]
    seen: list[str] = []

    async def handler(event: Event) -> None:
        seen.append(event.dedup_key[1])
        begun.set()
        await gates[0].wait()

    inbox = await start(handler)
    read, count, unwritten = inbox.store.pending, inbox.store.count, set[int]()

    async def pending() -> list[PendingEvent]:
        return [item for item in await read() if item.id not in unwritten]

    async def slow() -> RecordCounts:
        counted.set()
        await gates[1].wait()
        return await count()

    def finish(record_id: int, token: int = 0) -> None:
        unwritten.add(record_id)

    monkeypatch.setattr(inbox.store, "pending", pending)
    monkeypatch.setattr(inbox.store, "count", slow)
    monkeypatch.setattr(inbox.store, "finish", finish)
    await put(inbox, event(1))
    await begun.wait()
    looking = look(inbox, monkeypatch)
    async with asyncio.timeout(10):
        await counted.wait()
        gates[0].set()
        while not unwritten:  # noqa: ASYNC110 - no event announces it
            await asyncio.sleep(0)
        gates[1].set()
        await looking
        await inbox.idle()

    assert seen == ["m1"]


async def test_a_process_that_only_stores_refuses_while_its_counts_fail(
    time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it stored since the last count that succeeded counts for `max_pending`."""
    inbox = MemoryInbox(clock=time, monotonic=time, sleep=time.sleep, max_pending=50)
    counts = 0

    async def claim() -> bool:
        return False

    async def count() -> RecordCounts:
        nonlocal counts
        counts += 1
        if counts > 1:
            raise InboxError("the store takes too long to count")
        return RecordCounts(pending=10)

    monkeypatch.setattr(inbox.store, "claim", claim)
    monkeypatch.setattr(inbox.store, "count", count)
    await inbox.start(frozen(Recorder()))
    refused = await put_all(inbox, range(30))
    await time.advance(1.5)
    refused += await put_all(inbox, range(30, 60))

    assert (counts, refused) == (2, list(range(40, 60)))
    assert (inbox.health().state, inbox.health().pending) == ("standby", 10)
    await inbox.aclose()
