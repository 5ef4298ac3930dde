"""The end of tasks that an object owns."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["end"]


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
