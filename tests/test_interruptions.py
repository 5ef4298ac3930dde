"""Openings and closes whose task is cancelled, wherever they wait, leave nothing open.

An opening undoes what it did; a close is finished by the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Protocol

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people
from nexmo_dispatch_async.bulk.ledger.conformance_claims import request as request_of
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.opt_outs_sqlite import SqliteOptOutStore
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.tracking import TrackingRetention
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import Answer, MessageStatus, Receiver, Router
from nexmo_dispatch_webhooks.testing import WebhookClient
from tests.support.callbacks import state_of
from tests.support.clients import client_of
from tests.support.leftovers import assert_left, held, needs_descriptors
from tests.support.misbehaving import RawServer, accept
from tests.support.walker import Walker

BOUND = 10.0
SECRETS = {"test-key": "a signature secret for tests"}
# Milliseconds until a timeout; an engine takes from three of them to a hundred.
MOMENTS = (*range(10), *range(10, 200, 10))
# Of a loop that ends, after a timeout.
ROUNDS = (0, 0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377)

pytestmark = needs_descriptors


class Closable(Protocol):
    async def aclose(self) -> None: ...


async def ledger_at(place: str) -> Closable:
    ledger = await open_ledger(place, name="spring", accept_loss=True)
    await ledger.counts()
    return ledger


async def opt_outs_at(place: str) -> Closable:
    opt_outs = OptOutList(
        PostgresOptOutStore(place)
        if place.startswith("postgres")
        else JetStreamOptOutStore(place)
        if place.startswith("nats")
        else SqliteOptOutStore(place)
    )
    await opt_outs.suppress("447700900321", reason="STOP")
    return opt_outs


async def tracking_at(place: str) -> Closable:
    store = (
        PostgresTrackingStore(place)
        if place.startswith("postgres")
        else JetStreamTrackingStore(place)
        if place.startswith("nats")
        else SqliteTrackingStore(place)
    )
    retention = TrackingRetention(ended=100, open=1000, unclaimed=10, max_unclaimed=3)
    store.watch(lambda _: None)  # it has a connection of its own
    await store.merge(state_of(), now=0.0, retention=retention)
    return store


def inbox_client(place: str) -> WebhookClient:
    router = Router()

    @router.message_status()
    async def handle(event: MessageStatus) -> None:
        """Leave the event alone."""

    return WebhookClient(Receiver(router, secrets=SECRETS, inbox=place), secrets=SECRETS)


async def inbox_at(place: str) -> Closable:
    client = inbox_client(place)
    await client.post_status()
    return client


STORES = pytest.mark.parametrize("make", [ledger_at, opt_outs_at, tracking_at, inbox_at])
MakeAt = Callable[[str], Awaitable[Closable]]


async def assert_next_close_finishes(make: Callable[[], Awaitable[Closable]]) -> None:
    """Cancel a close where it first waits, then where it waits the second time, until it waits no more."""
    await (await make()).aclose()
    before = held()
    for step in count(1):
        made = await make()
        if await Walker(cancel_at=step).run(made.aclose()) is None:
            break
        async with asyncio.timeout(BOUND):
            await made.aclose()
        await assert_left(before)
    await assert_left(before)


def assert_ended_loop_leaves_nothing(
    make: Callable[[], Awaitable[Closable]], caplog: pytest.LogCaptureFixture
) -> None:
    """End the loop some rounds after a close whose caller ran into a timeout, as a program does at its end.

    `asyncio.run` cancels each task once, that of the close among them, and waits for all.
    """

    async def main(rounds: int) -> None:
        made = await make()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                await made.aclose()
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def now() -> tuple[int, int, int]:
        return held()

    # The records are kept, and so the connections in the tracebacks of the errors that psycopg logs.
    caplog.set_level(logging.CRITICAL, logger="psycopg")
    asyncio.run(main(0))
    gc.collect()
    before = asyncio.run(now())
    for rounds in ROUNDS:
        asyncio.run(main(rounds))
        asyncio.run(assert_left(before, collect=True))


async def assert_openings_leave_nothing(make: Callable[[], Awaitable[Closable]]) -> None:
    """Cancel an opening where it first waits, then where it waits the second time, until it waits no more."""
    await (await make()).aclose()
    before = held()
    for step in count(1):
        made: list[Closable] = []

        async def opening(made: list[Closable] = made) -> None:
            made.append(await make())

        # Only whether it was: the traceback of the error holds what a driver frees with its last reference.
        ended = await Walker(cancel_at=step).run(opening()) is None
        for each in made:
            await each.aclose()
        await assert_left(before)
        if ended:
            break


@STORES
async def test_stores_in_a_file(make: MakeAt, tmp_path: Path) -> None:
    await assert_next_close_finishes(partial(make, str(tmp_path / "a.db")))


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
@STORES
async def test_stores_on_engines(make: MakeAt, engine: str, request: pytest.FixtureRequest) -> None:
    await assert_next_close_finishes(partial(make, request.getfixturevalue(engine)))


@pytest.mark.parametrize(
    "place", ["file", *(pytest.param(name, marks=pytest.mark.engines) for name in ("database", "nats_url"))]
)
async def test_an_inbox_that_starts_again_during_its_close(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """It starts once it is closed, and stores what comes then."""
    where = str(tmp_path / "a.db") if place == "file" else request.getfixturevalue(place)
    before = held()
    client = inbox_client(where)
    await client.post_status()
    assert client.receiver is not None
    for step in count(1):
        if await Walker(cancel_at=step).run(client.aclose()) is None:
            break
        async with asyncio.timeout(BOUND):
            await client.receiver.open()
        assert await client.post_status() == Answer()
    await client.aclose()
    await assert_left(before)


@STORES
def test_the_end_of_a_program_with_a_file(
    make: MakeAt, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert_ended_loop_leaves_nothing(partial(make, str(tmp_path / "a.db")), caplog)


# The drivers leave a connection whose close the loop cancelled to the garbage collector, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
@STORES
def test_the_end_of_a_program_with_engines(
    make: MakeAt, engine: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    assert_ended_loop_leaves_nothing(partial(make, request.getfixturevalue(engine)), caplog)


def test_the_end_of_a_program_with_a_cancelled_claim(tmp_path: Path) -> None:
    """The file is free for the next opening of the same process."""
    place = tmp_path / "a.db"

    async def main() -> None:
        ledger = await open_ledger(place)
        await ledger.add(people(10))
        claiming = asyncio.create_task(ledger.claim(request_of(limit=5)))
        await asyncio.sleep(0)
        claiming.cancel()
        await asyncio.sleep(0)
        async with asyncio.timeout(0):
            await ledger.aclose()

    async def again() -> Counts:
        async with await open_ledger(place) as ledger:
            return await ledger.counts()

    with pytest.raises(TimeoutError):
        asyncio.run(main())
    assert sum(asyncio.run(again()).states.values()) == 10


async def test_a_simulator() -> None:
    await assert_next_close_finishes(lambda: Simulator().__aenter__())


async def test_a_client(workflow: Workflow) -> None:
    async with RawServer(accept) as server:

        async def make() -> Closable:
            client = client_of(server)
            await client.send(workflow)
            return client

        await assert_next_close_finishes(make)


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
async def test_openings_of_ledgers(engine: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(engine)
    await assert_openings_leave_nothing(lambda: open_ledger(place, name="spring", accept_loss=True))


async def test_an_opening_of_a_ledger_in_a_file(tmp_path: Path) -> None:
    await assert_openings_leave_nothing(lambda: open_ledger(tmp_path / "a.db"))


async def test_an_opening_of_a_simulator() -> None:
    await assert_openings_leave_nothing(lambda: Simulator().__aenter__())


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
async def test_a_timeout_of_any_length(engine: str, request: pytest.FixtureRequest) -> None:
    """The timeout comes later each time, until the close is faster."""
    place = request.getfixturevalue(engine)
    before = held()
    for milliseconds in MOMENTS:
        ledger = await open_ledger(place, name="spring", accept_loss=True)
        await ledger.counts()
        try:
            async with asyncio.timeout(milliseconds / 1000):
                await ledger.aclose()
            break
        except TimeoutError:
            await ledger.aclose()
            await assert_left(before)
