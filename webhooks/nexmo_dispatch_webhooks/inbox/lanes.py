"""Which event comes next: in order within a conversation, in parallel between conversations.

Pure bookkeeping: it runs no handler and reads no clock.
"""

from __future__ import annotations

import heapq
from collections import deque

from nexmo_dispatch_webhooks.inbox.concurrency_shares import ConcurrencyShares
from nexmo_dispatch_webhooks.inbox.records import HandlerGroup, PendingEvent

__all__ = ["Lanes"]


class Lanes:
    """Events that wait, each behind the earlier ones of its lane.

    The first of a lane is ready, under way, or waits for its next attempt; the others wait for it.

    Args:
        places: how many may be under way at the same time; see `ConcurrencyShares`.
    """

    def __init__(self, places: int = 32) -> None:
        # all of them by id, in order of arrival
        self._waiting: dict[int, PendingEvent] = {}
        # those that wait for the first of their lane; None while there are none
        self._behind: dict[int, deque[PendingEvent] | None] = {}
        # firsts of lanes: may run now, or at a time
        self._ready = ConcurrencyShares(places)
        self._later: list[tuple[float, int, PendingEvent]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, record_id: int) -> bool:
        return record_id in self._waiting

    def __repr__(self) -> str:
        return f"<Lanes: {len(self)} events in {len(self._behind)} lanes, {len(self._ready)} ready>"

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return self._ready.ready

    @property
    def retrying(self) -> int:
        """How many events wait for their next attempt."""
        return len(self._later)

    @property
    def next_due(self) -> float | None:
        """When the next attempt is due."""
        return self._later[0][0] if self._later else None

    @property
    def oldest(self) -> float | None:
        """Since when the event waits that is here longest."""
        return next(iter(self._waiting.values())).since if self._waiting else None

    def add(self, item: PendingEvent) -> None:
        """Put an event at the end of its lane."""
        self._waiting[item.id] = item
        lane = item.lane
        if lane in self._behind:
            queue = self._behind[lane]
            if queue is None:
                self._behind[lane] = deque((item,))
            else:
                queue.append(item)
        else:
            self._behind[lane] = None
            self._stand_first(item)

    def take(self) -> PendingEvent | None:
        """The next event to handle; give it back with `finish` or `postpone`.

        When its group is None, ask `admit` whether it may run.
        """
        return self._ready.take()

    def admit(self, item: PendingEvent, group: HandlerGroup) -> bool:
        """Whether an event that was taken may run now; else it comes again when its group has a place."""
        return self._ready.admit(item, group)

    def finish(self, item: PendingEvent) -> None:
        """An event is done with: the next of its lane may run."""
        self._ready.leave(item)
        del self._waiting[item.id]
        queue = self._behind[item.lane]
        if queue:
            self._stand_first(queue.popleft())
        else:
            del self._behind[item.lane]

    def postpone(self, item: PendingEvent, due: float) -> None:
        """An event wants another attempt at `due`; the rest of its lane waits behind it."""
        self._ready.leave(item)
        item.ready_at = due
        heapq.heappush(self._later, (due, item.id, item))

    def release(self, now: float) -> int:
        """Make ready what is due; return how many."""
        released = 0
        while self._later and self._later[0][0] <= now:
            self._ready.add(heapq.heappop(self._later)[2])
            released += 1
        return released

    def hurry(self, ids: frozenset[int]) -> int:
        """Make ready now those that wait for their next attempt, as if they had had none; return how many."""
        chosen = [entry for entry in self._later if entry[1] in ids]
        if chosen:
            self._later = [entry for entry in self._later if entry[1] not in ids]
            heapq.heapify(self._later)
            for _, _, item in sorted(chosen, key=lambda entry: entry[1]):
                item.attempts, item.ready_at = 0, 0.0
                self._ready.add(item)
        return len(chosen)

    def leave_to_others(self) -> None:
        """Drop all that is not under way: another process handles it."""
        resting = self._ready.drop() | {item.id for _, _, item in self._later}
        for queue in self._behind.values():
            resting.update(item.id for item in queue or ())
        self._waiting = {number: item for number, item in self._waiting.items() if number not in resting}
        self._behind = {item.lane: None for item in self._waiting.values()}
        self._later.clear()

    def _stand_first(self, item: PendingEvent) -> None:
        if item.ready_at:
            heapq.heappush(self._later, (item.ready_at, item.id, item))
        else:
            self._ready.add(item)
