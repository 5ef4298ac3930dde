"""Real processes share the rate of a campaign on a real server, while they join, leave and die."""

from __future__ import annotations

import asyncio

import pytest

from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from tests.bulk.killing import simulator
from tests.engines.chaos import Member
from tests.support import postgres_campaign_process
from tests.support.campaign_process import TEMPLATE, person

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

RATE = 40
SPAN = 5.0


async def test_senders_keep_the_rate_together(database: str) -> None:
    """One, then two, then three of which one was killed: figures are printed, the bounds are wide."""
    async with simulator() as sim:
        application = sim.create_application()
        service = [sim.base_url, sim.token_url, sim.client_id, sim.client_secret, application.id]
        async with (
            await PostgresLedger.open(database, "spring") as ledger,
            Campaign.open(ledger, template=TEMPLATE) as campaign,
        ):
            await campaign.add([person(number) for number in range(RATE * 60)])
            command = ["-m", postgres_campaign_process.__name__, database, *service, str(RATE)]
            members: list[Member] = []
            figures: list[float] = []

            async def join() -> None:
                before = (await ledger.life()).senders
                members.append(Member(command))
                await members[-1].start()
                async with asyncio.timeout(60):
                    while (await ledger.life()).senders <= before:  # noqa: ASYNC110 - of the other process
                        await asyncio.sleep(0.05)

            async def measure() -> None:
                loop = asyncio.get_running_loop()
                begin, before = loop.time(), sim.accepted
                await asyncio.sleep(SPAN)
                figures.append((sim.accepted - before) / (loop.time() - begin))

            await join()
            async with asyncio.timeout(60):
                while sim.accepted < RATE:  # noqa: ASYNC110 - of the other process
                    await asyncio.sleep(0.05)
            await measure()
            await join()
            await measure()
            await join()
            await measure()
            members[0].kill()
            await measure()
            await campaign.stop()
            for member in members:
                await member.finish()
    mean = sum(figures) / len(figures)
    print(f"of {RATE}/s: {', '.join(f'{figure:.2f}' for figure in figures)}, together {mean:.2f}")
    assert all(0.75 * RATE <= figure <= 1.25 * RATE for figure in figures), figures
    assert 0.85 * RATE <= mean <= 1.1 * RATE, figures
