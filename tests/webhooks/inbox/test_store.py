"""The store protocol, over both stores: what a third one has to keep as well."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import InboxError, UnknownRecordError
from nexmo_dispatch_webhooks.inbox import InboxStore, StoredFailure
from nexmo_dispatch_webhooks.inbox.memory import MemoryInboxStore
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.webhooks.inbox.support import CLAIMS, new_record, status_bytes


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InboxStore]:
    made: InboxStore = (
        MemoryInboxStore(clock=lambda: 5.0)
        if request.param == "memory"
        else SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 5.0)
    )
    await made.open()
    yield made
    await made.aclose()
    await made.aclose()  # twice is once


async def test_new_records_get_ascending_ids_and_known_ones_none(store: InboxStore) -> None:
    """The listener hears of new ones in order, before `add` returns; quarantined ones are not for it."""
    heard: list[int] = []
    store.on_added = lambda record_id, record: heard.append(record_id)

    ids = [await store.add(new_record(status_bytes(n))) for n in (1, 2, 1)]
    broken = await store.add(new_record(b"no json"))

    assert ids == [1, 2, None]
    assert broken is not None
    assert broken > 2
    assert heard == [1, 2]
    assert (await store.count()).pending == 2
    assert (await store.count()).quarantined == 1


async def test_a_record_comes_back_as_it_was_stored(store: InboxStore) -> None:
    """Also with half surrogates in path and ids, which no database text may hold (contract 5.11)."""
    body = b'{"message_uuid": "\\ud800", "status": "read"}'

    first = await store.add(new_record(body, at=12.5, path="caf\u00e9\ud800"))
    record = await store.load(first or 0)

    assert (record.body, record.received_at.timestamp(), record.claims) == (body, 12.5, CLAIMS)
    assert (record.path, record.size, record.state) == ("caf\u00e9\\ud800", len(body), "pending")


async def test_results_are_kept(store: InboxStore) -> None:
    """Finished, postponed, given up; `waiting` lists only what is to be handled."""
    for number in range(4):
        await store.add(new_record(status_bytes(number), at=7.0))
    failed = (StoredFailure("bad", "ValueError"),)

    store.finish(1)
    await store.postpone(2, attempts=1, due=99.0, done=["good"], failed=failed)
    await store.postpone(3, attempts=6, due=None, done=[], failed=failed)

    assert [(w.id, w.received_at, w.attempts, w.due, list(w.done)) for w in await store.pending()] == [
        (2, 7.0, 1, 99.0, ["good"]),
        (4, 7.0, 0, 0.0, []),
    ]
    records = await store.list(None, limit=10, after=0)
    assert [record.state for record in records] == ["handled", "pending", "quarantined", "pending"]
    assert records[0].finished_at is not None
    assert records[0].finished_at.timestamp() == 5.0
    assert records[1].next_attempt_at is not None
    assert records[1].next_attempt_at.timestamp() == 99.0
    assert (records[1].done, records[2].failed) == (("good",), failed)


async def test_retry_makes_due_what_failed(store: InboxStore) -> None:
    """Quarantined ones and those that wait for an attempt; what is pending anyway is not counted."""
    for number in range(3):
        await store.add(new_record(status_bytes(number)))
    await store.postpone(1, attempts=1, due=99.0, done=["good"], failed=())
    await store.postpone(2, attempts=6, due=None, done=[], failed=())

    assert await store.retry(2) == 1
    assert await store.retry("all") == 1
    assert await store.retry(77) == 0

    assert [(w.id, w.attempts, w.due, list(w.done)) for w in await store.pending()] == [
        (1, 0, 0.0, ["good"]),
        (2, 0, 0.0, []),
        (3, 0, 0.0, []),
    ]


async def test_the_retention_goes_by_measured_ages(store: InboxStore) -> None:
    """Times of arrival play no part, and what only the wall clock tells counts for handled contents alone."""
    assert await store.aged_at() is None
    for number, body in enumerate([status_bytes(1), b"no json", status_bytes(3)]):
        await store.add(new_record(body, at=-1e6 * number))
    store.finish(1)
    await store.age(measured=0.0, by_clock=0.0, epoch=100.0, newest=False)
    await store.age(measured=10.0, by_clock=100.0, epoch=101.0, newest=False)

    async def states(handled: float, quarantined: float, keys: float) -> list[str]:
        while await store.prune(handled=handled, quarantined=quarantined, keys=keys):
            pass
        records = [
            *await store.list(None, limit=9, after=0),
            *await store.list("forgotten", limit=9, after=0),
        ]
        return [record.state for record in sorted(records, key=lambda record: record.id)]

    assert await store.aged_at() == 101.0
    assert await states(101, 11, 11) == ["handled", "quarantined", "pending"]
    assert await states(100, 11, 11) == ["forgotten", "quarantined", "pending"]
    assert await states(100, 10, 11) == ["forgotten", "forgotten", "pending"]
    assert await states(100, 10, 10) == ["pending"]


async def test_unknown_ids_are_named(store: InboxStore) -> None:
    with pytest.raises(UnknownRecordError) as caught:
        await store.load(7)

    assert str(caught.value) == "there is no record 7"


async def test_only_one_may_handle(store: InboxStore) -> None:
    assert await store.claim()
    assert await store.claim()
    await store.changed()
    assert not await store.changed()


async def test_a_store_without_transactions_says_so() -> None:
    with pytest.raises(InboxError, match="no transactions"):
        await MemoryInboxStore(clock=lambda: 0.0).commit(1, "h", [], finish=False)
