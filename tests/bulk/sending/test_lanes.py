"""The lanes of a campaign: which bucket sends next when the campaign's own pace limits them all."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from nexmo_dispatch_async.bulk.progress import Wait
from nexmo_dispatch_async.bulk.sending.lanes import Lanes
from nexmo_dispatch_async.bulk.settings import Pace, Rate
from tests.bulk.campaigns import EPOCH, filled, phone, recipients, sender_of
from tests.bulk.fake_client import FakeClient
from tests.support.virtual_loop import run_virtually


@pytest.mark.parametrize("rate", [1, 20, 500])
def test_no_bucket_waits_for_the_last_row_of_another(rate: int) -> None:
    """A pace that frees one send at a time goes round the buckets: each has its share of every moment."""

    async def main() -> None:
        ledger, client = await filled(40), FakeClient()
        await ledger.add(recipients(40, start=1000, bucket="whatsapp|447418342140"))
        await ledger.add(recipients(40, start=2000, bucket="viber_service_msg|VSM-ID-40817"))
        await sender_of(ledger, client, pace=Pace(rates=(Rate(rate),), limit=8)).run()

        order = [int(address[3:]) // 1000 for address in client.sends]
        for n in (30, 60, 90):
            assert Counter(order[:n]) == pytest.approx({0: n / 3, 1: n / 3, 2: n / 3}, abs=6)
        assert len(order) == 120

    run_virtually(main())


def test_a_bucket_that_was_looked_at_in_vain_costs_no_turns_while_the_pace_holds_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its second without a look is over, and the next send is an hour away: the loop sleeps until then."""

    async def main() -> None:
        looks, held = 0, Lanes.held

        async def counted(lanes: Lanes, now: float, at: float) -> Wait | None:
            nonlocal looks
            looks += 1
            return await held(lanes, now, at)

        monkeypatch.setattr(Lanes, "held", counted)
        ledger, client = await filled(2), FakeClient()
        await ledger.add(
            recipients(1, start=1000, bucket="messenger|107083064136738", not_before=EPOCH + 900)
        )
        sender = sender_of(ledger, client, pace=Pace(rates=(Rate(1 / 3600),)))
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(600)

        assert len(client.moments) == 1
        assert looks < 100
        sender.stop()
        await running

    run_virtually(main())


def test_a_bucket_without_rows_holds_no_other() -> None:
    """When the rows of a bucket are over, the others have the whole pace."""

    async def main() -> None:
        ledger, client = await filled(20), FakeClient()
        await ledger.add(recipients(180, start=1000, bucket="whatsapp|447418342140"))
        started = asyncio.get_running_loop().time()
        await sender_of(ledger, client, pace=Pace(rates=(Rate(20),), limit=8)).run()

        assert len(client.sends) == 200
        assert client.sends[phone(1179)] == 1
        assert asyncio.get_running_loop().time() - started == pytest.approx(10, rel=0.05)

    run_virtually(main())
