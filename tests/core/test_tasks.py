"""Tasks end, also when they lose a cancellation."""

from __future__ import annotations

import asyncio

import pytest

from nexmo_dispatch_core.tasks import end


async def test_a_task_that_loses_a_cancellation_is_cancelled_again() -> None:
    """`end` returns once the task is over, however many cancellations it lost."""
    lost = 0
    begun = asyncio.Event()

    async def work() -> None:
        nonlocal lost
        while True:
            begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(work())
    await begun.wait()
    await end(task, again=0.001)
    assert task.cancelled()
    assert lost == 3


async def test_the_exception_of_a_task_stays_with_it() -> None:
    """What a task failed with while it was cancelled is not raised by the end of the task."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while it was cancelled")

    task = asyncio.create_task(work())
    await begun.wait()
    await end(task)
    with pytest.raises(ValueError, match="while it was cancelled"):
        task.result()


async def test_tasks_that_are_over_take_no_time() -> None:
    """Nothing is waited for where nothing goes on."""
    task = asyncio.create_task(asyncio.sleep(0))
    await task
    await end(task)
    await end()
