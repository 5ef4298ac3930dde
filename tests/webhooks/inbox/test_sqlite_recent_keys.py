"""Repetitions are recognised while their keys are recent, while the keys are moved, and afterwards."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks.exceptions import InboxFullError
from nexmo_dispatch_webhooks.inbox import sqlite_recent_keys
from nexmo_dispatch_webhooks.inbox import sqlite_statements as sql
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from nexmo_dispatch_webhooks.inbox.sqlite_disk_reserve import DiskReserve
from tests.webhooks.inbox.support import Open, new_record, other_connection, status_bytes


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a move begin at ten keys, and take three at a time."""
    monkeypatch.setattr(sqlite_recent_keys, "_MANY", 10)
    monkeypatch.setattr(sqlite_recent_keys, "PIECE", 3)


async def add(store: SqliteInboxStore, number: int) -> bool:
    """Store an event; return whether it was new."""
    return await store.add(new_record(status_bytes(number))) is not None


def indexed(folder: Path) -> int:
    """The number of keys in the index."""
    db = other_connection(folder)
    try:
        return int(db.execute("SELECT count(*) FROM keys").fetchone()[0])
    finally:
        db.close()


async def test_repetitions_are_recognised_at_each_stage_of_a_move(open_store: Open, tmp_path: Path) -> None:
    """No event is handled twice, and none is taken for another."""
    store = await open_store()
    await store.claim()
    for number in range(30):
        assert await add(store, number)
        assert not any([await add(store, known) for known in range(number + 1)])

    assert 10 < indexed(tmp_path) <= 30


def test_all_pieces_of_a_move_share_one_statement() -> None:
    """A connection keeps each statement that it compiles, so the last pieces of many moves filled memory."""
    statements: set[str] = set()

    class Recording(sqlite3.Connection):
        def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
            statements.add(statement)
            return super().execute(statement, parameters)

    with closing(sqlite3.connect(":memory:", factory=Recording)) as db:
        for statement in sql.SCHEMA:
            db.execute(statement)
        recent, events = sqlite_recent_keys.RecentKeys(), 0
        for number in (10, 11, 12):
            records = [new_record(status_bytes(events + each)) for each in range(number)]
            assert None not in sql.insert(db, records, recent)
            events += number
            while recent.wants_move(holder=True):
                recent.move(db)

        assert db.execute("SELECT count(*) FROM keys").fetchone() == (events,)
    assert sum("INTO keys" in statement for statement in statements) == 1


@pytest.mark.parametrize("seed", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 8))])
async def test_any_order_of_processes_and_restarts(open_store: Open, tmp_path: Path, seed: int) -> None:
    """Two processes share a file, either of them restarts, and events come again at any time."""
    chosen = random.Random(seed)
    stores = [await open_store(), await open_store()]
    await stores[0].claim()
    known: set[int] = set()
    for _ in range(150):
        store, number = chosen.choice(stores), chosen.randrange(80)
        assert await add(store, number) is (number not in known)
        known.add(number)
        if chosen.random() < 0.05:
            await store.aclose()
            await store.open()
            await store.claim()

    assert indexed(tmp_path) > 0


async def test_an_event_that_was_not_stored_is_new_again(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused with 503 is no repetition when the service sends it again."""
    store = await open_store()
    await add(store, 1)

    def refuse(*_: object) -> None:
        error = sqlite3.OperationalError("full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(DiskReserve, "check", refuse)
        with pytest.raises(InboxFullError):
            await add(store, 2)

    assert await add(store, 2)
    assert not await add(store, 1)


@pytest.mark.parametrize("number", [5, 60])
async def test_deleted_keys_are_new_again(open_store: Open, tmp_path: Path, number: int) -> None:
    """The retention deletes keys wherever they are, recent or in the index."""
    store = await open_store()
    await store.claim()
    for event in range(number):
        await add(store, event)
    for record in await store.pending():
        store.finish(record.id)
    await store.age(measured=0.0, by_clock=0.0, epoch=1.0, newest=True)
    while await store.prune(handled=0.0, quarantined=0.0, keys=0.0):
        pass

    assert indexed(tmp_path) == 0
    assert all([await add(store, event) for event in range(number)])
