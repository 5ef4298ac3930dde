"""Wakes workers that have nothing to do, one at a time.

One is enough: it rings for the next when there is more to do than it can take.
"""

from __future__ import annotations

import asyncio

__all__ = ["Bell", "resolve"]


class Bell:
    """Whoever rests is woken by a ring; rings for nobody are forgotten."""

    def __init__(self) -> None:
        self._resting: list[asyncio.Future[None]] = []
        self._ringing = False

    async def rest(self) -> None:
        """Wait for a ring."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._resting.append(future)
        try:
            await future
        finally:
            if not future.cancelled():  # also when somebody cancels the one who is about to wake
                self._ringing = False

    def ring(self) -> None:
        """Wake one, unless one is about to wake."""
        while self._resting and not self._ringing:
            future = self._resting.pop()
            if not future.done():
                self._ringing = True
                future.set_result(None)

    def ring_for_all(self) -> None:
        """Wake everybody."""
        resolve(self._resting)


def resolve(futures: list[asyncio.Future[None]]) -> None:
    """Let everybody go on who waits in the list."""
    while futures:
        future = futures.pop()
        if not future.done():
            future.set_result(None)
