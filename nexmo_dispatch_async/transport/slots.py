"""How many requests may be under way at once: a semaphore that costs nothing as long as there is room.

It does not know what the slots are for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

__all__ = ["Slots"]


class Slots:
    """At most `limit` at once; who has to wait is served in order.

    `asyncio.Semaphore` does the same for five times the price, which every send pays (docs/performance.md).
    """

    __slots__ = ("_waiters", "free")

    def __init__(self, limit: int) -> None:
        # Never above zero while somebody waits: a slot goes from hand to hand.
        self.free: int = limit
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __repr__(self) -> str:
        return f"<Slots free={self.free} waiting={self.waiting}>"

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiters)

    def take(self) -> bool:
        """Take a slot if there is one; who gets none should `acquire` it."""
        if self.free:
            self.free -= 1
            return True
        return False

    async def acquire(self) -> None:
        """Take a slot, when there is one."""
        if self.take():
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                with suppress(ValueError):  # a release that met the cancelled waiter took it out already
                    self._waiters.remove(waiter)
            else:
                # The slot arrived in the same moment as the cancellation: for the next one then.
                self.release()
            raise

    def release(self) -> None:
        """Give a slot back, or on to who waits longest."""
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.free += 1
