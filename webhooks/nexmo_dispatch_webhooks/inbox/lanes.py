"""Which event comes next: in order within a conversation, in parallel between conversations.

Pure bookkeeping: it runs no handler and reads no clock.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.inbox.concurrency_shares import ConcurrencyShares
from nexmo_dispatch_webhooks.inbox.records import HandlerGroup, PendingEvent

__all__ = ["Lanes"]


class Lanes:
    """The pending events, each behind the earlier events of its lane.

    The first event of a lane is ready, being handled, or between two attempts; the others wait for it.

    Args:
        places: Maximum number of events that are handled at the same time; see `ConcurrencyShares`.
    """

    def __init__(self, places: int = 32) -> None:
        # all events by id, in the order of arrival
        self._pending: dict[int, PendingEvent] = {}
        # by lane: the events behind the first one; None while there are none
        self._behind: dict[int, deque[PendingEvent] | None] = {}
        # first events of lanes: ready now, or at a time
        self._ready = ConcurrencyShares(places)
        self._later: list[tuple[float, int, PendingEvent]] = []

    def __len__(self) -> int:
        return len(self._pending)

    def __contains__(self, record_id: int) -> bool:
        return record_id in self._pending

    def __iter__(self) -> Iterator[PendingEvent]:
        return iter(list(self._pending.values()))

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Lanes: {len(self)} events in {len(self._behind)} lanes, {len(self._ready)} ready>"

    @property
    def ready(self) -> bool:
        """Whether `take` would return an event."""
        return self._ready.ready

    @property
    def retrying(self) -> int:
        """The number of events that wait for their next attempt."""
        return len(self._later)

    @property
    def next_due(self) -> float | None:
        """When the next attempt is due, on the monotonic clock."""
        return self._later[0][0] if self._later else None

    @property
    def oldest(self) -> float | None:
        """Since when the oldest event waits, on the monotonic clock."""
        return next(iter(self._pending.values())).since if self._pending else None

    def add(self, item: PendingEvent) -> None:
        """Put an event at the end of its lane."""
        self._pending[item.id] = item
        lane = item.lane
        if lane in self._behind:
            queue = self._behind[lane]
            if queue is None:
                self._behind[lane] = deque((item,))
            else:
                queue.append(item)
        else:
            self._behind[lane] = None
            self._make_first(item)

    def take(self) -> PendingEvent | None:
        """Return the next event to handle, None if none is ready.

        The caller ends with `finish` or `postpone`. For an event without a group it calls `admit` first.
        """
        return self._ready.take()

    def admit(self, item: PendingEvent, group: HandlerGroup) -> bool:
        """Return whether a taken event may run now; otherwise `take` returns it again later."""
        return self._ready.admit(item, group)

    def finish(self, item: PendingEvent) -> None:
        """Remove a handled event; the next event of its lane may run."""
        self._ready.leave(item)
        del self._pending[item.id]
        queue = self._behind[item.lane]
        if queue:
            self._make_first(queue.popleft())
        else:
            del self._behind[item.lane]

    def postpone(self, item: PendingEvent, due: float) -> None:
        """Schedule another attempt at `due`; the other events of the lane wait for it."""
        self._ready.leave(item)
        item.ready_at = due
        heapq.heappush(self._later, (due, item.id, item))

    def release(self, now: float) -> int:
        """Make due events ready; return their number."""
        released = 0
        while self._later and self._later[0][0] <= now:
            self._ready.add(heapq.heappop(self._later)[2])
            released += 1
        return released

    def hurry(self, ids: frozenset[int]) -> int:
        """Make waiting events ready now, with their attempts reset; return their number."""
        chosen = [entry for entry in self._later if entry[1] in ids]
        if chosen:
            self._later = [entry for entry in self._later if entry[1] not in ids]
            heapq.heapify(self._later)
            for _, _, item in sorted(chosen, key=lambda entry: entry[1]):
                item.attempts, item.ready_at = 0, 0.0
                self._ready.add(item)
        return len(chosen)

    def abandon(self, item: PendingEvent) -> list[PendingEvent]:
        """Remove a taken event and all behind it: any process may handle them; return them."""
        self._ready.leave(item)
        removed = [item, *(self._behind.pop(item.lane) or ())]
        for one in removed:
            del self._pending[one.id]
        return removed

    def leave_to_others(self) -> None:
        """Drop all events that are not being handled: another process handles them."""
        dropped = self._ready.drop() | {item.id for _, _, item in self._later}
        for queue in self._behind.values():
            dropped.update(item.id for item in queue or ())
        self._pending = {number: item for number, item in self._pending.items() if number not in dropped}
        self._behind = {item.lane: None for item in self._pending.values()}
        self._later.clear()

    def _make_first(self, item: PendingEvent) -> None:
        if item.ready_at:
            heapq.heappush(self._later, (item.ready_at, item.id, item))
        else:
            self._ready.add(item)
