"""Takes events from their lanes, has their handlers run, and decides what becomes of an attempt.

It stores no new event and looks for none: `engine` adds to the lanes and starts as many loops as may run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.exceptions import InboxError
from nexmo_dispatch_webhooks.inbox.attempt import AttemptRunner, is_ending, shake_off
from nexmo_dispatch_webhooks.inbox.lanes import Lanes
from nexmo_dispatch_webhooks.inbox.records import PendingEvent, StoredFailure
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy
from nexmo_dispatch_webhooks.inbox.store import InboxStore
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import FailureLog, logger

__all__ = ["Notifier", "Scheduler"]

#: A loop lets the other tasks run after so many events, also when no handler ever waits.
_IN_A_ROW = 16


class Notifier:
    """Whoever rests is woken by a ring; rings for nobody are forgotten."""

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []
        self._notified = False

    async def wait(self) -> None:
        """Wait for a ring."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(future)
        try:
            await future
        finally:
            if not future.cancelled():  # also when somebody cancels the one who is about to wake
                self._notified = False

    def notify(self) -> None:
        """Wake one, unless one is about to wake."""
        while self._waiters and not self._notified:
            future = self._waiters.pop()
            if not future.done():
                self._notified = True
                future.set_result(None)

    def notify_all(self) -> None:
        """Wake everybody."""
        resolve(self._waiters)


def resolve(futures: list[asyncio.Future[None]]) -> None:
    """Let everybody go on who waits in the list."""
    while futures:
        future = futures.pop()
        if not future.done():
            future.set_result(None)


class Scheduler:
    """What waits, and the loops that work on it.

    Args:
        store: where results are kept.
        concurrency: how many events may be under way at the same time.
        parse: reads stored bodies again.
        retry: when a failed handler is tried again.
        poll: how long, in seconds, to leave the store alone when it is in trouble.
        clock: gives epoch seconds, for what is stored.
        monotonic: gives seconds that no change of the clock disturbs, for what waits here.
        random: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        store: InboxStore,
        *,
        concurrency: int,
        parse: Callable[[bytes], Event],
        retry: HandlerRetryPolicy,
        poll: float,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        # settings
        self._store = store
        self._concurrency = concurrency
        self._parse = parse
        self._retry = retry
        self._poll = poll
        self._clock, self._monotonic, self._random = clock, monotonic, random
        # state
        self._failures = FailureLog(monotonic)
        self.lanes: Lanes = Lanes(concurrency)
        self.notifier: Notifier = Notifier()
        self.busy: int = 0
        self.idlers: list[asyncio.Future[None]] = []
        self.stopping: bool = False
        self.worker: AttemptRunner
        # how many are set aside, counted by the engine and here
        self.quarantined: int = 0
        # since the inbox was made
        self.unhandled: int = 0

    def begin(self, worker: AttemptRunner) -> None:
        """Get ready for the loops of a start."""
        self.worker = worker
        self.stopping = False

    def stop(self) -> None:
        """Let the loops end when nothing is ready any more."""
        self.stopping = True
        self.notifier.notify_all()

    def forget(self) -> None:
        """Let go of what waits: it is in the store, for the next start."""
        self.lanes, self.notifier = Lanes(self._concurrency), Notifier()
        resolve(self.idlers)

    async def idle(self) -> None:
        """Wait until no event is ready or under way."""
        if self.busy or self.lanes.ready:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.idlers.append(future)
            await future

    async def work(self) -> None:
        """One of `concurrency` loops, until the inbox stops."""
        task = asyncio.current_task()
        while True:
            try:
                await self._take_events()
            except asyncio.CancelledError:
                if task is None or is_ending():
                    raise
                await shake_off(task)  # a handler did that, perhaps long after its end
            else:
                return

    async def _take_events(self) -> None:
        """Take the next event, handle it, and so on, until the inbox stops."""
        lanes = self.lanes
        in_a_row = 0
        while True:
            item = lanes.take()
            if item is None:
                if not self.busy:
                    resolve(self.idlers)
                if self.stopping:
                    return
                await self.notifier.wait()
                in_a_row = 0
                continue
            if lanes.ready:
                self.notifier.notify()
            self.busy += 1
            try:
                await self._handle(item)
            except asyncio.CancelledError:
                if not is_ending():
                    lanes.postpone(item, self._monotonic() + self._poll)
                raise
            finally:
                self.busy -= 1
            in_a_row += 1
            if in_a_row % _IN_A_ROW == 0:
                await asyncio.sleep(0)

    async def _handle(self, item: PendingEvent) -> None:
        try:
            await self._attempt(item)
        except Exception as error:  # noqa: BLE001 - whatever it is, the other events go on
            await self._broke(item, error)

    async def _broke(self, item: PendingEvent, error: Exception) -> None:
        """Something else than a handler failed: the store, so that nothing is lost, or what should not."""
        self._failures.note(f"handling record {item.id}", error)
        try:
            if not isinstance(error, InboxError):
                await self._failed(item, (StoredFailure.of("inbox", error),))
                return
        except InboxError as broken:
            self._failures.note("the inbox", broken)
        self.lanes.postpone(item, self._monotonic() + max(self._poll, self._retry.wait_initial))

    async def _attempt(self, item: PendingEvent) -> None:
        event, context = item.event, item.context
        if event is None or context is None:
            if (found := await self._read(item)) is None:
                return
            event, context = found
        selected = self.worker.select(event, context.path, item.done)
        if item.group is None and not self.lanes.admit(item, (event.kind, *(one.key for one in selected))):
            return  # it comes again when others of its group have ended; what was read is read again then
        outcome = await self.worker.attempt(
            item.id, event, selected, context=context, attempt=item.attempts, done=item.done
        )
        if outcome.trouble is not None:
            item.done = outcome.done  # so these do not run again
            raise outcome.trouble
        if outcome.failures:
            item.done = outcome.done
            await self._failed(item, outcome.failures)
            return
        if outcome.unhandled:
            self.unhandled += 1
        if not outcome.finished:
            self._store.finish(item.id)
        self.lanes.finish(item)

    async def _read(self, item: PendingEvent) -> tuple[Event, Context] | None:
        """An event that waits in the store only; None when there is nothing to handle."""
        record = await self._store.load(item.id)
        if record.state != "pending" or record.body is None:  # another process put it aside
            self.lanes.finish(item)
            return None
        try:
            event = _event(self._parse(record.body))
        except Exception as error:  # noqa: BLE001 - `parse` may be the application's; the record stays
            self._failures.note(f"reading record {item.id}", error)
            await self._set_aside(item, (StoredFailure.of("parse", error),))
            return None
        return event, Context(record.path, record.received_at.timestamp(), record.claims)

    async def _failed(self, item: PendingEvent, failures: tuple[StoredFailure, ...]) -> None:
        item.attempts += 1
        wait = self._retry.wait(item.attempts, self._random)
        if wait is None:
            await self._set_aside(item, failures)
            return
        due, ready_at = self._clock() + wait, self._monotonic() + wait
        await self._store.postpone(item.id, attempts=item.attempts, due=due, done=item.done, failed=failures)
        self.lanes.postpone(item, ready_at)

    async def _set_aside(self, item: PendingEvent, failures: tuple[StoredFailure, ...]) -> None:
        await self._store.postpone(item.id, attempts=item.attempts, due=None, done=item.done, failed=failures)
        self.lanes.finish(item)
        self.quarantined += 1
        names = ", ".join(f"{failure.handler} ({failure.error})" for failure in failures)
        logger.error("quarantined: record %d after %d attempts; failed: %s", item.id, item.attempts, names)


def _event(parsed: object) -> Event:
    """What a `parse` of the application returned, if it is what it should be."""
    if not isinstance(parsed, Event):
        raise TypeError("parse must return an event")
    return parsed
