"""Ends what takes too long, with one timer for all that is under way.

A timer for each request costs a fifteenth of a send (docs/performance.md), and nearly none of them ever
fires. So one timer sees to the long time-outs, and may be late by up to `every` seconds; a short one has a
timer of its own.

A process that was suspended, or whose event loop was blocked, finds its time over and the answers in its
sockets. So the end of the time is no end yet: the loop first gets a few rounds, in which it reads what is
there.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Protocol

__all__ = ["Deadline", "Deadlines", "Progress"]

# From here on the second by which the common timer may be late does not matter.
_MANY_SECONDS = 5.0

# How many rounds the event loop gets at the end of the time. One round reads up to 256 kB of a connection and
# the next one hands them on: enough for the longest answer that a client reads unless told otherwise.
_LAST_ROUNDS = 32


class Progress(Protocol):
    """How far a request got."""

    @property
    def connecting(self) -> bool:
        """Whether it waits for a connection."""
        ...

    @property
    def on_wire(self) -> bool:
        """Whether a byte of it left, so that there may be an answer."""
        ...


class Deadline:
    """When the present task will have taken too long. It is cancelled then, as by `asyncio.timeout()`.

    Args:
        task: The present task.
        until: When it has to have ended, by the monotonic clock; infinity for never.
        connected_until: When there has to be a connection, by the same clock.
    """

    # Class attributes are the initial values: most deadlines change one of them.
    #: What the task is about; without it the end of the time is the end.
    progress: Progress | None = None
    #: How many rounds are left of the last look, 0 before it.
    rounds: int = 0
    #: Timers of its own, if its time is short.
    timers: tuple[asyncio.TimerHandle, ...] = ()
    is_over: bool = False

    def __init__(
        self, task: asyncio.Task[object] | None, until: float, connected_until: float = math.inf
    ) -> None:
        if task is None:
            raise RuntimeError("the network is awaited in a task")
        self.task: asyncio.Task[object] = task
        self.until: float = until
        self.connected_until: float = connected_until
        #: How many cancellations others had requested before: they are not ours to take back.
        self.cancellations: int = task.cancelling()

    def end(self) -> None:
        """Cancel the task."""
        self.is_over = True
        self.task.cancel()

    def take_back(self) -> bool:
        """Take the cancellation back; return whether there was one, and no other one besides."""
        if not self.is_over:
            return False
        self.is_over = False
        return self.task.uncancel() <= self.cancellations


class Deadlines:
    """The deadlines of one event loop."""

    __slots__ = ("_every", "_last", "_running", "_timer")

    def __init__(self, every: float = 1.0) -> None:
        self._every = every
        self._running: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        # Those whose time is over, and that get a last look
        self._last: list[Deadline] = []

    def start(
        self,
        seconds: float | None,
        *,
        connect: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Deadline:
        """Give the present task so many seconds.

        Args:
            seconds: For everything; `None` for any number.
            connect: Until there is a connection, as `progress` tells; `None` for any number.
            loop: The running event loop, if it is known: a look for it is a system call.
        """
        loop = loop or asyncio.get_running_loop()
        seconds = math.inf if seconds is None else seconds
        connect = math.inf if connect is None else connect
        now = monotonic()
        deadline = Deadline(asyncio.current_task(loop), now + seconds, now + connect)
        self._running.add(deadline)
        if seconds <= _MANY_SECONDS or connect <= _MANY_SECONDS:
            limits = ((seconds, self._over), (connect, self._unconnected))
            deadline.timers = tuple(
                loop.call_later(limit, is_over, deadline)
                for limit, is_over in limits
                if limit <= _MANY_SECONDS
            )
        if self._timer is None and (_MANY_SECONDS < seconds < math.inf or _MANY_SECONDS < connect < math.inf):
            self._timer = loop.call_later(self._every, self._look)
        return deadline

    def stop(self, deadline: Deadline) -> None:
        """Forget a deadline. A cancellation that was not taken back is taken back."""
        self._running.discard(deadline)
        if deadline.timers:
            for timer in deadline.timers:
                timer.cancel()
        if deadline.is_over:
            deadline.take_back()

    def close(self) -> None:
        """Stop the timer, unless something is under way: then it stops when that has ended."""
        if self._timer is not None and not self._running:
            self._timer.cancel()
            self._timer = None

    async def end_unconnected(self) -> None:
        """End what waits for a connection, and let it clear up: the loop gets a few rounds for that."""
        present = asyncio.current_task()
        ended = [
            deadline
            for deadline in self._running
            if deadline.progress is not None and deadline.progress.connecting and deadline.task is not present
        ]
        for deadline in ended:
            self._end(deadline)
        for _ in range(_LAST_ROUNDS):
            if not any(deadline.is_over for deadline in ended):
                break
            await asyncio.sleep(0)

    def _look(self) -> None:
        now = monotonic()
        for deadline in list(self._running):
            if deadline.until <= now:
                self._over(deadline)
            elif deadline.connected_until <= now:
                self._unconnected(deadline)
        # While nothing is under way no timer is either.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every, self._look) if self._running else None

    def _over(self, deadline: Deadline) -> None:
        """End what took too long, after a last look if there may be an answer.

        What did not leave yet must not leave in the last moment: its answer would come too late.
        """
        deadline.until = -math.inf
        if deadline.progress is not None and deadline.progress.on_wire:
            self._look_once_more(deadline)
        else:
            self._end(deadline)

    def _unconnected(self, deadline: Deadline) -> None:
        """End what has no connection yet, after a last look."""
        if deadline.progress is not None and deadline.progress.connecting:
            self._look_once_more(deadline)

    def _look_once_more(self, deadline: Deadline) -> None:
        if deadline.rounds or deadline not in self._running:
            return
        deadline.rounds = _LAST_ROUNDS
        if not self._last:
            asyncio.get_running_loop().call_soon(self._last_round)
        self._last.append(deadline)

    def _last_round(self) -> None:
        looking, self._last = self._last, []
        for deadline in looking:
            deadline.rounds -= 1
            if deadline not in self._running:
                continue
            if deadline.until > -math.inf and (deadline.progress is None or not deadline.progress.connecting):
                # There is a connection after all, and time for the answer.
                deadline.rounds = 0
            elif deadline.rounds:
                self._last.append(deadline)
            else:
                self._end(deadline)
        if self._last:
            asyncio.get_running_loop().call_soon(self._last_round)

    def _end(self, deadline: Deadline) -> None:
        self._running.discard(deadline)
        deadline.end()
