"""A send that is cancelled disturbs no other: neither on its connection, nor in the queue for a slot."""

import asyncio
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.interruption import interruption_of
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, accept

# The promises of this module hold on both wires: see conftest.
BOTH_WIRES = True


@pytest.mark.parametrize("held_by", ["a trace", "a client middleware of aiohttp"])
async def test_cancelling_one_send_leaves_the_connection_of_another_alone(
    workflow: Workflow, held_by: str
) -> None:
    """Something in the session awaits after the answer: by then the connection serves another request."""
    first_has_its_answer, second_arrived, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        if not first_has_its_answer.is_set():
            first_has_its_answer.set()
            await asyncio.Event().wait()

    async def on_request_end(*_: object) -> None:
        await hold()

    async def middleware(request: aiohttp.ClientRequest, handler: Any) -> aiohttp.ClientResponse:
        response: aiohttp.ClientResponse = await handler(request)
        await hold()
        return response

    async def serve(request: Received, connection: Connection) -> None:
        if len(server.received) == 2:
            second_arrived.set()
            await go_on.wait()
        await accept(request, connection)

    traces = aiohttp.TraceConfig()
    traces.on_request_end.append(on_request_end)
    settings: dict[str, Any] = (
        {"trace_configs": [traces]} if held_by == "a trace" else {"middlewares": [middleware]}
    )
    async with (
        RawServer(serve) as server,
        aiohttp.ClientSession(**settings) as session,
        client_of(server, session=session, limit=2) as client,
    ):
        first = asyncio.create_task(client.send(workflow))
        await first_has_its_answer.wait()
        second = asyncio.create_task(client.send(workflow))
        await second_arrived.wait()
        first.cancel()
        await asyncio.wait([first])
        go_on.set()

        assert (await second).dispatch_uuid == ACCEPTED["dispatch_uuid"]

    assert server.connections == 1
    with pytest.raises(asyncio.CancelledError) as caught:
        first.result()
    interruption = interruption_of(caught.value)
    assert interruption is not None
    assert interruption.outcome == "unknown"


async def test_a_cancelled_waiter_gives_its_place_to_the_next(workflow: Workflow) -> None:
    """Callers who wait for the only slot and are cancelled do not block those behind them."""
    async with RawServer() as server, client_of(server, limit=1) as client:
        await client._calls._slots.acquire()
        tasks = [asyncio.create_task(client.send(workflow)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        client._calls._slots.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)

    cancelled = [isinstance(result, asyncio.CancelledError) for result in results]
    assert cancelled == [True, False, True, False, True]
    assert len(server.received) == 2
