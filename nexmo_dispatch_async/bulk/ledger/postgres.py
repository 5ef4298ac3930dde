"""`PostgresLedger`: a campaign in a Postgres database, which any number of senders work through at once.

A sender that gives no sign of life for longer than its lease is taken for dead: its rows in flight become
`unknown`, and never `pending`. A sender that was only suspended does not send them when it wakes up.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Final, LiteralString, Self, TypeVar

import msgspec

from nexmo_dispatch_async.bulk.ledger import (
    postgres_claims,
    postgres_life,
    postgres_mark,
    postgres_rates,
    postgres_reading,
    postgres_results,
)
from nexmo_dispatch_async.bulk.ledger.cancelled_claims import CancelledClaims
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.bulk.ledger.postgres_tables import CAMPAIGNS, Work
from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause
from nexmo_dispatch_async.bulk.ledger.records import (
    Added,
    Change,
    Claimed,
    ClaimRequest,
    Control,
    Counts,
    Droppable,
    Life,
    News,
    Observed,
    Recipient,
    Resendable,
    Result,
    Row,
    State,
)
from nexmo_dispatch_async.bulk.ledger.tenure import Tenure
from nexmo_dispatch_async.bulk.ledger.transitions import row_ids
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    LedgerError,
    LedgerMissingError,
    PlanChangedError,
)
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.tasks import Closing, end
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["PostgresLedger"]

T = TypeVar("T")
#: Seconds between two signs of life.
_SIGN: Final = 1.0
#: Rows of a campaign-wide change in one transaction.
_PIECE: Final = 2000


class PostgresLedger:
    """A `Ledger` in a Postgres database; `PostgresLedger.open` makes it.

    Attributes:
        name: Of the campaign.
        opt_outs: The opt-out list that claims look into: the one that was given, or the campaign's own.
        reaped: How many rows of dead processes became `unknown` when this one was opened.
    """

    #: Several processes work with it at once.
    shared: bool = True

    def __init__(
        self,
        database: Database,
        name: str,
        opt_outs: OptOutList | None,
        *,
        observer: bool,
        lease: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        own = PostgresOptOutStore(database.url, name=f"campaign {name}")
        self.opt_outs: OptOutList = opt_outs if opt_outs is not None else OptOutList(own, clock=clock)
        self.reaped: int = 0
        self._database = database
        self._clock = clock
        self._lease = lease
        self._tenure = Tenure(lease)
        self._given = opt_outs
        self._refused = (
            "the ledger is open for looking at it: open it without observer=True for that" if observer else ""
        )
        self._instance = secrets.token_hex(8)
        self._campaign = 0
        self._reference = ""
        self._opt_outs_id = 0
        self._senders = 1
        self._sends = True
        self._closed = False
        self._closing = Closing()
        self._claims = CancelledClaims(self.record, clock=clock)
        # Whether another database may have taken the place of this one since the last look.
        self._doubted = False
        # One transaction that changes the numbers at a time: they would wait for each other's counts.
        self._lock = asyncio.Lock()
        self._alive: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        url: str,
        name: str,
        *,
        opt_outs: OptOutList | None = None,
        observer: bool = False,
        restored: bool = False,
        create: bool = True,
        accept_loss: bool = False,
        sends: bool = True,
        lease: float = 120.0,
        connections: int = 4,
        timeout: float = 30.0,  # noqa: ASYNC109 - of each call of the ledger
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open a campaign, or make it; rows that dead processes were sending become `unknown`.

        Args:
            url: `postgresql://user@host/database`; everything that libpq takes.
            name: Of the campaign: a database holds any number of them.
            opt_outs: Opt-out list in the same database that campaigns share:
                `OptOutList(PostgresOptOutStore(url))`. By default the campaign has its own.
            observer: Look at it: read, count, and ask for something with `control`. All else is refused.
            restored: Go on in a database that was restored from a backup, or copied. Rows that were sent from
                the original since are sent again, unless callbacks tell of them first; say so only when the
                original is not used any more, and was not used since. The campaign keeps it.
            create: False raises `LedgerError` when there is no such campaign.
            accept_loss: Also use a server that may lose what it committed: a `sending` that is lost messages
                a person twice.
            sends: False for a process that hears callbacks and claims no row: it has no part of the quota.
            lease: Seconds without a sign of life until others take this process for dead (a day at most).
            connections: The most connections; two more are those of its own opt-out list.
            timeout: Maximum wait for a connection or a response, in seconds.
            clock: Gives epoch seconds, for what no caller brings a time.

        Raises:
            LedgerCopiedError: The database was restored or copied, and *restored* is False; `postgres_mark`
                says what cannot be noticed.
            LedgerError: The database cannot be used, or the server may lose what it committed.
            ConfigurationError: *opt_outs* is somewhere else, or another argument cannot be used.
        """
        if opt_outs is not None and not isinstance(opt_outs.store, PostgresOptOutStore):
            raise ConfigurationError(
                "opt_outs must be in the same database: give OptOutList(PostgresOptOutStore(url))"
            )
        try:
            database = Database(
                url,
                error=_error,
                name="nexmo-dispatch campaign",
                connections=connections,
                timeout=timeout,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        ledger = cls(database, name, opt_outs, observer=observer, lease=lease, clock=clock)
        ledger._sends = sends
        try:
            if not create and not await schema.exists(database, CAMPAIGNS):
                raise _missing(database)  # and no tables are made for a look
            await schema.require(database, CAMPAIGNS, _error)
            await database.open()
            await ledger._begin(create=create, accept_loss=accept_loss, restored=restored)
        except BaseException:
            await ledger.aclose()
            raise
        return ledger

    async def _begin(self, *, create: bool, accept_loss: bool, restored: bool) -> None:
        if not (accept_loss or self._refused):
            await self._database.run(postgres_reading.require_durable)
        if isinstance(self.opt_outs.store, PostgresOptOutStore):
            self._opt_outs_id = await self.opt_outs.store.list_id(self._database)
        begin = partial(
            postgres_mark.begin,
            name=self.name,
            create=create,
            observer=bool(self._refused),
            restored=restored,
        )
        found = await self._database.transact(begin)
        if found is None:
            raise _missing(self._database)
        self._campaign, self._reference = found
        if not self._refused:
            if self._sends:
                await self._show_life()
            self.reaped = await self.reap()
            self._alive = asyncio.create_task(self._stay_alive(), name="ledger")

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<PostgresLedger in {self._database.shown}, {'closed' if self._closed else 'open'}>"

    @property
    def reference(self) -> str:
        """Random text, made with the ledger."""
        return self._reference

    @property
    def share(self) -> float:
        """One divided by the number of processes that send now."""
        return 1.0 / max(1, self._senders)

    # --- the promises of `Ledger` ---

    async def describe(self, plan: bytes | None = None) -> bytes:
        """Return the plan, and freeze one."""

        async def work(work: Work) -> bytes:
            query: LiteralString = "SELECT plan FROM nexmo_dispatch.campaigns WHERE id = %(campaign)s"
            ((stored,),) = await work.fetch(query + (" FOR UPDATE" if plan is not None else ""))
            if plan is None or plan == stored:
                return bytes(stored)
            if stored:
                raise PlanChangedError("the ledger holds another plan: start a new campaign for a new plan")
            await work.execute(
                "UPDATE nexmo_dispatch.campaigns SET plan = %(plan)s WHERE id = %(campaign)s", plan=plan
            )
            return plan

        if plan is not None:
            self._require_owner()
        return await self._run(work)

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new."""
        self._require_owner()
        return await self._run(lambda work: postgres_claims.add(work, rows, self._clock()))

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        """Record results and hand out rows."""
        self._require_owner()
        self._sends = True
        if not self._tenure.held:  # or the rows would not be sent
            await self._show_life()

        async def work(work: Work) -> list[Claimed]:
            if request.bounds is not None:
                await postgres_claims.lock_bounds(work)
            await postgres_results.record(work, results)
            return await postgres_claims.claim(work, request, self._name(worker))

        return await self._claims.rows_of(asyncio.ensure_future(self._run(work)))

    def guard(self) -> Callable[[], object]:
        """Return a check that no sign of life was late since: by clocks of the process, and of the server."""
        return self._tenure.guard()

    async def record(self, results: Sequence[Result]) -> None:
        """Record results."""
        self._require_owner()
        await self._run(lambda work: postgres_results.record(work, results))

    async def observe(self, news: Sequence[News]) -> Observed:
        """Merge what callbacks tell."""
        self._require_owner()
        return await self._run(lambda work: postgres_results.observe(work, news))

    async def reap(self, worker: str | None = None) -> int:
        """Turn `sending` rows into `unknown`: of a worker of this process, or of this and dead processes."""
        self._require_owner()
        name = None if worker is None else self._name(worker)
        return await self._run(lambda work: postgres_results.reap(work, name, self._clock()))

    async def resend(self, ids: Iterable[int], *, state: Resendable = "unknown") -> int:
        """Put `unknown` or `refused` rows back to `pending`, in pieces."""
        return await self._in_pieces(partial(postgres_results.resend, state=state), ids)

    async def drop(self, ids: Iterable[int], *, state: Droppable = "unknown") -> int:
        """Turn `unknown` or `pending` rows into `skipped`, in pieces."""
        return await self._in_pieces(partial(postgres_results.drop, state=state), ids)

    async def expire(self, now: float, *, limit: int = 10_000) -> int:
        """Skip rows whose time is over, in pieces."""
        self._require_owner()
        checks.epoch("now", now)
        total, found, piece = 0, 1, 1
        while found == piece and total < limit:
            piece = min(_PIECE, limit - total)
            found = await self._run(partial(postgres_claims.expire, now=now, limit=piece))
            total += found
        return total

    async def due(self) -> float | None:
        """Return when the next pending row is due."""
        return await self._run(postgres_reading.due)

    async def zones(self) -> frozenset[str]:
        """Return the zones of the pending rows."""
        return frozenset(zone for _, zone in await self._run(postgres_reading.lanes))

    async def buckets(self) -> frozenset[str]:
        """Return the buckets of the pending rows."""
        return frozenset(bucket for bucket, _ in await self._run(postgres_reading.lanes))

    async def lease(
        self,
        requests: Sequence[RateRequest],
        pauses: Sequence[SharedPause] = (),
        *,
        now: float,  # not used: the server has a clock
    ) -> RateExchange:
        """Grant sends of shared rates; the call waits for no other call of this ledger."""
        self._require_owner()
        exchange = partial(postgres_rates.exchange, campaign=self._campaign, requests=requests, pauses=pauses)
        return await self._database.run(exchange)

    async def control(self, change: Change | None = None) -> Control:
        """Return what operators have asked for; an observer may ask as well."""

        async def work(work: Work) -> Control:
            query: LiteralString = "SELECT control FROM nexmo_dispatch.campaigns WHERE id = %(campaign)s"
            ((stored,),) = await work.fetch(query + (" FOR UPDATE" if change is not None else ""))
            known = Control() if stored is None else msgspec.json.decode(stored, type=Control)
            changed = known if change is None else known.changed(change)
            if changed is known:
                return known
            update: LiteralString = (
                "UPDATE nexmo_dispatch.campaigns SET control = %(control)s WHERE id = %(campaign)s"
            )
            await work.execute(update, control=msgspec.json.encode(changed))
            return changed

        return await self._run(work)

    async def counts(self, *, verify: bool = False) -> Counts:
        """Return the numbers, which each transaction keeps; with *verify* counted anew."""
        return await self._run(postgres_reading.recount if verify else postgres_reading.counts)

    async def scan(self, state: State | None = None, *, after: int = 0, limit: int = 1000) -> list[Row]:
        """Return rows in the order of their ids."""
        return await self._run(partial(postgres_reading.scan, state=state, after=after, limit=limit))

    async def forget(self, before: float) -> int:
        """Erase personal data of rows that are over, in pieces."""
        self._require_owner()
        checks.epoch("before", before)
        total, found, after = 0, _PIECE, 0
        while found == _PIECE:
            found, after = await self._run(
                partial(postgres_results.forget, before=before, after=after, limit=_PIECE)
            )
            total += found
        return total

    async def aclose(self) -> None:
        """Give up what this process was sending, and disconnect."""
        await self._closing.run(self._close)

    async def _close(self) -> None:
        alive, self._alive = self._alive, None
        try:
            await self._claims.settled()
            if alive is not None:
                await end(alive)
                with contextlib.suppress(LedgerError):  # where that fails, the lease ends
                    await self.reap("")
                    gone = partial(postgres_life.leave, campaign=self._campaign, name=self._instance)
                    await self._database.run(gone)
        finally:
            self._closed = True
            await self._disconnect()

    async def _disconnect(self) -> None:
        try:
            async with self._lock:
                await self._database.aclose()
        finally:
            if self._given is None:
                await self.opt_outs.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def life(self) -> Life:
        """Return which processes send for the campaign; those that look at it do not count."""
        return await self._database.run(partial(postgres_life.life, campaign=self._campaign))

    # --- signs of life ---

    async def _show_life(self) -> None:
        sign = partial(
            postgres_life.show_life, campaign=self._campaign, name=self._instance, lease=self._lease
        )
        asked = self._tenure.ask()
        self._senders, lapsed = await self._database.run(sign)
        self._tenure.renew(asked, lapsed=lapsed)

    async def _stay_alive(self) -> None:
        """Show signs of life, and reap the rows of processes that show none."""
        reap_at = 0.0
        while not self._closed:
            await asyncio.sleep(min(_SIGN, self._lease / 4))
            self._doubted = True
            with contextlib.suppress(LedgerError):  # the next sign may succeed
                if self._sends:
                    await self._show_life()
                if (now := time.monotonic()) >= reap_at:
                    reap_at = now + self._lease / 4
                    await self._run(partial(postgres_results.reap_dead, now=self._clock()))

    # --- transactions ---

    def _name(self, worker: str) -> str:
        return f"{self._instance}/{worker}"

    def _require_owner(self) -> None:
        if self._refused:
            raise LedgerError(self._refused)

    async def _run(self, operation: Callable[[Work], Awaitable[T]]) -> T:
        async def within(connection: Connection) -> T:
            work = Work(
                connection,
                campaign=self._campaign,
                opt_outs=self._opt_outs_id,
                shared=self._given is not None,
                reference=self._reference,
                instance=self._instance,
            )
            if self._doubted and not self._refused:
                await postgres_mark.verify(connection, self._campaign, self._reference)
                self._doubted = False
            found = await operation(work)
            await work.count()
            return found

        async with self._lock:
            if self._closed:
                raise LedgerError("the ledger is closed")
            try:
                return await self._database.transact(within)
            except LedgerError:  # the next connection may lead to another database
                self._doubted = True
                raise

    async def _in_pieces(
        self, change: Callable[[Work, list[int], float], Awaitable[int]], ids: Iterable[int]
    ) -> int:
        self._require_owner()
        total, rest = 0, iter(row_ids(ids))
        while piece := list(islice(rest, _PIECE)):
            total += await self._run(partial(_changed, change, piece, self._clock()))
        return total


async def _changed(
    change: Callable[[Work, list[int], float], Awaitable[int]], ids: list[int], now: float, work: Work
) -> int:
    return await change(work, ids, now)


def _missing(database: Database) -> LedgerMissingError:
    return LedgerMissingError(f"there is no campaign of this name in {database.shown}")


def _error(failure: Failure) -> LedgerError:
    if failure.kind == "closed":
        return LedgerError("the ledger is closed")
    return LedgerError(f"the ledger failed: {failure.text}")
