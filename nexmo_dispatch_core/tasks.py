"""The end of tasks that an object owns, and of the object itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import anyio

__all__ = ["Closing", "end"]


async def end(*tasks: asyncio.Task[Any], again: float = 1.0) -> None:  # Any: the results are of no interest
    """Cancel tasks, and return once all of them have ended.

    A task may lose a cancellation: before Python 3.12, `asyncio.wait_for` returns the result where both come
    at once, and the drivers of the engines wait with it. So the request is repeated.

    Args:
        tasks: Tasks that the caller owns. Their exceptions stay with them.
        again: Seconds after which a task that goes on is cancelled again.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=again)


class Closing:
    """The close of an object, in a task of its own that the cancellation of a caller does not interrupt.

    A close that ends halfway leaves connections, tasks or threads behind that no later call knows of.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    async def run(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:  # Any: of no interest
        """Close, or wait for the close that is under way.

        In a cancelled scope of anyio it returns when all is closed. `asyncio.timeout` and `Task.cancel` end
        the wait at once, and the close goes on; the next call waits for its end. A loop that ends meanwhile
        cancels it once, as every task.

        Args:
            close: Closes the object; without effect if it is closed. It releases what must not stay behind in
                `finally`: also after a cancellation.

        Raises:
            Exception: That of `close`.
        """
        closing = self._under_way()
        if closing is None:
            closing = self._task = asyncio.create_task(close(), name="close")
        with anyio.CancelScope(shield=True):
            await asyncio.wait({closing})
        closing.result()

    async def wait(self) -> None:
        """Wait for the close that is under way, before the object is opened again."""
        closing = self._under_way()
        if closing is not None:
            await asyncio.wait({closing})

    def _under_way(self) -> asyncio.Task[None] | None:
        task = self._task
        # One of a loop that was left never ends.
        return task if task and not task.done() and task.get_loop() is asyncio.get_running_loop() else None
