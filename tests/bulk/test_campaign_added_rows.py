"""Rows that are added while a campaign runs, and a run that others have stopped meanwhile."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any, cast

import pytest

from nexmo_dispatch_async.bulk import Campaign, Governor, MemoryLedger
from nexmo_dispatch_async.tariff import Tariff
from tests.bulk.campaigns import TEMPLATE, phone, until, wall
from tests.bulk.fake_client import FakeClient
from tests.support.virtual_loop import run_virtually

TARIFF = Tariff({"sms": "0.07"}, fee="0")


def opened(client: FakeClient, ledger: MemoryLedger, **more: Any) -> Any:
    settings: dict[str, Any] = {"template": TEMPLATE, "governor": Governor(), "wall_clock": wall, "limit": 8}
    return Campaign.open(ledger, client=cast("Any", client), **settings | more)


def rows(count: int, start: int, name: str = "Ada") -> list[dict[str, str]]:
    return [{"phone": phone(number), "name": name} for number in range(start, start + count)]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_budget_holds_for_rows_that_cost_more_and_are_added_later(elsewhere: bool) -> None:
    """Rows of two segments join rows of one, from this process or another: 1.00 is not exceeded."""

    async def main() -> None:
        ledger, client = MemoryLedger(clock=wall), FakeClient()
        async with (
            opened(client, ledger, max_spend=Decimal("1.00"), tariff=TARIFF) as campaign,
            opened(client, ledger) as other,
        ):
            await campaign.add(rows(2, 0))
            running = asyncio.ensure_future(campaign.run())
            await until(lambda: client.moments)
            await (other if elsewhere else campaign).add(rows(50, 2, "x" * 200))
            await asyncio.sleep(60)
            await campaign.stop()
            await running

        cheap = sum(client.sends[phone(number)] for number in range(2))
        dear = sum(client.sends.values()) - cheap
        assert cheap == 2
        assert dear > 0
        assert cheap * Decimal("0.07") + dear * Decimal("0.14") <= Decimal("1.00")

    run_virtually(main())


def test_a_campaign_without_a_row_finds_its_price_with_the_first_ones() -> None:
    """Rows that come after the beginning of the run are sent as many at a time as the budget allows."""

    async def main() -> None:
        ledger, client = MemoryLedger(clock=wall), FakeClient(latency=5)
        async with opened(client, ledger, max_spend=Decimal("1.00"), tariff=TARIFF) as campaign:
            await campaign.add(rows(1, 0))
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(1)
            await campaign.add(rows(50, 1))
            await asyncio.sleep(60)
            await campaign.stop()
            await running

        assert client.most_in_flight > 1
        assert sum(client.sends.values()) == 14

    run_virtually(main())


def test_who_joins_a_run_begins_no_stopped_one() -> None:
    """A worker that opens the campaign while an operator stops it sends nothing, and the stop stays."""

    async def main() -> None:
        ledger, client = MemoryLedger(clock=wall), FakeClient()
        async with opened(client, ledger) as campaign:
            await campaign.add(rows(20, 0))
            await campaign.stop("wrong text")
            counts = await asyncio.wait_for(campaign.run(joins=True), 60)

            assert counts.states == {"pending": 20}
            assert (await ledger.control()).state == "stop"
            assert not client.sends

            assert (await campaign.run()).states == {"sent": 20}

    run_virtually(main())
