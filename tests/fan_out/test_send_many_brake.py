"""A service that fails for all does not make an unknown outcome of every workflow."""

import asyncio
import itertools
import logging
from collections import Counter

import pytest

from nexmo_dispatch_async.exceptions import ClientClosedError, SendingStoppedError
from nexmo_dispatch_async.fan_out.brake import Brake
from nexmo_dispatch_async.fan_out.fan_out import NotSent, Unknown
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.workflow import Workflow
from tests.support.clients import client_of
from tests.support.clock import Time
from tests.support.misbehaving import (
    Connection,
    RawServer,
    Received,
    accept,
    answering,
    reply,
    reset_after_body,
)

BAD_GATEWAY = answering(reply(502, b"<h1>Bad Gateway</h1>", {"Content-Type": "text/html"}))
ONCE = RetryPolicy(attempts=1)
LIMIT = 16


async def test_a_dead_upstream_costs_tens_of_unknowns_and_not_thousands(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    """By default: four pauses, then it stops; every workflow has its outcome, and those left are not sent."""
    time = Time()
    workflows = dict.fromkeys(range(3000), workflow)
    with caplog.at_level(logging.WARNING):
        async with RawServer(BAD_GATEWAY) as server, client_of(server, time) as client:
            outcomes = [o async for o in client.send_many(workflows.items(), limit=64)]

    seen = Counter(outcome.outcome for outcome in outcomes)
    assert sorted(outcome.key for outcome in outcomes) == list(workflows)
    assert 20 <= seen["unknown"] <= 20 + 64 + 4
    assert server.posts == seen["unknown"]
    assert seen["not_sent"] == 3000 - seen["unknown"]
    assert time.slept == [1.0, 5.0, 15.0, 30.0]
    stopped = next(outcome for outcome in outcomes if isinstance(outcome, NotSent))
    assert isinstance(stopped.error, SendingStoppedError)
    assert stopped.error.attempts == 0
    assert stopped.error.steps == workflow.summary()
    said = [record.getMessage() for record in caplog.records if "send_many" in record.getMessage()]
    assert len(said) == 5
    assert said[0].startswith("POST /dispatch: send_many pauses for 1 s: ")
    assert said[-1].startswith("POST /dispatch: send_many stops: ")


async def test_a_service_that_comes_back_is_sent_everything_else(workflow: Workflow) -> None:
    time = Time()

    async def down_for_a_while(request: Received, connection: Connection) -> None:
        await (reset_after_body if time.now < time.started + 6 else accept)(request, connection)

    async with RawServer(down_for_a_while) as server, client_of(server, time) as client:
        outcomes = [o async for o in client.send_many(itertools.repeat(workflow, 500), limit=LIMIT)]

    seen = Counter(outcome.outcome for outcome in outcomes)
    assert 20 <= seen["unknown"] <= 20 + LIMIT + 1
    assert seen == {"unknown": seen["unknown"], "sent": 500 - seen["unknown"]}
    assert time.slept == [1.0, 5.0]


async def test_no_connection_counts_too(workflow: Workflow) -> None:
    time = Time()
    async with RawServer() as server:
        pass
    async with client_of(server, time, retry=ONCE) as client:
        sending = client.send_many(itertools.repeat(workflow, 100), limit=1, brake=Brake(10, ()))
        outcomes = [outcome async for outcome in sending]

    kinds = [type(outcome.error) for outcome in outcomes if isinstance(outcome, NotSent)]
    assert kinds.index(SendingStoppedError) == 10
    assert set(kinds[10:]) == {SendingStoppedError}
    assert len(kinds) == 100


async def test_what_the_service_refuses_is_no_reason_to_stop(workflow: Workflow) -> None:
    async with RawServer(answering(reply(400))) as server, client_of(server) as client:
        sending = client.send_many(itertools.repeat(workflow, 100), brake=Brake(5, ()))
        outcomes = Counter([outcome.outcome async for outcome in sending])

    assert outcomes == {"refused": 100}


async def test_what_a_rule_refuses_neither_ends_a_row_nor_belongs_to_it(workflow: Workflow) -> None:
    """It says nothing about the service."""
    workflows = [workflow, Workflow.failover()] * 10
    async with RawServer(BAD_GATEWAY) as server, client_of(server) as client:
        sending = client.send_many(workflows, limit=1, brake=Brake(3, ()))
        outcomes = Counter([outcome.outcome async for outcome in sending])

    assert server.posts == 3
    assert outcomes == {"unknown": 3, "not_sent": 15, "refused": 2}


async def test_the_brake_can_be_taken_off(workflow: Workflow) -> None:
    async with RawServer(BAD_GATEWAY) as server, client_of(server) as client:
        sending = client.send_many(itertools.repeat(workflow, 200), brake=None)
        outcomes = [outcome async for outcome in sending]

    assert all(isinstance(outcome, Unknown) for outcome in outcomes)
    assert server.posts == 200


class Pause:
    """A wait that ends only by a cancellation."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        self.begun.set()
        await asyncio.Event().wait()


async def test_leaving_in_a_pause_leaves_nothing_running(workflow: Workflow) -> None:
    """What waited was not sent, and is told as such."""
    pause = Pause()
    async with RawServer(BAD_GATEWAY) as server, client_of(server, sleep=pause) as client:
        before = asyncio.all_tasks()
        outcomes = client.send_many(itertools.repeat(workflow), limit=8, brake=Brake(3))

        async def take() -> None:
            async with outcomes:
                async for _ in outcomes:
                    pass

        taking = asyncio.create_task(take())
        await asyncio.wait_for(pause.begun.wait(), 10)
        taking.cancel()
        await asyncio.wait([taking])
        ours = {task for task in asyncio.all_tasks() - before if "RawServer" not in repr(task)}

    assert ours == set()
    assert len(outcomes.interruptions) >= 1
    assert server.posts + len(outcomes.interrupted) >= outcomes.statistics().read
    assert [known.outcome for _, known in outcomes.interruptions].count("not_sent") >= 1


async def test_a_client_that_is_closed_ends_the_pause(workflow: Workflow) -> None:
    pause = Pause()
    async with RawServer(BAD_GATEWAY) as server, client_of(server, sleep=pause) as client:
        outcomes = client.send_many(itertools.repeat(workflow, 9), limit=2, brake=Brake(3))

        async def take() -> None:
            async for _ in outcomes:
                pass

        taking = asyncio.create_task(take())
        await asyncio.wait_for(pause.begun.wait(), 10)
        await client.aclose()
        with pytest.raises(ClientClosedError):
            await asyncio.wait_for(taking, 10)
