"""`is_failure`: whether what a handler raised is its failure, or the end of the task or program around it.

It cancels nothing and catches nothing.
"""

from __future__ import annotations

import asyncio

__all__ = ["is_failure"]


def is_failure(error: BaseException) -> bool:
    """Whether the next handler runs and the answer is 500, or *error* has to come through.

    A `CancelledError` is a failure when nobody cancelled the current task: the handler awaited something else
    that was cancelled. Without a loop of asyncio a cancellation cannot be told from other exceptions.
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
