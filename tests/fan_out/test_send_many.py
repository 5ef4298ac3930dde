"""Promises of `client.send_many`: one outcome each, at most the limit at the server, memory flat."""

import asyncio
import gc
import itertools
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ClientClosedError
from nexmo_dispatch_async.fan_out.fan_out import NotSent, Refused, Sent, Unknown
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, accept, hang, reply


async def test_each_workflow_has_one_outcome(workflow: Workflow) -> None:
    """Sent, not sent, refused, unknown, and refused before the network: the batch goes on."""
    answers = itertools.cycle([reply(202, ACCEPTED), reply(400), reply(500), reply(429)])

    async def handler(_request: Received, connection: Connection) -> None:
        await connection.write(next(answers))

    workflows = [workflow, workflow, Workflow.failover(), workflow, workflow]
    async with RawServer(handler) as server, client_of(server, retry=RetryPolicy(attempts=1)) as client:
        outcomes = [outcome async for outcome in client.send_many(workflows, limit=1)]

    assert [type(outcome) for outcome in outcomes] == [Sent, Refused, Refused, Unknown, NotSent]
    assert Counter(o.outcome for o in outcomes) == {"sent": 1, "refused": 2, "unknown": 1, "not_sent": 1}
    assert [outcome.workflow for outcome in outcomes] == workflows
    assert len(server.received) == 4


@pytest.mark.parametrize("limit", [1, 16])
async def test_the_server_never_sees_more_than_the_limit(workflow: Workflow, limit: int) -> None:
    async def slow(request: Received, connection: Connection) -> None:
        await asyncio.sleep(0)
        await accept(request, connection)

    async with RawServer(slow) as server, client_of(server) as client:
        outcomes = [o async for o in client.send_many(itertools.repeat(workflow, 300), limit=limit)]

    assert len(outcomes) == len(server.received) == 300
    assert server.most_active <= limit
    assert server.connections <= limit


async def test_closing_early_leaves_nothing_running(workflow: Workflow) -> None:
    seen = 0

    async def accept_ten(request: Received, connection: Connection) -> None:
        nonlocal seen
        seen += 1
        await (accept if seen <= 10 else hang)(request, connection)

    async with RawServer(accept_ten) as server:
        before = asyncio.all_tasks()
        client = client_of(server)
        async with client, client.send_many(itertools.repeat(workflow), limit=8) as outcomes:
            async for number in _count(outcomes):
                if number == 10:
                    break
        ours = {task for task in asyncio.all_tasks() - before if "RawServer" not in repr(task)}

    assert ours == set()
    assert outcomes.statistics().read <= 10 + 8
    assert len(outcomes.interrupted) + len(outcomes.undelivered) == outcomes.statistics().read - 10
    assert len(server.received) <= 10 + 8


async def _count(outcomes: Any) -> Any:
    number = 0
    async for _ in outcomes:
        number += 1
        yield number


async def test_a_closed_client_ends_the_batch(workflow: Workflow) -> None:
    async with RawServer() as server, client_of(server) as client:
        outcomes = client.send_many(itertools.repeat(workflow), limit=3)
        assert (await anext(outcomes)).outcome == "sent"
        await client.aclose()
        with pytest.raises(ClientClosedError):
            async for _ in outcomes:
                pass

    assert outcomes.interrupted


async def test_memory_is_flat_over_an_endless_input(workflow: Workflow, monkeypatch: Any) -> None:
    """Bounded by the limit, not by what was sent; the sends themselves are stood in for here."""
    # The same over real sockets and 200,000 sends is a matter of minutes: see tests/soak.
    from nexmo_dispatch_async.models.responses import Dispatch

    async def send(_workflow: Workflow, **_settings: object) -> Dispatch:
        await asyncio.sleep(0)
        return Dispatch("x" * 36)

    def endless() -> Iterator[Workflow]:
        while True:
            yield workflow

    client = DispatchClient(auth=BearerToken("t"), application_id="a")
    monkeypatch.setattr(client, "send", send)
    tracemalloc.start()
    try:
        sizes: list[int] = []
        async with client.send_many(endless(), limit=64) as outcomes:
            number = 0
            async for _ in outcomes:
                number += 1
                if number % 1000 == 0:
                    gc.collect()
                    sizes.append(tracemalloc.get_traced_memory()[0])
                if number == 4000:
                    break
    finally:
        tracemalloc.stop()

    assert max(sizes[1:]) - sizes[0] < 100_000
