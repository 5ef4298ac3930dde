"""A cancellation that the caller did not ask for does not cancel the send: it loses no workflow."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async import sms
from nexmo_dispatch_async.exceptions import ClientClosedError
from nexmo_dispatch_async.fan_out.fan_out import FanOut
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.sansio import Response
from nexmo_dispatch_async.workflow import Workflow
from tests.failures import Resolver
from tests.support.clients import client_of
from tests.support.misbehaving import RawServer, hang

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True


class HangingResolver(Resolver):
    """Never answers, and says when it was asked."""

    def __init__(self) -> None:
        super().__init__(hangs=True)
        self.asked = asyncio.Event()

    async def resolve(self, *args: Any, **kwargs: Any) -> Any:
        self.asked.set()
        return await super().resolve(*args, **kwargs)


def workflows(count: int) -> list[Workflow]:
    return [
        Workflow.failover(sms.text(f"text {number}", from_="31647356950", to="999100000001"))
        for number in range(count)
    ]


@pytest.fixture
async def resolving() -> Any:
    """Yield a session of the caller's own that never finds the name of the service, and its resolver."""
    resolver = HangingResolver()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=resolver)) as session:
        yield session, resolver


NOWHERE = "https://nowhere.example:1/communication/nexmo"


async def test_a_session_that_is_closed_while_it_resolves_cancels_no_caller(
    workflow: Workflow, resolving: tuple[aiohttp.ClientSession, HangingResolver]
) -> None:
    """Aiohttp cancels its own look-up; the send was not cancelled, and nothing was sent."""
    session, resolver = resolving
    async with RawServer() as server, client_of(server, session=session, base_url=NOWHERE) as client:
        sending = asyncio.create_task(client.send(workflow))
        await resolver.asked.wait()
        await session.close()
        with pytest.raises(ClientClosedError, match=r"session .* was closed before the request was sent"):
            await sending

    assert client.statistics().interrupted == 1
    assert server.posts == 0


async def test_a_client_that_is_closed_while_it_resolves_cancels_no_caller(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = HangingResolver()
    monkeypatch.setattr(aiohttp.connector, "DefaultResolver", lambda *_args, **_kwargs: resolver)
    async with RawServer() as server, client_of(server, base_url=NOWHERE) as client:
        sending = asyncio.create_task(client.send(workflow))
        await resolver.asked.wait()
        await client.aclose()
        with pytest.raises(ClientClosedError, match="the client was closed before the request was sent"):
            await sending


async def test_a_session_that_is_closed_while_a_send_waits_for_room_cancels_no_caller(
    workflow: Workflow,
) -> None:
    connector = aiohttp.TCPConnector(limit=1)
    async with RawServer(hang) as server, aiohttp.ClientSession(connector=connector) as session:
        other = asyncio.create_task(session.get(server.url))
        await server.arrived.wait()
        async with client_of(server, session=session) as client:
            sending = asyncio.create_task(client.send(workflow))
            while not connector._waiters:  # noqa: ASYNC110 - aiohttp has no event for it
                await asyncio.sleep(0)
            await session.close()
            with pytest.raises(ClientClosedError):
                await sending
        await asyncio.gather(other, return_exceptions=True)

    assert server.posts == 0


async def test_a_real_cancellation_stays_one_when_the_session_is_closed_as_well(
    workflow: Workflow, resolving: tuple[aiohttp.ClientSession, HangingResolver]
) -> None:
    session, resolver = resolving
    async with RawServer() as server, client_of(server, session=session, base_url=NOWHERE) as client:
        sending = asyncio.create_task(client.send(workflow))
        await resolver.asked.wait()
        sending.cancel()
        await session.close()
        with pytest.raises(asyncio.CancelledError):
            await sending

    assert sending.cancelled()


async def test_a_batch_whose_session_is_closed_ends_with_the_reason(
    resolving: tuple[aiohttp.ClientSession, HangingResolver],
) -> None:
    """Instead of an end that looks like that of the input."""
    session, resolver = resolving
    sent = workflows(3)
    async with RawServer() as server, client_of(server, session=session, base_url=NOWHERE) as client:
        outcomes = client.send_many(sent)
        first = asyncio.ensure_future(anext(outcomes))
        await resolver.asked.wait()
        await session.close()
        with pytest.raises(ClientClosedError):
            await first

    assert all(each in outcomes.interrupted for each in sent)


class CutShort(Middleware):
    """Raises in the second attempt what looks like a cancellation."""

    def __init__(self, *, after: bool) -> None:
        self.attempts = 0
        self.after = after

    async def attempt(self, attempt: Attempt, proceed: Callable[[Attempt], Awaitable[Response]]) -> Response:
        self.attempts += 1
        if self.attempts != 2:
            return await proceed(attempt)
        if self.after:
            await proceed(attempt)
        raise asyncio.CancelledError


@pytest.mark.parametrize(("after", "outcome"), [(False, "not_sent"), (True, "unknown")])
async def test_every_workflow_of_a_batch_has_an_outcome(*, after: bool, outcome: str) -> None:
    """Also one whose sending was cancelled by something else than the batch."""
    sent = workflows(4)
    async with RawServer() as server, client_of(server, middleware=[CutShort(after=after)]) as client:
        outcomes = [each async for each in client.send_many(sent, limit=1)]

    assert [each.workflow for each in outcomes] == sent
    assert [each.outcome for each in outcomes] == ["sent", outcome, "sent", "sent"]
    assert "cut short by a cancellation" in str(getattr(outcomes[1], "error", ""))


async def test_a_worker_that_another_task_cancels_ends_the_fan_out() -> None:
    """Everything else is handed out first, and the item is named."""

    async def work(item: int) -> int:
        if item == 1:
            raise asyncio.CancelledError
        return item

    fan_out = FanOut([0, 1], work, limit=2)
    assert await anext(fan_out) == 0
    with pytest.raises(RuntimeError, match="cancelled, and not by the FanOut"):
        await anext(fan_out)

    assert fan_out.interrupted == [1]


async def test_an_input_whose_reading_another_task_cancels_ends_the_fan_out() -> None:
    """No caller would miss what was not read yet."""

    async def items() -> Any:
        yield 0
        raise asyncio.CancelledError

    async def work(item: int) -> int:
        return item

    fan_out = FanOut(items(), work, limit=2)
    assert await anext(fan_out) == 0
    with pytest.raises(RuntimeError, match="the reading of the input was cancelled"):
        await anext(fan_out)


async def test_nothing_runs_on_after_a_consumer_that_is_cancelled_twice() -> None:
    """The second cancellation comes while the work unwinds."""
    unwinding, go_on = asyncio.Event(), asyncio.Event()
    ended: list[int] = []

    async def work(item: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            unwinding.set()
            await go_on.wait()
            ended.append(item)

    async def consume() -> None:
        async for _ in fan_out:
            pass

    fan_out = FanOut(range(3), work, limit=3)
    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0)
    consumer.cancel()
    await unwinding.wait()
    consumer.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await consumer

    assert sorted(ended) == [0, 1, 2]
    assert fan_out.statistics().in_flight == 0
