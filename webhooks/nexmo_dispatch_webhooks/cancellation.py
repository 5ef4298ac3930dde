"""`is_failure`: whether what a handler raised is its failure, or the end of the task or program around it.

It cancels nothing and catches nothing.
"""

from __future__ import annotations

import asyncio

__all__ = ["is_failure"]


def is_failure(error: BaseException) -> bool:
    """Return whether *error* is a failure of the handler, so that the next handler runs, or has to pass.

    A `CancelledError` is a failure when the current task was not cancelled: the handler awaited another
    task, which was cancelled. Without an event loop of asyncio a cancellation is like every other exception.
    """
    if isinstance(error, Exception):
        return True
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return not (isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()))
