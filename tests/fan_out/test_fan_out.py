"""Promises of bounded concurrency: the limit, the order, the end, and nothing left running."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import pytest
from anyio import create_memory_object_stream, move_on_after
from anyio.lowlevel import checkpoint

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    InvalidWorkflowError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
)
from nexmo_dispatch_async.fan_out.fan_out import FanOut, NotSent, Refused, Sent, Unknown, outcome_of
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.workflow import Workflow


class Work:
    """Work that ends when the test says so, and counts itself."""

    def __init__(self, *, gated: bool = False) -> None:
        self.gate = asyncio.Event()
        if not gated:
            self.gate.set()
        self.started: list[int] = []
        self.active = 0
        self.most_active = 0
        self.cancelled = 0

    async def __call__(self, item: int) -> int:
        self.started.append(item)
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await checkpoint()
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.active -= 1
        return item * 10


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await checkpoint()


async def numbers(stop: int) -> AsyncIterator[int]:
    for number in range(stop):
        yield number


async def drain(fan_out: FanOut[int, int], results: list[int]) -> None:
    async for result in fan_out:
        results.append(result)  # noqa: PERF401 - the loop may raise, and what came before counts


@pytest.mark.parametrize("items", [range(100), "async"])
async def test_each_item_gives_one_result(items: Any) -> None:
    work = Work()
    fan_out = FanOut(numbers(100) if items == "async" else items, work, limit=7)

    results = [result async for result in fan_out]

    assert sorted(results) == [number * 10 for number in range(100)]
    assert work.most_active == 7
    assert fan_out.statistics() == (100, 0, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_nothing_is_no_result(kind: str) -> None:
    items: Any = numbers(0) if kind == "async" else ()

    assert [result async for result in FanOut(items, Work(), limit=1)] == []


async def test_results_come_as_they_complete() -> None:
    gates = [asyncio.Event() for _ in range(3)]

    async def work(number: int) -> int:
        await gates[number].wait()
        return number

    async with FanOut(range(3), work, limit=3) as fan_out:
        order: list[int] = []
        for number in (2, 0, 1):
            gates[number].set()
            order.append(await anext(fan_out))

    assert order == [2, 0, 1]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_results_not_yet_consumed_count_too(kind: str) -> None:
    """A slow consumer slows the input down: what waits for it is bounded."""
    read: list[int] = []

    def sync() -> Iterator[int]:
        for number in range(1000):
            read.append(number)
            yield number

    async def asynchronous() -> AsyncIterator[int]:
        for number in sync():
            yield number

    items: Any = asynchronous() if kind == "async" else sync()
    async with FanOut(items, Work(), limit=5) as fan_out:
        for taken in range(1, 20):
            await anext(fan_out)
            await settle()
            now = fan_out.statistics()
            assert now.in_flight + now.waiting <= 5
            assert len(read) <= taken + 5
            assert repr(fan_out).startswith(f"FanOut(limit=5, read={now.read}, in_flight=")


async def test_a_slow_input_does_not_hold_back_results() -> None:
    more = asyncio.Event()

    async def slow() -> AsyncIterator[int]:
        yield 1
        await more.wait()
        yield 2

    async with FanOut(slow(), Work(), limit=5) as fan_out:
        assert await anext(fan_out) == 10
        more.set()
        assert await anext(fan_out) == 20


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_an_input_that_raises_loses_nothing(kind: str) -> None:
    """What was started is finished and handed out first; then the exception comes."""

    def sync() -> Iterator[int]:
        yield from range(3)
        raise LookupError("no more")

    async def asynchronous() -> AsyncIterator[int]:
        for number in sync():
            yield number

    work = Work(gated=True)
    items: Any = asynchronous() if kind == "async" else sync()
    fan_out = FanOut(items, work, limit=10)
    asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, work.gate.set)
    results: list[int] = []

    with pytest.raises(LookupError, match="no more"):
        await drain(fan_out, results)

    assert sorted(results) == [0, 10, 20]
    assert work.cancelled == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_work_that_raises_ends_the_reading(kind: str) -> None:
    async def work(number: int) -> int:
        await checkpoint()
        if number == 5:
            raise LookupError("broken")
        return number

    items: Any = numbers(10**9) if kind == "async" else range(10**9)
    fan_out = FanOut(items, work, limit=3)
    results: list[int] = []

    with pytest.raises(LookupError, match="broken"):
        await drain(fan_out, results)

    read = fan_out.statistics().read
    assert sorted([*results, 5]) == list(range(read))
    assert read <= 9
    assert fan_out.interrupted == [5]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_raises_stops_an_input_that_waits_for_room() -> None:
    async def work(number: int) -> int:
        await checkpoint()
        raise LookupError(str(number))

    fan_out = FanOut(numbers(5), work, limit=1)
    with pytest.raises(LookupError, match="0"):
        await anext(fan_out)

    assert fan_out.statistics().read == 1
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_work_that_raises_does_not_wait_for_a_slow_input() -> None:
    async def slow() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def work(number: int) -> int:
        raise LookupError(str(number))

    with pytest.raises(LookupError):
        await anext(FanOut(slow(), work, limit=3))

    await settle()
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("way", ["aclose", "async with", "aclosing"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_leaving_early_leaves_nothing_running(way: str, kind: str) -> None:
    work = Work()
    items: Any = numbers(1000) if kind == "async" else range(1000)
    fan_out = FanOut(items, work, limit=5)

    if way == "aclose":
        await anext(fan_out)
        work.gate.clear()
        await settle()
        await fan_out.aclose()
    elif way == "async with":
        async with fan_out:
            async for _ in fan_out:
                work.gate.clear()
                await settle()
                break
    else:
        async with aclosing(fan_out) as closing:
            async for _ in closing:
                work.gate.clear()
                await settle()
                break

    assert work.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
    known = [*fan_out.undelivered, *(item * 10 for item in fan_out.interrupted)]
    assert len(known) == fan_out.statistics().read - 1 <= 5
    with pytest.raises(StopAsyncIteration):
        await anext(fan_out)


async def test_a_plain_break_ends_the_work_too() -> None:
    work = Work()

    async for _ in FanOut(range(1000), work, limit=5):
        work.gate.clear()
        break
    gc.collect()
    await settle()

    assert work.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


class Input:
    """An async generator that notes when it is closed."""

    def __init__(self, stop: int = 1000) -> None:
        self.stop = stop
        self.closed = False

    async def numbers(self) -> AsyncIterator[int]:
        try:
            for number in range(self.stop):
                yield number
        finally:
            # Cleaning up may take a while, and is not cut short.
            await settle()
            self.closed = True


@pytest.mark.parametrize("way", ["read to its end", "left early", "cancelled", "work that raises"])
async def test_an_async_generator_is_closed_when_the_fan_out_ends(way: str) -> None:
    """Not when the garbage collector comes by: it may hold a file or a cursor."""
    given, work = Input(3 if way == "read to its end" else 1000), Work(gated=way == "cancelled")
    items = given.numbers()

    async def fail(_number: int) -> int:
        raise LookupError

    async def consume() -> None:
        async with FanOut(items, fail if way == "work that raises" else work, limit=2) as fan_out:
            async for _ in fan_out:
                if way == "left early":
                    break
        assert given.closed

    consuming = asyncio.create_task(consume())
    await settle()
    if way == "cancelled":
        consuming.cancel()
    await asyncio.wait([consuming])

    assert given.closed
    assert consuming.cancelled() is (way == "cancelled")
    if not consuming.cancelled():
        assert isinstance(consuming.exception(), LookupError) is (way == "work that raises")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_input_that_is_no_generator_stays_open() -> None:
    """A stream is the caller's: others may receive from it as well."""
    send, receive = create_memory_object_stream[int](10)
    async with send, receive:
        for number in range(3):
            send.send_nowait(number)
        async with FanOut(receive, Work(), limit=1) as fan_out:
            await anext(fan_out)

        assert await receive.receive() == 1


async def test_an_exception_in_the_consumer_ends_the_work() -> None:
    work = Work()

    async def consume() -> None:
        async with FanOut(range(1000), work, limit=5) as fan_out:
            async for _ in fan_out:
                raise LookupError

    with pytest.raises(LookupError):
        await consume()

    assert work.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_cancelling_the_consumer_ends_the_work(kind: str) -> None:
    work = Work(gated=True)
    items: Any = numbers(1000) if kind == "async" else range(1000)

    async def consume() -> None:
        async for _ in FanOut(items, work, limit=5):
            pass

    task = asyncio.create_task(consume())
    await settle()
    assert work.active == 5
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (work.active, work.cancelled) == (0, 5)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_cancel_scope_around_the_consumer_ends_the_work() -> None:
    """Structured cancellation comes again at every await; the clean-up is shielded from it."""
    work = Work(gated=True)

    with move_on_after(0.01) as scope:
        async with FanOut(range(1000), work, limit=5) as fan_out:
            async for _ in fan_out:
                pass

    assert scope.cancelled_caught
    assert work.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_before_the_first_result_does_nothing() -> None:
    work = Work()
    fan_out = FanOut(range(5), work, limit=2)

    await fan_out.aclose()

    assert work.started == []
    assert fan_out.statistics() == (0, 0, 0)


async def test_input_that_cannot_be_iterated_is_an_error() -> None:
    with pytest.raises(TypeError):
        await anext(FanOut(5, Work(), limit=2))  # type: ignore[arg-type] # that is the point


def test_the_limit_is_positive() -> None:
    with pytest.raises(ConfigurationError, match="limit must be at least 1, not 0"):
        FanOut([], Work(), limit=0)


# --- outcomes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "outcome"),
    [
        (APIConnectionError("x"), NotSent, "not_sent"),
        (NotSentError("x"), NotSent, "not_sent"),
        (BadRequestError("x"), Refused, "refused"),
        (InvalidWorkflowError([]), Refused, "refused"),
        (OutcomeUnknownError("x"), Unknown, "unknown"),
        (ProtocolError("x"), Unknown, "unknown"),
    ],
)
async def test_every_error_of_one_workflow_is_an_outcome(
    workflow: Workflow, error: Exception, kind: type[NotSent | Refused | Unknown], outcome: str
) -> None:
    async def send(_workflow: Workflow) -> Dispatch:
        raise error

    result = await outcome_of(workflow, send(workflow), None)

    assert type(result) is kind
    assert result.outcome == outcome
    assert not isinstance(result, Sent)
    assert (result.workflow, result.error) == (workflow, error)


async def test_a_sent_workflow_shows_its_id_and_no_recipient(workflow: Workflow) -> None:
    async def send(_workflow: Workflow) -> Dispatch:
        return Dispatch("uuid")

    result = await outcome_of(workflow, send(workflow), None)

    assert repr(result) == "Sent(Dispatch(dispatch_uuid='uuid'))"
    assert result.outcome == "sent"


async def test_an_error_of_the_client_is_not_an_outcome(workflow: Workflow) -> None:
    async def send(_workflow: Workflow) -> Dispatch:
        raise ClientClosedError("closed")

    with pytest.raises(ClientClosedError):
        await outcome_of(workflow, send(workflow), None)
