"""A close in a scope that is cancelled (a time limit around a shutdown) leaves nothing open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, request, states
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.exceptions import DispatchError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.tracking import TrackingRetention
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_async.workflow import Workflow
from tests.support.callbacks import state_of
from tests.support.clients import client_of
from tests.support.leftovers import assert_left, exceeds, held, needs_descriptors
from tests.support.misbehaving import RawServer, accept, hang

BOUND = 10.0
RETENTION = TrackingRetention(ended=100, open=1000, unclaimed=10, max_unclaimed=3)
# Milliseconds until a time limit; an engine takes from three of them to a hundred.
MOMENTS = (*range(10), *range(10, 200, 10))

pytestmark = needs_descriptors
engines = pytest.mark.parametrize("engine", ["database", "nats_url"])


async def cut_short(close: Callable[[], Awaitable[object]]) -> None:
    """Close something in a scope that is cancelled already."""
    with anyio.CancelScope() as limit:
        limit.cancel()
        await close()


async def test_a_client_closes_its_connections(workflow: Workflow) -> None:
    """The one that is kept, and the one whose request is under way: its caller hears of it."""
    before = held()
    async with RawServer(accept) as server, RawServer(hang) as slow:
        kept, waiting = client_of(server), client_of(slow)
        await kept.send(workflow)
        sending = asyncio.create_task(waiting.send(workflow))
        await asyncio.wait_for(slow.arrived.wait(), BOUND)

        await cut_short(kept.aclose)
        await cut_short(waiting.aclose)

        with pytest.raises(DispatchError):
            await asyncio.wait_for(sending, BOUND)
    await assert_left(before)


async def test_a_simulator_stops() -> None:
    """Its server, its driver, and the connections of its callbacks."""
    before = held()
    sim = Simulator()
    await sim.__aenter__()
    await cut_short(sim.aclose)

    await assert_left(before)


async def test_a_file_is_free_at_once(tmp_path: Path) -> None:
    """The thread has ended, so that the next opening is not refused."""
    before = held()
    for _ in range(3):
        ledger = await open_ledger(tmp_path / "a.db")
        await cut_short(ledger.aclose)

        assert not exceeds(held(), before)


@pytest.mark.engines
@engines
async def test_a_ledger_gives_its_rows_up_and_disconnects(
    engine: str, request_url: Callable[[str], str]
) -> None:
    """Another process finds them `unknown` at once, and waits for no lease."""
    place = request_url(engine)
    before = held()
    ledger = await open_ledger(place, name="spring", accept_loss=True)
    await ledger.add(people(2))
    await ledger.claim(request(limit=1))
    await cut_short(ledger.aclose)

    await assert_left(before)
    async with await open_ledger(place, name="spring", observer=True, create=False) as other:
        assert await states(other) == ["unknown", "pending"]


@pytest.mark.engines
@engines
async def test_an_opening_that_is_cut_short_leaves_nothing_open(
    engine: str, request_url: Callable[[str], str]
) -> None:
    """Wherever that is: the time limit comes later each time, until the opening is faster."""
    place = request_url(engine)
    await (await open_ledger(place, name="spring", accept_loss=True)).aclose()
    before = held()
    for milliseconds in MOMENTS:
        with anyio.move_on_after(milliseconds / 1000):
            ledger = await open_ledger(place, name="spring", accept_loss=True)
            with anyio.CancelScope(shield=True):
                await ledger.aclose()
            break
        await assert_left(before)


@pytest.mark.engines
@engines
async def test_an_opt_out_list_disconnects(engine: str, request_url: Callable[[str], str]) -> None:
    url = request_url(engine)
    store = PostgresOptOutStore(url) if engine == "database" else JetStreamOptOutStore(url)
    before = held()
    opt_outs = OptOutList(store)
    await opt_outs.suppress("447700900321", reason="STOP")
    await cut_short(opt_outs.aclose)

    await assert_left(before)


@pytest.mark.engines
@engines
async def test_a_store_of_a_tracker_disconnects(engine: str, request_url: Callable[[str], str]) -> None:
    url = request_url(engine)
    store = PostgresTrackingStore(url) if engine == "database" else JetStreamTrackingStore(url)
    before = held()
    await store.merge(state_of(), now=0.0, retention=RETENTION)
    await cut_short(store.aclose)

    await assert_left(before)


@pytest.fixture
def request_url(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Start the server of an engine, and return the URL of an empty store."""
    return lambda engine: str(request.getfixturevalue(engine))
