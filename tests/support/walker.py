"""Cancelling a coroutine at each of its awaits in turn."""

import asyncio
from typing import Any


class Walker:
    """Steps through a coroutine one await at a time and can cancel it at a chosen one."""

    def __init__(self, cancel_at: int) -> None:
        self.cancel_at = cancel_at
        self.steps = 0

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
