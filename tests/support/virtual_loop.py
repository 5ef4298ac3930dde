"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours take a moment.

Sockets do not work with it, since nothing says when their turn is; threads of anyio are waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (timeout > 0 and _threads_work()):
            # A thread is at work, in real time: virtual time stands still for it.
            events = super().select(10.0)
            assert events, "nothing is left to wait for: the test would hang"
            return events
        self._loop.now += max(timeout, 0.0)
        return super().select(0)


def _threads_work() -> bool:
    try:
        return anyio.to_thread.current_default_thread_limiter().borrowed_tokens > 0
    except (RuntimeError, anyio.NoEventLoopError):
        return False


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time()` is `now`, in seconds from `started`."""

    started = 1000.0

    def __init__(self) -> None:
        self.now = self.started
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in asyncio
        """Wait for the threads without a limit: from Python 3.12 on it is virtual, and passes at once."""
        await super().shutdown_default_executor()


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(coroutine)
