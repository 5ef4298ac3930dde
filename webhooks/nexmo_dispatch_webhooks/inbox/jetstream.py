"""`JetStreamInboxStore`: events in streams of NATS JetStream, which any number of processes fill.

One process holds a lease and handles the events; what it writes is fenced by the revision of its lease. Calls
of `finish` that come together share an atomic batch. How an event lies in the streams is in `jetstream_rows`.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
from collections.abc import Callable, Sequence
from typing import Final, Unpack

import msgspec

from nexmo_dispatch_core.documentation import read_on
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.lease import Lease, LostLeaseError
from nexmo_dispatch_core.jetstream.stream import Write
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.exceptions import ConfigurationError, InboxError, LostClaimError
from nexmo_dispatch_webhooks.inbox import jetstream_rows as rows
from nexmo_dispatch_webhooks.inbox.jetstream_events import EventStreams, inbox_error, together
from nexmo_dispatch_webhooks.inbox.jetstream_rows import Ages, Handled, OpenState, Report
from nexmo_dispatch_webhooks.inbox.jetstream_settings import JetStreamOptions, JetStreamSettings
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

__all__ = ["JetStreamInboxStore"]

_GROUP, _MARK_DELAY = 500, 0.01  # the most marks of one batch, and the seconds that a mark waits for others
_MARK_AGAIN: Final = 1.0  # seconds until marks that could not be written are tried again
#: Events of other processes that are read at the same time, and that are kept until they are handled.
_AT_ONCE, _IN_MEMORY = 64, 1000


class JetStreamInboxStore:
    """Keeps events in JetStream; see `InboxStore` for the contract of each method.

    Args:
        url: `nats://user:password@one:4222,two:4222/name?credentials=FILE`.
        clock: Returns epoch seconds.
        monotonic: Returns seconds that no change of the clock affects.
        lease: Seconds without a sign of life after which another process handles the events.
        **options: The fields of `JetStreamSettings`.

    Raises:
        ConfigurationError: A setting is out of its range, or the URL cannot be read.
    """

    transactional = False
    shared = False

    def __init__(
        self,
        url: str,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        lease: float = 30.0,
        **options: Unpack[JetStreamOptions],
    ) -> None:
        self.settings: JetStreamSettings = JetStreamSettings(**options)
        self.on_added: AddedListener | None = None
        self._clock = clock
        try:
            self._connection = Connection(
                url, error=inbox_error, name="nexmo-dispatch inbox", timeout=self.settings.timeout
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._streams = EventStreams(self._connection, self.settings)
        self._names = self._streams.names
        self._lease = Lease(self._streams.states, self._names.lease, seconds=lease, monotonic=monotonic)
        # whether this process handles events, and whether it ever did: then all that it writes is fenced
        self._handles = self._fenced = False
        # whether this process handled events and gave no sign of life for too long: it has to look anew
        self._unsure = False
        # the newest id that `pending` or `on_added` told, own events on their way there, and those of others
        self._told = 0
        self._fresh: dict[int, NewRecord] = {}
        self._contents: dict[int, Record] = {}
        self._telling = asyncio.Lock()
        self._hearing: asyncio.Task[None] | None = None
        self._heard = False
        self._connection.listen(self._names.hints, self._hear)
        # arrivals of pending events by id, as far as they were told; None before
        self._pending: dict[int, float] | None = None
        self._quarantined = 0
        # pending events with a state after a failed attempt, or after an operator retried them
        self._opened: dict[int, OpenState] = {}
        self._counted: RecordCounts | None = None
        # ids whose state changed while `pending` reads
        self._changing: set[int] | None = None
        self._retried: int = 0
        # work for the next batch
        self._marks: list[tuple[int, float]] = []
        self._marking: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()
        self._closing = asyncio.Event()

    @shows_unfinished
    def __repr__(self) -> str:
        state = "open" if self._connection.is_open else "closed"
        return f"<JetStreamInboxStore in {self._connection.shown}, {state}>"

    # --- opening and closing ---

    async def open(self) -> None:
        """Connect, and make the streams that are missing; say what a failure would lose."""
        if self._connection.is_open:
            return
        await self._connection.open()
        try:
            await self._streams.require()
            replicas = await self._streams.replicas()
        except BaseException:
            await self._connection.aclose()
            raise
        self._closing.clear()
        if replicas < 3:
            logger.warning(
                "the inbox on NATS has %d replica: while its server is away callbacks are refused, and with "
                "its disk events are lost; see %s",
                replicas,
                read_on("nats"),
            )

    async def aclose(self) -> None:
        """Write what is waiting, give up the lease, and disconnect."""
        if not self._connection.is_open:
            return
        self._closing.set()
        try:
            for task in (self._marking, self._hearing):
                if task is not None:
                    await asyncio.wait({task})
            await self._write_marks()
            if self._lease.held:
                self._lease.report = self._report()
                await self._lease.give_up()
        except InboxError as error:  # events whose marks cannot be written are handled again
            logger.warning("the inbox closes without its last marks: %s", error)
        finally:
            self._stand_by()
            self._marks, self._handles = [], False
            await self._connection.aclose()

    def _stand_by(self) -> None:
        self._pending, self._unsure = None, False
        self._opened.clear()
        self._fresh.clear()
        self._contents.clear()

    # --- new events ---

    async def add(self, record: NewRecord) -> int | None:
        """Store an event, and tell the process that handles events."""
        record_id = await self._streams.add(record)
        if record_id is None:
            return None
        if self.on_added is None:
            await self._connection.tell(self._names.hints)
            return record_id
        self._fresh[record_id] = record
        try:
            await self._tell(record_id)
        except InboxError as error:
            self._streams.note_untold(error)
        finally:
            self._fresh.pop(record_id, None)
        return record_id

    async def _tell(self, newest: int) -> None:
        """Tell the listener all events up to an id, in the order of their ids, those of others included."""
        async with self._telling:
            while self._told < newest and self.on_added is not None:
                self._told = max(self._told, self._streams.first - 1)
                ids = range(self._told + 1, min(newest, self._told + _AT_ONCE) + 1)
                others = [record_id for record_id in ids if record_id not in self._fresh]
                read = dict(zip(others, await together(map(self._streams.event, others)), strict=True))
                for record_id in ids:
                    record = self._fresh.pop(record_id, None)
                    if record is None and (found := read.get(record_id)) is not None:
                        record = rows.new_record(*found)
                        self._keep(record_id, record)
                    self._told = record_id
                    if record is not None and record.parsable:
                        self._on_new(record_id, record)

    def _on_new(self, record_id: int, record: NewRecord) -> None:
        self._counted = None
        if self._pending is not None:
            self._pending[record_id] = record.received_at
        if self.on_added is not None:
            self.on_added(record_id, record)

    def _keep(self, record_id: int, record: NewRecord) -> None:
        """Keep an event of another process, which is handled next, so that it is read once."""
        if len(self._contents) < _IN_MEMORY:
            event = rows.event_in(rows.encoded(record, Ages(), b""))
            state = OpenState(record.kind, record.lane, record.received_at)
            self._contents[record_id] = rows.record_of(record_id, event, state, body=True)

    def _hear(self, _: bytes | None) -> None:
        """Look for an event that another process stored, or whose hint was lost with a connection."""
        if self.on_added is None or self._closing.is_set():
            return
        self._heard = True
        if self._hearing is None or self._hearing.done():
            self._hearing = asyncio.create_task(self._follow(), name="inbox-follow")

    async def _follow(self) -> None:
        with contextlib.suppress(InboxError):  # `changed` finds what is left
            while self._heard and self.on_added is not None and not self._closing.is_set():
                self._heard = False
                await self._tell(await self._streams.newest())

    async def changed(self) -> bool:
        """Tell new events of others; return whether `pending` has to be read anew."""
        newest = await self._streams.newest()
        if self.on_added is None:
            self._told = max(self._told, newest)
        else:
            await self._tell(newest)
        found = await self._streams.states.last(self._names.retried)
        retried = 0 if found is None else found.seq
        changed = self._unsure or retried != self._retried
        self._retried, self._unsure = retried, False
        return changed

    # --- the lease ---

    @property
    def lapsed(self) -> bool:
        """Whether another process may handle the events by now."""
        if self._handles and (self._lease.lapsed or not self._lease.held):
            self._unsure = True
        return self._unsure

    async def claim(self) -> bool:
        """Take or renew the lease."""
        held = self._lease.held
        try:
            # a write may have found that it is lost: then what this process knows is out of date
            if (self._handles and not held) or not await self._lease.hold(self._report()):
                await self._lost()
                return False
        except InboxError:
            if held and self._lease.lapsed:
                self._unsure = True
                return False
            raise
        self._handles = self._fenced = True
        if not held:
            self._stand_by()
            await self._streams.read_ages()
        return True

    async def _lost(self) -> None:
        if self._handles:
            logger.warning("no sign of life for too long: another process handles the events now")
        self._handles = False
        self._stand_by()
        await self._streams.read_ages()
        await self._streams.newest()

    def _report(self) -> bytes:
        """Return what others read meanwhile."""
        if self._pending is None:
            return self._lease.report
        first = next(iter(self._pending), self._told + 1)
        report = Report(
            floor=min(first - 1, self._told),
            pending=len(self._pending)
            + sum(1 for record_id in self._opened if record_id not in self._pending),
            quarantined=self._quarantined,
            oldest=next(iter(self._pending.values()), None),
            retrying=len(self._opened),
        )
        return msgspec.json.encode(report)

    # --- results ---

    def finish(self, record_id: int, token: int = 0) -> None:
        """Mark a record together with others."""
        self._marks.append((record_id, self._clock()))
        self._note_change(record_id)
        if self._marking is None or self._marking.done():
            self._marking = asyncio.create_task(self._mark(), name="inbox-mark")

    def _note_change(self, record_id: int) -> None:
        self._counted = None
        self._contents.pop(record_id, None)
        if self._changing is not None:
            self._changing.add(record_id)

    async def _mark(self) -> None:
        """Write marks in groups; after a failure the same ones again, until the process ends."""
        while self._marks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MARK_DELAY):
                    await self._closing.wait()
            try:
                await self._write_marks()
            except InboxError as error:
                self._streams.note_unmarked(error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_MARK_AGAIN):
                        await self._closing.wait()
                if self._closing.is_set():
                    return

    async def _write_marks(self) -> None:
        self._counted = None
        async with self._writing:
            while self._marks:
                group = dict(self._marks[:_GROUP])
                number = len(self._marks[:_GROUP])
                writes = [self._streams.handling(n, self._handled(n, at)) for n, at in group.items()]
                try:
                    await self._write(writes)
                except LostLeaseError:
                    logger.warning(
                        "%d events were handled after the lease was lost, and may be again", len(self._marks)
                    )
                    self._marks.clear()
                    return
                del self._marks[:number]
                if self._pending is not None:
                    for record_id in group:
                        self._pending.pop(record_id, None)
                await self._streams.tidy([n for n in group if self._opened.pop(n, None) is not None])

    def _handled(self, record_id: int, at: float) -> Handled:
        known = self._opened.get(record_id)
        return Handled(at) if known is None else Handled(at, known.attempts, known.done)

    async def _write(self, writes: Sequence[Write]) -> None:
        """Store states, fenced by the lease once this process has handled events.

        Raises:
            LostLeaseError: Another process handles the events.
        """
        if self._fenced:
            await self._lease.write(writes, self._report())
        else:
            await self._streams.states.put_together(writes)

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Refuse: JetStream takes part in no transaction of a database."""
        raise InboxError("the inbox on NATS has no transactions")

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
        before = self._opened.get(record_id)
        state = msgspec.structs.replace(
            await self._streams.state_for(record_id),
            quarantined=due is None,
            attempts=attempts,
            due=due or 0.0,
            done=tuple(done) if before is None else tuple(dict.fromkeys((*before.done, *done))),
            failed=tuple(failed),
        )
        async with self._writing:
            try:
                await self._write([self._streams.opening(record_id, state)])
            except LostLeaseError:
                raise LostClaimError(
                    f"another process may have record {record_id}: nothing was stored"
                ) from None
        self._note_change(record_id)
        if self._pending is not None:
            self._pending.pop(record_id, None)
        if due is None:
            self._opened.pop(record_id, None)
            self._quarantined += 1
        else:
            self._opened[record_id] = state

    # --- reading, and what operators do ---

    async def pending(self) -> builtins.list[PendingEvent]:
        """Return all pending events, and begin to tell those that come."""
        await self._write_marks()
        report = rows.report_in(self._report())
        floor = 0 if report is None else report.floor
        self._changing = set()
        try:
            async with self._telling:
                last = await self._streams.newest()
                self._told = max(self._told, last)
            found = await self._streams.pending(floor, last)
            changed = self._changing
        finally:
            self._changing = None
        states = {n: one for n, one in found.items() if not one.quarantined and n not in changed}
        self._counted = rows.counts_of(found.values())
        self._quarantined = self._counted.quarantined
        later = {n: at for n, at in (self._pending or {}).items() if n > last}
        unwritten = {n: at for n, at in (self._pending or {}).items() if n in changed}
        self._opened = {
            n: one for n, one in states.items() if one != OpenState(one.kind, one.lane, one.received_at)
        }
        fresh = {n: one.received_at for n, one in states.items() if n not in self._opened}
        self._pending = dict(sorted((fresh | unwritten | later).items()))
        self._unsure = False
        return [rows.pending_event(record_id, one) for record_id, one in states.items()]

    async def load(self, record_id: int) -> Record:
        """Return one record with its body."""
        if (known := self._contents.pop(record_id, None)) is not None:
            return known
        if any(marked == record_id for marked, _ in self._marks):  # else it would cut every batch short
            await self._write_marks()
        return await self._streams.record(record_id)

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Return records by ascending id."""
        await self._write_marks()
        return await self._streams.listed(state, limit=limit, after=after)

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make records pending and due now."""
        await self._write_marks()
        return await self._streams.retry(which, handler=handler, kind=kind)

    async def summary(self) -> builtins.list[FailureTally]:
        """Count what failed."""
        await self._write_marks()
        return rows.tallies((await self._streams.opened()).values())

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget contents."""
        await self._write_marks()
        chosen = await self._streams.chosen(states, before)
        ids = [record_id for record_id in chosen if which in ("all", record_id)]
        return await self._streams.forget(ids, erase=which != "all")

    async def aged_at(self) -> float | None:
        """Return the time of the last call of `age`."""
        await self._streams.read_ages()
        return self._streams.ages.at

    async def age(self, *, measured: float, by_clock: float, epoch: float, newest: bool) -> None:
        """Add to both ages of the inbox; each event knows them as they were at its arrival."""
        await self._streams.read_ages()
        before = self._streams.ages
        ages = Ages(before.measured + measured, before.by_clock + by_clock, epoch)
        try:
            await self._write([self._streams.aging(ages)])
        except LostLeaseError:
            raise LostClaimError("another process keeps house: nothing was stored") from None
        self._streams.ages = ages

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """Do one piece of the retention."""
        await self._write_marks()
        return await self._streams.prune(handled=handled, quarantined=quarantined, keys=keys)

    async def writable(self) -> bool:
        """Return whether there is room for another event."""
        return await self._streams.has_room()

    async def count(self) -> RecordCounts:
        """Count pending and quarantined records; the process that handles events tells the others."""
        if self._counted is not None:  # `pending` has just read all of them
            return self._counted
        await self._write_marks()
        report = rows.report_in(self._lease.report)
        if report is not None and not self._lease.held:
            return RecordCounts(report.pending, report.quarantined, report.oldest, report.retrying)
        floor = 0 if report is None else report.floor
        counts = rows.counts_of((await self._streams.pending(floor, await self._streams.newest())).values())
        self._quarantined = counts.quarantined
        return counts
