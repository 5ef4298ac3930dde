"""Cancels tasks that exceed their timeouts, with one timer for all of them.

A timer for each request costs a fifteenth of a send (docs/performance.md), and nearly none of them ever
fires. So one timer serves all long timeouts, and may be late by up to `every` seconds; a short timeout has a
timer of its own.

After a process was suspended, or its event loop blocked, timeouts have expired although the responses are in
the sockets. So an expired timeout does not cancel at once: the event loop first gets a few rounds, a last
look, in which it reads the data that has arrived.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import Protocol

__all__ = ["Deadline", "Deadlines", "Progress"]

# For timeouts from here on, in seconds, the lateness of the common timer does not matter.
_MANY_SECONDS = 5.0

# Rounds of the event loop in a last look. One round reads up to 256 kB of a connection and the next one hands
# them on: enough for the longest response that a client reads by default.
_LAST_ROUNDS = 32


class Progress(Protocol):
    """The progress of a request, as far as a deadline depends on it."""

    @property
    def connecting(self) -> bool:
        """Whether the request waits for a connection."""
        ...

    @property
    def on_wire(self) -> bool:
        """Whether a byte of the request was sent, so that a response is possible."""
        ...


class Deadline:
    """The time at which the current task is cancelled, as by `asyncio.timeout()`.

    Args:
        task: The current task.
        until: End of the total timeout, in seconds of the monotonic clock; infinity for none.
        connected_until: End of the connect timeout, by the same clock.
    """

    # Class attributes are the initial values: most deadlines change one of them.
    #: The progress of the request of the task; without it there is no last look.
    progress: Progress | None = None
    #: The remaining rounds of the last look, 0 before it.
    rounds: int = 0
    #: Timers of its own, for short timeouts.
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
        #: The number of earlier cancellations by others, which must not be taken back.
        self.cancellations: int = task.cancelling()

    def end(self) -> None:
        """Cancel the task."""
        self.is_over = True
        self.task.cancel()

    def take_back(self) -> bool:
        """Take the cancellation back; return whether it was the only one."""
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
        # deadlines in their last look
        self._last: list[Deadline] = []

    def start(
        self,
        seconds: float | None,
        *,
        connect: float | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> Deadline:
        """Set a deadline for the current task.

        Args:
            seconds: Total timeout, in seconds; `None` for no limit.
            connect: Timeout until `progress` has a connection, in seconds; `None` for no limit.
            loop: The running event loop, if known: on Python 3.11 looking it up is a system call.
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
        """Remove a deadline, and take its cancellation back if there was one."""
        self._running.discard(deadline)
        if deadline.timers:
            for timer in deadline.timers:
                timer.cancel()
        if deadline.is_over:
            deadline.take_back()

    def close(self) -> None:
        """Stop the timer as soon as there are no deadlines."""
        if self._timer is not None and not self._running:
            self._timer.cancel()
            self._timer = None

    async def end_unconnected(self) -> None:
        """Cancel the tasks that wait for a connection, and give them a few rounds of the loop to clean up."""
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
        # Without deadlines there is no timer.
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._every, self._look) if self._running else None

    def _over(self, deadline: Deadline) -> None:
        """Cancel the tasks whose total timeout has expired, after a last look if a response is possible.

        A request of which no byte was sent gets no last look: it must not be sent at the last moment.
        """
        deadline.until = -math.inf
        if deadline.progress is not None and deadline.progress.on_wire:
            self._look_once_more(deadline)
        else:
            self._end(deadline)

    def _unconnected(self, deadline: Deadline) -> None:
        """Cancel the tasks whose connect timeout has expired, after a last look."""
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
                # The last look found a connection, and there is time for the response.
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
