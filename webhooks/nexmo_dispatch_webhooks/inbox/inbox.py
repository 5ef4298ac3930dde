"""`StoreInbox`: store first, answer 200, handle afterwards; the same over every store.

It takes events in, starts and ends, and keeps house. What becomes of an event is in `handling`, where events
are kept is the store's business.
"""

from __future__ import annotations

import asyncio
import builtins
import random
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio

from nexmo_dispatch_webhooks.events import Event, parse_event
from nexmo_dispatch_webhooks.exceptions import ConfigurationError, InboxError, InboxFullError, InboxLostError
from nexmo_dispatch_webhooks.inbox.attempt import AttemptRunner
from nexmo_dispatch_webhooks.inbox.monotonic_times import to_monotonic
from nexmo_dispatch_webhooks.inbox.records import (
    STATES,
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    make_record,
)
from nexmo_dispatch_webhooks.inbox.retention import RetentionSchedule
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy
from nexmo_dispatch_webhooks.inbox.scheduler import Scheduler
from nexmo_dispatch_webhooks.inbox.settings import HOUR, InboxHealth, check_settings
from nexmo_dispatch_webhooks.inbox.store import InboxStore, RecordChoice
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import log_failure, logger
from nexmo_dispatch_webhooks.routing import Router
from nexmo_dispatch_webhooks.sansio import RawRequest

__all__ = ["StoreInbox"]

#: So many waiting events, of so many bytes each, are kept in memory as they came; the others are read
#: again in their turn.
_IN_MEMORY, _SMALL = 1000, 4096


class StoreInbox:
    """Keeps events in a store, handles them afterwards, and shows what is there.

    Args:
        store: where events are kept.
        parse: reads stored bodies again, after a restart and at `retry`. Give your own to get bodies out of
            quarantine that `parse_event` refuses.
        concurrency: how many events are handled at the same time. Those that go to the same handlers take no
            more of these places than they leave free, so a slow handler holds up its own events only.
        retry: when a failed handler is tried again, and when its event is quarantined.
        handler_timeout: how long, in seconds and give or take `poll`, one handler may take; then it has
            failed. None for no limit.
        drain: how long, in seconds, to go on at shutdown; the rest is handled after the next start.
        max_pending: so many events may wait; more are refused (503), so that the service repeats them.
        keep: how long, in seconds, the content of a handled event is kept.
        keep_quarantined: how long, in seconds, a quarantined one is.
        remember: how long, in seconds, a repetition is recognised; the service repeats for 24 hours, by
            other sources for 72 (contract 5.10).
        poll: how often, in seconds, to look for retries that are due, and for changes of other processes.
        clock: gives epoch seconds.
        monotonic: gives seconds that no change of the clock disturbs; all waits and ages go by them.
        sleep: waits for a number of seconds.
        random: gives numbers from 0 to 1.

    Raises:
        ConfigurationError: a setting makes no sense.
    """

    def __init__(
        self,
        store: InboxStore,
        *,
        parse: Callable[[bytes], Event] = parse_event,
        concurrency: int = 64,
        retry: HandlerRetryPolicy | None = None,
        handler_timeout: float | None = 300.0,
        drain: float = 10.0,
        max_pending: int = 100_000,
        keep: float = 24 * HOUR,
        keep_quarantined: float = 30 * 24 * HOUR,
        remember: float = 73 * HOUR,
        poll: float = 1.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
        random: Callable[[], float] = random.random,
    ) -> None:
        check_settings(locals())  # the arguments; nothing else is there yet
        self.store = store
        # settings
        self._concurrency = concurrency
        self._handler_timeout = handler_timeout
        self._drain = drain
        self._max_pending = max_pending
        self._retention = RetentionSchedule(keep, keep_quarantined, remember)
        self._poll = poll
        self._clock, self._monotonic, self._sleep = clock, monotonic, sleep
        # state
        self._retry = retry or HandlerRetryPolicy()
        self._scheduler = Scheduler(
            store,
            concurrency=concurrency,
            parse=parse,
            retry=self._retry,
            poll=poll,
            clock=clock,
            monotonic=monotonic,
            random=random,
        )
        self._gathered: list[tuple[int, NewRecord]] | None = None
        self._worker: AttemptRunner | None = None
        self._task: asyncio.Task[None] | None = None
        self._scopes: tuple[anyio.CancelScope, anyio.CancelScope] | None = None
        self._active = False
        # of the store, while another process handles
        self._backlog = RecordCounts()
        self._backlog_since = 0.0
        # counts
        self._storing = True
        self._duplicates = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} on {self.store!r}: {self.health().state}, {self._scheduler.lanes!r}>"

    # --- the life of an inbox ---

    async def __aenter__(self) -> Self:
        await self.store.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def start(self, router: Router) -> None:
        """Begin to store and to handle, with what an earlier run left first.

        When another process handles the events of this store already, this one stores only, and takes over
        when the other ends.

        Args:
            router: the handlers; frozen.

        Raises:
            InboxError: the store cannot be opened.
            ConfigurationError: it is started already, and one inbox belongs to one receiver; or no event loop
                of asyncio runs.
        """
        if self._task is not None:
            raise ConfigurationError("the inbox is started already: each receiver needs its own")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "no event loop of asyncio runs: serve a receiver with an inbox on one, trio is not supported"
            ) from None
        await self.store.open()
        self._worker = AttemptRunner(router, self.store, self._handler_timeout, self._monotonic)
        self._scheduler.begin(self._worker)
        workers, house = self._scopes = anyio.CancelScope(), anyio.CancelScope()
        await self._take_over()
        # A task of its own, owned by start and stop: frameworks may call the two from different tasks,
        # which a task group does not allow. Everything else runs in the task group inside of it.
        self._task = asyncio.create_task(self._live(workers, house), name="inbox")

    async def aclose(self) -> None:
        """Take no more, go on with what is there for `drain` seconds, write, and let go of the store.

        Events that are left, and those that wait for another attempt, are handled after the next start.
        """
        try:
            await self._drain_workers()
        finally:
            self.store.added = None
            self._active = False
            self._scheduler.forget()
            self._retention.forget()
            await self.store.aclose()

    async def _drain_workers(self) -> None:
        task, scopes = self._task, self._scopes
        if task is None or scopes is None:
            return
        workers, house = scopes
        house.cancel()
        self._scheduler.stop()
        try:
            await asyncio.wait({task}, timeout=self._drain)
        finally:
            if not task.done():
                logger.warning(
                    "the inbox stops with %d events left for the next start", len(self._scheduler.lanes)
                )
                workers.cancel()
            await asyncio.wait({task})
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log_failure("the inbox", error)

    async def _live(self, workers: anyio.CancelScope, house: anyio.CancelScope) -> None:
        with workers:
            async with anyio.create_task_group() as group:
                for _ in range(self._concurrency):
                    group.start_soon(self._scheduler.work)
                group.start_soon(self._keep_house, house)

    # --- taking in ---

    async def put(self, request: RawRequest, context: Context, event: Event | None) -> None:
        """Store durably, then return; the handlers run afterwards.

        Args:
            request: what came; it was verified.
            context: path, time and claims.
            event: what `parse_event` made of the body; None for a body that is no JSON object, which goes
                to quarantine.

        Raises:
            InboxFullError: too many events wait.
            InboxError: it could not be stored.
        """
        if self._is_crowded():
            raise InboxFullError("too many events wait to be handled, please repeat")
        try:
            record_id = await self.store.add(make_record(request, context, event))
        except InboxError as error:
            self._storing = False
            self._retention.full |= isinstance(error, InboxFullError)
            raise
        self._storing = True
        if record_id is None:
            self._duplicates += 1
        elif event is None:
            self._scheduler.quarantined += 1
            logger.error("quarantined: record %d is authentic, but no JSON object", record_id)

    def _is_crowded(self) -> bool:
        return len(self._scheduler.lanes) >= self._max_pending or self._backlog.pending >= self._max_pending

    def _added(self, record_id: int, record: NewRecord) -> None:
        """A new event is durable; called in the order of the ids."""
        if self._gathered is not None:
            self._gathered.append((record_id, record))
            return
        item = PendingEvent(
            record_id, record.lane, record.received_at, kind=record.kind, since=self._monotonic()
        )
        if len(self._scheduler.lanes) < _IN_MEMORY and len(record.body) <= _SMALL:
            item.event, item.context = record.event, record.context
        self._scheduler.lanes.add(item)
        self._scheduler.notifier.notify()

    async def _take_over(self) -> None:
        """Become the process that handles events, if there is no other."""
        if not await self.store.claim():
            self._note_backlog(await self.store.count())
            return
        self._active, self._backlog = True, RecordCounts()
        self._gathered = []
        self.store.added = self._added
        try:
            await self._refresh()
        finally:  # what came in the meantime stands behind what was there
            gathered, self._gathered = self._gathered, None
            for record_id, record in gathered:
                if record_id not in self._scheduler.lanes:
                    self._added(record_id, record)

    def _note_backlog(self, backlog: RecordCounts) -> None:
        """The oldest event waits at least since it was seen first, whatever the wall clock says."""
        if backlog.oldest != self._backlog.oldest:
            waited = 0.0 if backlog.oldest is None else max(0.0, self._clock() - backlog.oldest)
            self._backlog_since = self._monotonic() - waited
        self._backlog = backlog

    async def _refresh(self) -> None:
        """Learn of pending events that other processes stored, or that were put back."""
        items = await self.store.waiting()
        hurried = frozenset(item.id for item in items if not item.due and item.id in self._scheduler.lanes)
        self._scheduler.lanes.hurry(hurried)
        await self._count()
        new = [item for item in items if item.id not in self._scheduler.lanes]
        to_monotonic(new, epoch=self._clock(), now=self._monotonic(), retry=self._retry)
        for item in new:
            self._scheduler.lanes.add(item)
        self._scheduler.notifier.notify()

    async def _count(self) -> None:
        """Learn how many records are set aside, by whom ever."""
        self._scheduler.quarantined = (await self.store.count()).quarantined

    # --- retries that are due, other processes, retention ---

    async def _keep_house(self, scope: anyio.CancelScope) -> None:
        more = False
        with scope:
            while True:
                due = self._scheduler.lanes.next_due
                wait = self._poll if due is None else min(self._poll, max(0.0, due - self._monotonic()))
                await self._sleep(0.0 if more else wait)
                try:
                    more = await self._look_around()
                except InboxLostError:  # the store has said it
                    more = self._storing = False
                except Exception as error:  # noqa: BLE001 - the next look may succeed, and events wait for it
                    more = False
                    log_failure("the inbox", error)

    async def _look_around(self) -> bool:
        """Return whether there is more to do at once."""
        now = self._monotonic()
        if self._scheduler.lanes.release(now):
            self._scheduler.notifier.notify()
        if self._worker is not None:
            self._worker.expire()
        if self._active and not await self.store.claim():  # it was lost
            self._active, self.store.added = False, None
        if not self._active:
            self._scheduler.lanes.leave_to_others()
            await self._take_over()
        elif await self.store.changed():
            await self._refresh()
        rounds = self._retention.rounds
        more = self._active and await self._retention.piece(self.store, now=now, epoch=self._clock())
        if self._retention.rounds != rounds:
            await self._count()
        if not self._storing:
            self._storing = await self.store.writable()
        return more

    # --- for people and probes ---

    async def idle(self) -> None:
        """Wait until no event is ready or under way; those that wait for another attempt may be left."""
        if self._task is not None:
            await self._scheduler.idle()

    def health(self) -> InboxHealth:
        """How it is doing; cheap, for probes."""
        if self._task is None:
            state = "closed"
        elif self._task.done():
            state = "failed"
        elif self._scheduler.stopping:
            state = "draining"
        else:
            state = "running" if self._active else "standby"
        since = self._scheduler.lanes.oldest if self._active else self._backlog_since
        if not self._active and self._backlog.oldest is None:
            since = None
        return InboxHealth(
            state,
            self._storing,
            len(self._scheduler.lanes) if self._active else self._backlog.pending,
            self._scheduler.lanes.retrying,
            0.0 if since is None else self._monotonic() - since,
            self._scheduler.quarantined if self._active else self._backlog.quarantined,
            self._duplicates,
            self._scheduler.unhandled,
            self._is_crowded(),
        )

    async def list(
        self, state: RecordState | None = None, *, limit: int = 100, after: int = 0
    ) -> builtins.list[Record]:
        """Records without their bodies, by ascending id.

        Args:
            state: `pending`, `quarantined`, `handled` or `forgotten`; None for all but the last.
            limit: at most so many.
            after: only ids above this one: the last id of the page before.

        Raises:
            ConfigurationError: there is no such state.
        """
        if state is not None and state not in STATES:
            raise ConfigurationError(f"state must be one of {', '.join(STATES)}, or None")
        await self.store.open()
        return await self.store.list(state, limit=limit, after=after)

    async def show(self, record_id: int) -> Record:
        """One record with its body, which is personal data.

        Raises:
            UnknownRecordError: there is no such record.
        """
        await self.store.open()
        return await self.store.load(record_id)

    async def retry(
        self, which: RecordChoice = "all", *, handler: str | None = None, kind: str | None = None
    ) -> int:
        """Handle again, now: a quarantined record, or one that waits for its next attempt.

        All handlers that have not succeeded are run; those that succeeded are not run again. A body that was
        no JSON object is read again, by `parse`. From another process it takes effect within `poll` seconds.

        Args:
            which: an id, or `"all"`.
            handler: only records in which the handler of this name failed.
            kind: only records of this kind; `unparsable` for bodies that were no JSON object.

        Returns:
            How many records there were.
        """
        await self.store.open()
        found = await self.store.retry(which, handler=handler, kind=kind)
        if self._active and found:
            await self._refresh()
        return found

    async def summary(self) -> builtins.list[FailureTally]:
        """What failed in quarantined records and in those that wait for an attempt, most frequent first.

        A record in which two handlers failed is counted with both.
        """
        await self.store.open()
        found = await self.store.summary()
        return sorted(found, key=lambda tally: (-tally.count, tally.oldest, tally.handler or ""))

    async def purge(
        self, state: RecordState = "handled", *, record_id: int | None = None, older_than: float | None = None
    ) -> int:
        """Forget the content of finished records now, before the retention does.

        That they were there is remembered, so a late repetition is not handled again.

        Args:
            state: `handled` or `quarantined`.
            record_id: only this record, handled or quarantined.
            older_than: only what arrived more than so many seconds ago.

        Returns:
            How many records there were.

        Raises:
            ConfigurationError: pending records are not purged: they were acknowledged and not yet handled.
        """
        states: tuple[RecordState, ...] = ("handled", "quarantined") if record_id is not None else (state,)
        if not {"handled", "quarantined"}.issuperset(states):
            raise ConfigurationError("purge takes handled or quarantined records")
        await self.store.open()
        before = None if older_than is None else self._clock() - older_than
        which: RecordChoice = "all" if record_id is None else record_id
        found = await self.store.purge(which, states=states, before=before)
        if self._active and found:
            await self._count()
        return found
