"""The pending events that other processes handle: their number, and how long the oldest one waits."""

import pytest

from nexmo_dispatch_webhooks import InboxError
from nexmo_dispatch_webhooks.inbox import RecordCounts
from nexmo_dispatch_webhooks.inbox.backlog import Backlog
from nexmo_dispatch_webhooks.inbox.memory import MemoryInboxStore
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from tests.webhooks.inbox.support import ManualTime


class Store(MemoryInboxStore):
    """A store that counts what it is told, or fails."""

    def __init__(self, time: ManualTime) -> None:
        super().__init__(clock=time)
        self.counts: RecordCounts | None = RecordCounts()

    async def count(self) -> RecordCounts:
        if self.counts is None:
            raise InboxError("the store is away")
        return self.counts


@pytest.fixture
async def store(time: ManualTime) -> Store:
    return Store(time)


@pytest.fixture
async def backlog(time: ManualTime) -> Backlog:
    return Backlog(InboxSettings(clock=time, monotonic=lambda: time() - 999_000))


async def test_a_count_contains_what_was_stored_before_it(backlog: Backlog, store: Store) -> None:
    backlog.note_stored()
    backlog.note_stored()
    assert (backlog.pending, repr(backlog)) == (2, "<Backlog of 2 events>")

    store.counts = RecordCounts(pending=5, quarantined=1)
    await backlog.read(store)
    backlog.note_stored()

    assert (backlog.pending, backlog.counts.quarantined) == (6, 1)
    backlog.forget()
    assert (backlog.pending, backlog.counts) == (0, RecordCounts())


async def test_what_was_stored_since_counts_until_a_count_succeeds(backlog: Backlog, store: Store) -> None:
    """Otherwise nothing would bound the pending events while the store cannot count them."""
    store.counts = None
    for _ in range(3):
        backlog.note_stored()
        with pytest.raises(InboxError, match="away"):
            await backlog.read(store)

    assert backlog.pending == 3


async def test_what_is_stored_during_a_count_counts_on(
    backlog: Backlog, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in the count or not."""

    async def count() -> RecordCounts:
        backlog.note_stored()
        return RecordCounts(pending=7)

    monkeypatch.setattr(store, "count", count)
    backlog.note_stored()
    await backlog.read(store)

    assert backlog.pending == 8


async def test_the_oldest_event_waits_whatever_the_clock(
    backlog: Backlog, store: Store, time: ManualTime
) -> None:
    """Its age is measured from its first sight on; 0 without events, and for one of the future."""
    assert backlog.lag == 0.0
    store.counts = RecordCounts(pending=2, oldest=time() - 30)
    await backlog.read(store)
    time.now += 5
    await backlog.read(store)
    assert backlog.lag == 35.0

    store.counts = RecordCounts(pending=1, oldest=time() + 1000)
    await backlog.read(store)
    assert backlog.lag == 0.0
    time.now += 2
    assert backlog.lag == 2.0
    store.counts = RecordCounts()
    await backlog.read(store)
    assert backlog.lag == 0.0
