"""`PostgresInboxStore`: events in tables of a Postgres database, which any number of processes share.

Concurrent calls of `add` share a statement, and so do calls of `finish`: each group costs one commit, which
waits for the disk. The module contains no SQL and makes no decision about handlers.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, LiteralString, Unpack

from nexmo_dispatch_core.bursts import Bursts, cause_of
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.postgres.notifications import Notifications
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    InboxError,
    InboxFullError,
    LostClaimError,
    TransactionError,
    UnknownRecordError,
)
from nexmo_dispatch_webhooks.inbox import postgres_statements as sql
from nexmo_dispatch_webhooks.inbox.postgres_rows import (
    columns_of,
    id_of,
    number_of,
    pending_of,
    record_of,
    stored,
    tally_of,
)
from nexmo_dispatch_webhooks.inbox.postgres_settings import PostgresOptions, PostgresSettings
from nexmo_dispatch_webhooks.inbox.postgres_transaction import PostgresTransaction
from nexmo_dispatch_webhooks.inbox.records import (
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.inbox.store import AddedListener, RecordChoice
from nexmo_dispatch_webhooks.logs import logger
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["PostgresInboxStore"]

#: Maximum numbers of events in one statement, and of one lane in one claim; each event locks its lane.
_GROUP, _RUN = 128, 32
#: Seconds that a mark waits for other marks, and the number of marks that ends the wait.
_MARK_DELAY, _MANY_MARKS = 0.02, 256
#: Seconds until the next attempt to write marks that could not be written.
_MARK_AGAIN: Final = 1.0
#: Maximum number of events that `pending` returns, and that one piece of the retention forgets.
_MANY, _PIECE = 100_000, 500
#: Seconds that a process may run the retention without renewing its claim.
_KEEP_HOUSE: Final = 30.0
_LOCK_SCHEMA: Final = 0x6E645F7461626C65


class PostgresInboxStore:
    """Keeps events in Postgres; see `SharedInboxStore` for the contract of each method.

    Args:
        url: `postgresql://user@host/database`, or any connection string of libpq.
        clock: Returns epoch seconds, for retries and shown times; None for that of the server.
        lease_clock: Returns epoch seconds, for leases; None for that of the server, which does not jump.
        **options: The fields of `PostgresSettings`.

    Raises:
        ConfigurationError: A setting is out of its range.
    """

    transactional = True
    shared = True
    lapsed = False  # each claim has its own lease

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float] | None = None,
        lease_clock: Callable[[], float] | None = None,
        **options: Unpack[PostgresOptions],
    ) -> None:
        self.settings: PostgresSettings = PostgresSettings(**options)
        self.on_added: AddedListener | None = None
        self._clock, self._lease_clock = clock, lease_clock
        self._told = time.time if clock is None else clock
        self._keeper = secrets.token_hex(8)
        try:
            self._database, self._lent = (
                Database(
                    url,
                    error=inbox_error,
                    name=f"nexmo-dispatch {name}",
                    connections=connections,
                    timeout=self.settings.timeout,
                )
                for name, connections in (
                    ("inbox", self.settings.connections),
                    ("handlers", self.settings.handler_connections),
                )
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._notices = Notifications(self._database, "nexmo_dispatch_inbox", lambda _: self._woken.set())
        self._woken = asyncio.Event()
        # the fencing token of this process; None before its first claim, and after it lost its claims
        self._worker: int | None = None
        # records and marks for the next statements
        self._adds: list[tuple[NewRecord, asyncio.Future[int | None]]] = []
        self._adding: asyncio.Task[None] | None = None
        self._marks: list[tuple[int, int]] = []
        self._marking: asyncio.Task[None] | None = None
        self._writing: list[tuple[int, int]] = []
        self._many = asyncio.Event()
        self._closing = asyncio.Event()
        self._entering = asyncio.Lock()
        self._mark_lock = asyncio.Lock()
        self._unmarked = Bursts()

    @shows_unfinished
    def __repr__(self) -> str:
        state = "open" if self._database.is_open else "closed"
        return f"<PostgresInboxStore in {self._database.shown}, {state}>"

    # --- opening and closing ---

    async def open(self) -> None:
        """Connect, bring the tables to the version of this release, and listen."""
        if self._database.is_open:
            return
        await self.prepare()
        await self._database.open()
        try:
            await self._lent.open()
        except BaseException:
            await self._database.aclose()
            raise
        self._notices.listen()
        self._closing.clear()

    async def prepare(self) -> None:
        """Bring the tables to the version of this release, and make those of handlers."""
        if self.settings.migrate:
            await schema.require(self._database, sql.INBOX, inbox_error)
        if self.settings.schema:
            await self._database.alone(self._make_tables)

    async def _make_tables(self, connection: Connection) -> None:
        """Run the application's own SQL, which may make tables: one process at a time."""
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_SCHEMA,))
            await connection.execute(self.settings.schema.encode())

    async def aclose(self) -> None:
        """Write the pending marks, give up all claims, and disconnect."""
        if not self._database.is_open:
            return
        self._many.set()
        self._closing.set()
        async with contextlib.AsyncExitStack() as stack:  # also after a cancellation
            for close in (self._database.aclose, self._lent.aclose, self._notices.aclose):
                stack.push_async_callback(close)
            with contextlib.suppress(InboxError):  # events whose marks cannot be written are handled again
                for task in (self._adding, self._marking):
                    if task is not None:
                        await asyncio.wait({task})
                if self._marks:
                    await self._write_marks()
                if self._worker is not None:
                    await self._execute(sql.LEAVE, worker=self._worker)
                    self._notices.tell()
        self._worker, self._marks = None, []

    # --- new events ---

    async def add(self, record: NewRecord) -> int | None:
        """Store a record in the next statement."""
        if not self._database.is_open:
            raise InboxError("the inbox is not open")
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._adds.append((record, future))
        if self._adding is None or self._adding.done():
            self._adding = asyncio.create_task(self._add_groups(), name="inbox-add")
        return await future

    async def _add_groups(self) -> None:
        await asyncio.sleep(0)  # calls of this round of the loop join the statement
        while self._adds:
            group, self._adds = self._adds[:_GROUP], self._adds[_GROUP:]
            try:
                new = await self._insert([record for record, _ in group])
            except Exception as error:  # noqa: BLE001 - every waiting caller must get the error
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
                continue
            if new:
                self._woken.set()
                self._notices.tell()
            for record, future in group:
                self._added(record, new.pop(record.key, None), future)

    def _added(self, record: NewRecord, record_id: int | None, future: asyncio.Future[int | None]) -> None:
        # here and not after `await add`: its caller may have been cancelled
        if record_id is not None and record.parsable and self.on_added is not None:
            self.on_added(record_id, record)
        if not future.done():
            future.set_result(record_id)

    async def _insert(self, records: Sequence[NewRecord]) -> dict[bytes, int]:
        values = columns_of(records)
        try:
            rows = await self._fetch(sql.ADD, **values)
        except InboxFullError:
            raise
        except InboxError:
            # One more attempt, on another connection: a restart of the server cuts all connections. Records
            # that the first attempt stored nevertheless count as duplicates now, and are handled.
            rows = await self._fetch(sql.ADD, **values)
            self._woken.set()
        return {bytes(key): record_id for key, record_id in rows}

    # --- claims ---

    async def take(
        self, limit: int, *, lease: float, without: Collection[str] = ()
    ) -> builtins.list[PendingEvent]:
        """Claim the first events of lanes that no other process handles."""
        async with self._entering:
            if self._worker is None:
                self._worker = int((await self._fetch(sql.ENTER, lease=lease))[0][0])
            worker = self._worker
        rows = await self._fetch(sql.TAKE, worker=worker, limit=limit, run=_RUN, kinds=list(without))
        return [pending_of(row, worker) for row in rows]

    async def extend(self, *, lease: float) -> bool:
        """Extend the lease of this process."""
        if self._worker is None:
            return True
        worker = self._worker
        if await self._execute(sql.EXTEND, worker=worker, lease=lease):
            return True
        if self._worker == worker:
            self._worker = None
        return False

    async def release(self, record_ids: Sequence[int], token: int) -> None:
        """Give up claims."""
        if record_ids and await self._execute(sql.RELEASE, ids=list(record_ids), worker=token):
            self._woken.set()
            self._notices.tell()

    async def keep_only(self, record_ids: Sequence[int]) -> None:
        """Give up claims that are not known here."""
        if self._worker is not None:
            unwritten = [record_id for record_id, _ in (*self._marks, *self._writing)]
            await self._execute(sql.KEEP_ONLY, ids=[*record_ids, *unwritten], worker=self._worker)

    async def wake(self, timeout: float) -> bool:  # noqa: ASYNC109 - see the protocol
        """Wait for a notification."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken

    async def claim(self) -> bool:
        """Become the process that runs the retention, for a limited time."""
        return bool(await self._execute(sql.CLAIM, keeper=self._keeper, lease=_KEEP_HOUSE))

    # --- results ---

    def finish(self, record_id: int, token: int = 0) -> None:
        """Mark a record together with others."""
        self._marks.append((record_id, token))
        if len(self._marks) >= _MANY_MARKS:
            self._many.set()
        if self._marking is None or self._marking.done():
            self._marking = asyncio.create_task(self._mark(), name="inbox-mark")

    async def _mark(self) -> None:
        """Write marks in groups; after a failure the same ones again, until the process ends."""
        while self._marks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MARK_DELAY):
                    await self._many.wait()
            self._many.clear()
            try:
                await self._write_marks()
            except InboxError as error:
                if (more := self._unmarked.begin(cause_of(str(error)))) is not None:
                    logger.warning("marks of handled events wait for the store: %s%s", error, more)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MARK_AGAIN):
                        await self._closing.wait()
                if self._closing.is_set():
                    return

    async def _write_marks(self) -> None:
        async with self._mark_lock:
            self._writing, self._marks = self._marks, []
            try:
                rows = await self._fetch(
                    sql.FINISH,
                    ids=[record_id for record_id, _ in self._writing],
                    tokens=[token for _, token in self._writing],
                )
                lost = {record_id for record_id, token in self._writing if token} - {row[0] for row in rows}
            except BaseException:  # also when the caller, which only reads, is cancelled
                self._marks = self._writing + self._marks
                raise
            finally:
                self._writing = []
        if lost:
            logger.warning("%d events were handled after their claims were lost, and may be again", len(lost))

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Run the statements of a handler together with its mark."""
        transaction = self.begin(record_id, 0)
        for text, values in statements:
            transaction.execute(text, values)
        try:
            await transaction.commit(handler, finish=finish)
        except LostClaimError as error:
            raise TransactionError(str(error)) from None

    def begin(self, record_id: int, token: int) -> PostgresTransaction:
        """Return the transaction of a handler."""
        return PostgresTransaction(self._lent, record_id, token, self._now)

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
        """Store the result of a failed attempt; any process may make the next attempt."""
        changed = await self._execute(
            sql.POSTPONE,
            id=record_id,
            attempts=attempts,
            due=due,
            told=self._told(),
            done=list(done),
            failed=stored(failed),
            token=token,
        )
        if token and not changed:
            raise LostClaimError(f"record {record_id} is not pending, or another process may have it")

    # --- reading, and what operators do ---

    async def pending(self) -> list[PendingEvent]:
        """Return the first pending records."""
        return [PendingEvent(*row) for row in await self._look(sql.PENDING, limit=_MANY)]

    async def changed(self) -> bool:
        """Return False: no process keeps the pending events in memory."""
        return False

    async def load(self, record_id: int) -> Record:
        """Return one record with its body."""
        rows = await self._look(sql.LOAD, id=record_id)
        if not rows:
            raise UnknownRecordError(f"there is no record {record_id}")
        return record_of(rows[0])

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Return records by ascending id."""
        states = [0, 1, 2] if state is None else [number_of(state)]
        rows = await self._look(sql.LIST, states=states, limit=limit, after=after)
        return [record_of(row) for row in rows]

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make records pending and due now, in pieces."""
        total, after = 0, -1

        async def piece(connection: Connection) -> tuple[int, int]:
            """Return how many records are pending now, and the last id; 0 after the last piece."""
            values = {"id": id_of(which), "handler": handler, "kind": kind, "after": after, "piece": _GROUP}
            rows = await (await connection.execute(sql.FAILED, values)).fetchall()
            ids = [row[0] for row in rows]
            chosen = {**self._times(), "ids": ids, "lanes": sorted({row[1] for row in rows})}
            await connection.execute(sql.LOCK_LANES, chosen)
            found = (await connection.execute(sql.RETRY, chosen)).rowcount
            await connection.execute(sql.TOUCH, chosen)
            return found, ids[-1] if len(ids) == _GROUP else 0

        while after:
            found, after = await self._database.transact(piece)
            total += found
        if total:
            self._woken.set()
            self._notices.tell()
        return total

    async def summary(self) -> builtins.list[FailureTally]:
        """Count what failed."""
        return [tally_of(row) for row in await self._look(sql.SUMMARY)]

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget contents, in pieces."""
        total, found, after = 0, _PIECE, -1
        while found == _PIECE:
            ((found, last),) = await self._look(
                sql.PURGE,
                id=id_of(which),
                states=list(map(number_of, states)),
                before=before,
                after=after,
                piece=_PIECE,
            )
            total, after = total + found, last
        return total

    async def aged_at(self) -> float | None:
        """Return the time of the last call of `age`."""
        ((found,),) = await self._fetch(sql.AGED_AT)
        return None if found is None else float(found)

    async def age(self, *, measured: float, by_clock: float, epoch: float, newest: bool) -> None:
        """Add to both ages of the inbox; each record knows them as they were at its arrival."""
        await self._execute(sql.AGE, measured=measured, by_clock=by_clock, epoch=epoch)

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """Do one piece of the retention."""
        ((forgotten,),) = await self._look(
            sql.PRUNE_CONTENTS, handled=handled, quarantined=quarantined, piece=_PIECE
        )
        deleted = await self._execute(sql.PRUNE_KEYS, keys=keys, piece=_PIECE)
        return bool(forgotten >= _PIECE or deleted == _PIECE)

    async def writable(self) -> bool:
        """Return whether the server takes writes."""
        await self._execute(sql.CLAIM, keeper="", lease=-1.0, alive_at=0.0)
        return True

    async def count(self) -> RecordCounts:
        """Count pending and quarantined records."""
        (numbers,) = await self._look(sql.COUNT)
        return RecordCounts(*numbers)

    # --- statements ---

    def _now(self) -> float | None:
        """Return the time of the clock that was passed in; None for the clock of the server."""
        return None if self._clock is None else self._clock()

    def _times(self) -> dict[str, object]:
        """Return the parameters of every statement: the time, and that by which a process is alive."""
        return {"now": self._now(), "alive_at": None if self._lease_clock is None else self._lease_clock()}

    async def _look(self, text: LiteralString, **values: object) -> builtins.list[Any]:  # Any: columns
        """Read after all marks of this process are written."""
        if self._marks or self._writing:
            await self._write_marks()
        return await self._fetch(text, **values)

    async def _fetch(self, text: LiteralString, **values: object) -> builtins.list[Any]:  # Any: columns
        async def work(connection: Connection) -> builtins.list[Any]:
            cursor = connection.cursor(binary=True)
            await cursor.execute(text, {**self._times(), **values})
            return await cursor.fetchall()

        return await self._database.run(work)

    async def _execute(self, text: LiteralString, **values: object) -> int:
        async def work(connection: Connection) -> int:
            return (await connection.execute(text, {**self._times(), **values})).rowcount

        return await self._database.run(work)


def inbox_error(failure: Failure) -> InboxError:
    """Return the error of the inbox for a failure of Postgres."""
    if failure.kind == "closed":
        return InboxError("the inbox is not open")
    kind = InboxFullError if failure.kind == "full" else InboxError
    return kind(f"the inbox cannot be read or written: {failure.text}")
