"""`SqliteStore`: one writer thread, and one transaction for whatever came together.

The event loop collects what is to be written while the thread is busy and hands it over in one piece;
so a commit, which waits for the disk, is shared by as many events as wait for it. No SQL is here (see
`sqlite_sql`), and no decision about handlers.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

from nexmo_dispatch_webhooks.exceptions import ConfigurationError, InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_sql as sql
from nexmo_dispatch_webhooks.inbox.records import Counts, Failure, NewRecord, Record, State, Waiting
from nexmo_dispatch_webhooks.inbox.store import Added, Which
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["SqliteStore", "Synchronous"]

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]
#: `FULL`: an acknowledged event survives a loss of power. `NORMAL`: it survives the death of the process
#: at any moment (kill -9), and a loss of power may take the last ones.
Synchronous = Literal["FULL", "NORMAL"]

_APPLICATION_ID = 0x4E445731  # "NDW1": tells `file` and us whose database it is
#: Events wait so long, in seconds, for others to share their commit with: it costs as much for twenty.
_GATHER = 0.002
#: Marks that nothing else carries to the disk wait so long, in seconds, for company.
_MARK_DELAY = 0.05
#: Pages of the write-ahead log after which it starts over, and after which a commit must see to it.
_LONG_LOG, _LONGEST_LOG = 2000, 20_000
#: Commits after which `tidy` moves the log also when there is no quiet moment.
_MUCH = 500
#: The most records in one transaction.
_BATCH = 512


@dataclass(slots=True)
class _Batch:
    """What one transaction is to do, and what came of it."""

    adds: list[NewRecord]
    add_futures: list[asyncio.Future[int | None]]
    marks: list[int]
    operations: list[Operation]
    futures: list[asyncio.Future[Any]]
    # results, by the thread
    ids: list[int | None] = field(default_factory=list[int | None])
    results: list[Any] = field(default_factory=list[Any])
    error: Exception | None = None


class SqliteStore:
    """Keeps records in an SQLite file; see `Store` for what each method promises.

    Args:
        path: the file. It and its companions (`-wal`, `-shm`, `-worker`) are readable for their owner only,
            since they hold what customers wrote.
        synchronous: see `Synchronous`.
        busy_timeout: how long, in seconds, to wait for another process that holds the file locked.
        max_bytes: the largest size of the file; what does not fit is not acknowledged.
        schema: SQL for the tables of your handlers, run at every opening (`CREATE TABLE IF NOT EXISTS …`).
        create: False raises InboxError when there is no file.
        clock: gives epoch seconds.
    """

    transactional = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "FULL",
        busy_timeout: float = 5.0,
        max_bytes: int = 1024**3,
        schema: str = "",
        create: bool = True,
        clock: Callable[[], float],
    ) -> None:
        if synchronous not in {"FULL", "NORMAL"}:
            raise ConfigurationError("synchronous is FULL or NORMAL")
        self.path: Path = Path(path)
        self.added: Added | None = None
        # settings
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._max_bytes = max_bytes
        self._schema = schema
        self._create = create
        self._clock = clock
        self._gather = _GATHER
        # of the event loop: what the next transaction is to do
        self._adds: list[NewRecord] = []
        self._add_futures: list[asyncio.Future[int | None]] = []
        self._marks: list[int] = []
        self._operations: list[Operation] = []
        self._futures: list[asyncio.Future[Any]] = []
        self._busy = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: asyncio.Future[None] | None = None
        # of the thread
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._db: sqlite3.Connection | None = None
        self._claim: sqlite3.Connection | None = None
        self._version = 0
        self._written = self._written_before = 0
        self._restart_log = False
        self._pruned = 0

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path.name}, {'open' if self._thread else 'closed'}>"

    # --- opening and closing ---

    async def open(self) -> None:
        """Open the file in the writer thread, and create it when needed."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write, name="inbox-writer", daemon=True)
        self._thread.start()
        try:
            await self._run(lambda _: None)  # whoever comes first opens it
        except InboxError:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Write the last marks, give up the claim, close the file, end the thread."""
        thread = self._thread
        if thread is None:
            return
        with contextlib.suppress(InboxError):  # marks that cannot be written: these events are handled again
            await self._run(lambda _: None)
            while self._adds or self._operations or self._marks:
                await self._run(lambda _: None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._thread = None
        self._queue.put(None)
        # the thread only has to close two files by now
        await asyncio.to_thread(thread.join)

    # --- the promises of `Store` ---

    async def claim(self) -> bool:
        """Hold a lock on a companion file; the system frees it when the process dies."""
        return await self._run(self._try_claim)

    async def add(self, record: NewRecord) -> int | None:
        """Store a record in the next transaction."""
        loop = self._require_open()
        future: asyncio.Future[int | None] = loop.create_future()
        self._adds.append(record)
        self._add_futures.append(future)
        if not self._busy and not self._scheduled:
            self._scheduled = True
            loop.call_later(self._gather, self._hand_over)
        return await future

    def finish(self, record_id: int) -> None:
        """Mark a record in the next transaction, which is not started for it alone."""
        loop = self._require_open()
        self._marks.append(record_id)
        if self._timer is None:
            self._timer = loop.call_later(_MARK_DELAY, self._flush)

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Run a handler's statements together with its mark."""
        now = self._clock() if finish else None
        await self._run(lambda db: sql.commit_handler(db, record_id, handler, statements, now=now))

    async def postpone(
        self,
        record_id: int,
        *,
        attempts: int,
        due: float | None,
        done: Sequence[str],
        failed: Sequence[Failure],
    ) -> None:
        """Keep the result of a failed attempt."""
        await self._run(
            lambda db: sql.postpone(db, record_id, attempts=attempts, due=due, done=done, failed=failed)
        )

    async def waiting(self) -> list[Waiting]:
        """All pending records, apart from those whose mark is under way."""
        found = await self._run(sql.waiting)
        unwritten = set(self._marks)
        return [item for item in found if item.id not in unwritten] if unwritten else found

    async def changed(self) -> bool:
        """SQLite counts the commits of other connections."""
        return await self._run(self._look_for_changes)

    async def load(self, record_id: int) -> Record:
        """One record with its body."""
        return await self._run(lambda db: sql.load(db, record_id))

    async def list(self, state: State | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Records by ascending id."""
        return await self._run(lambda db: sql.select(db, state, limit=limit, after=after))

    async def retry(self, which: Which) -> int:
        """Make records pending and due now."""
        return await self._run(lambda db: sql.retry(db, which))

    async def purge(self, which: Which, *, states: Sequence[State], before: float | None) -> int:
        """Forget contents."""
        return await self._run(lambda db: sql.purge(db, which, states=states, before=before))

    async def prune(self, *, handled_before: float, quarantined_before: float, keys_before: float) -> int:
        """A piece of the retention."""

        def piece(db: sqlite3.Connection) -> int:
            touched, self._pruned = sql.prune(
                db,
                self._pruned,
                handled_before=handled_before,
                quarantined_before=quarantined_before,
                keys_before=keys_before,
            )
            if not touched:
                self._pruned = 0  # the next round looks at everything again
            return touched

        return await self._run(piece)

    async def tidy(self) -> None:
        """Move what was written from the log to the file, beside the commits instead of inside of one."""
        written, before = self._written, self._written_before
        self._written_before = written
        # when there is enough to move, or a quiet moment: it competes with the commits for the disk
        if self._thread is not None and written and (written == before or written >= _MUCH):
            self._written = self._written_before = 0
            if await asyncio.to_thread(self._move_log) > _LONG_LOG:
                self._restart_log = True

    async def count(self) -> Counts:
        """How many wait, and how many are set aside."""
        return await self._run(sql.count)

    # --- on the event loop ---

    def _require_open(self) -> asyncio.AbstractEventLoop:
        if self._thread is None or self._loop is None:
            raise InboxError("the inbox is not open")
        return self._loop

    async def _run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run an operation in the next transaction; its failure undoes nothing but itself."""
        future: asyncio.Future[T] = self._require_open().create_future()
        self._operations.append(operation)
        self._futures.append(future)
        self._kick()
        return await future

    def _flush(self) -> None:
        self._timer = None
        self._kick()

    def _kick(self) -> None:
        """Hand over at the end of this round of the event loop, so that its other requests come along."""
        if not self._busy and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._busy or not self._scheduled:
            return  # somebody was quicker
        self._scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch = _Batch(
            self._adds[:_BATCH],
            self._add_futures[:_BATCH],
            self._marks,
            self._operations,
            self._futures,
        )
        self._adds, self._add_futures = self._adds[_BATCH:], self._add_futures[_BATCH:]
        self._marks, self._operations, self._futures = [], [], []
        self._busy = True
        self._queue.put(batch)

    def _completed(self, batch: _Batch) -> None:
        self._busy = False
        if batch.error is not None:
            self._marks = batch.marks + self._marks  # they are tried again, or lost with the process
            for future in (*batch.add_futures, *batch.futures):
                _fail(future, batch.error)
        else:
            added = self.added
            for record, record_id, future in zip(batch.adds, batch.ids, batch.add_futures, strict=True):
                # here and not after `await add`, whose caller may have been cancelled in the meantime
                if record_id is not None and added is not None and record.parsable:
                    added(record_id, record)
                if not future.done():
                    future.set_result(record_id)
            for result, future in zip(batch.results, batch.futures, strict=True):
                if isinstance(result, Exception):
                    _fail(future, result)
                elif not future.done():
                    future.set_result(result)
        if self._operations or len(self._adds) >= _BATCH:
            self._kick()
        elif self._adds and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._gather, self._hand_over)
        elif self._marks and self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_MARK_DELAY, self._flush)

    # --- in the thread ---

    def _write(self) -> None:
        """Transactions until the end of the store."""
        while (batch := self._queue.get()) is not None:
            try:
                self._commit(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                batch.error = error
            if self._loop is not None:
                try:
                    self._loop.call_soon_threadsafe(self._completed, batch)
                    if self._restart_log and self._db is not None:
                        self._begin_new_log(self._db)
                except RuntimeError:  # the loop was closed without closing the inbox: nobody waits
                    break
        for connection in (self._db, self._claim):
            if connection is not None:
                connection.close()
        self._db = self._claim = None

    def _commit(self, batch: _Batch) -> None:
        if self._db is None:
            self._db = self._connect()
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            if batch.adds:
                batch.ids = sql.insert(db, batch.adds)
            if batch.marks:
                sql.finish(db, batch.marks, self._clock())
            for operation in batch.operations:
                batch.results.append(_attempt(db, operation))
            db.execute("COMMIT")
            self._written += bool(batch.adds or batch.marks)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _connect(self) -> sqlite3.Connection:
        if not self._create and not self.path.exists():
            raise InboxError(f"there is no inbox at {self.path.name}")
        db = _connect(self.path, self._busy_timeout)
        try:
            # WAL: reading beside a writer, and one write to the disk for each commit
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {self._synchronous}")
            # moving the log to the file takes many commits' time: `tidy` does it, this is for when it cannot
            db.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG}")
            # overwrites deleted content where it costs no further writing
            db.execute("PRAGMA secure_delete = FAST")
            (size,) = db.execute("PRAGMA page_size").fetchone()
            db.execute(f"PRAGMA max_page_count = {max(self._max_bytes // size, 64)}")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if version not in {0, sql.SCHEMA_VERSION} or (tables and version == 0):
                raise InboxError(f"{self.path.name} is no inbox of this version")
            db.executescript(sql.SCHEMA + self._schema)
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {sql.SCHEMA_VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    def _move_log(self) -> int:
        """In a thread of its own, with a connection of its own; the length of the log in pages."""
        try:
            with contextlib.closing(_connect(self.path, 0)) as db:
                _, pages, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:  # locked just now: there is a next time
            return 0
        return int(pages)

    def _begin_new_log(self, db: sqlite3.Connection) -> None:
        """Between two commits: what is left to move is little, and the log starts over."""
        self._restart_log = False
        with contextlib.suppress(sqlite3.Error):  # a reader is in the way: there is a next time
            db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()

    def _try_claim(self, _: sqlite3.Connection) -> bool:
        if self._claim is not None:
            return True
        claim = _connect(self.path.with_name(self.path.name + "-worker"), 0)
        try:
            claim.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:  # another process, or another inbox of this one, handles events
            claim.close()
            return False
        self._claim = claim
        return True

    def _look_for_changes(self, db: sqlite3.Connection) -> bool:
        (version,) = db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(before != version)


def _connect(path: Path, timeout: float) -> sqlite3.Connection:
    """A connection to a file that nobody else may read; SQLite gives its companions the same mode."""
    # never opened when it exists: closing it would drop the locks that SQLite holds in this process
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    # room for the compiled INSERT of every number of rows
    return sqlite3.connect(
        path, timeout=timeout, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def _attempt(db: sqlite3.Connection, operation: Operation) -> Any:
    """What an operation gives, or its exception, after which nothing of it is left."""
    db.execute("SAVEPOINT operation")
    try:
        result = operation(db)
    except Exception as error:  # statements of the application may raise anything
        if not db.in_transaction:  # the failure ended the whole transaction: disk full, for example
            raise
        db.execute("ROLLBACK TO operation")
        result = error
    db.execute("RELEASE operation")
    return result


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Whoever waits gets an InboxError, which names the kind of failure and no value."""
    if future.done():
        return
    if isinstance(error, InboxError):
        future.set_exception(error)
        return
    failure = InboxError(f"the inbox cannot be written: {type(error).__name__}{_reason(error)}")
    failure.__cause__ = error
    future.set_exception(failure)


def _reason(error: Exception) -> str:
    """SQLite's name of the failure (`SQLITE_FULL`, `SQLITE_BUSY`), which holds no data."""
    name = getattr(error, "sqlite_errorname", None)
    return f" ({name})" if isinstance(name, str) else ""
