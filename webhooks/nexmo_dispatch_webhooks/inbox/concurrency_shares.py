"""Which of the events that may run takes the next place: no kind of event takes all of them.

Pure bookkeeping: it runs no handler and reads no clock. Order within a conversation is the business of
`lanes`, which puts only the first of each conversation here.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from nexmo_dispatch_webhooks.inbox.records import HandlerGroup, PendingEvent

__all__ = ["ConcurrencyShares"]

K = TypeVar("K")


class ConcurrencyShares:
    """Places for events, of which each group may take as many as it leaves free.

    So a group whose handlers hang keeps half of the places, two of them keep a third each, and one place is
    left for an event of another group, as long as there are more places than such groups. An event is sorted
    into its group when it is taken for the first time, since only then it is read.

    Args:
        places: how many events may run at the same time.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        # by kind of event, and by group: the first of each dictionary has the next turn
        self._unsorted: dict[str, deque[PendingEvent]] = {}
        self._parked: dict[HandlerGroup, deque[PendingEvent]] = {}
        self._running: dict[HandlerGroup, int] = {}
        self._total = 0

    def __len__(self) -> int:
        return sum(len(queue) for queues in (self._unsorted, self._parked) for queue in queues.values())

    @property
    def ready(self) -> bool:
        """Whether `take` would give something."""
        return bool(self._unsorted) or any(map(self._may_run, self._parked))

    def add(self, item: PendingEvent) -> None:
        """Put an event behind those of its kind."""
        queue = self._unsorted.get(item.kind)
        if queue is None:
            self._unsorted[item.kind] = deque((item,))
        else:
            queue.append(item)

    def take(self) -> PendingEvent | None:
        """The next event: with a group it runs now, without one it is to be sorted first, by `admit`."""
        for group in self._parked:
            if self._may_run(group):
                item = _next(self._parked, group)
                self._enter(item, group)
                return item
        for kind in self._unsorted:
            return _next(self._unsorted, kind)
        return None

    def admit(self, item: PendingEvent, group: HandlerGroup) -> bool:
        """Whether an event that was taken without a group runs now; else it waits for others of its group."""
        parked = self._parked.get(group)
        if parked is None and self._may_run(group):
            self._enter(item, group)
            return True
        if parked is None:
            self._parked[group] = deque((item,))
        else:
            parked.append(item)
        return False

    def drop(self) -> set[int]:
        """Let go of the events that do not run; return their ids."""
        queues = (*self._unsorted.values(), *self._parked.values())
        dropped = {item.id for queue in queues for item in queue}
        self._unsorted.clear()
        self._parked.clear()
        return dropped

    def leave(self, item: PendingEvent) -> None:
        """An event that was taken runs no more."""
        group, item.group = item.group, None
        if group is None:
            return
        self._total -= 1
        left = self._running[group] - 1
        if left:
            self._running[group] = left
        else:
            del self._running[group]

    def _may_run(self, group: HandlerGroup) -> bool:
        return self._running.get(group, 0) < self._places - self._total

    def _enter(self, item: PendingEvent, group: HandlerGroup) -> None:
        item.group = group
        self._running[group] = self._running.get(group, 0) + 1
        self._total += 1


def _next(queues: dict[K, deque[PendingEvent]], key: K) -> PendingEvent:
    """The first of a queue, whose next turn comes after those of the others."""
    queue = queues.pop(key)
    item = queue.popleft()
    if queue:
        queues[key] = queue
    return item
