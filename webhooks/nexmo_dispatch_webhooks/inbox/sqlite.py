"""`SqliteInboxStore`: the event loop's side of the SQLite store, with group commit.

While the writer thread is busy, the event loop collects work and then hands it over as one batch; so all
waiting events share one commit, which waits for the disk. `sqlite_writer` has the thread's side. The module
contains no SQL and makes no decision about handlers.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar, Unpack

import anyio

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.exceptions import (
    InboxError,
    InboxFullError,
    TransactionError,
)
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.inbox import sqlite_record_ages as ages
from nexmo_dispatch_webhooks.inbox import sqlite_statements as sql
from nexmo_dispatch_webhooks.inbox.records import (
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.inbox.sqlite_owner import require_owner
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteOptions, SqliteSettings
from nexmo_dispatch_webhooks.inbox.sqlite_writer import LONG_LOG, Batch, Operation, Writer
from nexmo_dispatch_webhooks.inbox.store import AddedListener, RecordChoice
from nexmo_dispatch_webhooks.logs import FailureLog
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["SqliteInboxStore"]

T = TypeVar("T")
#: Seconds that an event waits for other events to share its commit; twenty events cost as much as one.
_GATHER = 0.002
#: Seconds that a mark waits for other marks, and the number of marks that ends the wait: marks are
#: neighbours in the file, so many cost little more than a few.
_MARK_DELAY, _MANY_MARKS = 0.09, 256
#: A piece of the retention that has no room is tried again in pieces this many times smaller.
_SMALLER = 8
#: Seconds between two checks whether the log was emptied, and the number of checks: enough for a `poll` of
#: several seconds.
_LOOK, _LOOKS = 0.1, 100
#: Maximum number of records in one transaction.
_BATCH = 512


class SqliteInboxStore:
    """Keeps records in an SQLite file; see `InboxStore` for the contract of each method.

    Args:
        path: The file. Only its owner may read it and its companions (`-wal`, `-shm`, `-worker`,
            `-reserve`), since they hold texts of customers.
        clock: Returns epoch seconds.
        **options: The fields of `SqliteSettings`.

    Raises:
        ConfigurationError: A setting is out of its range.
    """

    transactional = True
    shared = False
    lapsed = False

    def __init__(
        self, path: str | os.PathLike[str], *, clock: Callable[[], float], **options: Unpack[SqliteOptions]
    ) -> None:
        checks.path("path", path)
        self.path: Path = Path(path)
        self.on_added: AddedListener | None = None
        self._settings = SqliteSettings(**options)
        self._clock = clock
        self._gather = _GATHER
        # used by the event loop: the work of the next transaction
        self._adds: list[NewRecord] = []
        self._add_futures: list[asyncio.Future[int | None]] = []
        self._marks: list[int] = []
        self._marks_due = False
        self._operations: list[Operation] = []
        self._futures: list[asyncio.Future[Any]] = []
        self._pages = 0
        self._busy = False
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Future[None] | None = None
        self._uncertain = False
        self._pruned = 0
        # whether the log may hold contents that a purge forgot
        self._log_due = False
        # used by the thread; new for each opening
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._writer: Writer | None = None

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<SqliteInboxStore {self.path.name}, {'open' if self._thread else 'closed'}>"

    # --- opening and closing ---

    async def open(self) -> None:
        """Open the file in the writer thread; create it when it is missing."""
        loop = asyncio.get_running_loop()
        if self._thread is None and self._ended is not None and self._loop is loop:
            await asyncio.wait({self._ended})  # until then the thread of the last opening has the file open
        if self._thread is not None:
            return
        self._loop, self._ended, self._queue = loop, loop.create_future(), SimpleQueue()
        self._busy = False
        self._writer = Writer(self.path, self._settings, self._clock)
        # A dedicated thread, because handlers may keep all threads of `asyncio.to_thread` busy.
        self._thread = threading.Thread(
            target=self._write,
            args=(self._queue, self._writer, loop, self._ended),
            name="inbox-writer",
            daemon=True,
        )
        self._thread.start()
        try:
            await self._run(lambda _: None, pages=0)  # the first operation opens the file
        except BaseException:  # also a cancellation, after which the thread would have no owner
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise

    async def aclose(self) -> None:
        """Write the last marks, release the claim, close the file, and end the thread."""
        thread, queue, ended = self._thread, self._queue, self._ended
        if thread is None or ended is None:
            return
        try:
            with contextlib.suppress(InboxError):  # events whose marks cannot be written are handled again
                await self._run(lambda _: None, pages=0)
                while self._adds or self._operations:
                    await self._run(lambda _: None, pages=0)
                if self._marks:  # one more attempt
                    await self._run(lambda _: None, pages=0)
        finally:
            if self._thread is thread:  # no other call closed it meanwhile
                self._thread = None
                self._fail_waiting()
                queue.put(None)
            await asyncio.wait({ended})
            thread.join()  # it ends at once

    def _fail_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for future in (*self._add_futures, *self._futures):
            _fail(future, InboxError("the inbox is not open"))
        self._adds, self._add_futures, self._operations, self._futures = [], [], [], []

    # --- the methods of `InboxStore` ---

    async def claim(self) -> bool:
        """Lock a companion file; the operating system releases the lock when the process dies.

        Raises:
            InboxError: The events in the file belong to another owner.
        """
        writer = self._require_writer()

        def operation(db: sqlite3.Connection) -> bool:
            require_owner(db, self._settings.owner, self.path.name)
            return writer.claim(db)

        return await self._run(operation, pages=0)

    @property
    def is_waiting(self) -> bool:
        """Whether `claim` left the events to a process that may be alive, since `-worker` was replaced.

        After `sqlite_claim.GRACE` seconds the claim is decided.
        """
        return self._require_writer().is_waiting

    def add(self, record: NewRecord) -> asyncio.Future[int | None]:
        """Store a record in the next transaction."""
        future: asyncio.Future[int | None] = self._require_open().create_future()
        self._adds.append(record)
        self._add_futures.append(future)
        if not self._scheduled:
            self._wait_for_company()
        return future

    def finish(self, record_id: int, token: int = 0) -> None:
        """Mark a record together with others, within 0.1 s (`_MARK_DELAY`, and a commit)."""
        loop = self._require_open()
        self._marks.append(record_id)
        if self._timer is None:
            self._timer = loop.call_later(_MARK_DELAY, self._flush)

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Run the statements of a handler together with its mark."""
        now = self._clock() if finish else None
        await self._run(
            lambda db: sql.commit_handler(db, record_id, handler, statements, now=now),
            pages=1 + len(statements),
        )

    async def postpone(
        self,
        record_id: int,
        *,
        attempts: int,
        due: float | None,
        done: Sequence[str],
        failed: Sequence[StoredFailure],
        token: int = 0,
    ) -> None:
        """Store the result of a failed attempt."""
        await self._run(
            lambda db: sql.postpone(db, record_id, attempts=attempts, due=due, done=done, failed=failed)
        )

    async def pending(self) -> list[PendingEvent]:
        """Return all pending records, except those with an unwritten mark."""
        found = await self._run(sql.pending, pages=0)
        unwritten = set(self._marks)
        return [item for item in found if item.id not in unwritten] if unwritten else found

    async def changed(self) -> bool:
        """Ask SQLite, which counts the commits of other connections."""
        look = self._require_writer().look_for_changes
        # after a failure it is unknown which work was written
        uncertain, self._uncertain = self._uncertain, False
        try:
            return await self._run(look, pages=0) or uncertain
        except InboxError:
            self._uncertain |= uncertain
            raise

    async def load(self, record_id: int) -> Record:
        """Return one record with its body."""
        return await self._run(lambda db: sql.load(db, record_id), pages=0)

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Return records by ascending id."""
        return await self._run(lambda db: sql.select(db, state, limit=limit, after=after), pages=0)

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make records pending and due now."""
        again = partial(sql.retry, which=which, handler=handler, kind=kind)
        return await self._run(again, pages=1 if which != "all" else LONG_LOG)

    async def summary(self) -> builtins.list[FailureTally]:
        """Count what failed."""
        return await self._run(sql.summary, pages=0)

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget contents in pieces, so that no response waits for long; then erase them from the log.

        Raises:
            InboxError: The contents are forgotten, but the log still holds them.
        """
        before_it, self._log_due = self._log_due, True
        found = await self._forget(which, states, before)
        if found or before_it:  # also what a call left that failed or was cancelled
            await self._empty_log()
        self._log_due = False
        return found

    async def _forget(self, which: RecordChoice, states: Sequence[RecordState], before: float | None) -> int:
        found, after, piece = 0, -1, sql.PIECE
        while True:
            forget = partial(sql.purge, which=which, states=states, before=before, after=after)
            (count, after), piece = await self._run_piece(forget, piece)
            found += count
            if count < piece:
                return found

    async def _empty_log(self) -> None:
        """Have the log emptied by the process that handles events, which may be this process."""
        request: str | None = None
        for _ in range(_LOOKS):
            if await self._run(partial(self._require_writer().claim, stays=False), pages=0):
                if (await self._run(self._require_writer().empty_log, pages=0)).done:
                    return
            elif request is None:
                request = await self._run(Writer.ask_for_empty_log)
            elif await self._run(lambda db: notes.read(db, "empty-log"), pages=0) != request:
                return
            await asyncio.sleep(_LOOK)
        raise InboxError(
            "the contents are forgotten, but the log (-wal) still holds them: another connection to the file "
            "reads without a pause, or the process that handles its events does not respond"
        )

    async def aged_at(self) -> float | None:
        """Return the time of the last call of `age`."""
        return await self._run(ages.aged_at, pages=0)

    async def age(self, *, measured: float, by_clock: float, epoch: float, newest: bool) -> None:
        """Update the marks, of which there are two an hour."""
        await self._run(partial(ages.age, measured=measured, by_clock=by_clock, epoch=epoch, newest=newest))

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """Do one piece of the retention, which continues where the last piece ended."""
        prune = self._require_writer().prune
        forget = partial(prune, start=self._pruned, handled=handled, quarantined=quarantined, keys=keys)
        (more, self._pruned), _ = await self._run_piece(forget, sql.PIECE)
        if not more:
            await self._run(self._require_writer().empty_log_later, pages=0)
        return more

    async def count(self) -> RecordCounts:
        """Count pending and quarantined records."""
        return await self._run(sql.count, pages=0)

    async def writable(self) -> bool:
        """Look for room, and write a value that changes nothing."""
        return await self._run(self._require_writer().has_room)

    # --- on the event loop ---

    def _require_open(self) -> asyncio.AbstractEventLoop:
        if self._thread is None or self._loop is None:
            raise InboxError("the inbox is not open")
        return self._loop

    def _require_writer(self) -> Writer:
        if self._thread is None or self._writer is None:
            raise InboxError("the inbox is not open")
        return self._writer

    async def _run(self, operation: Callable[[sqlite3.Connection], T], *, pages: int = 1) -> T:
        """Run an operation in the next transaction; its failure rolls back only itself.

        Args:
            operation: A function of the writer thread's connection.
            pages: Approximate number of pages that it changes.
        """
        future: asyncio.Future[T] = self._require_open().create_future()
        self._operations.append(operation)
        self._futures.append(future)
        self._pages += pages
        self._kick()
        return await future

    async def _run_piece(self, forget: Callable[..., T], piece: int) -> tuple[T, int]:
        """Forget a piece of records; a smaller piece when a full disk has no room for its log.

        Args:
            forget: A function of the connection and, as *piece*, the maximum number of records.
            piece: The first maximum.

        Returns:
            The result of *forget*, and the size of the piece.

        Raises:
            InboxFullError: There is no room for a piece of one record either.
        """
        while True:
            try:
                return await self._run(partial(forget, piece=piece), pages=LONG_LOG), piece
            except (InboxFullError, TransactionError):  # even a small event has no room, or only this piece
                if piece == 1:
                    raise
                piece = max(1, piece // _SMALLER)

    def _flush(self) -> None:
        self._timer = None
        self._marks_due = True
        self._wait_for_company()

    def _wait_for_company(self) -> None:
        """Hand over soon, together with all work that arrives until then."""
        if not self._busy and not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._gather, self._hand_over)

    def _kick(self) -> None:
        """Hand over at the end of this round of the event loop, together with its other requests."""
        if not self._busy and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if self._busy or not self._scheduled:
            return  # an earlier call handed over
        self._scheduled = False
        marks: list[int] = []
        if self._marks_due or self._operations or len(self._marks) >= _MANY_MARKS:
            marks, self._marks, self._marks_due = self._marks, [], False
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        batch = Batch(
            self._adds[:_BATCH],
            self._add_futures[:_BATCH],
            marks,
            self._operations,
            self._futures,
            self._pages,
        )
        self._adds, self._add_futures = self._adds[_BATCH:], self._add_futures[_BATCH:]
        self._operations, self._futures, self._pages = [], [], 0
        self._busy = True
        self._queue.put(batch)

    def _completed(self, batch: Batch) -> None:
        self._busy = False
        if batch.error is not None or batch.unmarked:
            self._marks = (
                batch.marks + self._marks
            )  # they are written with the next batch, or lost with the process
        self._uncertain |= batch.in_parts or batch.error is not None
        if batch.error is not None:
            for future in (*batch.add_futures, *batch.futures):
                _fail(future, batch.error)
        else:
            self._tell_added(batch)
            for result, future in zip(batch.results, batch.futures, strict=True):
                if isinstance(result, Exception):
                    _fail(future, result)
                elif not future.done():
                    future.set_result(result)
        if self._operations or len(self._adds) >= _BATCH:
            self._kick()
        elif self._adds or self._marks_due:
            self._wait_for_company()
        elif self._marks and self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_MARK_DELAY, self._flush)

    def _tell_added(self, batch: Batch) -> None:
        on_added = self.on_added
        # Taken out of the batch, so that this thread, which made them, frees them: the writer thread would do
        # it with its next batch, on another core, whose cache holds none of these objects.
        records, futures, batch.adds, batch.add_futures = batch.adds, batch.add_futures, [], []
        for record, record_id, future in zip(records, batch.ids, futures, strict=True):
            if isinstance(record_id, Exception):
                _fail(future, record_id)
                continue
            # here and not after `await add`: its caller may have been cancelled
            if record_id is not None and on_added is not None and record.parsable:
                on_added(record_id, record)
            if not future.done():
                future.set_result(record_id)

    # --- in the thread ---

    def _write(
        self,
        queue: SimpleQueue[Batch | None],
        writer: Writer,
        loop: asyncio.AbstractEventLoop,
        ended: asyncio.Future[None],
    ) -> None:
        """Write one batch after the other until the end of this opening."""
        failures = FailureLog()
        while (batch := queue.get()) is not None:
            try:
                writer.commit(batch)
            except Exception as error:  # noqa: BLE001 - every waiting caller must get the error
                batch.error = error
            batch.explain(self.path)
            try:
                loop.call_soon_threadsafe(self._completed, batch)
            except RuntimeError:  # the loop was closed before the inbox: no caller waits
                break
            try:
                writer.maintain()
            except Exception as error:  # noqa: BLE001 - without this thread all callers would wait for ever
                failures.note("the log of the inbox", error)
        writer.close()
        with contextlib.suppress(RuntimeError):  # as above
            loop.call_soon_threadsafe(ended.set_result, None)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
