"""`JetStreamLedger`: a campaign in a stream of NATS JetStream, which any number of processes work through.

Each process knows all rows from the messages of the stream, decides, and stores its changes in one atomic
batch whose conditions are the sequences that it decided by. Where another process was faster nothing is
stored; the process reads what is new and decides again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Self

import msgspec
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger import jetstream_claims as claims
from nexmo_dispatch_async.bulk.ledger import jetstream_results as changes
from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.cancelled_claims import CancelledClaims
from nexmo_dispatch_async.bulk.ledger.jetstream_batches import PIECE, QUIET, Batches
from nexmo_dispatch_async.bulk.ledger.jetstream_journal import Journal, campaign_stream, lost, require
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import Head, Marker, Names
from nexmo_dispatch_async.bulk.ledger.jetstream_work import Work
from nexmo_dispatch_async.bulk.ledger.memory import new_reference
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause, SharedRates
from nexmo_dispatch_async.bulk.ledger.records import (
    STATES,
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
from nexmo_dispatch_async.bulk.ledger.transitions import amount
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    LedgerCopiedError,
    LedgerError,
    LedgerMissingError,
    PlanChangedError,
)
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.durability import Durability, all_sync_always, require_durable
from nexmo_dispatch_core.jetstream.failures import Failure, WrongSequenceError
from nexmo_dispatch_core.jetstream.stream import Write
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["JetStreamLedger"]
#: Seconds by which the replicas of a stream differ in when it was made: its restoration took so long.
RESTORING = 60.0
#: How often grants are computed anew because another process was faster.
_LEASE_TRIES = 50


class JetStreamLedger:
    """A `Ledger` in a stream of NATS JetStream; `JetStreamLedger.open` makes it.

    Attributes:
        name: Of the campaign.
        opt_outs: The opt-out list that claims look into: the one that was given, or the campaign's own.
        reaped: How many rows of dead processes became `unknown` when this one was opened.
    """

    #: Several processes work with it at once.
    shared: bool = True

    def __init__(
        self,
        url: str,
        connection: Connection,
        name: str,
        opt_outs: OptOutList | None,
        *,
        timeout: float,
        observer: bool,
        lease: float,
        replicas: int | None,
        max_bytes: int | None,
        clock: Callable[[], float],
    ) -> None:
        self.name = name
        self._connection = connection
        self._clock = clock
        self._observes = observer
        self._given = opt_outs
        self._stream = campaign_stream(connection, replicas=replicas, max_bytes=max_bytes)
        own = JetStreamOptOutStore(url, name=name, own=True, timeout=timeout)
        self.opt_outs: OptOutList = opt_outs if opt_outs is not None else OptOutList(own, clock=clock)
        store = own if opt_outs is None else opt_outs.store
        if not isinstance(store, JetStreamOptOutStore) or not store.is_within(connection):
            raise ConfigurationError(
                "opt_outs must be in the same space: give OptOutList(JetStreamOptOutStore(url))"
            )
        self._names = Names(connection.space, name)
        self._journal = Journal(connection, self._stream, self._names, store.names, seconds=lease)
        self._batches = Batches(self._journal, shared=opt_outs is not None, lease=lease, clock=clock)
        self.reaped: int = 0
        self._closed = False
        self._closing = Closing()
        self._claims = CancelledClaims(self.record, clock=clock)

    @classmethod
    async def open(
        cls,
        url: str,
        name: str,
        *,
        opt_outs: OptOutList | None = None,
        observer: bool = False,
        create: bool = True,
        accept_loss: bool = False,
        restored: bool = False,
        lease: float = 120.0,
        replicas: int | None = None,
        max_bytes: int | None = None,
        timeout: float = 15.0,  # noqa: ASYNC109 - of each call of the ledger
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open a campaign, or make it; rows that dead processes were sending become `unknown`.

        Args:
            url: `nats://user@one:4222,two:4222/space?monitor=http://one:8222`; see `read_address`.
            name: Of the campaign: a space holds any number of them.
            opt_outs: Opt-out list in the same space that campaigns share:
                `OptOutList(JetStreamOptOutStore(url))`. By default the campaign has its own.
            observer: Look at it: read, count, and ask for something with `control`. All else is refused.
            create: False raises `LedgerError` when there is no such campaign.
            accept_loss: Also use a stream that may lose what it acknowledged: a `sending` that is lost
                messages a person twice. The campaign keeps this decision.
            restored: Go on with a stream that was put back from a backup, or copied. Rows that were sent from
                the original since are sent again.
            lease: Seconds without a sign of life until others take this process for dead (a day at most).
            replicas: Of a stream that is made; None for 3 in a cluster and 1 on a single server.
            max_bytes: Bytes after which a stream that is made is full; None for the limit of the server.
            timeout: Seconds until a call has failed.
            clock: Gives epoch seconds, for what no caller brings a time.

        Raises:
            LedgerError: The stream cannot be used, or may lose what it acknowledged.
            LedgerCopiedError: The stream was put back from a backup or copied, and *restored* is False.
            ConfigurationError: *opt_outs* is somewhere else, or another argument cannot be used.
        """
        try:
            connection = Connection(url, error=_error, name="nexmo-dispatch campaign", timeout=timeout)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        ledger = cls(
            url,
            connection,
            name,
            opt_outs,
            timeout=timeout,
            observer=observer,
            lease=lease,
            replicas=replicas,
            max_bytes=max_bytes,
            clock=clock,
        )
        try:
            await connection.open()
            await ledger._begin(create=create, accept_loss=accept_loss, restored=restored)
        except BaseException:
            await ledger.aclose()
            raise
        return ledger

    async def _begin(self, *, create: bool, accept_loss: bool, restored: bool) -> None:
        await require(self._stream, create=create)
        view = self._journal.view
        await self._journal.read()
        if not view.head_seq and not create:
            raise LedgerMissingError(f"there is no campaign of this name in {self._connection.shown}")
        stream = await self._stream.state()
        if self._observes:
            if not view.head_seq:
                await self._make(stream.created)
            return
        head = view.head
        self._require_original(head, stream.created, restored=restored)
        accepted = head.accepts_loss or await self._require_durable(stream.replicas, accept_loss=accept_loss)
        if not view.head_seq:
            await self._make(stream.created)
        made = stream.created if restored or not head.stream_made else head.stream_made
        if view.head != (changed := replace(view.head, accepts_loss=accepted, stream_made=made)):
            await self._batches.run(partial(_store_head, changed))
        self.reaped = await self._batches.begin()

    def _require_original(self, head: Head, made: float, *, restored: bool) -> None:
        """Refuse a stream that was made after the campaign: an older state of it, put back from a backup."""
        if head.stream_made and made > head.stream_made + RESTORING and not restored:
            raise LedgerCopiedError(
                f"the stream {self._stream.name} was put back from a backup, or copied: rows that are "
                "pending here may have been sent since. If the original is not used and was not used since, "
                "open it with restored=True (--restored)"
            )

    async def _require_durable(self, replicas: int, *, accept_loss: bool) -> bool:
        """Refuse a stream that may lose something, unless that is accepted; return whether it is."""
        durability = Durability(replicas, await all_sync_always(self._connection.monitors, replicas))
        require_durable(self._connection, durability, accept_loss=accept_loss)
        return bool(durability.findings)

    async def _make(self, made: float) -> None:
        """Make the campaign, unless another process was faster."""
        head = form.encode(Head(self.name, new_reference(), stream_made=made))
        marker = Write(self._names.marker, form.encode(Marker()))
        with contextlib.suppress(WrongSequenceError):
            await self._stream.put_together([Write(self._names.head, head, 0), marker])
        await self._journal.read()
        if not self._journal.view.head_seq:
            raise lost(self._connection)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<JetStreamLedger in {self._connection.shown}, {'closed' if self._closed else 'open'}>"

    @property
    def reference(self) -> str:
        """Random text, made with the ledger."""
        return self._journal.view.head.reference

    @property
    def share(self) -> float:
        """One divided by the number of processes that send now."""
        return 1.0 / self._batches.turn.senders

    # --- the promises of `Ledger` ---

    async def describe(self, plan: bytes | None = None) -> bytes:
        """Return the plan, and freeze one."""
        if plan is None:
            async with self._batches.reading() as view:
                return view.head.plan
        self._require_owner()

        async def work(work: Work) -> bytes:
            head = work.view.head
            if head.plan not in {b"", plan}:
                raise PlanChangedError("the ledger holds another plan: start a new campaign for a new plan")
            if head.plan != plan:
                changed = replace(head, plan=plan)
                work.put(Write(self._names.head, form.encode(changed), work.view.head_seq))
            return plan

        return await self._batches.run(work, read=True)

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new."""
        self._require_owner()

        async def work(work: Work) -> Added:
            added = claims.add(work, rows, self._clock())
            await self._journal.require_room(work.size, added.added)
            return added

        return await self._batches.run(work)

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        """Record results and hand out rows."""
        self._require_owner()
        return await self._claims.rows_of(asyncio.ensure_future(self._claim(request, results, worker)))

    def guard(self) -> Callable[[], object]:
        """Return a check that no sign of life was late since, by clocks of the process."""
        return self._journal.tenure.guard()

    async def _claim(self, request: ClaimRequest, results: Sequence[Result], worker: str) -> list[Claimed]:
        self._journal.sends()
        if len(results) > PIECE:  # more than a batch has room for, after many sends at once
            await self.record(results[PIECE:])
            results = results[:PIECE]
        found: list[Claimed] = []
        more = True

        async def work(work: Work) -> list[Claimed]:
            nonlocal more
            changes.require_rows(work, results)
            await changes.record(work, results)
            rows = await claims.claim(work, request, worker, self._batches.turn)
            more = work.full  # so many rows were skipped that others may be behind them
            return rows

        while more and not found:
            found = await self._batches.run(work)
            results = ()
        # perhaps another process added rows since the last look
        return found or await self._batches.run(work, read=True)

    async def record(self, results: Sequence[Result]) -> None:
        """Record results, in pieces."""
        self._require_owner()

        async def check(work: Work) -> None:
            changes.require_rows(work, results)

        async def store(piece: Sequence[Result], work: Work) -> None:
            await changes.record(work, piece)

        await self._batches.run(check)
        for start in range(0, len(results), PIECE):
            await self._batches.run(partial(store, results[start : start + PIECE]))

    async def observe(self, news: Sequence[News]) -> Observed:
        """Merge what callbacks tell, in pieces."""
        self._require_owner()
        for one in news:
            amount(one.cost)
        found: list[bool | None] = []
        for start in range(0, len(news), PIECE):
            found += await self._observe(news[start : start + PIECE])
        unmatched = tuple(position for position, changed in enumerate(found) if changed is None)
        return Observed(changed=sum(map(bool, found)), unmatched=unmatched)

    async def _observe(self, news: Sequence[News]) -> list[bool | None]:
        async def work(chosen: Sequence[News], work: Work) -> list[bool | None]:
            return [changes.observe(work, one, self.reference) for one in chosen]

        found = await self._batches.run(partial(work, news))
        strange = [position for position, changed in enumerate(found) if changed is None]
        if strange:  # perhaps of a row that another process sent since the last look
            again = await self._batches.run(partial(work, [news[n] for n in strange]), read=True)
            for position, changed in zip(strange, again, strict=True):
                found[position] = changed
        return found

    async def reap(self, worker: str | None = None) -> int:
        """Turn `sending` rows into `unknown`: of a worker of this process, or of this and dead processes."""
        self._require_owner()
        process = self._journal.process
        found = await self._batches.reap(lambda view: view.sending(process, worker))
        return found + (await self._batches.reap_dead() if worker is None else 0)

    async def resend(self, ids: Iterable[int], *, state: Resendable = "unknown") -> int:
        """Put `unknown` or `refused` rows back to `pending`, in pieces."""
        self._require_owner()
        return await self._batches.in_pieces(ids, partial(changes.resend, now=self._clock(), state=state))

    async def drop(self, ids: Iterable[int], *, state: Droppable = "unknown") -> int:
        """Turn `unknown` or `pending` rows into `skipped`, in pieces."""
        self._require_owner()
        return await self._batches.in_pieces(ids, partial(changes.drop, now=self._clock(), state=state))

    async def expire(self, now: float, *, limit: int = 10_000) -> int:
        """Skip rows whose time is over, in pieces."""
        self._require_owner()
        checks.epoch("now", now)

        async def work(piece: int, work: Work) -> int:
            return claims.expire(work, now, piece)

        total, found, piece = 0, 1, 1
        while found == piece and total < limit:
            piece = min(PIECE, limit - total)
            found = await self._batches.run(partial(work, piece))
            total += found
        return total

    async def due(self) -> float | None:
        """Return when the next pending row is due."""
        async with self._batches.reading() as view:
            return view.pending.due()

    async def zones(self) -> frozenset[str]:
        """Return the zones of the pending rows."""
        async with self._batches.reading() as view:
            return frozenset(lane.zone for lane in view.pending.open_lanes())

    async def buckets(self) -> frozenset[str]:
        """Return the buckets of the pending rows."""
        async with self._batches.reading() as view:
            return frozenset(lane.bucket for lane in view.pending.open_lanes())

    async def lease(
        self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause] = (), *, now: float
    ) -> RateExchange:
        """Grant sends of shared rates, by the clocks of the processes; the call waits for no other call."""
        self._require_owner()
        for number in range(_LEASE_TRIES):
            found = await self._stream.last(self._names.rates)
            rates = SharedRates() if found is None else msgspec.json.decode(found.data, type=SharedRates)
            answer = rates.exchange(requests, pauses, now)
            if not requests and not pauses:
                return answer
            with contextlib.suppress(WrongSequenceError):
                data = msgspec.json.encode(rates)
                await self._stream.put(Write(self._names.rates, data, 0 if found is None else found.seq))
                return answer
            await asyncio.sleep(random.uniform(0, 0.002 * (number + 1)))  # noqa: S311 - no secret
        raise self._stream.busy()

    async def control(self, change: Change | None = None) -> Control:
        """Return what operators have asked for; an observer may ask as well."""
        if change is None:
            async with self._batches.reading() as view:
                return view.control
        return await self._batches.control(change)

    async def counts(self, *, verify: bool = False) -> Counts:
        """Return the counts, which come of the messages; with *verify* all of them are read anew."""
        async with self._batches.reading() as view:
            return (await self._journal.recount() if verify else view).tally.counts()

    async def scan(self, state: State | None = None, *, after: int = 0, limit: int = 1000) -> list[Row]:
        """Return rows by ascending id."""
        if state is not None and state not in STATES:
            raise LedgerError(f"there is no state {state!r}: it is one of {', '.join(STATES)}")
        code = None if state is None else form.code_of(state)
        found: list[Row] = []
        async with self._batches.reading() as view:
            for row_id in islice(view.ids(code, after), max(limit, 0)):
                chunk = await self._journal.chunk(view.chunk_of(row_id))
                found.append(form.row_of(row_id, chunk.rows[row_id - chunk.first], view.state(row_id)))
        return found

    async def forget(self, before: float) -> int:
        """Erase personal data of rows that are over, in pieces."""
        self._require_owner()
        checks.epoch("before", before)

        async def work(first: int, work: Work) -> tuple[int, bool]:
            return await changes.forget(work, first, before), work.full

        async with self._batches.reading() as view:
            chunks = view.chunks()
        total = 0
        for first in chunks:
            more = True
            while more:
                found, more = await self._batches.run(partial(work, first))
                total += found
        return total

    async def life(self) -> Life:
        """Return which other processes send for the campaign now."""
        async with self._batches.reading():
            return self._journal.life(QUIET, time.time(), observer=self._observes)

    async def aclose(self) -> None:
        """Give up what this process was sending, and disconnect."""
        self._closed = True
        await self._closing.run(self._close)

    async def _close(self) -> None:
        async with contextlib.AsyncExitStack() as stack:  # also after a cancellation
            if self._given is None:
                stack.push_async_callback(self.opt_outs.aclose)
            stack.push_async_callback(self._connection.aclose)
            await self._claims.settled()
            await self._batches.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _require_owner(self) -> None:
        if self._observes:
            raise LedgerError("the ledger is open for looking at it: open it without observer=True for that")


async def _store_head(head: Head, work: Work) -> None:
    """Keep decisions of an operator with the campaign, and when its stream was made."""
    changed = replace(work.view.head, accepts_loss=head.accepts_loss, stream_made=head.stream_made)
    work.put(Write(work.view.names.head, form.encode(changed), work.view.head_seq))


def _error(failure: Failure) -> LedgerError:
    if failure.kind == "closed":
        return LedgerError("the ledger is closed")
    kind = LedgerMissingError if failure.kind == "missing" else LedgerError
    return kind(f"the ledger failed: {failure.text}")
