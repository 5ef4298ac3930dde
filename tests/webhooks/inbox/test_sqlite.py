"""The SQLite store: durable, shared commits, one handler process, failures that name no data."""

import asyncio
import gc
import sqlite3
import stat
from pathlib import Path
from typing import Any, cast

import pytest

from nexmo_dispatch_webhooks import ConfigurationError, InboxError
from nexmo_dispatch_webhooks.inbox import RecordCounts, SqliteInbox, StoreInbox, sqlite_file
from nexmo_dispatch_webhooks.inbox import sqlite as sqlite_module
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.support.process_resources import heap_is_known, heap_mib
from tests.webhooks.inbox.support import (
    ManualTime,
    Open,
    frozen,
    make_inbox,
    new_record,
    other_connection,
    put,
    status_bytes,
)

# --- durability and sharing of commits ---


async def test_what_was_stored_is_there_after_reopening(open_store: Open) -> None:
    first = await open_store()
    await first.add(new_record(status_bytes(1)))
    await first.add(new_record(status_bytes(2)))
    first.finish(1)
    await first.aclose()

    second = await open_store()

    assert [w.id for w in await second.pending()] == [2]
    assert await second.add(new_record(status_bytes(1))) is None
    assert (await second.add(new_record(status_bytes(3))) or 0) > 2


async def test_what_comes_together_shares_a_commit(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one statement's worth, with duplicates among them; order and ids are those of arrival."""
    store = await open_store()
    numbers = [*range(100), 5, *range(100, 150), 120, 3]
    commits: list[int] = []
    writer = store._require_writer()
    commit = writer.commit

    def counted(batch: Any) -> None:
        commits.append(len(batch.adds))
        commit(batch)

    monkeypatch.setattr(writer, "commit", counted)

    ids = await asyncio.gather(*(store.add(new_record(status_bytes(number))) for number in numbers))

    assert commits == [len(numbers)]
    new = [record_id for record_id in ids if record_id is not None]
    assert new == sorted(set(new))
    assert len(new) == 150
    assert [w.id for w in await store.pending()] == new
    assert [ids[index] for index in (100, 151, 152)] == [None, None, None]


async def test_due_marks_wait_for_new_events(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks that are due share the commit of the events that arrive at the same time."""
    store = await open_store()
    first = await store.add(new_record(status_bytes(1)))
    assert first is not None
    batches: list[tuple[int, int]] = []
    writer = store._require_writer()
    commit = writer.commit

    def noted(batch: Any) -> None:
        batches.append((len(batch.adds), len(batch.marks)))
        commit(batch)

    monkeypatch.setattr(writer, "commit", noted)
    store._gather = 0.1
    store.finish(first)
    store._flush()  # the mark is due
    await asyncio.sleep(0)  # a hand-over at once would be over
    await store.add(new_record(status_bytes(2)))

    assert batches == [(1, 1)]


async def test_ids_follow_the_order_of_the_calls(open_store: Open) -> None:
    """Also when a later call is awaited first: the order of a lane is that of arrival."""
    store = await open_store()
    first, second = (store.add(new_record(status_bytes(number))) for number in (1, 2))

    assert await second == 2
    assert await first == 1


async def test_a_crowd_is_stored_in_pieces(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_module, "_BATCH", 10)
    store = await open_store()

    ids = await asyncio.gather(*(store.add(new_record(status_bytes(number))) for number in range(35)))

    assert ids == list(range(1, 36))


@pytest.mark.skipif(not heap_is_known(), reason="reads the heap of glibc")
async def test_stored_bodies_leave_memory(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite keeps the values of a compiled statement until its next use; each number of rows has its own."""
    monkeypatch.setattr(sqlite_file, "_CACHE", 64 * 1024)
    store = await open_store()

    async def add(size: int) -> float:
        for number in range(1, 17):
            bodies = [b"%d %d %d" % (size, number, each) + b" " * size for each in range(number)]
            await asyncio.gather(*(store.add(new_record(body)) for body in bodies))
        gc.collect()
        return heap_mib()

    before = await add(1)

    assert await add(100_000) - before < 2  # of 13


async def test_closing_writes_what_is_still_on_its_way(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_BATCH", 2)
    store = await open_store()
    adds = [store.add(new_record(status_bytes(number))) for number in range(7)]
    await asyncio.sleep(0)
    store.finish(1)

    await store.aclose()

    assert await asyncio.gather(*adds) == [1, 2, 3, 4, 5, 6, 7]
    again = await open_store()
    assert [w.id for w in await again.pending()] == [2, 3, 4, 5, 6, 7]


async def test_power_loss_is_covered_by_default(open_store: Open) -> None:
    """`FULL` waits for the disk at each commit; `NORMAL` does not (docs/inbox.md)."""
    store = await open_store()
    assert await store._run(lambda db: db.execute("PRAGMA synchronous").fetchone()[0]) == 2
    assert await store._run(lambda db: db.execute("PRAGMA journal_mode").fetchone()[0]) == "wal"
    await store.aclose()
    store = await open_store(synchronous="NORMAL")
    assert await store._run(lambda db: db.execute("PRAGMA synchronous").fetchone()[0]) == 1

    with pytest.raises(ConfigurationError, match="FULL or NORMAL"):
        SqliteInboxStore("x", synchronous="OFF", clock=lambda: 0.0)  # type: ignore[arg-type]  # the point of the test


async def test_a_size_that_holds_no_inbox_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_bytes must be a whole number, at least 262144"):
        SqliteInboxStore("x", max_bytes=1024, clock=lambda: 0.0)


async def test_no_content_goes_to_the_temporary_folder(open_store: Open) -> None:
    """It may be on a disk that is not encrypted; SQLite would put pages there that change (2: in memory)."""
    store = await open_store()
    assert await store._run(lambda db: db.execute("PRAGMA temp_store").fetchone()[0]) == 2


async def test_records_that_cannot_be_stored_take_nothing_else_with_them(open_store: Open) -> None:
    """No event is acknowledged that is not durable; marks and operations are written."""
    store = await open_store()
    await store.add(new_record(status_bytes(1)))
    broken = new_record(status_bytes(2))
    broken.kind = cast("str", None)  # breaks a rule of the schema
    store.finish(1)

    results = await asyncio.gather(
        store.add(new_record(status_bytes(3))), store.add(broken), store.count(), return_exceptions=True
    )

    assert [str(result) for result in results[:2]] == [
        "the inbox inbox.db cannot be read or written: IntegrityError (SQLITE_CONSTRAINT_NOTNULL)"
    ] * 2
    assert results[2] == RecordCounts(0, 0, None)
    assert await store.add(new_record(status_bytes(3))) == 2
    assert [item.id for item in await store.pending()] == [2]


async def test_only_the_owner_can_read_it(open_store: Open, tmp_path: Path) -> None:
    """It holds what customers wrote."""
    store = await open_store()
    await store.claim()
    await store.add(new_record(status_bytes(1)))

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sorted(tmp_path.iterdir())}  # noqa: ASYNC240 - a test

    assert {"inbox.db", "inbox.db-wal", "inbox.db-shm", "inbox.db-worker"} <= set(modes)
    assert set(modes.values()) == {0o600}


# --- refusals ---


async def test_a_file_that_is_something_else_is_left_alone(open_store: Open, tmp_path: Path) -> None:
    """Another database, a newer version, no database at all, a file that is missing."""
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 2")
    newer.close()
    (tmp_path / "text.db").write_text("no database " * 1000)

    for name, message in (
        ("other.db", "no inbox of this version"),
        ("newer.db", "no inbox of this version"),
        ("text.db", r"text\.db is no SQLite database, so it is no inbox"),
        ("missing/inbox.db", r"missing/inbox\.db cannot be created: there is no such folder"),
        ("", "cannot be opened: it is a folder: name a file"),
    ):
        with pytest.raises(InboxError, match=message):
            await SqliteInboxStore(tmp_path / name, clock=lambda: 0.0).open()
    with pytest.raises(InboxError, match=r"there is no inbox at none\.db"):
        await SqliteInbox(tmp_path / "none.db", create=False).list()
    assert not (tmp_path / "none.db").exists()


async def test_a_closed_store_says_so(open_store: Open) -> None:
    store = await open_store()
    await store.aclose()

    with pytest.raises(InboxError, match="not open"):
        await store.add(new_record(status_bytes(1)))
    assert "closed" in repr(store)


# --- failures of the disk ---


async def test_a_locked_file_is_waited_for_and_then_refused(open_store: Open, tmp_path: Path) -> None:
    """5xx after a bounded wait, and it works again when the lock is gone; marks are not lost."""
    store = await open_store(busy_timeout=0.01)
    await store.add(new_record(status_bytes(1)))
    blocker = other_connection(tmp_path)
    blocker.execute("BEGIN IMMEDIATE")

    store.finish(1)
    with pytest.raises(InboxError, match=r"written: database is locked \(SQLITE_BUSY\): another") as caught:
        await store.add(new_record(status_bytes(2)))
    with pytest.raises(InboxError):
        await store.count()
    blocker.execute("COMMIT")
    blocker.close()

    assert caught.value.status == 503
    assert await store.add(new_record(status_bytes(2))) == 2
    assert [w.id for w in await store.pending()] == [2]


async def test_marks_are_tried_again_by_themselves(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is stored, and the lock goes away: the mark reaches the disk without help."""
    monkeypatch.setattr(sqlite_module, "_MARK_DELAY", 0.001)
    store = await open_store(busy_timeout=0.0)
    await store.add(new_record(status_bytes(1)))
    blocker = other_connection(tmp_path)
    blocker.execute("BEGIN IMMEDIATE")
    tried = asyncio.Event()
    completed = store._completed

    def watch(batch: Any) -> None:
        completed(batch)
        tried.set()

    monkeypatch.setattr(store, "_completed", watch)
    store.finish(1)
    await tried.wait()
    blocker.execute("COMMIT")
    tried.clear()
    await tried.wait()

    while blocker.execute("SELECT state FROM events").fetchone() != (2,):
        tried.clear()
        await tried.wait()
    blocker.close()


async def test_a_full_disk_is_a_refusal(open_store: Open) -> None:
    """`max_bytes` is a disk of that size: nothing is acknowledged that is not stored."""
    store = await open_store(max_bytes=64 * 4096)
    stored = 0

    async def fill() -> None:
        nonlocal stored
        for number in range(1000):
            await store.add(new_record(status_bytes(number, client_ref="x" * 2000)))
            stored += 1

    with pytest.raises(InboxError, match="SQLITE_FULL"):
        await fill()

    assert 50 < stored < 1000
    assert (await store.count()).pending == stored
    store.finish(1)
    assert (await store.count()).pending == stored - 1


async def test_a_failed_operation_undoes_nothing_but_itself(open_store: Open) -> None:
    """Others of the same commit are kept."""
    store = await open_store()

    results = await asyncio.gather(
        store.add(new_record(status_bytes(1))),
        store._run(lambda db: db.execute("INSERT INTO nowhere VALUES (1)")),
        store.add(new_record(status_bytes(2))),
        store.count(),
        return_exceptions=True,
    )

    assert (results[0], results[2]) == (1, 2)
    assert isinstance(results[1], InboxError)
    assert str(results[1]) == "the inbox inbox.db cannot be read or written: OperationalError (SQLITE_ERROR)"


async def test_a_cancelled_request_is_handled_all_the_same(tmp_path: Path) -> None:
    """It was stored; that its sender hung up does not matter."""
    seen = asyncio.Event()

    async def handler(event: Any) -> None:
        seen.set()

    inbox = make_inbox("sqlite", tmp_path, ManualTime())
    await inbox.start(frozen(handler))
    task = asyncio.create_task(put(inbox, status_bytes(1)))
    await asyncio.sleep(0)
    task.cancel()

    await seen.wait()

    await inbox.aclose()
    assert task.cancelled()


def test_a_loop_that_ends_without_closing_leaves_no_thread(tmp_path: Path) -> None:
    """As after a crash: the file is whole, and what was acknowledged is in it."""
    store = SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 5.0)

    async def first() -> None:
        await store.open()
        await store.add(new_record(status_bytes(1)))
        store.finish(1)
        store._hand_over()

    asyncio.run(first())
    assert store._thread is not None
    store._queue.put(None)
    store._thread.join()

    async def second() -> int:
        again = SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 5.0)
        await again.open()
        records = await again.list(None, limit=10, after=0)
        await again.aclose()
        return len(records)

    assert asyncio.run(second()) == 1


# --- several processes ---


async def start(inbox: StoreInbox, seen: list[str]) -> None:
    async def handler(event: Any) -> None:
        seen.append(event.message_uuid)

    await inbox.start(frozen(handler))


async def test_one_process_handles_and_the_next_takes_over(tmp_path: Path) -> None:
    """A second process stores only; what it stored is handled by the first, and by itself once that ended."""
    time = ManualTime()
    old_time = ManualTime()
    old, new = make_inbox("sqlite", tmp_path, old_time), make_inbox("sqlite", tmp_path, time)
    seen_old: list[str] = []
    seen_new: list[str] = []
    await start(old, seen_old)
    await start(new, seen_new)
    assert (old.health().state, new.health().state) == ("running", "standby")
    assert new.health().ready

    await put(new, status_bytes(1))
    await old_time.advance(1.5)
    await old.idle()
    assert (seen_old, seen_new) == (["m1"], [])

    await put(new, status_bytes(2))
    await old.aclose()
    await time.advance(1.5)
    await new.idle()
    await put(new, status_bytes(3))
    await new.idle()
    assert (seen_old, seen_new) == (["m1"], ["m2", "m3"])
    assert new.health().state == "running"
    await new.aclose()


async def test_a_standby_process_refuses_when_too_many_wait(tmp_path: Path) -> None:
    """It looks at the store, since it handles nothing itself."""
    time = ManualTime()
    old, new = (
        make_inbox("sqlite", tmp_path, ManualTime()),
        make_inbox("sqlite", tmp_path, time, max_pending=2),
    )
    await start(old, [])
    await start(new, [])
    await put(new, status_bytes(1))
    await put(new, status_bytes(2))
    await time.advance(1.5)

    with pytest.raises(InboxError, match="too many"):
        await put(new, status_bytes(3))

    assert new.health().pending == 2
    await new.aclose()
    await old.aclose()


async def test_a_retry_from_another_process_takes_effect(tmp_path: Path) -> None:
    """The command line writes to the file; the receiver sees it within `poll` seconds, in both states."""
    time = ManualTime()
    failing, seen = True, []

    async def handler(event: Any) -> None:
        seen.append(event.message_uuid)
        if failing:
            raise ValueError

    from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy

    inbox = make_inbox("sqlite", tmp_path, time, retry=HandlerRetryPolicy(attempts=2, wait_initial=1000))
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await put(inbox, b"no json")
    await inbox.idle()
    failing = False

    async with SqliteInbox(tmp_path / "inbox.db", create=False) as command:
        assert await command.retry("all") == 2
    await time.advance(1.5)
    await inbox.idle()

    assert seen == ["m1", "m1"]
    assert [record.state for record in await inbox.list()] == ["handled", "quarantined"]
    await inbox.aclose()


async def test_events_that_arrive_during_a_takeover_stand_behind(tmp_path: Path) -> None:
    """The older ones are read from the store first, so a workflow stays in order."""
    inbox = make_inbox("sqlite", tmp_path, ManualTime(), concurrency=1)
    seen: list[str] = []
    async with make_inbox("sqlite", tmp_path, ManualTime()) as earlier:
        await put(earlier, status_bytes(1))
    waiting = inbox.store.pending

    async def slow() -> Any:
        await put(inbox, status_bytes(2))
        return await waiting()

    inbox.store.pending = slow  # type: ignore[method-assign]  # an event comes in the middle
    await start(inbox, seen)
    await inbox.idle()

    assert seen == ["m1", "m2"]
    await inbox.aclose()
