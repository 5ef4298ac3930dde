"""From `client.send()` to `dispatch.wait()`: client, simulator and the real receiver over loopback."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from anyio import wait_all_tasks_blocked

from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.channels import sms, whatsapp
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    NotReachedError,
    TrackingStoreError,
    WaitTimeoutError,
)
from nexmo_dispatch_async.fan_out.fan_out import Sent
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.tracking import MemoryTrackingStore, Tracker, WorkflowResult, WorkflowState
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.safe_traces import own_words
from tests.support.callbacks import UUID, WHATSAPP_THEN_SMS, report, status

NEVER_READS, READS_AFTER_20_S, REJECTED, SILENT = "9991", "99920020", "99931300", "9995"


def whatsapp_then_sms(person: str, *, sms_person: str = "9990") -> Workflow:
    """A workflow to people of the simulator."""
    template = whatsapp.template(
        "ns:parcel", ["today"], from_="447418342140", to=f"{person}0001", locale="en-GB"
    )
    return Workflow.failover(
        template.until("read", within=600), sms.text("Hello", from_="31647356950", to=f"{sms_person}0002")
    )


class World:
    """A simulator whose callbacks go to a tracker through the real receiver."""

    def __init__(self, sim: Simulator, stack: AsyncExitStack) -> None:
        self.sim = sim
        self._stack = stack
        self._tracker: Tracker | None = None

    async def receive_with(self, tracker: Tracker, port: int = 0) -> int:
        """Start a receiver and let the callbacks go there; `port` is that of one that was stopped."""
        router = Router()
        tracker.attach(router)
        app = web.Application()
        secrets = {self.sim.api_key: self.sim.signature_secret}
        setup(app, router, "/webhooks", secrets=secrets, clock=self.sim.timestamp)
        server = TestServer(app, port=port)
        await self._stack.enter_async_context(server)
        self.sim.create_application(status_url=str(server.make_url("/webhooks/status")))
        return server.port or 0

    async def send(self, tracker: Tracker, workflow: Workflow) -> Dispatch:
        async with self.sim.client(tracker=tracker) as client:
            return await client.send(workflow)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A running simulator without a receiver yet."""
    async with Simulator() as sim, AsyncExitStack() as stack:
        yield World(sim, stack)


@pytest.fixture
async def tracker(world: World) -> AsyncIterator[Tracker]:
    """A tracker that receives the callbacks of that simulator."""
    async with Tracker() as tracker:
        await world.receive_with(tracker)
        yield tracker


async def test_read_in_time(world: World, tracker: Tracker) -> None:
    """Contract 10.1: a call waits while the callbacks come."""
    dispatch = await world.send(tracker, whatsapp_then_sms(READS_AFTER_20_S))
    results: list[WorkflowResult] = []

    async def wait() -> None:
        results.append(await dispatch.wait("read", timeout=10))
        results.append(await dispatch.wait(timeout=10))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await wait_all_tasks_blocked()
        await world.sim.advance(30)

    read, end = results
    assert read.channel == end.channel == "whatsapp"
    assert end.elapsed == timedelta(seconds=19.9)  # read 20 s after it was sent, first heard of after 0.1 s
    assert (end.status, end.cost, end.currency) == ("completed", Decimal("0.0645"), "EUR")
    assert [step.message_uuid is not None for step in end.steps] == [True, False]


async def test_failover_to_sms(world: World, tracker: Tracker) -> None:
    """Contract 10.2."""
    dispatch = await world.send(tracker, whatsapp_then_sms(NEVER_READS))

    await world.sim.advance(700)
    result = await dispatch.wait(timeout=10)

    assert (result.reached, result.channel, result.step) == (True, "sms", 2)
    assert [[seen.status for seen in step.statuses] for step in result.steps] == [
        ["submitted", "delivered"]
    ] * 2
    with pytest.raises(NotReachedError, match="never read"):
        await dispatch.wait("read", timeout=10)


async def test_all_fail(world: World, tracker: Tracker) -> None:
    """Contract 10.4."""
    dispatch = await world.send(tracker, whatsapp_then_sms(REJECTED, sms_person=REJECTED))

    await world.sim.advance(10)
    result = await dispatch.wait(timeout=10)

    assert (result.status, result.reached, str(result)) == ("error", False, "not reached, EUR 0.002")
    assert [(step.failed, step.error_code) for step in result.steps] == [(True, 1300)] * 2


async def test_a_silent_end_times_out(world: World, tracker: Tracker) -> None:
    """Contract 9.12: nothing ends it, however long one waits."""
    dispatch = await world.send(tracker, whatsapp_then_sms(SILENT, sms_person=SILENT))

    await world.sim.advance_until_idle()
    with pytest.raises(WaitTimeoutError) as caught:
        await dispatch.wait(timeout=0.01)

    assert [step.status for step in caught.value.result.steps] == ["submitted"] * 2


async def test_each_of_many_is_followed(world: World, tracker: Tracker) -> None:
    """`send_many` hands out dispatches that can be waited for."""
    people = [READS_AFTER_20_S, NEVER_READS, REJECTED] * 5
    async with (
        world.sim.client(tracker=tracker) as client,
        client.send_many([whatsapp_then_sms(person) for person in people]) as results,
    ):
        sent = [result async for result in results if isinstance(result, Sent)]

    await world.sim.advance(700)
    ends = [await result.dispatch.wait(timeout=10) for result in sent]

    expected = {person: "whatsapp" if person == READS_AFTER_20_S else "sms" for person in people}
    assert [end.channel for end in ends] == [
        expected[str(result.workflow.steps[0].to.number).removesuffix("0001")] for result in sent
    ]


async def test_a_restart_goes_on_from_the_store(world: World, tmp_path: Path) -> None:
    """Sent, first callbacks received, process gone; the next one follows by the id alone."""
    path = tmp_path / "tracking.db"
    async with AsyncExitStack() as first_run:
        tracker = await first_run.enter_async_context(Tracker(SqliteTrackingStore(path)))
        first = World(world.sim, first_run)
        port = await first.receive_with(tracker)
        dispatch_uuid = (await first.send(tracker, whatsapp_then_sms(NEVER_READS))).dispatch_uuid
        await world.sim.advance(10)

    async with Tracker(SqliteTrackingStore(path)) as tracker:
        await world.receive_with(tracker, port)
        await world.sim.advance(690)
        result = await tracker.follow(dispatch_uuid).wait(timeout=10)

    assert str(result) == "reached on sms after 601.291 s, EUR 0.0978"
    assert [(step.until, step.status) for step in result.steps] == [
        ("read", "delivered"),
        (None, "delivered"),
    ]


class FailsOnce(MemoryTrackingStore):
    """Fails the first callback that it is given."""

    failed = False

    async def merge(self, state: WorkflowState, **settings: Any) -> WorkflowState:
        if state.messages and not self.failed:
            self.failed = True
            raise TrackingStoreError("the disk is full")
        return await super().merge(state, **settings)


async def test_a_callback_that_could_not_be_stored_comes_again(world: World) -> None:
    """Contract 5.10: 500 makes the service call again, after the others then."""
    async with Tracker(FailsOnce()) as tracker:
        await world.receive_with(tracker)
        dispatch = await world.send(tracker, whatsapp_then_sms(READS_AFTER_20_S))
        await world.sim.advance(60)

        result = await dispatch.wait(timeout=10)

    assert [delivery.status for delivery in world.sim.deliveries].count(500) == 1
    assert [seen.status for seen in result.steps[0].statuses] == ["submitted", "delivered", "read"]


async def test_a_store_that_fails_is_named_in_the_log_of_the_receiver(
    world: World, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """File, cause and cure: the class alone told an operator nothing. What an argument was is not told."""
    path = tmp_path / "tracking.db"
    async with Tracker(SqliteTrackingStore(path, busy_timeout=0.01)) as tracker:
        await world.receive_with(tracker)
        dispatch = await world.send(tracker, whatsapp_then_sms(READS_AFTER_20_S))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await world.sim.advance(3)
        with pytest.raises(ConfigurationError) as refused:
            await dispatch.wait(cast("Any", "+999000000001"), timeout=0)

    lines = [record.getMessage() for record in caplog.records if "TrackingStoreError" in record.getMessage()]
    assert ": the store of the tracker failed: tracking.db: database is locked (SQLITE_BUSY): " in lines[0]
    assert own_words(refused.value) == ""


async def test_callbacks_may_beat_the_answer_to_the_send(tracker: Tracker) -> None:
    """The whole workflow ends before its 202 arrives; until then it has no follower."""

    async def dispatch(request: web.Request) -> web.Response:
        await request.read()
        await tracker.receive(status("a", "read", 5, channel="whatsapp"))
        await tracker.receive(report("completed", 5.05, ("a", "whatsapp", "read"), total="0.0645"))
        return web.json_response({"dispatch_uuid": UUID}, status=202)

    app = web.Application()
    app.router.add_post("/dispatch", dispatch)
    async with (
        TestServer(app) as server,
        DispatchClient(
            auth=BearerToken("token"), application_id="a", base_url=str(server.make_url("")), tracker=tracker
        ) as client,
    ):
        sent = await client.send(WHATSAPP_THEN_SMS)
        result = await sent.wait("read", timeout=10)

    assert str(result) == "reached on whatsapp after 0 s, EUR 0.0645"
    assert result.steps[1].channel == "sms"  # the plan was merged with what had come before it
