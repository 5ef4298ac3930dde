"""Ends what takes too long, with one timer for all that is under way.

A timer for each request costs a fifteenth of a send (docs/performance.md), and nearly none of them ever
fires. This one is for long time-outs only: it may be late by up to `every` seconds.
"""

from __future__ import annotations

import asyncio
from time import monotonic

__all__ = ["Deadline", "Deadlines"]


class Deadline:
    """When the present task will have taken too long. It is cancelled then, as by `asyncio.timeout()`."""

    __slots__ = ("_cancellations", "is_over", "task", "until")

    def __init__(self, task: asyncio.Task[object] | None, until: float) -> None:
        if task is None:
            raise RuntimeError("whoever awaits the network runs in a task")
        self.task: asyncio.Task[object] = task
        self.until: float = until
        self.is_over: bool = False
        # Those that others had asked for before: they are not ours to take back.
        self._cancellations: int = task.cancelling()

    def end(self) -> None:
        """Cancel the task."""
        self.is_over = True
        self.task.cancel()

    def take_back(self) -> bool:
        """Take the cancellation back; return whether there was one, and nobody else's besides."""
        if not self.is_over:
            return False
        self.is_over = False
        return self.task.uncancel() <= self._cancellations


class Deadlines:
    """The deadlines of one event loop."""

    __slots__ = ("_every", "_running", "_timer")

    def __init__(self, every: float = 1.0) -> None:
        self._every = every
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float) -> Deadline:
        """Give the present task so many seconds."""
        deadline = Deadline(asyncio.current_task(), monotonic() + seconds)
        self._running.add(deadline)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every, self._look)
        return deadline

    def stop(self, deadline: Deadline) -> None:
        """Forget a deadline. A cancellation that nobody took back is taken back."""
        self._running.discard(deadline)
        if deadline.is_over:
            deadline.take_back()

    def close(self) -> None:
        """Stop the timer, unless something is under way: then it stops when that has ended."""
        if self._timer is not None and not self._running:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        now = monotonic()
        for deadline in [each for each in self._running if each.until <= now]:
            self._running.remove(deadline)
            deadline.end()
        # While nothing is under way no timer is either.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every, self._look) if self._running else None
