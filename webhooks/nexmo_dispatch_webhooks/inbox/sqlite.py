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
from typing import Any, TypeVar

from nexmo_dispatch_webhooks.exceptions import ConfigurationError, InboxError, InboxFullError
from nexmo_dispatch_webhooks.inbox import sqlite_file as file
from nexmo_dispatch_webhooks.inbox import sqlite_sql as sql
from nexmo_dispatch_webhooks.inbox.records import Counts, Failure, NewRecord, Record, State, Waiting
from nexmo_dispatch_webhooks.inbox.sqlite_file import Synchronous
from nexmo_dispatch_webhooks.inbox.store import Added, Which
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["SqliteStore", "Synchronous"]

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]
#: Events wait so long, in seconds, for others to share their commit with: it costs as much for twenty.
_GATHER = 0.002
#: Marks wait so long, in seconds, for company, or until there are so many: they are neighbours in the file,
#: so many cost little more than a few.
_MARK_DELAY = 0.05
_MANY_MARKS = 256
#: Changes after which the write-ahead log is moved to the file. The next commit waits for that, in
#: proportion to the pages: nearly every event writes one of its own, that of its key.
_LONG_LOG = 100
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
    #: Why none of it was done.
    error: Exception | None = None
    #: Why the new records were not stored, while the rest was done.
    refused: Exception | None = None


class SqliteStore:
    """Keeps records in an SQLite file; see `Store` for what each method promises.

    Args:
        path: the file. It and its companions (`-wal`, `-shm`, `-worker`) are readable for their owner only,
            since they hold what customers wrote.
        synchronous: see `Synchronous`.
        busy_timeout: how long, in seconds, to wait for another process that holds the file locked.
        max_bytes: the largest size of the file, at least 256 KiB; what does not fit is not acknowledged.
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
        if max_bytes < file.LEAST_BYTES:
            raise ConfigurationError(f"max_bytes is at least {file.LEAST_BYTES}: less holds no inbox")
        self.path: Path = Path(path)
        self.added: Added | None = None
        # settings
        self._synchronous: Synchronous = synchronous
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
        self._marks_due = False
        self._operations: list[Operation] = []
        self._futures: list[asyncio.Future[Any]] = []
        self._busy = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._uncertain = False
        # of the thread
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._db: sqlite3.Connection | None = None
        self._claim: sqlite3.Connection | None = None
        self._version = 0
        self._logged = 0
        self._pruned = 0

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path.name}, {'open' if self._thread else 'closed'}>"

    # --- opening and closing ---

    async def open(self) -> None:
        """Open the file in the writer thread, and create it when needed."""
        if self._thread is not None:
            return
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        # a thread of its own: those of `asyncio.to_thread` may all be busy with what handlers do in them
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
        if self._ended is not None:
            await self._ended
        thread.join()  # it has nothing left to do

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
        """Mark a record together with others, within a tenth of a second (`_MARK_DELAY`, and a commit)."""
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
        # after a failure nobody knows what was written before it
        uncertain, self._uncertain = self._uncertain, False
        try:
            return await self._run(self._look_for_changes) or uncertain
        except InboxError:
            self._uncertain |= uncertain
            raise

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

    async def prune(self, *, handled_before: float, quarantined_before: float, keys_before: float) -> bool:
        """A piece of the retention, which goes on where the last one ended."""

        def piece(db: sqlite3.Connection) -> bool:
            more, self._pruned = sql.prune(
                db,
                self._pruned,
                handled_before=handled_before,
                quarantined_before=quarantined_before,
                keys_before=keys_before,
            )
            return more

        return await self._run(piece)

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
        self._marks_due = True
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
        marks: list[int] = []
        if self._marks_due or self._operations or len(self._marks) >= _MANY_MARKS:
            marks, self._marks, self._marks_due = self._marks, [], False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        batch = _Batch(
            self._adds[:_BATCH], self._add_futures[:_BATCH], marks, self._operations, self._futures
        )
        self._adds, self._add_futures = self._adds[_BATCH:], self._add_futures[_BATCH:]
        self._operations, self._futures = [], []
        self._busy = True
        self._queue.put(batch)

    def _completed(self, batch: _Batch) -> None:
        self._busy = False
        if batch.error is not None:
            self._marks = batch.marks + self._marks  # they are tried again, or lost with the process
            self._uncertain = True
            for future in (*batch.add_futures, *batch.futures):
                _fail(future, batch.error)
        else:
            self._tell_added(batch)
            for result, future in zip(batch.results, batch.futures, strict=True):
                if isinstance(result, Exception):
                    _fail(future, result)
                elif not future.done():
                    future.set_result(result)
        if self._operations or self._marks_due or len(self._adds) >= _BATCH:
            self._kick()
        elif self._adds and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._gather, self._hand_over)
        elif self._marks and self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_MARK_DELAY, self._flush)

    def _tell_added(self, batch: _Batch) -> None:
        if batch.refused is not None:
            for future in batch.add_futures:
                _fail(future, batch.refused)
            return
        added = self.added
        for record, record_id, future in zip(batch.adds, batch.ids, batch.add_futures, strict=True):
            # here and not after `await add`, whose caller may have been cancelled in the meantime
            if record_id is not None and added is not None and record.parsable:
                added(record_id, record)
            if not future.done():
                future.set_result(record_id)

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
                except RuntimeError:  # the loop was closed without closing the inbox: nobody waits
                    break
            if self._logged >= _LONG_LOG and self._db is not None:
                self._logged = 0
                file.move_log(self._db)
        for connection in (self._db, self._claim):
            if connection is not None:
                connection.close()
        self._db = self._claim = None
        if self._loop is not None and self._ended is not None:
            with contextlib.suppress(RuntimeError):  # as above
                self._loop.call_soon_threadsafe(self._ended.set_result, None)

    def _commit(self, batch: _Batch) -> None:
        if self._db is None:
            self._db = file.open_file(
                self.path,
                synchronous=self._synchronous,
                busy_timeout=self._busy_timeout,
                max_bytes=self._max_bytes,
                schema=self._schema,
                create=self._create,
            )
        try:
            self._transact(self._db, batch, batch.adds)
        except sqlite3.Error as error:
            if not sql.is_full(error) or not (batch.marks or batch.operations):
                raise
            # no room for new events: what is under way goes on, since it is what makes room
            batch.refused = error if batch.adds else None
            file.limit_pages(self._db, self._max_bytes + file.RESERVE)
            try:
                self._transact(self._db, batch, (), with_reserve=True)
            finally:
                file.limit_pages(self._db, self._max_bytes)

    def _transact(
        self,
        db: sqlite3.Connection,
        batch: _Batch,
        adds: Sequence[NewRecord],
        *,
        with_reserve: bool = False,
    ) -> None:
        batch.ids, batch.results = [], []
        db.execute("BEGIN IMMEDIATE")
        try:
            if adds:
                batch.ids = sql.insert(db, adds)
            if batch.marks:
                sql.finish(db, batch.marks, self._clock())
            for operation in batch.operations:
                batch.results.append(_attempt(db, operation, may_be_full=with_reserve))
            db.execute("COMMIT")
            self._logged += len(adds) + len(batch.operations) + bool(batch.marks)
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _try_claim(self, _: sqlite3.Connection) -> bool:
        if self._claim is None:
            self._claim = file.claim(self.path)
        return self._claim is not None

    def _look_for_changes(self, db: sqlite3.Connection) -> bool:
        (version,) = db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        return bool(before != version)


def _attempt(db: sqlite3.Connection, operation: Operation, *, may_be_full: bool) -> Any:
    """What an operation gives, or its exception, after which nothing of it is left."""
    db.execute("SAVEPOINT operation")
    try:
        result = operation(db)
    except Exception as error:  # statements of the application may raise anything
        # the failure ended the whole transaction, or there is a second try with the reserve
        if not db.in_transaction or (sql.is_full(error) and not may_be_full):
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
    kind = InboxFullError if sql.is_full(error) else InboxError
    failure = kind(f"the inbox cannot be read or written: {sql.describe(error)}")
    failure.__cause__ = error
    future.set_exception(failure)
