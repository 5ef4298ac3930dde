"""Calls of a tracker whose task is cancelled, wherever they wait: no wait misses a callback."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest

from nexmo_dispatch_async.exceptions import WaitTimeoutError
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_async.tracking.store import MemoryTrackingStore, TrackingStore
from nexmo_dispatch_webhooks import Event, parse_event
from tests.support.leftovers import assert_left, held, needs_descriptors
from tests.support.walker import Walker, cancelled_everywhere
from tests.webhooks.payloads import encode, status_body

BOUND = 10.0

pytestmark = needs_descriptors


@pytest.fixture(
    params=[
        "memory",
        "file",
        *(pytest.param(name, marks=pytest.mark.engines) for name in ("database", "nats_url")),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where the facts are: a file, a URL, or `memory`."""
    if request.param == "memory":
        return "memory"
    return str(tmp_path / "a.db") if request.param == "file" else request.getfixturevalue(request.param)


def tracker_at(place: str) -> Tracker:
    """Return a tracker; its pool has one connection, and none to lose."""
    store: TrackingStore = (
        MemoryTrackingStore()
        if place == "memory"
        else PostgresTrackingStore(place, connections=1)
        if place.startswith("postgres")
        else JetStreamTrackingStore(place)
        if place.startswith("nats")
        else SqliteTrackingStore(place)
    )
    return Tracker(store)


def delivered(uuid: str) -> Event:
    """Return a callback of a workflow."""
    links = {"dispatch": {"dispatch_uuid": uuid}}
    return parse_event(encode(status_body(status="delivered", message_uuid=uuid, _links=links)))


async def test_a_cancelled_first_callback_leaves_the_tracker_usable(place: str) -> None:
    """The service repeats it; the close leaves nothing."""
    before = held()
    for step in count(1):
        uuid = str(UUID(int=step))
        tracker = tracker_at(place)
        walker = Walker(cancel_at=step)
        await walker.run(tracker.receive(delivered(uuid)))
        arrived = walker.arrived
        del walker
        async with asyncio.timeout(BOUND):
            await tracker.receive(delivered(uuid))
            assert (await tracker.result(uuid)).has("delivered")
            await tracker.aclose()
        await assert_left(before, collect=True)
        if not arrived:
            break


async def test_a_wait_hears_of_what_a_cancelled_callback_stored(place: str) -> None:
    """Without a repetition: what is in the store ends the wait."""
    async with tracker_at(place) as tracker:
        numbers = count(1)
        uuid = str(UUID(int=next(numbers)))
        await tracker.result(uuid)

        async def wait() -> asyncio.Task[object]:
            waiting: asyncio.Task[object] = asyncio.create_task(
                tracker.follow(uuid).wait("delivered", timeout=60)
            )
            await asyncio.sleep(0)
            await tracker.result(uuid)  # the wait has read the store before
            return waiting

        waiting = await wait()
        async for _ in cancelled_everywhere(lambda: tracker.receive(delivered(uuid))):  # noqa: B023 - at once
            async with asyncio.timeout(BOUND):
                if not (await tracker.result(uuid)).has("delivered"):
                    await tracker.receive(delivered(uuid))
                await waiting
            uuid = str(UUID(int=next(numbers)))
            waiting = await wait()
        waiting.cancel()


async def test_a_cancelled_wait_leaves_no_waiter(place: str) -> None:
    """And the next one hears of the callback."""
    async with tracker_at(place) as tracker:
        uuid = str(UUID(int=1))
        await tracker.result(uuid)
        before = held()
        for step in count(1):
            walker = Walker(cancel_at=step)
            with suppress(WaitTimeoutError):
                await walker.run(tracker.follow(uuid).wait("delivered", timeout=0.05))
            assert tracker.waiting == 0
            if not walker.arrived:
                break
            await assert_left(before)
        await tracker.receive(delivered(uuid))
        assert (await tracker.follow(uuid).wait("delivered", timeout=BOUND)).has("delivered")
