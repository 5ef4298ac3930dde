"""`StoreInbox`: store first, answer 200, handle afterwards; the same over every store.

It takes events in, starts, drains and keeps house. `scheduler` decides what becomes of each event; the store
decides where events are kept.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from types import TracebackType
from typing import Self, Unpack

import anyio

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    InboxError,
    InboxFullError,
    InboxLostError,
    LostClaimError,
)
from nexmo_dispatch_webhooks.inbox.attempt import AttemptRunner
from nexmo_dispatch_webhooks.inbox.backlog import Backlog
from nexmo_dispatch_webhooks.inbox.changes import Changes
from nexmo_dispatch_webhooks.inbox.monotonic_times import to_monotonic
from nexmo_dispatch_webhooks.inbox.record_reader import RecordReader, check_retry, states_to_purge
from nexmo_dispatch_webhooks.inbox.records import (
    InboxHealth,
    NewRecord,
    PendingEvent,
    RecordState,
    make_record,
)
from nexmo_dispatch_webhooks.inbox.retention import RetentionSchedule
from nexmo_dispatch_webhooks.inbox.scheduler import Scheduler
from nexmo_dispatch_webhooks.inbox.settings import InboxOptions, InboxSettings
from nexmo_dispatch_webhooks.inbox.shared_claims import SharedClaims
from nexmo_dispatch_webhooks.inbox.store import InboxStore, RecordChoice, is_shared
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import log_failure, logger
from nexmo_dispatch_webhooks.routing import Router
from nexmo_dispatch_webhooks.sansio import RawRequest

__all__ = ["StoreInbox"]

#: Maximum number of pending events that stay parsed in memory, and the maximum bytes of each body; other
#: events are read from the store when their turn comes.
_IN_MEMORY, _SMALL = 1000, 4096
#: Seconds for which health shows that an event had no room.
_FULL_FOR = 10.0
#: Of the loops that handle events, of housekeeping, and of what takes events of a shared store.
_Scopes = tuple[anyio.CancelScope, anyio.CancelScope, anyio.CancelScope]


class StoreInbox(RecordReader):
    """An inbox: keeps events in a store, handles them afterwards, and shows what is there.

    Args:
        store: Where events are kept.
        **options: The fields of `InboxSettings`.

    Raises:
        ConfigurationError: A setting is out of its range.
    """

    def __init__(self, store: InboxStore, **options: Unpack[InboxOptions]) -> None:
        super().__init__(store)
        self.settings: InboxSettings = InboxSettings(**options)
        # parts
        self._scheduler = Scheduler(store, self.settings)
        self._retention = RetentionSchedule(self.settings)
        self._backlog = Backlog(self.settings)
        self._changes = Changes()
        self._runner: AttemptRunner | None = None
        self._claims: SharedClaims | None = None
        if is_shared(store):
            self._claims = self._scheduler.claims = SharedClaims(store, self._scheduler, self.settings)
        # state
        # whether the store has to be read before anything new is scheduled, and what arrives meanwhile, which
        # counts for `max_pending` and holds no more contents than the lanes do
        self._stale, self._gathered = False, list[PendingEvent]()
        self._refreshing = asyncio.Lock()
        self._reading: anyio.CancelScope | None = None
        self._task: asyncio.Task[None] | None = None
        self._scopes: _Scopes | None = None
        self._active = False
        # counts
        self._storing, self._duplicates, self._not_stored, self._full_at = True, 0, 0, -math.inf

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.store!r}: {self.health().state}, {self._scheduler.lanes!r}>"

    # --- start and end ---

    async def __aenter__(self) -> Self:
        await self._open_store()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self, router: Router) -> None:
        """Start to store and to handle events, those of an earlier run first.

        While another process handles the events of this store, this process only stores; it takes over when
        the other process ends.

        Args:
            router: The handlers; frozen.

        Raises:
            InboxError: The store cannot be opened.
            ConfigurationError: The inbox is started already, since it belongs to one receiver; or no event
                loop of asyncio runs.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "no event loop of asyncio runs: serve a receiver with an inbox on one, trio is not supported"
            ) from None
        await self._open_store()
        if self._task is not None:
            raise ConfigurationError("the inbox is started already: each receiver needs its own")
        self._runner = AttemptRunner(router, self.store, self.settings)
        self._scheduler.begin(self._runner)
        scopes = self._scopes = anyio.CancelScope(), anyio.CancelScope(), anyio.CancelScope()
        begun = asyncio.Event()
        # A task owned by `start` and `aclose`: frameworks may call the two from different tasks, which a task
        # group does not allow. Everything else runs in the task group inside this task.
        self._task = asyncio.create_task(self._live(scopes, begun), name="inbox")
        try:
            if self._claims is None:
                await self._take_over()
            else:
                await self._read_backlog()
                self._active = True
        except BaseException:
            scopes[0].cancel()
            await self.aclose()  # its connections would keep the process from ending
            raise
        begun.set()

    async def aclose(self) -> None:
        """Refuse new events, handle pending events for up to `drain` seconds, and close the store.

        Remaining events, and events that wait for another attempt, are handled after the next start.
        """
        try:
            await self._drain()
        finally:
            await self._closing.run(self._close)

    async def _drain(self) -> None:
        """Let the workers handle what is pending; a cancellation of the caller shortens that."""
        if self._task is None or self._scopes is None:
            return
        _, house, taking = self._scopes
        house.cancel()
        taking.cancel()
        self._scheduler.stop()
        await asyncio.wait({self._task}, timeout=self.settings.drain)

    async def _close(self) -> None:
        task, scopes = self._task, self._scopes
        try:
            if task is not None and scopes is not None:
                if not task.done():
                    logger.warning(
                        "the inbox stops with %d pending events, which are handled after the next start",
                        len(self._scheduler.lanes),
                    )
                    scopes[0].cancel()
                await asyncio.wait({task})
                if not task.cancelled() and (error := task.exception()) is not None:
                    log_failure("the inbox", error)
        finally:
            self._task, self._active, self.store.on_added = None, False, None
            self._gathered.clear()
            self._scheduler.forget()
            self._retention.forget()
            await self.store.aclose()

    async def _live(self, scopes: _Scopes, begun: asyncio.Event) -> None:
        workers, house, taking = scopes
        with workers:
            async with anyio.create_task_group() as keeping:
                keeping.start_soon(self._keep_claim)
                await begun.wait()
                async with anyio.create_task_group() as group:
                    for _ in range(self.settings.concurrency):
                        group.start_soon(self._scheduler.work)
                    if self._claims is not None:
                        group.start_soon(self._take_shared, self._claims, taking)
                    group.start_soon(self._keep_house, house)
                keeping.cancel_scope.cancel()  # not before: a handler may run for longer than a lease

    async def _take_shared(self, claims: SharedClaims, scope: anyio.CancelScope) -> None:
        with scope:
            await claims.run()

    # --- new events ---

    async def put(self, request: RawRequest, context: Context, event: Event | None) -> None:
        """Store an event durably, then return; the handlers run afterwards.

        Args:
            request: The request, which was verified.
            context: Path, time and claims of the request.
            event: The parsed body; None for a body that is no JSON object, which is quarantined.

        Raises:
            InboxFullError: `max_pending` events are pending, or the store is full.
            InboxError: The store failed.
        """
        if self._is_crowded():
            most, self._not_stored = self.settings.max_pending, self._not_stored + 1
            why = self._runner.longest() if self._runner is not None else ""
            raise InboxFullError(
                f"too many events are pending: max_pending is {most}. Mend their handler{why}"
            )
        try:
            record_id = await self.store.add(make_record(request, context, event))
        except InboxError as error:
            self._storing, self._not_stored = False, self._not_stored + 1
            if isinstance(error, InboxFullError):
                self._retention.full, self._full_at = True, self.settings.monotonic()
            raise
        self._storing = True
        if record_id is None:
            self._duplicates += 1
            return
        if not self._is_alone:
            self._backlog.note_stored()
        if event is None:
            self._scheduler.note_unparsable(record_id)

    @property
    def _known(self) -> int:
        """The number of pending events in memory."""
        return len(self._scheduler.lanes) + len(self._gathered)

    @property
    def _is_alone(self) -> bool:
        """Whether this process handles all events, and so knows each pending one."""
        return self._active and self._claims is None

    def _is_crowded(self) -> bool:
        return max(self._known, self._backlog.pending) >= self.settings.max_pending

    def _added(self, record_id: int, record: NewRecord) -> None:
        """Schedule a new, durable event; called in the order of the ids."""
        now = self.settings.monotonic()
        item = PendingEvent(record_id, record.lane, record.received_at, kind=record.kind, since=now)
        if self._known < _IN_MEMORY and len(record.body) <= _SMALL:
            item.event, item.context = record.event, record.context
        if self._stale:
            self._gathered.append(item)
            return
        self._scheduler.lanes.add(item)
        self._scheduler.notifier.notify()

    async def _take_over(self) -> None:
        """Become the process that handles events, unless there is another."""
        if not await self.store.claim():
            await self._backlog.read(self.store)
            return
        self._active = True
        self._backlog.forget()
        self.store.on_added = self._added
        await self._refresh()

    def _stand_by(self) -> None:
        """Leave all events to the process that has the claim now; nothing that is still being read counts."""
        self._active, self.store.on_added = False, None
        self._gathered.clear()
        self._scheduler.lanes.leave_to_others()
        if self._reading is not None:
            self._reading.cancel()

    async def _refresh(self) -> None:
        """Schedule pending events that other processes stored, or that an operator retried.

        Events that arrive meanwhile follow; after a failure in a later round, so that none overtakes another.
        """
        self._changes.unread = True
        async with self._refreshing:
            self._stale, lanes, settings = True, self._scheduler.lanes, self.settings
            self._changes.unread = False
            items, new = list[PendingEvent](), list[PendingEvent]()
            with anyio.CancelScope() as reading:
                self._reading = reading
                items = await self.store.pending()
                # before the next wait, in which an event may end whose mark cannot be written yet
                new = [item for item in items if item.id not in lanes]
                await self._count()
            if reading.cancel_called or not self._active:  # the claim was lost meanwhile
                return
            self._stale = False
            lanes.hurry(frozenset(item.id for item in items if not item.due and item.id in lanes))
            to_monotonic(new, epoch=settings.clock(), now=settings.monotonic(), retry=settings.retry)
            for item in (*new, *self._gathered):  # what was gathered may have been read too
                if item.id not in lanes:
                    lanes.add(item)
            self._gathered.clear()
            self._scheduler.notifier.notify()

    async def _count(self) -> None:
        """Read the number of quarantined records from the store; other processes change it too."""
        self._scheduler.quarantined = (await self.store.count()).quarantined

    # --- housekeeping: due retries, other processes, retention ---

    async def _keep_house(self, scope: anyio.CancelScope) -> None:
        poll, more = self.settings.poll, False
        with scope:
            while True:
                due = self._scheduler.lanes.next_due
                wait = poll if due is None else min(poll, max(0.0, due - self.settings.monotonic()))
                await self.settings.sleep(0.0 if more else wait)
                try:
                    more = await self._look_around()
                except InboxLostError:  # the store has logged it
                    more = self._storing = False
                except LostClaimError:  # the next renewal finds it too, and says so
                    more = False
                except Exception as error:  # noqa: BLE001 - the next round may succeed, and pending events need it
                    more = False
                    self._scheduler.note_trouble(error)

    async def _look_around(self) -> bool:
        """Do one round of housekeeping; return whether the next one is due at once."""
        now = self.settings.monotonic()
        if self._scheduler.lanes.release(now):
            self._scheduler.notifier.notify()
        if self._runner is not None:
            self._runner.expire()
        keeps_house = await (self._follow_claim() if self._claims is None else self._share())
        rounds = self._retention.rounds
        more = keeps_house and await self._retention.piece(self.store, now=now, epoch=self.settings.clock())
        if self._retention.rounds != rounds:
            await self._count()
            if await self.store.writable():  # what was forgotten made room
                self._full_at = -math.inf
        if not self._storing:
            self._storing = await self.store.writable()
        return more

    async def _keep_claim(self) -> None:
        """Renew the claim, however long housekeeping or the reading of pending events takes meanwhile."""
        while True:
            await self.settings.sleep(self.settings.poll)
            try:
                if self._claims is not None:
                    await self._claims.extend()
                elif self._active and not await self.store.claim():
                    self._stand_by()
            except InboxLostError:  # the store has logged it
                self._storing = False
            except Exception as error:  # noqa: BLE001 - the next renewal may succeed
                self._scheduler.note_trouble(error)

    async def _follow_claim(self) -> bool:
        """Handle events if no other process does; return whether this one does."""
        if not self._active:
            self._scheduler.lanes.leave_to_others()  # also what was being handled when the claim was lost
            await self._take_over()
        elif await self._changes.found_by(self.store.changed()) or self._stale:
            await self._refresh()
        return self._active

    async def _share(self) -> bool:
        """Read the numbers of a shared store; return whether this process is the one that keeps house."""
        await self._read_backlog()
        if await self.store.claim():
            return True
        self._retention.forget()
        return False

    async def _read_backlog(self) -> None:
        """Read the numbers of a shared store."""
        await self._backlog.read(self.store)
        self._scheduler.quarantined = self._backlog.counts.quarantined

    # --- for operators and probes ---

    async def idle(self) -> None:
        """Wait until this process handles no event, and no event of the store is ready for it.

        Events between two attempts do not count, nor do those that another process handles, nor what a
        failing store may have besides the events in memory.

        Raises:
            InboxError: A store that several processes share failed.
        """
        while self._task is not None:
            await self._scheduler.idle()
            if not await self._look_for_more():
                return

    async def _look_for_more(self) -> bool:
        """Look in the store for events that are ready; return whether there are any."""
        if self._claims is not None:
            more = await self._claims.take_more()
            if not more:
                await self._read_backlog()
            return more or not self._scheduler.is_idle
        with suppress(InboxError):  # the next poll meets with it too, and says so
            look = self._active and not self.store.lapsed
            if look and (await self._changes.found_by(self.store.changed()) or self._stale):
                await self._refresh()
        return not self._scheduler.is_idle  # a store that fails says again and again that it changed

    def health(self) -> InboxHealth:
        """Return the state and the numbers of the inbox; cheap, for probes."""
        if self._task is None:
            state = "closed"
        elif self._task.done():
            state = "failed"
        elif self._scheduler.stopping:
            state = "draining"
        else:
            state = "running" if self._active else "standby"
        alone, since, backlog = self._is_alone, self._scheduler.lanes.oldest, self._backlog.counts
        waited = 0.0 if since is None else self.settings.monotonic() - since
        # A full store takes a small event, or one that a deletion made room for, between two that it refuses.
        was_full = self.settings.monotonic() - self._full_at < _FULL_FOR
        return InboxHealth(
            state,
            self._storing and not was_full,
            self._known if alone else max(self._known, backlog.pending),
            self._scheduler.lanes.retrying + backlog.retrying,
            waited if alone else self._backlog.lag,
            self._scheduler.quarantined if self._active else backlog.quarantined,
            self._duplicates,
            self._scheduler.unhandled,
            self._is_crowded(),
            self._not_stored,
        )

    async def retry(
        self, which: RecordChoice = "all", *, handler: str | None = None, kind: str | None = None
    ) -> int:
        """Handle quarantined records, or records that wait for their next attempt, again at once.

        Handlers that succeeded are not run again. A body that was no JSON object is read again, by `parse`.
        In another process the call takes effect there within `poll` seconds.

        Args:
            which: An id, or `"all"`.
            handler: Only records in which the handler of this name failed.
            kind: Only records of this kind; `unparsable` for bodies that were no JSON object.

        Returns:
            The number of records.

        Raises:
            ConfigurationError: *which* is neither, or a text is one that no store takes.
        """
        check_retry(which, handler, kind)
        await self._open_store()
        found = await self._changes.made_by(self.store.retry(which, handler=handler, kind=kind))
        if self._active and found and self._claims is None:
            await self._refresh()
        return found

    async def purge(
        self, state: RecordState = "handled", *, record_id: int | None = None, older_than: float | None = None
    ) -> int:
        """Forget the content of finished records before the retention does.

        The key of each record is kept, so a late repetition is not handled again.

        Args:
            state: `handled` or `quarantined`.
            record_id: Only this record, handled or quarantined.
            older_than: Only records that arrived more than so many seconds ago.

        Returns:
            The number of records.

        Raises:
            ConfigurationError: The state is another: pending records were acknowledged and not yet handled.
                Or *older_than* is no number of seconds, or *record_id* no id.
        """
        states = states_to_purge(state, record_id, older_than)
        await self._open_store()
        before = None if older_than is None else self.settings.clock() - older_than
        which: RecordChoice = "all" if record_id is None else record_id
        found = await self._changes.made_by(self.store.purge(which, states=states, before=before))
        if self._active and found:
            await self._count()
        return found
