"""Takes events from their lanes, runs attempts, and decides what follows from each result.

It neither stores nor looks for new events: `inbox` adds events to the lanes and starts `concurrency` loops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import attrgetter
from typing import Protocol

from nexmo_dispatch_core.bursts import Bursts
from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.exceptions import InboxError, LostClaimError
from nexmo_dispatch_webhooks.inbox.attempt import AttemptRunner, is_ending, undo_cancellation
from nexmo_dispatch_webhooks.inbox.lanes import Lanes
from nexmo_dispatch_webhooks.inbox.records import PendingEvent, StoredFailure
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from nexmo_dispatch_webhooks.inbox.store import InboxStore
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import FailureLog, logger

__all__ = ["Claims", "Notifier", "Scheduler"]

#: A loop yields to the other tasks after this number of events, even if no handler ever waits.
_YIELD_EVERY = 16
_key_of = attrgetter("key")


class Notifier:
    """Wakes waiting loops, one at a time; with no loop waiting a notification does nothing.

    One is enough: a loop that takes an event notifies the next one when more events are ready.
    """

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self._notified = False

    async def wait(self) -> None:
        """Wait for a notification."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        try:
            await future
        finally:
            if not future.cancelled():  # also when the task that is about to wake is cancelled
                self._notified = False
            elif future in self._waiters:  # a handler cancelled the task, which waits again
                self._waiters.remove(future)

    def notify(self) -> None:
        """Wake one loop, unless one is about to wake."""
        while self._waiters and not self._notified:
            future = self._waiters.pop()
            if not future.done():
                self._notified = True
                future.set_result(None)

    def notify_all(self) -> None:
        """Wake all loops."""
        resolve(self._waiters)


def resolve(futures: list[asyncio.Future[None]]) -> None:
    """Set the result of every future in the list, and empty the list."""
    while futures:
        future = futures.pop()
        if not future.done():
            future.set_result(None)


class Claims(Protocol):
    """The claims of this process on a shared store, as the scheduler needs them; see `shared_claims`."""

    @property
    def lapsed(self) -> bool:
        """Whether the lease has lapsed, so that other processes may have the events."""
        ...

    async def let_go(self, items: Sequence[PendingEvent]) -> None:
        """Give up events that this process took, so that any process may handle them."""


class Scheduler:
    """The pending events, and the loops that handle them.

    Args:
        store: Where results are kept.
        settings: The settings of the inbox. After a failure of the store an event waits for `poll` seconds.
    """

    def __init__(self, store: InboxStore, settings: InboxSettings) -> None:
        self._store = store
        self._settings = settings
        # state
        self._failures = FailureLog(settings.monotonic)
        self._bursts = Bursts(settings.monotonic)
        self.lanes: Lanes = Lanes(settings.concurrency)
        self.notifier: Notifier = Notifier()
        self.busy: int = 0
        self.idlers: list[asyncio.Future[None]] = []
        self.stopping: bool = False
        self.runner: AttemptRunner
        # with a shared store: its claims; and a number of events, with the wait until no more are pending
        self.claims: Claims | None = None
        self._room: tuple[int, asyncio.Event] | None = None
        # quarantined records, counted by the inbox and here
        self.quarantined: int = 0
        # since the inbox was created
        self.unhandled: int = 0

    def begin(self, runner: AttemptRunner) -> None:
        """Prepare for the loops of a start."""
        self.runner = runner
        self.stopping = False

    def stop(self) -> None:
        """Let the loops end as soon as no event is ready."""
        self.stopping = True
        self.notifier.notify_all()
        self._make_room()

    def forget(self) -> None:
        """Drop the pending events: the store has them, for the next start."""
        self.lanes, self.notifier = Lanes(self._settings.concurrency), Notifier()
        resolve(self.idlers)

    async def room(self, most: int) -> None:
        """Wait until at most *most* events are pending here, or until the loops are to end."""
        if len(self.lanes) > most and not self.stopping:
            event = asyncio.Event()
            self._room = most, event
            try:
                await event.wait()
            finally:
                self._room = None

    def _make_room(self) -> None:
        if self._room is not None and (len(self.lanes) <= self._room[0] or self.stopping):
            self._room[1].set()

    @property
    def is_idle(self) -> bool:
        """Whether no event is ready or being handled."""
        return not self.busy and not self.lanes.ready

    async def idle(self) -> None:
        """Wait until no event is ready or being handled."""
        if not self.is_idle:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.idlers.append(future)
            try:
                await future
            finally:
                if future in self.idlers:
                    self.idlers.remove(future)

    async def work(self) -> None:
        """Handle events until the inbox stops; one of `concurrency` loops."""
        task: asyncio.Task[None] | None = asyncio.current_task()
        while True:
            try:
                await self._take_events(task)
            except asyncio.CancelledError:
                if task is None or is_ending():
                    raise
                await undo_cancellation(task)  # a handler cancelled it, perhaps long after its end
            else:
                return

    async def _take_events(self, task: asyncio.Task[None] | None) -> None:
        """Take the next event, handle it, and so on, until the inbox stops."""
        lanes, settings = self.lanes, self._settings
        handled = 0
        while True:
            item = lanes.take()
            if item is None:
                if not self.busy:
                    resolve(self.idlers)
                if self.stopping:
                    return
                await self.notifier.wait()
                handled = 0
                continue
            if lanes.ready:
                self.notifier.notify()
            self.busy += 1
            try:
                try:
                    await self._attempt(item, task)
                except Exception as error:  # noqa: BLE001 - no failure of one event may stop the others
                    await self._note_failure(item, error)
            except asyncio.CancelledError:
                if not is_ending() and item.id in lanes:  # else it was left to any process
                    lanes.postpone(item, settings.monotonic() + settings.poll)
                raise
            finally:
                self.busy -= 1
            if self._room is not None:
                self._make_room()
            handled += 1
            if handled % _YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _note_failure(self, item: PendingEvent, error: Exception) -> None:
        """Postpone an event after a failure of the store; count any other failure as one of the event."""
        self._failures.note(f"handling record {item.id}", error)
        try:
            if isinstance(error, LostClaimError) and self.claims is not None:
                await self.claims.let_go(self.lanes.abandon(item))
                return
            if not isinstance(error, InboxError):
                await self._failed(item, (StoredFailure.of("inbox", error),))
                return
        except InboxError as store_error:
            self._failures.note("the inbox", store_error)
        wait = max(self._settings.poll, self._settings.retry.wait_initial)
        self.lanes.postpone(item, self._settings.monotonic() + wait)

    async def _attempt(self, item: PendingEvent, task: asyncio.Task[None] | None) -> None:
        if self._store.lapsed if self.claims is None else self.claims.lapsed:
            self.lanes.abandon(item)
            return
        event, context = item.event, item.context
        if event is None or context is None:
            if (found := await self._read(item)) is None:
                return
            event, context = found
        selected = self.runner.select(event, context, item.done)
        if item.group is None and not self.lanes.admit(item, (event.kind, *map(_key_of, selected))):
            return  # it is taken again when another event of its group has ended, and is read again then
        result = await self.runner.attempt(
            item.id,
            event,
            selected,
            context=context,
            attempt=item.attempts,
            done=item.done,
            task=task,
            token=item.token,
        )
        if result.store_error is not None:
            item.done = result.done  # so these handlers do not run again
            raise result.store_error
        if result.failures:
            item.done = result.done
            await self._failed(item, result.failures)
            return
        if result.unhandled:
            self.unhandled += 1
        if not result.finished:
            self._store.finish(item.id, item.token)
        self.lanes.finish(item)

    async def _read(self, item: PendingEvent) -> tuple[Event, Context] | None:
        """Read an event from the store; None when it is no longer to be handled."""
        record = item.content or await self._store.load(item.id)
        if record.state != "pending" or record.body is None:  # another process quarantined it
            self.lanes.finish(item)
            return None
        try:
            event = _checked(self._settings.parse(record.body))
        except Exception as error:  # noqa: BLE001 - `parse` may be the application's; the record stays
            self._failures.note(f"reading record {item.id}", error)
            await self._quarantine(item, (StoredFailure.of("parse", error),))
            return None
        return event, Context(record.path, record.received_at.timestamp(), record.claims)

    async def _failed(self, item: PendingEvent, failures: tuple[StoredFailure, ...]) -> None:
        item.attempts += 1
        settings = self._settings
        wait = settings.retry.wait(item.attempts, settings.random)
        if wait is None:
            await self._quarantine(item, failures)
            return
        due, ready_at = settings.clock() + wait, settings.monotonic() + wait
        await self._postpone(item, due, failures)
        if self.claims is None:
            self.lanes.postpone(item, ready_at)
        else:  # any process may make the next attempt, and handle what is behind it then
            await self.claims.let_go(self.lanes.abandon(item)[1:])

    async def _postpone(
        self, item: PendingEvent, due: float | None, failures: tuple[StoredFailure, ...]
    ) -> None:
        await self._store.postpone(
            item.id, attempts=item.attempts, due=due, done=item.done, failed=failures, token=item.token
        )

    def note_trouble(self, error: Exception) -> None:
        """Log that a round of housekeeping failed; the next one may succeed."""
        self._failures.note("the inbox", error)

    def note_unparsable(self, record_id: int) -> None:
        """Count a new record that is quarantined at once, since its body is no JSON object."""
        self.quarantined += 1
        more = self._bursts.begin("unparsable")
        if more is not None:
            logger.error("quarantined: record %d is authentic, but no JSON object%s", record_id, more)

    async def _quarantine(self, item: PendingEvent, failures: tuple[StoredFailure, ...]) -> None:
        await self._postpone(item, None, failures)
        self.lanes.finish(item)
        self.quarantined += 1
        names = ", ".join(f"{failure.handler} ({failure.error})" for failure in failures)
        more = self._bursts.begin("handlers", names)
        if more is not None:
            logger.error(
                "quarantined: record %d after %d attempts; failed: %s%s", item.id, item.attempts, names, more
            )


def _checked(parsed: object) -> Event:
    """Return what `parse` of the application returned, which must be an event."""
    if not isinstance(parsed, Event):
        raise TypeError("parse must return an event")
    return parsed
