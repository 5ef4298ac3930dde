"""Which ready event runs next: no kind of event takes all places.

Pure bookkeeping: it runs no handler and reads no clock. `lanes` keeps the order within a conversation, and
adds only the first event of each conversation.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from nexmo_dispatch_webhooks.inbox.records import HandlerGroup, PendingEvent

__all__ = ["ConcurrencyShares"]

K = TypeVar("K")


class ConcurrencyShares:
    """Places for running events; each group takes at most as many places as it leaves free.

    So one group whose handlers hang takes half of the places, two such groups take a third each, and one
    place remains for another group as long as there are more places than such groups. An event gets its group
    when it is taken for the first time, since only then it is read.

    Args:
        places: Maximum number of events that run at the same time.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        # by kind of event, and by group: the first key of each dictionary has the next turn
        self._unsorted: dict[str, deque[PendingEvent]] = {}
        self._waiting: dict[HandlerGroup, deque[PendingEvent]] = {}
        self._running: dict[HandlerGroup, int] = {}
        self._total = 0

    def __len__(self) -> int:
        return sum(len(queue) for queues in (self._unsorted, self._waiting) for queue in queues.values())

    @property
    def ready(self) -> bool:
        """Whether `take` would return an event."""
        return bool(self._unsorted) or any(map(self._may_run, self._waiting))

    def add(self, item: PendingEvent) -> None:
        """Add an event behind the events of its kind."""
        queue = self._unsorted.get(item.kind)
        if queue is None:
            self._unsorted[item.kind] = deque((item,))
        else:
            queue.append(item)

    def take(self) -> PendingEvent | None:
        """Return the next event: with a group it runs now; without a group, call `admit` first."""
        for group in self._waiting:
            if self._may_run(group):
                item = _next(self._waiting, group)
                self._enter(item, group)
                return item
        for kind in self._unsorted:
            return _next(self._unsorted, kind)
        return None

    def admit(self, item: PendingEvent, group: HandlerGroup) -> bool:
        """Return whether an event that was taken without a group runs now; else it waits in its group."""
        queue = self._waiting.get(group)
        if queue is None and self._may_run(group):
            self._enter(item, group)
            return True
        if queue is None:
            self._waiting[group] = deque((item,))
        else:
            queue.append(item)
        return False

    def drop(self) -> set[int]:
        """Drop the events that do not run; return their ids."""
        queues = (*self._unsorted.values(), *self._waiting.values())
        dropped = {item.id for queue in queues for item in queue}
        self._unsorted.clear()
        self._waiting.clear()
        return dropped

    def leave(self, item: PendingEvent) -> None:
        """Free the place of an event that was taken."""
        group, item.group = item.group, None
        if group is None:
            return
        self._total -= 1
        remaining = self._running[group] - 1
        if remaining:
            self._running[group] = remaining
        else:
            del self._running[group]

    def _may_run(self, group: HandlerGroup) -> bool:
        return self._running.get(group, 0) < self._places - self._total

    def _enter(self, item: PendingEvent, group: HandlerGroup) -> None:
        item.group = group
        self._running[group] = self._running.get(group, 0) + 1
        self._total += 1


def _next(queues: dict[K, deque[PendingEvent]], key: K) -> PendingEvent:
    """Take the first event of a queue, and move the queue behind the other queues."""
    queue = queues.pop(key)
    item = queue.popleft()
    if queue:
        queues[key] = queue
    return item
