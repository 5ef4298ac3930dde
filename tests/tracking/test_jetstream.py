"""Tracking on JetStream: several processes tell facts, and a caller in one waits for what another hears."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from nexmo_dispatch_async import ConfigurationError
from nexmo_dispatch_async.exceptions import TrackingStoreError, WaitTimeoutError
from nexmo_dispatch_async.tracking import Tracker, TrackingRetention, WorkflowState
from nexmo_dispatch_async.tracking import jetstream as jetstream_module
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_core.jetstream.connection import Connection
from tests.support.callbacks import UUID, report, state_of, status

RETENTION = TrackingRetention(ended=100, open=1000, unclaimed=10, max_unclaimed=3)


@pytest.fixture
async def trackers(nats_url: str) -> AsyncIterator[list[Tracker]]:
    """Two trackers, as in two processes."""
    made = [Tracker(nats_url), Tracker(nats_url)]
    yield made
    for tracker in made:
        await tracker.aclose()


@pytest.mark.engines
async def test_a_callback_that_another_process_hears_wakes_a_caller(
    trackers: list[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a notification: the poll would come much later."""
    here, there = trackers
    monkeypatch.setattr(here, "_poll", 1000.0)
    await here.learn(WorkflowState(UUID))

    async with asyncio.timeout(25):
        waiting = asyncio.create_task(here.follow(UUID).wait("read", timeout=None))
        await there.receive(status("m", "delivered", 1))
        await there.receive(status("m", "read", 2))
        assert (await waiting).has("read")

        ended = asyncio.create_task(here.follow(UUID).wait(timeout=None))
        await there.receive(report("completed", 3))
        assert (await ended).ended


@pytest.mark.engines
async def test_a_poll_finds_what_no_notification_tells(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notification that is lost with a connection costs some seconds."""

    async def lost(*_: object) -> None:
        """Lose a hint."""

    monkeypatch.setattr(Connection, "tell", lost)
    monkeypatch.setattr(jetstream_module, "_POLL", 0.05)
    async with Tracker(nats_url) as here, Tracker(nats_url) as there, asyncio.timeout(25):
        waiting = asyncio.create_task(here.follow(UUID).wait("read", timeout=None))
        await there.receive(status("m", "read", 1))
        assert (await waiting).has("read")


@pytest.mark.engines
async def test_a_wait_without_news_ends_by_itself(trackers: list[Tracker]) -> None:
    """Reading the store anew does not make a call wait longer."""
    with pytest.raises(WaitTimeoutError):
        await trackers[0].follow(UUID).wait(timeout=0.2)


@pytest.mark.engines
async def test_facts_of_two_processes_are_all_kept(trackers: list[Tracker]) -> None:
    """Forty callbacks of one workflow at the same instant, heard by two processes, in no order."""
    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(trackers[number % 2].receive, status(f"m{number}", "delivered", number))

    found = await trackers[0].learn(WorkflowState(UUID))
    assert len(found.messages) == 40


@pytest.mark.engines
async def test_facts_survive_the_process_and_move_when_they_are_claimed(nats_url: str) -> None:
    """The callback beat the 202 and reached another process."""
    early = state_of(status("m", "read", 1))
    async with Tracker(nats_url) as there:
        await there.learn(early)

    async with Tracker(nats_url) as here:
        await here.learn(WorkflowState(UUID, followed=True))
        found = await here.learn(WorkflowState(UUID))

    assert found.followed
    assert found.messages == early.messages


@pytest.mark.engines
async def test_a_workflow_is_deleted_when_its_time_is_over(nats_url: str) -> None:
    """By the server, also when no process runs; what has more time stays."""
    short = TrackingRetention(ended=1000, open=1000, unclaimed=1, max_unclaimed=1000)
    store = JetStreamTrackingStore(nats_url)
    await store.merge(WorkflowState("mine", followed=True), now=0, retention=short)
    unclaimed = WorkflowState(UUID, messages=state_of(status("m", "read")).messages)
    await store.merge(unclaimed, now=0, retention=short)

    async with asyncio.timeout(20):
        while (await store.merge(WorkflowState(UUID), now=0, retention=short)).messages:  # noqa: ASYNC110 - its clock
            await asyncio.sleep(0.1)

    assert (await store.merge(WorkflowState("mine"), now=0, retention=short)).followed
    await store.aclose()


@pytest.mark.engines
async def test_a_value_that_cannot_be_read_is_our_error(nats_url: str) -> None:
    store = JetStreamTrackingStore(nats_url)
    await store.merge(WorkflowState(UUID, followed=True), now=0, retention=RETENTION)
    (key,) = await store._stream.subjects(f"{store._prefix}.>")
    await store._connection.request(key, b"{")

    with pytest.raises(TrackingStoreError, match="cannot be read"):
        await store.merge(WorkflowState(UUID), now=0, retention=RETENTION)
    await store.aclose()


async def test_the_server_is_named_without_its_secrets() -> None:
    """Neither `repr` nor an error shows user, password or address."""
    store = JetStreamTrackingStore("nats://someone:secret@127.0.0.1:1/name", timeout=0.5)

    with pytest.raises(TrackingStoreError) as caught:
        await store.merge(state_of(status("m", "read")), now=0.0, retention=RETENTION)

    shown = f"{caught.value} {caught.value!r} {store!r} {caught.value.__cause__} {caught.value.__context__}"
    assert "cannot be reached" in shown
    assert "secret" not in shown
    assert "someone" not in shown
    await store.aclose()
    with pytest.raises(ConfigurationError) as refused:
        Tracker("nats://someone:secret@[broken")
    assert "secret" not in f"{refused.value} {refused.value.__cause__} {refused.value.__context__}"
    with pytest.raises(ConfigurationError, match="replicas"):
        JetStreamTrackingStore("nats://127.0.0.1", replicas=2)
    with pytest.raises(TrackingStoreError, match="closed"):
        await store.merge(WorkflowState(UUID), now=0.0, retention=RETENTION)
