"""`PendingRows`: which rows of a campaign may be sent next, by their lane and their time, in memory.

A lane is a bucket and a zone. Numbers of rows that changed meanwhile stay in the heaps, and are left out when
they come up. The module does no I/O.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Callable
from typing import Final, NamedTuple

from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Lane", "PendingRows"]

_NOWHERE, _READY, _LATER = 0, 1, 2
_NEVER: Final = math.inf


class Lane(NamedTuple):
    """A bucket and a zone."""

    bucket: str
    zone: str


class PendingRows:
    """The pending rows among all rows, whose ids begin with 1."""

    def __init__(self) -> None:
        self.lanes: list[Lane] = []
        self._numbers: dict[Lane, int] = {}
        # by id; the first one stands for no row
        self._pending = bytearray(1)
        self._queued = bytearray(1)
        self._lane = array("H", [0])
        self._not_before = array("d", [0.0])
        self._expires = array("d", [_NEVER])
        # by lane: ids, and how many rows are pending
        self._ready: list[list[int]] = []
        self._counts: list[int] = []
        self._later: list[tuple[float, int]] = []
        self._ending: list[tuple[float, int]] = []

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<PendingRows {len(self)}>"

    def __len__(self) -> int:
        return sum(self._counts)

    # --- rows ---

    def append(self, lane: Lane, expires: float) -> None:
        """Add the row of the next id; it is not pending."""
        number = self._numbers.get(lane)
        if number is None:
            number = self._numbers[lane] = len(self.lanes)
            self.lanes.append(lane)
            self._ready.append([])
            self._counts.append(0)
        self._pending.append(0)
        self._queued.append(_NOWHERE)
        self._lane.append(number)
        self._not_before.append(0.0)
        self._expires.append(expires)

    def expires(self, row_id: int) -> float:
        """Return when a row expires."""
        return self._expires[row_id]

    def put(self, row_id: int, not_before: float) -> None:
        """Make a row pending, from a time on."""
        if not self._pending[row_id]:
            self._pending[row_id] = 1
            self._counts[self._lane[row_id]] += 1
            if self._expires[row_id] != _NEVER:
                heapq.heappush(self._ending, (self._expires[row_id], row_id))
        changed = self._not_before[row_id] != not_before
        self._not_before[row_id] = not_before
        if self._queued[row_id] == _NOWHERE or (changed and self._queued[row_id] == _LATER):
            self._queue(row_id)

    def remove(self, row_id: int) -> None:
        """Make a row pending no more."""
        if self._pending[row_id]:
            self._pending[row_id] = 0
            self._counts[self._lane[row_id]] -= 1

    def _queue(self, row_id: int) -> None:
        if self._not_before[row_id] > 0:
            self._queued[row_id] = _LATER
            heapq.heappush(self._later, (self._not_before[row_id], row_id))
        else:
            self._queued[row_id] = _READY
            heapq.heappush(self._ready[self._lane[row_id]], row_id)

    # --- what is next ---

    def wake(self, now: float) -> None:
        """Make rows ready whose time has come."""
        while self._later and self._later[0][0] <= now:
            if (row_id := self._pop_later()) is not None:
                self._queued[row_id] = _READY
                heapq.heappush(self._ready[self._lane[row_id]], row_id)

    def _pop_later(self) -> int | None:
        """Take the first row that waits, unless it is another one by now."""
        at, row_id = heapq.heappop(self._later)
        if self._queued[row_id] != _LATER or self._not_before[row_id] != at:
            return None
        self._queued[row_id] = _NOWHERE
        return row_id if self._pending[row_id] else None

    def take(self, now: float, allowed: Callable[[Lane], bool]) -> int | None:
        """Take the ready row of the lowest id out of the queues; `give_back` puts it back.

        Args:
            now: Epoch seconds.
            allowed: Whether a lane may be taken from.
        """
        while True:
            best = min(
                (
                    queue
                    for lane, queue in zip(self.lanes, self._ready, strict=True)
                    if queue and allowed(lane)
                ),
                default=None,
                key=_head,
            )
            if best is None:
                return None
            row_id = heapq.heappop(best)
            self._queued[row_id] = _NOWHERE
            if not self._pending[row_id]:
                continue
            if self._not_before[row_id] > now:  # a clock went back, or the row was put off
                self._queue(row_id)
                continue
            return row_id

    def give_back(self, row_id: int) -> None:
        """Queue a row that was taken and is still pending."""
        if self._pending[row_id] and self._queued[row_id] == _NOWHERE:
            self._queue(row_id)

    def lane_of(self, row_id: int) -> Lane:
        """Return the lane of a row."""
        return self.lanes[self._lane[row_id]]

    def over(self, now: float, limit: int) -> list[int]:
        """Take rows that expired, the first to expire first; the caller changes all of them."""
        found: list[int] = []
        while self._ending and self._ending[0][0] <= now and len(found) < limit:
            _, row_id = heapq.heappop(self._ending)
            if self._pending[row_id] and row_id not in found[-1:]:
                found.append(row_id)
        return found

    def due(self) -> float | None:
        """Return when the next row is due, 0 for a row that is ready, None without a row."""
        for queue in self._ready:
            while queue and not self._pending[queue[0]]:
                self._queued[heapq.heappop(queue)] = _NOWHERE
            if queue:
                return 0.0
        while self._later:
            at, row_id = self._later[0]
            if self._queued[row_id] == _LATER and self._not_before[row_id] == at and self._pending[row_id]:
                return at
            self._pop_later()
        return None

    def open_lanes(self) -> list[Lane]:
        """Return the lanes with pending rows."""
        return [lane for lane, count in zip(self.lanes, self._counts, strict=True) if count]


def _head(queue: list[int]) -> int:
    return queue[0]
