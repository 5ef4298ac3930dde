"""Tasks end, also when they lose a cancellation, and a close ends whatever happens to its callers."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from nexmo_dispatch_core.tasks import Closing, end


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


class Resource:
    """Something whose close waits until it is let go on."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.begun = asyncio.Event()
        self.closes = 0
        self.ended = 0
        self.may_end = asyncio.Event()
        self.closing = Closing()

    async def aclose(self) -> None:
        await self.closing.run(self._close)

    async def _close(self) -> None:
        self.closes += 1
        self.begun.set()
        await self.may_end.wait()
        self.ended += 1
        if self.error is not None:
            raise self.error


async def cancelled_caller(resource: Resource) -> None:
    """Begin a close, and cancel the task that waits for it."""
    task = asyncio.create_task(resource.aclose())
    await resource.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_next_close_waits_for_the_one_whose_caller_was_cancelled() -> None:
    """The resource is closed once, and completely."""
    resource = Resource()
    await cancelled_caller(resource)
    assert resource.ended == 0

    resource.may_end.set()
    await resource.aclose()

    assert (resource.closes, resource.ended) == (1, 1)


async def test_a_close_goes_on_in_a_cancelled_scope() -> None:
    """A scope of anyio cancels each wait within it, so that one would end at its first."""
    resource = Resource()
    asyncio.get_running_loop().call_soon(resource.may_end.set)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await resource.aclose()
    assert resource.ended == 1


async def test_the_error_of_a_close_is_that_of_every_caller() -> None:
    """Also of the one that came while it was under way."""
    resource = Resource(ValueError("it cannot be closed"))
    await cancelled_caller(resource)
    callers = [asyncio.create_task(resource.aclose()) for _ in range(2)]
    resource.may_end.set()
    await asyncio.wait(callers)
    assert [str(caller.exception()) for caller in callers] == ["it cannot be closed"] * 2
    assert resource.closes == 1


async def test_an_opening_waits_for_the_close_before() -> None:
    """Otherwise what it opened would be closed."""
    resource = Resource()
    await resource.closing.wait()  # there is none
    await cancelled_caller(resource)
    opening = asyncio.create_task(resource.closing.wait())
    await asyncio.sleep(0)
    assert not opening.done()
    resource.may_end.set()
    await opening
    assert resource.ended == 1


def test_a_close_of_a_loop_that_was_left_is_not_waited_for() -> None:
    """It never ends, so the next call closes."""
    resource = Resource()
    left = asyncio.new_event_loop()
    task = left.create_task(resource.aclose())
    left.run_until_complete(resource.begun.wait())

    async def close() -> None:
        resource.may_end = asyncio.Event()
        resource.may_end.set()
        await resource.closing.wait()
        await resource.aclose()

    asyncio.run(close())
    assert resource.ended == 1
    task.cancel()
    for remaining in asyncio.all_tasks(left):
        remaining.cancel()
        left.run_until_complete(asyncio.gather(remaining, return_exceptions=True))
    left.close()
