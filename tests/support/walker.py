"""Cancelling a coroutine at each of its awaits in turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import count
from typing import Any

__all__ = ["Walker", "cancelled_everywhere"]


class Walker:
    """Steps through a coroutine one await at a time and can cancel it at a chosen one."""

    def __init__(self, cancel_at: int) -> None:
        self.cancel_at = cancel_at
        self.steps = 0

    @property
    def arrived(self) -> bool:
        """Whether the coroutine came to the chosen await."""
        return self.steps >= self.cancel_at

    async def run_with_tasks(self, coroutine: Any) -> asyncio.CancelledError | None:
        """Do as `run`, and count the awaits of the tasks that begin meanwhile as well.

        So the caller of a task that a cancellation does not reach is cancelled at each moment of that task.
        """
        loop = asyncio.get_running_loop()

        def make(loop: asyncio.AbstractEventLoop, task: Any, **more: Any) -> asyncio.Task[Any]:
            return asyncio.Task(self._counted(task), loop=loop, **more)

        self.task = asyncio.ensure_future(self._counted(coroutine))
        loop.set_task_factory(make)
        try:
            await self.task
        except asyncio.CancelledError as error:
            return error
        finally:
            loop.set_task_factory(None)
        return None

    async def run(self, coroutine: Any) -> asyncio.CancelledError | None:
        """Return what the coroutine was cancelled with, `None` if it ended before its turn came."""
        self.task = asyncio.ensure_future(self._counted(coroutine))
        try:
            await self.task
        except asyncio.CancelledError as error:
            return error
        return None

    async def _counted(self, coroutine: Any) -> Any:
        return await _Steps(coroutine, self)

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.cancel_at:
            # Takes effect at the await the coroutine is about to sit in.
            asyncio.get_running_loop().call_soon(self.task.cancel)


class _Steps:
    def __init__(self, coroutine: Any, walker: Walker) -> None:
        self.coroutine = coroutine
        self.walker = walker

    def __await__(self) -> Any:
        inner = self.coroutine.__await__()
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                waited = inner.send(value) if error is None else inner.throw(error)
            except StopIteration as stop:
                return stop.value
            self.walker.step()
            error, value = None, None
            try:
                value = yield waited
            except BaseException as thrown:  # noqa: BLE001 - handed on to the coroutine, whatever it is
                error = thrown


async def cancelled_everywhere(
    call: Callable[[], Awaitable[object]], *, with_tasks: bool = False
) -> AsyncIterator[int]:
    """Cancel a call where it first waits, then where it waits the second time, until it waits no more.

    The number of the await comes after each cancellation, and after the call that nothing cancelled.
    """

    async def made() -> None:
        await call()

    for step in count(1):
        walker = Walker(cancel_at=step)
        await (walker.run_with_tasks if with_tasks else walker.run)(made())
        arrived = walker.arrived  # now: a task that goes on counts on
        yield step
        if not arrived:
            return
