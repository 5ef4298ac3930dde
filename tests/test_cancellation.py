"""Cancelling a send at any await: no task, slot or socket is left, and the client goes on working."""

import asyncio
import gc
from typing import Any

import aiohttp
import pytest

from nexmo_dispatch_async.auth import KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.workflow import Workflow
from tests.support.misbehaving import ACCEPTED, RawServer, accept, answering, reply


def client_of(server: RawServer, **settings: Any) -> DispatchClient:
    async def no_sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    auth = KpnOAuth("a", "b", server.token_url)
    return DispatchClient(
        auth=auth, application_id="a", base_url=server.base_url, sleep=no_sleep, limit=1, **settings
    )


def pool_of(client: DispatchClient) -> aiohttp.BaseConnector:
    connector = client._carrier._exchange.open().connector
    assert connector is not None
    return connector


class Walker:
    """Steps through a coroutine one await at a time and can cancel it at a chosen one."""

    def __init__(self, cancel_at: int) -> None:
        self.cancel_at = cancel_at
        self.steps = 0

    async def run(self, coroutine: Any) -> bool:
        """Return whether the coroutine was cancelled; `False` if it ended before its turn came."""
        task = asyncio.ensure_future(self._counted(coroutine))
        self.task = task
        try:
            await task
        except asyncio.CancelledError:
            return True
        return False

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


SCENARIOS = (
    "a cold client",
    "a rate limit first",
    "a rejected token first",
)


def handler_of(scenario: str) -> Any:
    if scenario == "a rate limit first":
        return answering(reply(429), reply(202, ACCEPTED))
    if scenario == "a rejected token first":
        return answering(reply(401), reply(202, ACCEPTED))
    return accept


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_cancelling_at_every_await_leaks_nothing(workflow: Workflow, scenario: str) -> None:
    step = 0
    cancelled = True
    while cancelled:
        step += 1
        assert step < 100, "the walk does not end"
        async with RawServer(handler_of(scenario)) as server:
            before = asyncio.all_tasks()
            client = client_of(server)
            async with client:
                walker = Walker(step)
                cancelled = await walker.run(client.send(workflow))

                # The only slot is free again, the token lock too, and a later send works.
                assert client._carrier._slots.free == 1
                assert not client._carrier._tokens.busy
                server.handler = accept
                assert (await client.send(workflow)).dispatch_uuid == ACCEPTED["dispatch_uuid"]
                assert not pool_of(client)._acquired
            left = [task for task in asyncio.all_tasks() - before if "RawServer" not in repr(task)]
            assert left == []
    gc.collect()

    assert step > 4
    # Never more than the cancelled POST, its one repetition, and the later one.
    assert len(server.received) <= 3


async def test_a_cancelled_waiter_gives_its_place_to_the_next(workflow: Workflow) -> None:
    """Callers who wait for the only slot and are cancelled do not block those behind them."""
    async with RawServer() as server, client_of(server) as client:
        await client._carrier._slots.acquire()
        tasks = [asyncio.create_task(client.send(workflow)) for _ in range(5)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        client._carrier._slots.release()
        results = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        True,
        False,
        True,
        False,
        True,
    ]
    assert len(server.received) == 2
