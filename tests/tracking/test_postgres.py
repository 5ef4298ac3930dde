"""Tracking on Postgres: several processes tell facts, and a caller in one waits for what another hears."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest

from nexmo_dispatch_async import ConfigurationError
from nexmo_dispatch_async.exceptions import TrackingStoreError, WaitTimeoutError
from nexmo_dispatch_async.tracking import Tracker, TrackingRetention, WorkflowState
from nexmo_dispatch_async.tracking import postgres as postgres_module
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_core.postgres.notifications import Notifications
from tests.support.callbacks import UUID, report, state_of, status
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.engines

RETENTION = TrackingRetention(ended=100, open=1000, unclaimed=10, max_unclaimed=3)


@pytest.fixture
async def trackers(database: str) -> AsyncIterator[list[Tracker]]:
    """Two trackers, as in two processes."""
    made = [Tracker(database), Tracker(database)]
    yield made
    for tracker in made:
        await tracker.aclose()


async def test_a_callback_that_another_process_hears_wakes_a_caller(
    trackers: list[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a notification: the poll would come much later."""
    here, there = trackers
    monkeypatch.setattr(here, "_poll", 1000.0)

    async with asyncio.timeout(25):
        waiting = asyncio.create_task(here.follow(UUID).wait("read", timeout=None))
        await there.receive(status("m", "delivered", 1))
        await there.receive(status("m", "read", 2))
        assert (await waiting).has("read")

        ended = asyncio.create_task(here.follow(UUID).wait(timeout=None))
        await there.receive(report("completed", 3))
        assert (await ended).ended


@pytest.mark.parametrize("text", ["a\udcff", "a\0b"], ids=["half", "NUL"])
async def test_an_id_that_is_no_text_of_a_database_is_followed(trackers: list[Tracker], text: str) -> None:
    """A callback may hold any text (contract 5.11), and none may be lost for it."""
    followed = trackers[0].follow(text)
    await trackers[1].receive(status("m", "delivered", 1, dispatch=text))

    assert (await followed.result()).has("delivered")


async def test_a_poll_finds_what_no_notification_tells(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a pooler that drops `LISTEN`."""
    monkeypatch.setattr(Notifications, "listen", lambda _: None)
    monkeypatch.setattr(postgres_module, "_POLL", 0.05)
    async with Tracker(database) as here, Tracker(database) as there, asyncio.timeout(25):
        waiting = asyncio.create_task(here.follow(UUID).wait("read", timeout=None))
        await there.receive(status("m", "read", 1))
        assert (await waiting).has("read")


async def test_a_wait_without_news_ends_by_itself(trackers: list[Tracker]) -> None:
    """Reading the store anew does not make a call wait longer."""
    with pytest.raises(WaitTimeoutError):
        await trackers[0].follow(UUID).wait(timeout=0.2)


async def test_facts_of_two_processes_are_all_kept(trackers: list[Tracker]) -> None:
    """Forty callbacks of one workflow at the same instant, heard by two processes, in no order."""
    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(trackers[number % 2].receive, status(f"m{number}", "delivered", number))

    found = await trackers[0].learn(WorkflowState(UUID))
    assert len(found.messages) == 40


async def test_connections_that_are_cut_cost_one_call_each(
    trackers: list[Tracker], postgres: PostgresServer, database: str
) -> None:
    """A restart of the server, or a failover: the callback is delivered again, and stored then."""
    here, there = trackers
    errors: list[TrackingStoreError] = []

    async def read() -> bool:
        while True:
            try:
                return (await here.follow(UUID).wait("read", timeout=None)).has("read")
            except TrackingStoreError as error:  # its first look into the store was under way
                errors.append(error)

    await there.receive(status("m", "submitted", 0))
    waiting = asyncio.create_task(read())
    await here.learn(WorkflowState(UUID))

    postgres.cut(database)

    async with asyncio.timeout(25):
        while True:
            try:
                await there.receive(status("m", "read", 1))
                break
            except TrackingStoreError as error:
                errors.append(error)
        assert await waiting
    assert all(error.__cause__ is error.__context__ is None for error in errors)


async def test_the_server_is_named_without_its_secrets(database: str) -> None:
    """Neither `repr` nor an error shows user, password or socket."""
    store = PostgresTrackingStore("postgresql://someone:secret@127.0.0.1:1/name", timeout=5.0)

    with pytest.raises(TrackingStoreError) as caught:
        await store.merge(state_of(status("m", "read")), now=0.0, retention=RETENTION)

    shown = f"{caught.value} {caught.value!r} {store!r} {caught.value.__cause__} {caught.value.__context__}"
    assert "cannot be reached" in shown
    assert "secret" not in shown
    assert "someone" not in shown
    await store.aclose()
    with pytest.raises(ConfigurationError) as refused:
        PostgresTrackingStore("postgresql://someone:secret@[broken")
    assert "secret" not in f"{refused.value} {refused.value.__cause__} {refused.value.__context__}"
    with pytest.raises(TrackingStoreError, match="closed"):
        await store.merge(WorkflowState(UUID), now=0.0, retention=RETENTION)


def test_another_url_is_refused() -> None:
    """What is no Postgres is named where it is given."""
    with pytest.raises(ConfigurationError, match="the URL of a Postgres database or of NATS"):
        Tracker("mysql://host/name")
