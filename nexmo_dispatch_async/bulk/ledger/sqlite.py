"""`SqliteLedger`: a campaign in one SQLite file, which one process works with at a time.

One writer thread makes one transaction of all calls that come together, since a commit waits for the disk.
`synchronous` is FULL and no setting: a `sending` that the loss of power takes back messages a person twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from nexmo_dispatch_async.bulk.ledger import sqlite_claims, sqlite_results, sqlite_sql
from nexmo_dispatch_async.bulk.ledger.cancelled_claims import CancelledClaims
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.opt_outs_sqlite import CampaignOptOutStore, SqliteOptOutStore
from nexmo_dispatch_async.bulk.ledger.owner import Holder, holder_of
from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause, SharedRates
from nexmo_dispatch_async.bulk.ledger.records import (
    Added,
    Change,
    Claimed,
    ClaimRequest,
    Control,
    Counts,
    Droppable,
    News,
    Observed,
    Recipient,
    Resendable,
    Result,
    Row,
    State,
)
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import Work
from nexmo_dispatch_async.bulk.ledger.sqlite_writer import Batch, Writer
from nexmo_dispatch_async.bulk.ledger.transitions import row_ids
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    LedgerError,
    PlanChangedError,
)
from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["SqliteLedger"]

T = TypeVar("T")
#: Rows of a campaign-wide change in one transaction: others get their turn in between.
_PIECE = 2000
_CLOSED = "the ledger is closed"


class SqliteLedger:
    """A `Ledger` in an SQLite file; `SqliteLedger.open` makes it.

    Attributes:
        path: The file. It and its companions (`-wal`, `-shm`, `-owner`, `-guard`) are for their owner only.
        opt_outs: The opt-out list that claims look into: the one that was given, or the campaign's own.
        reaped: How many rows a dead process left as `sending`; they are `unknown` now.
    """

    #: A file belongs to one process.
    shared: bool = False

    def __init__(
        self, path: Path, opt_outs: OptOutList | None, writer: Writer, *, clock: Callable[[], float]
    ) -> None:
        self.path = path
        self.opt_outs: OptOutList = (
            opt_outs if opt_outs is not None else OptOutList(CampaignOptOutStore(self._run), clock=clock)
        )
        self.reaped = 0
        self._clock = clock
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._operations: list[Callable[[Work], Any]] = []
        self._futures: list[asyncio.Future[Any]] = []
        self._writes = False
        self._counts = False
        self._busy = False
        self._computed = asyncio.Event()
        self._computed.set()
        self._closed = False
        self._closing = Closing()
        self._claims = CancelledClaims(self.record, clock=clock)
        self._refused = ""
        self._rates = SharedRates()
        # daemon: a process that ends without closing leaves what is committed, and the system frees the lock
        self._thread = threading.Thread(target=self._write, name="ledger-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        opt_outs: OptOutList | None = None,
        observer: bool = False,
        restored: bool = False,
        create: bool = True,
        sends: bool = True,
        busy_timeout: float = 10.0,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open a ledger and take it for this process; rows that a dead process was sending become `unknown`.

        Args:
            path: The file; it is made, for its owner only, when it is missing.
            opt_outs: Opt-out list in a file that campaigns share, `OptOutList.open(…)`. By default the
                campaign has its own.
            observer: Look at a ledger that another process has: read, count, and ask for something with
                `control`. All else is refused.
            restored: Go on with a file that was copied, or put back from a backup. Rows that were sent from
                the other file since then are sent again: their callbacks are all that can tell.
            create: False raises `LedgerError` when there is no ledger.
            sends: False for a process that only hears callbacks, as others see in `holder`.
            busy_timeout: How many seconds to wait for a process that locks the file or the opt-out list.
            clock: Gives epoch seconds, for what no caller brings a time.

        Raises:
            LedgerInUseError: Another process has it: `pid` and `host`.
            LedgerCopiedError: The file was copied or restored, and *restored* is False.
            LedgerError: It is something else, or cannot be used.
            OptOutError: The opt-out list cannot be used.
            ConfigurationError: *opt_outs* is in memory, *path* no path, or *busy_timeout* out of its range.
        """
        checks.path("path", path)
        checks.seconds("busy_timeout", busy_timeout, most=DAY)
        shared: Path | None = None
        if opt_outs is not None:
            if not isinstance(opt_outs.store, SqliteOptOutStore):
                raise ConfigurationError(
                    "opt_outs is in memory, where a claim in a file cannot look: give OptOutList.open(path)"
                )
            shared = opt_outs.store.path
        writer = Writer(
            Path(path),
            opt_outs=shared,
            observer=observer,
            restored=restored,
            create=create,
            sends=sends,
            busy_timeout=busy_timeout,
            clock=clock,
        )
        ledger = cls(Path(path), opt_outs, writer, clock=clock)
        try:
            await ledger._call(writer.open)
        except BaseException:
            await ledger.aclose()
            raise
        ledger.reaped = writer.reaped
        if observer:
            ledger._refused = "the ledger is open for looking at it: open it without observer=True for that"
        return ledger

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<SqliteLedger {self.path.name}, {'closed' if self._closed else 'open'}>"

    @property
    def reference(self) -> str:
        """Random text, made with the ledger."""
        return self._writer.reference

    @property
    def share(self) -> float:
        """1: a file belongs to one process."""
        return 1.0

    # --- the promises of `Ledger` ---

    async def describe(self, plan: bytes | None = None) -> bytes:
        """Return the plan, and freeze one."""

        def work(work: Work) -> bytes:
            known = work.db.execute("SELECT value FROM meta WHERE name = 'plan'").fetchone()
            stored = b"" if known is None else bytes(known[0])
            if plan is None or plan == stored:
                return stored
            if stored:
                raise PlanChangedError("the ledger holds another plan: start a new campaign for a new plan")
            work.db.execute("INSERT INTO meta VALUES ('plan', ?)", (plan,))
            return plan

        if plan is not None:
            self._require_owner()
        return await self._run(work)

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new."""
        self._require_owner()
        return await self._run(lambda work: sqlite_sql.add(work, rows, self._clock()))

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        """Record results and hand out rows."""
        self._require_owner()

        more = True

        def claim(results: Sequence[Result], work: Work) -> list[Claimed]:
            nonlocal more
            sqlite_results.record(work, results)
            claimed, more = sqlite_claims.claim(work, request, worker)
            return claimed

        claimed = await self._claims.rows_of(self._put(partial(claim, results)))
        while more and not claimed:  # a transaction looks at a bounded number of rows
            claimed = await self._claims.rows_of(self._put(partial(claim, ())))
        return claimed

    def guard(self) -> None:
        """No check: the system keeps the lock on the file for a process that sleeps."""

    async def record(self, results: Sequence[Result]) -> None:
        """Record results."""
        self._require_owner()
        await self._run(lambda work: sqlite_results.record(work, results))

    async def observe(self, news: Sequence[News]) -> Observed:
        """Merge what callbacks tell."""
        self._require_owner()
        return await self._run(lambda work: sqlite_results.observe(work, news))

    async def reap(self, worker: str | None = None) -> int:
        """Turn `sending` rows into `unknown`."""
        self._require_owner()
        return await self._run(lambda work: sqlite_results.reap(work, worker, self._clock()))

    async def resend(self, ids: Iterable[int], *, state: Resendable = "unknown") -> int:
        """Put `unknown` or `refused` rows back to `pending`, in pieces."""
        self._require_owner()
        return await self._in_pieces(partial(sqlite_results.resend, state=state), ids)

    async def drop(self, ids: Iterable[int], *, state: Droppable = "unknown") -> int:
        """Turn `unknown` or `pending` rows into `skipped`, in pieces."""
        self._require_owner()
        return await self._in_pieces(partial(sqlite_results.drop, state=state), ids)

    async def expire(self, now: float, *, limit: int = 10_000) -> int:
        """Skip rows whose time is over, in pieces."""
        self._require_owner()
        checks.epoch("now", now)
        total, found, piece = 0, 1, 1
        while found == piece and total < limit:
            piece = min(_PIECE, limit - total)
            found = await self._run(partial(sqlite_sql.expire, now=now, limit=piece))
            total += found
        return total

    async def due(self) -> float | None:
        """Return when the next pending row is due."""
        return await self._run(sqlite_sql.due, counts=True)

    async def zones(self) -> frozenset[str]:
        """Return the zones of the pending rows."""
        return frozenset(zone for _, zone in await self._run(_lanes, counts=True))

    async def buckets(self) -> frozenset[str]:
        """Return the buckets of the pending rows."""
        return frozenset(bucket for bucket, _ in await self._run(_lanes, counts=True))

    async def lease(
        self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause] = (), *, now: float
    ) -> RateExchange:
        """Grant sends of shared rates; no other process has a part in them."""
        self._require_owner()
        return self._rates.exchange(requests, pauses, now)

    async def control(self, change: Change | None = None) -> Control:
        """Return what operators have asked for; an observer may ask as well."""

        def work(work: Work) -> Control:
            row = work.db.execute("SELECT value FROM meta WHERE name = 'control'").fetchone()
            known = Control() if row is None else msgspec.json.decode(row[0], type=Control)
            changed = known if change is None else known.changed(change)
            if changed is known:
                return known
            work.db.execute("REPLACE INTO meta VALUES ('control', ?)", (msgspec.json.encode(changed),))
            return changed

        return await self._run(work, writes=change is not None)

    async def holder(self) -> Holder | None:
        """Return what the process does that opened the file last; `None` when it does not live any more."""
        return await self._run(lambda work: holder_of(work.db))

    async def counts(self, *, verify: bool = False) -> Counts:
        """Return the numbers, which are kept in memory; an observer counts them anew."""

        def work(work: Work) -> Counts:
            return sqlite_sql.load(work.db).tally.counts() if verify else work.counts()

        return await self._run(work, counts=True)

    async def scan(self, state: State | None = None, *, after: int = 0, limit: int = 1000) -> list[Row]:
        """Return rows in the order of their ids."""
        return await self._run(lambda work: sqlite_sql.scan(work, state, after, limit))

    async def forget(self, before: float) -> int:
        """Erase personal data of rows that are over, from the file and from its log, in pieces."""
        self._require_owner()
        checks.epoch("before", before)
        total, found, after = 0, _PIECE, 0
        while found == _PIECE:
            found, after = await self._run(
                partial(sqlite_results.forget, before=before, after=after, limit=_PIECE)
            )
            total += found
        await self._call(self._writer.erase)  # also what an earlier call had to leave in the log
        return total

    async def computed(self) -> None:
        """Return when the thread waits for the disk, or for calls."""
        await self._computed.wait()

    async def aclose(self) -> None:
        """Finish the calls that are under way, close the file, and let others have it."""
        await self._closing.run(self._close)

    async def _close(self) -> None:
        try:
            await self._claims.settled()
        finally:
            if not self._closed:
                self._closed = True
                self._hand_over()
                self._queue.put(None)
            while self._thread.is_alive():
                await asyncio.to_thread(self._thread.join)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- on the event loop ---

    def _require_owner(self) -> None:
        if self._refused:
            raise LedgerError(self._refused)

    async def _run(self, operation: Callable[[Work], T], *, writes: bool = False, counts: bool = False) -> T:
        """Run an operation in the next transaction; an observer says whether it writes, or reads numbers."""
        future = self._put(operation)
        self._writes |= writes
        self._counts |= counts
        return await future

    async def _in_pieces(self, change: Callable[[Work, list[int], float], int], ids: Iterable[int]) -> int:
        """Change rows by their ids, so many in a transaction that others get their turn in between."""
        total, rest = 0, iter(row_ids(ids))
        while piece := list(islice(rest, _PIECE)):
            total += await self._run(partial(_changed, change, piece, self._clock()))
        return total

    def _put(self, operation: Callable[[Work], T]) -> asyncio.Future[T]:
        if self._closed:
            raise LedgerError(_CLOSED)
        future: asyncio.Future[T] = self._loop.create_future()
        self._operations.append(operation)
        self._futures.append(future)
        if not self._busy:
            self._busy = True
            self._loop.call_soon(self._hand_over)  # other calls of this round come along
        return future

    def _hand_over(self) -> None:
        if not self._operations:
            self._busy = False
            return
        batch = Batch(self._operations, self._futures, writes=self._writes, counts=self._counts)
        self._operations, self._futures, self._writes, self._counts = [], [], False, False

        self._computed.clear()
        batch.committing = partial(self._tell, self._computed.set)

        def commit() -> None:
            self._writer.commit(batch)
            self._tell(lambda: self._completed(batch))

        self._queue.put(commit)

    def _completed(self, batch: Batch) -> None:
        self._computed.set()
        for result, future in zip(batch.results, batch.futures, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
        self._hand_over()

    async def _call(self, work: Callable[[], None]) -> None:
        """Run something in the thread outside of a transaction."""
        if self._closed:
            raise LedgerError(_CLOSED)
        future: asyncio.Future[None] = self._loop.create_future()

        def call() -> None:
            error: Exception | None = None
            try:
                work()
            except (OSError, sqlite3.Error) as failed:
                error = LedgerError(f"the ledger {self.path.name} failed: {reason_of(self.path, failed)}")
                error.__cause__ = failed
            except Exception as failed:  # noqa: BLE001 - whatever it is, the caller gets it
                error = failed
            self._tell(lambda: _settle(future, error))

        self._queue.put(call)
        await future

    def _tell(self, done: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no caller waits any more
            self._loop.call_soon_threadsafe(done)

    # --- in the thread ---

    def _write(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
        self._writer.close()


def _lanes(work: Work) -> list[tuple[str, str]]:
    return [work.book.lanes[lane] for lane in (*work.pending(), *work.waiting())]


def _changed(change: Callable[[Work, list[int], float], int], ids: list[int], now: float, work: Work) -> int:
    return change(work, ids, now)


def _settle(future: asyncio.Future[None], error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(None)
