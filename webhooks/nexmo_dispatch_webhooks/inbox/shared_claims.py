"""`SharedClaims`: claims events of a shared store for this process, and extends the claims while it lives.

It handles no event: it fills the lanes of the scheduler, whose loops handle them. It claims no more events
than this process can handle soon, so other processes get their share.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import anyio

from nexmo_dispatch_webhooks.exceptions import InboxError
from nexmo_dispatch_webhooks.inbox.records import PendingEvent
from nexmo_dispatch_webhooks.inbox.scheduler import Scheduler
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from nexmo_dispatch_webhooks.inbox.store import SharedInboxStore
from nexmo_dispatch_webhooks.logs import FailureLog, logger

__all__ = ["SharedClaims"]

#: Maximum number of claimed events as a multiple of `concurrency`; events behind the first of a lane count.
_MOST_HELD = 16


class SharedClaims:
    """The claims of one process.

    Args:
        store: The store of the events.
        scheduler: Handles the claimed events.
        settings: The settings of the inbox: `concurrency`, `lease` and `poll`.
    """

    def __init__(self, store: SharedInboxStore, scheduler: Scheduler, settings: InboxSettings) -> None:
        self._store = store
        self._scheduler = scheduler
        self._settings = settings
        self._most = 2 * settings.concurrency
        self._lease = max(settings.lease, 3 * settings.poll)  # each poll extends it
        # until when the claims hold, on the monotonic clock
        self._held_until = -math.inf
        # whether the store may hold claims of this process that are unknown here
        self._uncertain = False
        # whether the last `take` left events in the store for lack of room
        self._crowded = False
        # how often events were dropped whose claims the store has for some moments more
        self._dropped = 0
        self._lock = asyncio.Lock()
        self._failures = FailureLog(settings.monotonic)

    async def run(self) -> None:
        """Take events until the inbox drains; after an error, try again in `poll` seconds."""
        while not self._scheduler.stopping:
            try:
                if not await self._take():
                    await self._wait()
            except Exception as error:  # noqa: BLE001 - the next one may succeed, and all events wait for it
                self._failures.note("taking events", error)
                await self._settings.sleep(self._settings.poll)

    async def take_more(self) -> bool:
        """Take events now; return whether there were any, or may be any for which there is no room here."""
        async with self._lock:
            await self._extend()  # a process whose lease is over takes nothing
            return bool(await self._fill()) or self._crowded

    async def _take(self) -> int:
        """Take as many events as there is room for; return how many the store handed out."""
        async with self._lock:
            return await self._fill()

    async def _fill(self) -> int:
        lanes, settings = self._scheduler.lanes, self._settings
        if self._held_until != -math.inf and self.lapsed:
            await self._extend()
        if self._uncertain:
            self._uncertain = False
            try:
                await self._store.keep_only([item.id for item in lanes])
            except BaseException:
                self._uncertain = True
                raise
        # Only the first event of each lane counts for its kind: the events behind it wait for it anyway.
        kinds = Counter(item.kind for item in {item.lane: item for item in reversed(list(lanes))}.values())
        full = [kind for kind, number in kinds.items() if number >= self._most]
        free = self._most - sum(number for kind, number in kinds.items() if kind not in full)
        self._crowded = bool(full) or free <= 0
        if free <= 0 or len(lanes) >= _MOST_HELD * self._most:
            return 0
        asked_at, dropped = settings.monotonic(), self._dropped
        try:
            items = await self._store.take(free, lease=self._lease, without=full)
        except BaseException:  # the store may have claimed events all the same
            self._uncertain = True
            raise
        # Events that were dropped here meanwhile count in the store as events of this process, so that those
        # behind them were handed out.
        if self._uncertain or self._dropped != dropped:
            await self._release(items)
            return len(items)
        if self._held_until == -math.inf:
            self._held_until = asked_at + self._lease
        # An event may still be handled here under an earlier claim. Its new claim goes back, and with it the
        # rest of its lane: what is behind an event must not overtake it.
        blocked = {item.lane for item in items if item.id in lanes}
        now, clock = settings.monotonic(), settings.clock()
        for item in items:
            if item.lane not in blocked:
                item.since = now - max(0.0, clock - item.received_at)
                lanes.add(item)
        if blocked:
            await self._release([item for item in items if item.lane in blocked])
            await settings.sleep(settings.poll)
        if items:
            self._scheduler.notifier.notify()
        return len(items)

    async def _wait(self) -> None:
        """Wait until events may have come, at most until the next poll, or until there is room."""
        async with anyio.create_task_group() as group:

            async def first(wait: Callable[[], Awaitable[object]]) -> None:
                await wait()
                group.cancel_scope.cancel()

            group.start_soon(first, partial(self._store.wake, self._settings.poll))
            if self._crowded:
                room = len(self._scheduler.lanes) - self._settings.concurrency // 2
                group.start_soon(first, partial(self._scheduler.room, room))

    @property
    def lapsed(self) -> bool:
        """Whether the claims may be lost: this process has not extended its lease in time."""
        if self._settings.monotonic() < self._held_until:
            return False
        self._uncertain = True  # the scheduler drops events then, whose claims may hold after all
        return True

    async def extend(self) -> None:
        """Extend the claims; drop the events of lost claims, which other processes handle."""
        async with self._lock:  # not while events are taken: they would count as those of the next claims
            await self._extend()

    async def _extend(self) -> None:
        asked_at = self._settings.monotonic()
        if await self._store.extend(lease=self._lease):
            self._held_until = asked_at + self._lease
            return
        self._held_until = -math.inf
        before = len(self._scheduler.lanes)
        self._scheduler.lanes.leave_to_others()
        logger.warning(
            "no sign of life for more than %g s: other processes may have the events that this one held, "
            "%d are left to them",
            self._lease,
            before - len(self._scheduler.lanes),
        )

    async def let_go(self, items: Sequence[PendingEvent]) -> None:
        """Give up events that this process took, so that any process may handle them."""
        self._dropped += 1
        try:
            async with self._lock:
                await self._release(items)
        except BaseException:  # a handler may have cancelled its task, perhaps long after its end
            self._uncertain = True
            raise

    async def _release(self, items: Sequence[PendingEvent]) -> None:
        by_token: dict[int, list[int]] = {}
        for item in items:
            by_token.setdefault(item.token, []).append(item.id)
        try:
            for token, record_ids in by_token.items():
                await self._store.release(record_ids, token)
        except InboxError as error:
            self._failures.note("giving up events", error)
            self._uncertain = True
