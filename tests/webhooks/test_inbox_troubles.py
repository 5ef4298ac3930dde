"""What goes wrong around an inbox, and must not stop it: handlers, files, threads, a full disk."""

import asyncio
import errno
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.pretty import pretty_repr

from nexmo_dispatch_webhooks import Context, Event, InboxError, InboxFullError, MessageStatus, parse_event
from nexmo_dispatch_webhooks.inbox import RetryPolicy, StoreInbox, sqlite_sql
from nexmo_dispatch_webhooks.inbox.records import make_record
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteStore
from tests.webhooks.inbox_support import (
    ManualTime,
    frozen,
    in_workflow,
    make_inbox,
    new_record,
    put,
    request,
    status_bytes,
)
from tests.webhooks.payloads import encode, status_body

Make = Callable[..., StoreInbox]


@pytest.fixture
async def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
async def make(tmp_path: Path, time: ManualTime) -> AsyncIterator[Make]:
    made: list[StoreInbox] = []

    def build(kind: str = "memory", **settings: Any) -> StoreInbox:
        made.append(make_inbox(kind, tmp_path, time, **settings))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    made = SqliteStore(tmp_path / "inbox.db", clock=lambda: 5.0)
    await made.open()
    yield made
    await made.aclose()


async def states(inbox: StoreInbox) -> list[str]:
    return [record.state for record in await inbox.list()]


# --- handlers ---


@pytest.mark.parametrize("ending", ["returns", "awaits", "raises"])
async def test_a_handler_that_cancels_its_own_task_stops_nothing(make: Make, ending: str) -> None:
    """It fails, or is done if it returned; every other event goes on, then and after the next start."""

    async def handler(event: MessageStatus) -> None:
        if event.message_uuid == "m1":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if ending == "awaits":
                await asyncio.sleep(0)
            if ending == "raises":
                raise ValueError

    inbox = make(retries=RetryPolicy(attempts=1), concurrency=1)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await states(inbox) == ["handled" if ending == "returns" else "quarantined", "handled"]
    assert inbox.health().state == "running"
    if ending != "returns":
        kind = "CancelledError" if ending == "awaits" else "ValueError"
        assert (await inbox.show(1)).failed[0].error == kind


@pytest.mark.parametrize("ending", ["raises", "swallows"])
async def test_a_handler_out_of_time_has_failed_however_it_ends(
    make: Make, time: ManualTime, ending: str
) -> None:
    """And the next one in the same worker has its own time."""
    begun: list[str] = []
    started = asyncio.Event()

    async def handler(event: MessageStatus, context: Context) -> None:
        begun.append(event.message_uuid)
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if event.message_uuid == "m1" and ending == "raises":
                raise OSError from None
            if event.message_uuid == "m1":
                return
            raise

    inbox = make(retries=RetryPolicy(attempts=1), concurrency=1, handler_timeout=60.0)
    await inbox.start(frozen(handler))
    for number in (1, 2):
        await put(inbox, status_bytes(number))
    for _ in range(2):
        await started.wait()
        started.clear()
        await time.advance(62)
    await inbox.idle()

    assert begun == ["m1", "m2"]
    assert [(await inbox.show(number)).failed[0].error for number in (1, 2)] == ["TimeoutError"] * 2


async def test_the_time_of_a_handler_does_not_depend_on_the_clock(make: Make, time: ManualTime) -> None:
    """A clock that is set forward by an hour ends no handler."""
    gate, still = asyncio.Event(), ManualTime()

    async def handler(event: Event) -> None:
        await gate.wait()

    inbox = make(monotonic=still, handler_timeout=60.0)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await time.advance(3600)
    gate.set()
    await inbox.idle()

    assert await states(inbox) == ["handled"]


async def test_a_reading_of_ones_own_that_gives_no_event_is_a_failure(make: Make) -> None:
    """It goes back to quarantine, and the others go on."""
    inbox = make(parse=lambda body: None)
    await inbox.start(frozen())
    await put(inbox, b"no json")
    assert await inbox.retry("all") == 1
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "handled"]
    assert (await inbox.show(1)).failed[0].error == "TypeError"


async def test_whatever_breaks_inside_is_one_event_that_failed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the end of the inbox."""
    inbox = make(retries=RetryPolicy(attempts=1))
    await inbox.start(frozen())
    assert inbox._worker is not None
    attempt = inbox._worker.attempt

    async def broken(*args: Any, **settings: Any) -> Any:
        monkeypatch.setattr(inbox._worker, "attempt", attempt)
        raise KeyError

    monkeypatch.setattr(inbox._worker, "attempt", broken)
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "handled"]


async def test_large_events_wait_in_the_store_only(make: Make) -> None:
    """So a thousand of them do not fill the memory."""
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        await gate.wait()

    inbox = make(concurrency=1)
    await inbox.start(frozen(handler))
    for number in range(3):
        await put(inbox, status_bytes(number, client_ref="x" * (5000 if number == 2 else 1)))

    assert [item.event is not None for item in inbox._lanes._waiting.values()] == [True, True, False]
    gate.set()
    await inbox.idle()
    assert await states(inbox) == ["handled"] * 3


# --- order and identity ---


def test_bodies_that_nobody_can_read_wait_for_nobody() -> None:
    """Each has a lane of its own."""
    assert new_record(b"broken").lane != new_record(b"broken too").lane


def test_statuses_of_a_workflow_in_the_v1_format_are_one_conversation() -> None:
    """Contract 5.8: `workflow.id` says where they belong."""
    first, second = (
        new_record(encode({**status_body(message_uuid=uuid), "workflow": {"id": "w1"}})) for uuid in "ab"
    )
    assert first.lane == second.lane
    assert first.lane == new_record(in_workflow(3, "w1")).lane


def test_ids_with_nul_are_not_taken_for_one_another() -> None:
    """Their parts may not run together: the second would never be handled."""
    first = new_record(encode(status_body(message_uuid="a\0b", status="c")))
    second = new_record(encode(status_body(message_uuid="a", status="b\0c")))
    assert first.key != second.key


def test_records_show_no_content() -> None:
    """Neither in `repr` nor in rich."""
    body = status_bytes(1, client_ref="secret words")
    record = make_record(request(body), Context(), parse_event(body))
    assert "secret" not in repr(record) + pretty_repr(record)


async def test_shown_records_show_no_content(make: Make) -> None:
    inbox = make()
    await inbox.start(frozen())
    await put(inbox, status_bytes(1, client_ref="secret words"))
    record = await inbox.show(1)
    assert "secret" not in repr(record) + pretty_repr(record)


# --- probes ---


async def test_it_is_ready_again_when_storing_works_again(
    make: Make, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may send anything before it says so."""
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


async def test_a_standby_knows_how_long_the_oldest_waits(make: Make, time: ManualTime) -> None:
    """The lag is that of the file, whoever handles."""
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        await gate.wait()

    first, second = make("sqlite"), make("sqlite")
    await first.start(frozen(handler))
    await put(first, status_bytes(1))
    await second.start(frozen())
    await time.advance(500)

    assert second.health().state == "standby"
    assert (second.health().pending, second.health().lag) == (1, 500.0)
    gate.set()
    await first.idle()


# --- threads, shutdown ---


async def test_handlers_that_fill_the_threads_hold_up_nothing(make: Make, time: ManualTime) -> None:
    """Retries, the writer of the file and the shutdown need none of those that `asyncio.to_thread` has."""
    release, handled = threading.Event(), asyncio.Event()
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)

        async def handler(event: MessageStatus, context: Context) -> None:
            if event.message_uuid == "m1":
                await asyncio.to_thread(release.wait)
            elif not context.attempt:
                raise ValueError
            else:
                handled.set()

        inbox = make("sqlite", drain=0.0)
        await inbox.start(frozen(handler))
        await put(inbox, status_bytes(1))
        await put(inbox, status_bytes(2))
        for _ in range(3):
            await time.advance(1.5)
        await handled.wait()
        await inbox.aclose()
        release.set()


async def test_a_shutdown_that_cancels_every_task_closes_the_file(make: Make) -> None:
    """As `asyncio.run` does in the end."""
    inbox = make("sqlite")
    await inbox.start(frozen())
    assert inbox._task is not None
    inbox._task.cancel()
    await asyncio.wait({inbox._task})
    await inbox.aclose()

    assert inbox.health().state == "closed"
    assert "closed" in repr(inbox.store)


async def test_housekeeping_goes_on_after_any_failure(
    make: Make, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry that is due is not forgotten for it."""
    seen: list[int] = []

    async def handler(event: Event, context: Context) -> None:
        seen.append(context.attempt)
        if not context.attempt:
            raise ValueError

    inbox = make()
    await inbox.start(frozen(handler))

    async def broken() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await put(inbox, status_bytes(1))
    await inbox.idle()
    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "changed", broken)
        await time.advance(3)
    await inbox.idle()

    assert seen == [0, 1]


# --- the file ---


async def test_an_error_in_the_schema_can_be_mended(tmp_path: Path) -> None:
    """The file is whole before it is run."""
    with pytest.raises(InboxError, match="SQLITE_ERROR"):
        await SqliteStore(tmp_path / "inbox.db", schema="CREATE TABEL mine (x)", clock=lambda: 0.0).open()

    store = SqliteStore(
        tmp_path / "inbox.db", schema="CREATE TABLE IF NOT EXISTS mine (x)", clock=lambda: 0.0
    )
    await store.open()
    assert await store.add(new_record(status_bytes(1))) == 1
    await store.aclose()


async def test_several_may_make_the_file_at_once(tmp_path: Path) -> None:
    """One makes it; each of them stores."""
    stores = [SqliteStore(tmp_path / "inbox.db", clock=lambda: 0.0) for _ in range(8)]
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
    other.execute(f"PRAGMA user_version = {sqlite_sql.SCHEMA_VERSION}")
    other.commit()
    before = path.read_bytes()

    with pytest.raises(InboxError, match="no inbox of this version"):
        await SqliteStore(path, clock=lambda: 0.0).open()

    assert path.read_bytes() == before
    other.close()


async def test_a_full_file_makes_room_under_load(tmp_path: Path) -> None:
    """What is under way is written with a reserve; new events wait until handled ones are forgotten."""
    store = SqliteStore(tmp_path / "inbox.db", max_bytes=256 * 1024, clock=lambda: 5.0)
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

    while await store.prune(handled_before=2e9, quarantined_before=0.0, keys_before=0.0):
        pass
    assert await store.add(new_record(status_bytes(2000, client_ref="x" * 500))) is not None
    await store.aclose()


async def test_a_full_inbox_forgets_what_is_handled(
    make: Make, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """Before its time, and says so once an hour; then it takes events again."""
    inbox = make("sqlite", max_bytes=256 * 1024)
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


async def test_what_a_failed_commit_wrote_is_found(store: SqliteStore) -> None:
    """A statement of a handler may have ended the transaction: what came before is durable, and not lost."""

    def end(db: sqlite3.Connection) -> None:
        db.execute("COMMIT")
        raise RuntimeError

    await store.changed()
    added, _ = await asyncio.gather(
        store.add(new_record(status_bytes(1))), store._run(end), return_exceptions=True
    )

    assert isinstance(added, InboxError)
    assert [item.id for item in await store.waiting()] == [1]
    assert await store.changed()
    assert not await store.changed()


async def test_the_retention_looks_at_a_bounded_piece(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is: an acknowledgement waits for no more than a piece."""
    monkeypatch.setattr(sqlite_sql, "_SCAN", 4)
    monkeypatch.setattr(sqlite_sql, "_PIECE", 3)
    for number in range(10):
        await store.add(new_record(status_bytes(number), at=float(number)))
        if number != 5:
            store.finish(number + 1)
    ends = {"handled_before": 8.0, "quarantined_before": 0.0, "keys_before": 2.0}

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
