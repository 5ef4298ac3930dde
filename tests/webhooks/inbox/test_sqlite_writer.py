"""The writer: its log, and batches that fail in part."""

import asyncio
import contextlib
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any, ClassVar

import pytest

from nexmo_dispatch_webhooks import InboxError, InboxFullError, TransactionError
from nexmo_dispatch_webhooks.inbox import sqlite_file, sqlite_statements, sqlite_writer
from nexmo_dispatch_webhooks.inbox.sqlite_recent_keys import RecentKeys
from tests.webhooks.inbox.support import Open, new_record, other_connection, status_bytes

COUNT = ("INSERT INTO counts VALUES (?)", ("x",))
THERE = "INSERT OR IGNORE INTO counts VALUES ('there')"
SCHEMA = "CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY)"


def of_size(number: int, size: int) -> Any:
    return new_record(status_bytes(number, client_ref="x" * size))


# --- the write-ahead log ---


def times_started_over(log: Path) -> int:
    """What the head of the log counts: once all of it is in the file, the next commit starts it over."""
    return int.from_bytes(log.read_bytes()[12:16])


async def test_the_log_is_moved_and_starts_over(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many events, so it does not grow for ever, and no move is long."""
    monkeypatch.setattr(sqlite_writer, "LONG_LOG", 80)  # twenty events, each in a commit of its own
    store = await open_store()
    log = tmp_path / "inbox.db-wal"
    sizes: list[int] = []
    for number in range(121):
        await store.add(new_record(status_bytes(number)))
        sizes.append(log.stat().st_size)

    assert times_started_over(log) == 6
    assert max(sizes) < 2 * sizes[19]


async def test_a_reader_holds_up_no_commit(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log waits for readers of an earlier state of the file; new events do not wait."""
    monkeypatch.setattr(sqlite_writer, "LONG_LOG", 20)
    store = await open_store(busy_timeout=3600.0)  # an hour: it would be noticed
    log = tmp_path / "inbox.db-wal"
    await store.add(new_record(status_bytes(0)))
    reader = other_connection(tmp_path)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)

    for number in range(1, 20):
        await store.add(new_record(status_bytes(number)))
    await store.count()  # the last move is over
    assert times_started_over(log) == 0
    reader.close()
    for number in range(20, 26):
        await store.add(new_record(status_bytes(number)))

    assert times_started_over(log) == 1
    assert (await store.count()).pending == 26


async def test_a_log_that_cannot_be_moved_now_is_moved_later(open_store: Open) -> None:
    """Whatever SQLite says to it, what is committed is in the log."""
    store = await open_store()
    await store.add(new_record(status_bytes(1)))

    def move_within_a_transaction(db: sqlite3.Connection) -> None:
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        sqlite_file.move_log(db, 5.0)

    await store._run(move_within_a_transaction)

    assert await store.add(new_record(status_bytes(2))) == 2


async def test_a_large_body_counts_as_its_pages(open_store: Open, tmp_path: Path) -> None:
    """So that the next move is no longer than others."""
    store = await open_store()
    await store.add(of_size(1, 1_300_000))
    await store.add(of_size(2, 1))
    assert times_started_over(tmp_path / "inbox.db-wal") == 1


async def test_looking_moves_no_log(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that only waits writes nothing."""
    monkeypatch.setattr(sqlite_writer, "LONG_LOG", 20)
    store = await open_store()
    await store.add(new_record(status_bytes(1)))
    for _ in range(20):
        await store.count()
        await store.changed()
    await store.add(new_record(status_bytes(2)))
    assert times_started_over(tmp_path / "inbox.db-wal") == 0


async def test_a_bug_between_two_commits_ends_no_thread(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every later call of `add` would wait for ever."""
    monkeypatch.setattr(sqlite_writer, "LONG_LOG", 1)

    def broken(*args: Any) -> None:
        raise ValueError

    monkeypatch.setattr(sqlite_file, "move_log", broken)
    store = await open_store()
    assert [await store.add(new_record(status_bytes(number))) for number in range(3)] == [1, 2, 3]
    assert "the log of the inbox failed: ValueError" in caplog.text


async def test_a_very_long_log_makes_other_processes_wait(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their commits would keep it from starting over for ever; the time-out of later commits is as before."""
    monkeypatch.setattr(sqlite_file, "_VERY_LONG_LOG", 0)
    store = await open_store(busy_timeout=7.0)
    await store.add(new_record(status_bytes(1)))

    def move(db: sqlite3.Connection) -> Any:
        db.execute("COMMIT")
        db.set_trace_callback(said.append)
        sqlite_file.move_log(db, 7.0)
        db.set_trace_callback(None)
        db.execute("BEGIN")
        db.execute("SAVEPOINT operation")
        return db.execute("PRAGMA busy_timeout").fetchone()

    said: list[str] = []
    assert await store._run(move) == (7000,)
    assert said[1:3] == ["PRAGMA busy_timeout = 0", "PRAGMA wal_checkpoint(RESTART)"]


@pytest.mark.parametrize(
    ("version", "race"),
    [
        ((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 50, 6), True), ((3, 50, 7), False),
        ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False), ((4, 0, 0), False),
    ],
)  # fmt: skip
def test_versions_with_a_race_between_connections_are_known(
    version: tuple[int, int, int], race: bool
) -> None:
    """As sqlite.org/wal.html lists them."""
    assert sqlite_file.has_race(version) is race


async def test_a_second_process_is_told_of_the_race(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once."""
    monkeypatch.setattr(sqlite_file, "has_race", lambda version: True)
    first, second = await open_store(), await open_store()
    assert await first.claim()
    assert not await second.claim()
    assert not await second.claim()
    assert caplog.text.count("very rarely, corrupt the file") == 1


async def test_a_purge_beside_a_process_is_told_of_no_race(
    open_store: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It commits a few deletions, which SQLite allows, moves no log, and is what the runbook says to do."""
    monkeypatch.setattr(sqlite_file, "has_race", lambda version: True)
    first, second = await open_store(), await open_store()
    await first.add(new_record(status_bytes(1)))
    assert await first.claim()
    first.finish(1)

    purging = asyncio.ensure_future(second.purge("all", states=("handled",), before=None))
    while not purging.done():
        await first.changed()
        await asyncio.wait({purging}, timeout=0.02)

    assert await purging in {0, 1}
    assert "corrupt" not in caplog.text


# --- batches that fail in part ---


@pytest.mark.parametrize(
    "ending",
    ["INSERT OR ROLLBACK INTO counts VALUES ('there')", "INSERT INTO counts VALUES ('raise')"],
    ids=["or rollback", "trigger"],
)
async def test_a_statement_that_ends_the_transaction_harms_no_other_record(
    open_store: Open, ending: str
) -> None:
    """New events, marks and the statements of other handlers come through, each once."""
    trigger = (
        "CREATE TRIGGER IF NOT EXISTS t BEFORE INSERT ON counts WHEN new.name = 'raise' "
        "BEGIN SELECT RAISE(ROLLBACK, 'no'); END"
    )
    store = await open_store(schema=f"{SCHEMA}; {THERE}; {trigger};")
    for number in (1, 2, 3):
        await store.add(new_record(status_bytes(number)))

    store.finish(3)
    added, harmful, innocent = await asyncio.gather(
        store.add(new_record(status_bytes(4))),
        store.commit(1, "h", [(ending, ())], finish=True),
        store.commit(2, "h", [COUNT], finish=True),
        return_exceptions=True,
    )

    assert (added, innocent) == (4, None)
    assert isinstance(harmful, TransactionError)
    assert [item.id for item in await store.pending()] == [1, 4]
    names = await store._run(lambda db: db.execute("SELECT name FROM counts ORDER BY name").fetchall())
    assert names == [("there",), ("x",)]


async def test_statements_that_find_no_room_are_the_failure_of_their_handler(open_store: Open) -> None:
    """Not of the store, as long as an event finds room."""
    store = await open_store(schema="CREATE TABLE IF NOT EXISTS blobs (b)", max_bytes=512 * 1024)
    await store.add(new_record(status_bytes(1)))

    added, large = await asyncio.gather(
        store.add(new_record(status_bytes(2))),
        store.commit(1, "h", [("INSERT INTO blobs VALUES (zeroblob(5000000))", ())], finish=True),
        return_exceptions=True,
    )

    assert added == 2
    assert isinstance(large, TransactionError)
    assert "more room than there is" in str(large)


async def test_a_large_body_does_not_keep_out_small_ones(open_store: Open) -> None:
    """They came together; the order is that of arrival."""
    store = await open_store(max_bytes=256 * 1024)
    heard: list[int] = []
    store.on_added = lambda record_id, record: heard.append(record_id)

    results = await asyncio.gather(
        *(store.add(of_size(n, 1_000_000 if n == 3 else 10)) for n in range(6)), return_exceptions=True
    )

    assert isinstance(results[3], InboxFullError)
    assert [r for n, r in enumerate(results) if n != 3] == heard == [1, 2, 3, 4, 5]


async def test_a_full_file_moves_its_log(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk that is what makes room."""
    monkeypatch.setattr(sqlite_writer, "LONG_LOG", 100_000)
    store = await open_store(max_bytes=256 * 1024)
    with contextlib.suppress(InboxFullError):
        for number in range(1000):
            await store.add(of_size(number, 3000))
    assert times_started_over(tmp_path / "inbox.db-wal") == 0

    await store.postpone(1, attempts=1, due=1.0, done=(), failed=())

    assert times_started_over(tmp_path / "inbox.db-wal") == 1


async def test_a_lock_is_waited_for_once(open_store: Open, tmp_path: Path) -> None:
    """Not by every part again; nothing of the batch was done."""
    store = await open_store(busy_timeout=0.0)
    await store.add(new_record(status_bytes(1)))
    begun: list[str] = []
    with contextlib.closing(other_connection(tmp_path)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(
            store.add(new_record(status_bytes(2))),
            store._run(lambda _: begun.append("operation")),
            return_exceptions=True,
        )
    assert [type(result) for result in results] == [InboxError, InboxError]
    assert begun == []


async def test_a_second_try_hides_no_change(open_store: Open, tmp_path: Path) -> None:
    """Another process wrote; the look at it was undone with the rest of the first try."""
    store = await open_store(schema=SCHEMA)
    await store.add(new_record(status_bytes(1)))
    await store.changed()
    with contextlib.closing(other_connection(tmp_path)) as other:
        other.execute("UPDATE events SET due = 5")

    changed, _ = await asyncio.gather(
        store.changed(),
        store.commit(1, "h", [("ROLLBACK", ())], finish=True),
        return_exceptions=True,
    )

    assert changed is True or await store.changed()


async def test_a_purge_works_in_pieces(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a commit of its own, so that no answer waits for all of it."""
    pieces: list[int] = []
    purge = sqlite_statements.purge

    def counted(*args: Any, **settings: Any) -> tuple[int, int]:
        count, last = purge(*args, **settings)
        pieces.append(count)
        return count, last

    monkeypatch.setattr(sqlite_statements, "PIECE", 3)
    monkeypatch.setattr(sqlite_statements, "purge", counted)
    store = await open_store()
    for number in range(10):
        await store.add(new_record(status_bytes(number)))
        store.finish(number + 1)

    assert await store.purge("all", states=("handled",), before=None) == 10

    assert pieces == [3, 3, 3, 1]
    with contextlib.closing(other_connection(tmp_path)) as other:
        assert other.execute("SELECT count(*) FROM contents").fetchone() == (0,)
    assert await store.purge(1, states=("handled",), before=None) == 0


async def test_room_is_asked_for_without_a_trace(open_store: Open) -> None:
    """`writable` says no when the file is full, and adds nothing to it."""
    store = await open_store(max_bytes=256 * 1024)
    before = await store._run(lambda db: db.execute("PRAGMA page_count").fetchone())
    assert await store.writable()
    assert await store._run(lambda db: db.execute("PRAGMA page_count").fetchone()) == before
    with contextlib.suppress(InboxFullError):
        for number in range(1000):
            await store.add(of_size(number, 3000))
    assert not await store.writable()


# --- what a commit costs ---


async def test_a_commit_takes_six_statements(open_store: Open) -> None:
    """However many events share it: each statement waits for the interpreter, beside the event loop."""
    store = await open_store()
    await store.add(new_record(status_bytes(0)))
    assert store._writer is not None
    assert store._writer._file is not None
    statements: list[str] = []
    store._writer._file.connection.set_trace_callback(statements.append)
    await asyncio.gather(*(store.add(new_record(status_bytes(number))) for number in range(20)))

    words = [statement.split()[0] for statement in statements]
    assert words == ["BEGIN", "SELECT", "INSERT", "INSERT", "PRAGMA", "COMMIT"]


def test_keys_that_move_share_the_pages_of_a_large_index(tmp_path: Path) -> None:
    """They are hashes: in the order of their arrival each would write a page of its own."""
    chosen = random.Random(1)
    with contextlib.closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA wal_autocheckpoint = 0")
        for statement in sqlite_statements.SCHEMA:
            db.execute(statement)
        db.execute("BEGIN")
        known = sorted(chosen.randbytes(16) for _ in range(100_000))
        db.executemany("INSERT INTO keys VALUES (?)", [(key,) for key in known])
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        recent, moved = RecentKeys(), 0
        assert recent.known(db, known[:1]) == set(known[:1])
        while not recent.wants_move(holder=True):
            recent.note(0, [chosen.randbytes(16) for _ in range(256)])
            moved += 256
        while recent.wants_move(holder=True):
            db.execute("BEGIN")
            recent.move(db)
            db.execute("COMMIT")
        written = (tmp_path / "keys.db-wal").stat().st_size // 4096

    assert 0 < written < moved / 16


# --- records in memory ---


class Body(bytes):
    """A body that notes which thread frees it."""

    freed_by: ClassVar[list[str]] = []

    def __del__(self) -> None:
        self.freed_by.append(threading.current_thread().name)


async def test_records_are_freed_by_the_thread_that_made_them(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each core has a cache of its own, so freeing the objects of another thread costs much."""
    monkeypatch.setattr(Body, "freed_by", [])
    store = await open_store()
    for number in range(5):
        await asyncio.gather(
            *(store.add(new_record(Body(status_bytes(8 * number + one)))) for one in range(8))
        )
    await store.count()  # another batch, for which the writer dropped the last one

    assert Body.freed_by == [threading.current_thread().name] * 40
