"""An event loop whose clock jumps to the next timer when nothing else is to be done: hours take a moment.

Sockets do not work with it, since nothing says when their turn is; threads of anyio are waited for.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or (timeout > 0 and self._loop.threads_work()):
            # A thread is at work, in real time: virtual time stands still for it.
            events = super().select(10.0)
            assert events, "nothing is left to wait for: the test would hang"
            return events
        self._loop.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time()` is `now`, in seconds from `started`."""

    started = 1000.0

    def __init__(self) -> None:
        self.now = self.started
        self._executing = 0
        # Only a task can ask anyio for the limiter of its loop, and `select` runs in none.
        self.limiter: anyio.CapacityLimiter | None = None
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now

    def threads_work(self) -> bool:
        """Whether a task waits for a thread of anyio or of an executor."""
        return self._executing > 0 or (self.limiter is not None and self.limiter.borrowed_tokens > 0)

    def run_in_executor(  # type: ignore[override]  # the results of functions differ: any
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Count the call until its result has arrived in the loop."""
        future = super().run_in_executor(executor, func, *args)
        self._executing += 1
        future.add_done_callback(self._executed)
        return future

    def _executed(self, _future: asyncio.Future[Any]) -> None:
        self._executing -= 1

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in asyncio
        """Wait for the threads without a limit: from Python 3.12 on it is virtual, and passes at once."""
        await super().shutdown_default_executor()


def run_virtually(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(_with_limiter(coroutine))


async def _with_limiter(coroutine: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.limiter = anyio.to_thread.current_default_thread_limiter()
    return await coroutine
