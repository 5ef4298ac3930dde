"""The SQLite file: made whole, left alone when it is another's, and useful when it is full."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import InboxError, InboxFullError
from nexmo_dispatch_webhooks.inbox import sqlite_statements
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.webhooks.inbox.support import Make, ManualTime, frozen, new_record, put, status_bytes


async def test_an_error_in_the_schema_can_be_mended(tmp_path: Path) -> None:
    """The file is whole before it is run."""
    with pytest.raises(InboxError, match=r"schema of the inbox cannot be run: near .TABEL.: syntax error"):
        await SqliteInboxStore(
            tmp_path / "inbox.db", schema="CREATE TABEL mine (x)", clock=lambda: 0.0
        ).open()

    store = SqliteInboxStore(
        tmp_path / "inbox.db", schema="CREATE TABLE IF NOT EXISTS mine (x)", clock=lambda: 0.0
    )
    await store.open()
    assert await store.add(new_record(status_bytes(1))) == 1
    await store.aclose()


async def test_several_may_make_the_file_at_once(tmp_path: Path) -> None:
    """One makes it; each of them stores."""
    stores = [SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 0.0) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    added = await asyncio.gather(
        *(store.add(new_record(status_bytes(number))) for number, store in enumerate(stores))
    )
    assert sorted(number or 0 for number in added) == list(range(1, 9))
    for store in stores:
        await store.aclose()


async def test_a_strangers_database_is_not_touched(tmp_path: Path) -> None:
    """Also one whose version happens to be ours; it is not even put into another journal mode."""
    path = tmp_path / "other.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.execute(f"PRAGMA user_version = {sqlite_statements.SCHEMA_VERSION}")
    other.commit()
    before = path.read_bytes()

    with pytest.raises(InboxError, match="no inbox of this version"):
        await SqliteInboxStore(path, clock=lambda: 0.0).open()

    assert path.read_bytes() == before
    other.close()


async def test_a_full_file_makes_room_under_load(tmp_path: Path) -> None:
    """What is under way is written with a reserve; new events wait until handled ones are forgotten."""
    store = SqliteInboxStore(tmp_path / "inbox.db", max_bytes=256 * 1024, clock=lambda: 5.0)
    await store.open()
    ids: list[int] = []

    async def fill() -> None:
        for number in range(1000):
            record_id = await store.add(new_record(status_bytes(number, client_ref="x" * 500)))
            ids.append(record_id or 0)

    with pytest.raises(InboxFullError, match="SQLITE_FULL"):
        await fill()
    for record_id in ids[:-1]:
        store.finish(record_id)
    refused, count, _ = await asyncio.gather(
        store.add(new_record(status_bytes(2000, client_ref="x" * 500))),
        store.count(),
        store.postpone(ids[-1], attempts=1, due=7.0, done=(), failed=()),
        return_exceptions=True,
    )
    assert isinstance(refused, InboxFullError)
    assert not isinstance(count, BaseException)
    assert count.pending == 1

    while await store.prune(handled=0.0, quarantined=1e9, keys=1e9):
        pass
    assert await store.add(new_record(status_bytes(2000, client_ref="x" * 500))) is not None
    await store.aclose()


async def test_a_full_inbox_forgets_what_is_handled(
    make_sqlite: Make, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Before its time, and says so once an hour; then it takes events again."""
    inbox = make_sqlite(max_bytes=256 * 1024)
    await inbox.start(frozen())

    async def fill() -> None:
        for number in range(1000):
            await put(inbox, status_bytes(number, client_ref="x" * 500))

    with pytest.raises(InboxFullError):
        await fill()
    await inbox.idle()
    await time.advance(2)

    await put(inbox, status_bytes(2000, client_ref="x" * 500))
    await inbox.idle()

    assert caplog.text.count("the inbox is full") == 1
    assert {record.state for record in await inbox.list(limit=1000)} == {"handled"}
    assert inbox.health().ready


async def test_what_a_failed_commit_wrote_is_found(store: SqliteInboxStore) -> None:
    """A statement of a handler may have ended the transaction: what came before is durable, and not lost.

    At the second try the new record looks like a repetition; who handles events looks at the store again.
    """

    def end(db: sqlite3.Connection) -> None:
        db.execute("COMMIT")
        raise RuntimeError

    await store.changed()
    added, ended = await asyncio.gather(
        store.add(new_record(status_bytes(1))), store._run(end), return_exceptions=True
    )

    assert added is None
    assert isinstance(ended, InboxError)
    assert [item.id for item in await store.pending()] == [1]
    assert await store.changed()
    assert not await store.changed()


async def test_the_retention_looks_at_a_bounded_piece(
    store: SqliteInboxStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is: an acknowledgement waits for no more than a piece."""
    monkeypatch.setattr(sqlite_statements, "_SCAN", 4)
    monkeypatch.setattr(sqlite_statements, "PIECE", 3)
    for number in range(10):
        await store.add(new_record(status_bytes(number), at=float(number)))
        await store.age(measured=1.0, by_clock=1.0, epoch=5.0, newest=False)
        if number != 5:
            store.finish(number + 1)
    ends = {"handled": 2.0, "quarantined": 99.0, "keys": 8.0}

    pieces = 1
    while await store.prune(**ends):
        pieces += 1

    assert pieces > 2
    left = {record.id: record.state for record in await store.list(None, limit=20, after=0)}
    assert left == {6: "pending", 9: "handled", 10: "handled"}
    assert [record.id for record in await store.list("forgotten", limit=20, after=0)] == [3, 4, 5, 7, 8]
    store.finish(6)
    while await store.prune(**ends):  # the next round begins at the start
        pass
    assert 6 in [record.id for record in await store.list("forgotten", limit=20, after=0)]
