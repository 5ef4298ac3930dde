"""`SqliteInboxStore`: one writer thread, and one transaction for whatever came together.

The event loop collects what is to be written while the thread is busy and hands it over in one piece;
so a commit, which waits for the disk, is shared by as many events as wait for it. What the thread does is
in `sqlite_writer`; no SQL is here, and no decision about handlers.
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
from typing import Any, TypeVar

from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    InboxError,
    InboxFullError,
    TransactionError,
)
from nexmo_dispatch_webhooks.inbox import sqlite_file as file
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
from nexmo_dispatch_webhooks.inbox.sqlite_file import Synchronous
from nexmo_dispatch_webhooks.inbox.sqlite_owner import RECEIVER, require_owner
from nexmo_dispatch_webhooks.inbox.sqlite_writer import LONG_LOG, Batch, Operation, Writer
from nexmo_dispatch_webhooks.inbox.store import AddedListener, RecordChoice
from nexmo_dispatch_webhooks.logs import log_failure
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["SqliteInboxStore", "Synchronous"]

T = TypeVar("T")
#: Events wait so long, in seconds, for others to share their commit with: it costs as much for twenty.
_GATHER = 0.002
#: Marks wait so long, in seconds, for company, or until there are so many: they are neighbours in the file,
#: so many cost little more than a few.
_MARK_DELAY = 0.05
#: A piece of the retention that finds no room is tried again in so many times smaller ones.
_SMALLER = 8
_MANY_MARKS = 256
#: Seconds between two looks whether the log was emptied, and how many looks: for a `poll` of some seconds.
_LOOK = 0.1
_LOOKS = 100
#: The most records in one transaction.
_BATCH = 512


class SqliteInboxStore:
    """Keeps records in an SQLite file; see `InboxStore` for what each method promises.

    Args:
        path: the file. It and its companions (`-wal`, `-shm`, `-worker`) are readable for their owner only,
            since they hold what customers wrote.
        synchronous: see `Synchronous`.
        busy_timeout: how long, in seconds, to wait for another process that holds the file locked.
        max_bytes: the largest size of the file, at least 256 KiB; what does not fit is not acknowledged.
        schema: SQL for the tables of your handlers, run at every opening (`CREATE TABLE IF NOT EXISTS …`).
        create: False raises InboxError when there is no file.
        owner: whose events these are; `claim` refuses a file of another owner.
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
        owner: str = RECEIVER,
        clock: Callable[[], float],
    ) -> None:
        if synchronous not in {"FULL", "NORMAL"}:
            raise ConfigurationError("synchronous is FULL or NORMAL")
        if max_bytes < file.LEAST_BYTES:
            raise ConfigurationError(f"max_bytes is at least {file.LEAST_BYTES}: less holds no inbox")
        self.path: Path = Path(path)
        self.added: AddedListener | None = None
        # settings
        self._synchronous: Synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._max_bytes = max_bytes
        self._schema = schema
        self._create = create
        self._owner = owner
        self._clock = clock
        self._gather = _GATHER
        # of the event loop: what the next transaction is to do
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
        # of the thread, made anew by each opening
        self._thread: threading.Thread | None = None
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        self._writer: Writer | None = None

    def __repr__(self) -> str:
        return f"<SqliteInboxStore {self.path.name}, {'open' if self._thread else 'closed'}>"

    # --- opening and closing ---

    async def open(self) -> None:
        """Open the file in the writer thread, and create it when needed."""
        loop = asyncio.get_running_loop()
        if self._thread is None and self._ended is not None and self._loop is loop:
            await asyncio.wait({self._ended})  # until then the thread of the last opening holds the file
        if self._thread is not None:
            return
        self._loop, self._ended, self._queue = loop, loop.create_future(), SimpleQueue()
        self._busy = False
        self._writer = Writer(
            self.path,
            synchronous=self._synchronous,
            busy_timeout=self._busy_timeout,
            max_bytes=self._max_bytes,
            schema=self._schema,
            create=self._create,
            clock=self._clock,
        )
        # a thread of its own: those of `asyncio.to_thread` may all be busy with what handlers do in them
        self._thread = threading.Thread(
            target=self._write,
            args=(self._queue, self._writer, loop, self._ended),
            name="inbox-writer",
            daemon=True,
        )
        self._thread.start()
        try:
            await self._run(lambda _: None, pages=0)  # whoever comes first opens it
        except InboxError:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Write the last marks, give up the claim, close the file, end the thread."""
        thread, queue, ended = self._thread, self._queue, self._ended
        if thread is None or ended is None:
            return
        with contextlib.suppress(InboxError):  # marks that cannot be written: these events are handled again
            await self._run(lambda _: None, pages=0)
            while self._adds or self._operations:
                await self._run(lambda _: None, pages=0)
            if self._marks:  # once more, and no longer
                await self._run(lambda _: None, pages=0)
        if self._thread is thread:  # nobody else closed it meanwhile
            self._thread = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            for future in (*self._add_futures, *self._futures):
                _fail(future, InboxError("the inbox is not open"))
            self._adds, self._add_futures, self._operations, self._futures = [], [], [], []
            queue.put(None)
        await asyncio.wait({ended})
        thread.join()  # it has nothing left to do

    # --- the promises of `InboxStore` ---

    async def claim(self) -> bool:
        """Hold a lock on a companion file; the system frees it when the process dies.

        Raises:
            InboxError: the events in the file are those of another owner.
        """
        writer = self._require_writer()

        def operation(db: sqlite3.Connection) -> bool:
            require_owner(db, self._owner, self.path.name)
            return writer.claim(db)

        return await self._run(operation, pages=0)

    @property
    def is_waiting(self) -> bool:
        """Whether `claim` left the events to a process that may still be there: `-worker` is another file.

        Within `sqlite_claim.GRACE` seconds it is known.
        """
        return self._require_writer().is_waiting

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
    ) -> None:
        """Keep the result of a failed attempt."""
        await self._run(
            lambda db: sql.postpone(db, record_id, attempts=attempts, due=due, done=done, failed=failed)
        )

    async def waiting(self) -> list[PendingEvent]:
        """All pending records, apart from those whose mark is under way."""
        found = await self._run(sql.waiting, pages=0)
        unwritten = set(self._marks)
        return [item for item in found if item.id not in unwritten] if unwritten else found

    async def changed(self) -> bool:
        """SQLite counts the commits of other connections."""
        look = self._require_writer().look_for_changes
        # after a failure nobody knows what was written before it
        uncertain, self._uncertain = self._uncertain, False
        try:
            return await self._run(look, pages=0) or uncertain
        except InboxError:
            self._uncertain |= uncertain
            raise

    async def load(self, record_id: int) -> Record:
        """One record with its body."""
        return await self._run(lambda db: sql.load(db, record_id), pages=0)

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Records by ascending id."""
        return await self._run(lambda db: sql.select(db, state, limit=limit, after=after), pages=0)

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make records pending and due now."""
        again = partial(sql.retry, which=which, handler=handler, kind=kind)
        return await self._run(again, pages=1 if which != "all" else LONG_LOG)

    async def summary(self) -> builtins.list[FailureTally]:
        """Count in the file."""
        return await self._run(sql.summary, pages=0)

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget contents, in pieces that hold up no answer for long; nothing of them is left afterwards.

        Raises:
            InboxError: they are forgotten, but the log still holds them.
        """
        found = await self._forget(which, states, before)
        if found:
            await self._empty_log()
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
        """Have the log emptied by the process that handles events: by this one, if there is no other."""
        request: str | None = None
        for _ in range(_LOOKS):
            if await self._run(self._require_writer().claim, pages=0):
                if (await self._run(self._require_writer().empty_log, pages=0)).done:
                    return
            elif request is None:
                request = await self._run(Writer.ask_for_empty_log)
            elif await self._run(lambda db: notes.read(db, "empty-log"), pages=0) != request:
                return
            await asyncio.sleep(_LOOK)
        raise InboxError(
            "the contents are forgotten, but the log (-wal) still holds them: another connection to the file "
            "reads without a pause, or the process that handles its events does not answer"
        )

    async def aged_at(self) -> float | None:
        """Kept with the ages."""
        return await self._run(ages.aged_at, pages=0)

    async def age(self, *, sure: float, told: float, epoch: float, newest: bool) -> None:
        """Change the marks, of which there are two an hour."""
        await self._run(partial(ages.age, sure=sure, told=told, epoch=epoch, newest=newest))

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """A piece of the retention, which goes on where the last one ended."""
        forget = partial(sql.prune, start=self._pruned, handled=handled, quarantined=quarantined, keys=keys)
        (more, self._pruned), _ = await self._run_piece(forget, sql.PIECE)
        if not more:
            await self._run(self._require_writer().empty_log_later, pages=0)
        return more

    async def count(self) -> RecordCounts:
        """How many wait, and how many are set aside."""
        return await self._run(sql.count, pages=0)

    async def writable(self) -> bool:
        """Look for room, and write something that changes nothing."""
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
        """Run an operation in the next transaction; its failure undoes nothing but itself.

        Args:
            operation: gets the connection of the writer thread.
            pages: about how many it changes.
        """
        future: asyncio.Future[T] = self._require_open().create_future()
        self._operations.append(operation)
        self._futures.append(future)
        self._pages += pages
        self._kick()
        return await future

    async def _run_piece(self, forget: Callable[..., T], piece: int) -> tuple[T, int]:
        """Forget a piece, and a smaller one when a full disk has no room for what it would log.

        Args:
            forget: gets the connection and, as *piece*, how many records at most.
            piece: so many, to begin with.

        Returns:
            What it gave, and the size of the piece.

        Raises:
            InboxFullError: there is no room for a piece of one record either.
        """
        while True:
            try:
                return await self._run(partial(forget, piece=piece), pages=LONG_LOG), piece
            except (InboxFullError, TransactionError):  # without or with room for a small event
                if piece == 1:
                    raise
                piece = max(1, piece // _SMALLER)

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
            self._marks = batch.marks + self._marks  # they are tried again, or lost with the process
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
        if self._operations or self._marks_due or len(self._adds) >= _BATCH:
            self._kick()
        elif self._adds and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(self._gather, self._hand_over)
        elif self._marks and self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_MARK_DELAY, self._flush)

    def _tell_added(self, batch: Batch) -> None:
        added = self.added
        for record, record_id, future in zip(batch.adds, batch.ids, batch.add_futures, strict=True):
            if isinstance(record_id, Exception):
                _fail(future, record_id)
                continue
            # here and not after `await add`, whose caller may have been cancelled in the meantime
            if record_id is not None and added is not None and record.parsable:
                added(record_id, record)
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
        """One batch after the other until the end of this opening, whose queue and writer they are."""
        while (batch := queue.get()) is not None:
            try:
                writer.commit(batch)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                batch.error = error
            try:
                loop.call_soon_threadsafe(self._completed, batch)
            except RuntimeError:  # the loop was closed without closing the inbox: nobody waits
                break
            try:
                writer.rest()
            except Exception as error:  # noqa: BLE001 - without this thread everybody would wait for ever
                log_failure("the log of the inbox", error)
        writer.close()
        with contextlib.suppress(RuntimeError):  # as above
            loop.call_soon_threadsafe(ended.set_result, None)


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
