"""Refused rows that an operator sends again: brakes, canary and budget count them as the first time."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any, cast

import pytest

from nexmo_dispatch_async.bulk import AbortIf, Campaign, Canary, Governor, MemoryLedger
from nexmo_dispatch_async.exceptions import BadRequestError, LedgerError
from nexmo_dispatch_async.sansio import Response
from nexmo_dispatch_async.tariff import Tariff
from tests.bulk.campaigns import TEMPLATE, phone, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually


class Service:
    """Refuses rows as long as `refuses` is set, and counts the messages that it took."""

    def __init__(self) -> None:
        self.refuses = True
        self.got: Counter[str] = Counter()
        self.client = FakeClient(self.answer)

    def answer(self, address: str) -> Response | BaseException:
        if self.refuses:
            return BadRequestError("400", status=400)
        self.got[address] += 1
        return accepted(self.got.total())

    def opened(self, **more: Any) -> Any:
        settings: dict[str, Any] = {
            "template": TEMPLATE,
            "governor": Governor(),
            "wall_clock": wall,
            "limit": 8,
        }
        ledger = MemoryLedger(clock=wall)
        return Campaign.open(ledger, client=cast("Any", self.client), **settings | more)


def people(count: int) -> list[dict[str, str]]:
    return [{"phone": phone(number), "name": "Ada"} for number in range(count)]


async def waits_for(campaign: Campaign, reason: str) -> None:
    """Wait until a campaign says that it waits, and why; nothing is in flight then."""
    for _ in range(6000):
        status = await campaign.status()
        if (
            status.wait is not None
            and reason in (status.wait.reason, status.wait.by)
            and not status.in_flight
        ):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"it never waited for {reason}")


async def resend_refused(campaign: Campaign) -> int:
    return await campaign.resend(*[row.id async for row in campaign.rows("refused")], state="refused")


def test_refused_rows_go_out_in_the_same_run_after_the_cure() -> None:
    """The campaign paused by itself; each person gets one message, and the brake counts none of the past."""

    async def main() -> None:
        service = Service()
        async with service.opened(abort_if=AbortIf(refused=0.1, last=20)) as campaign:
            await campaign.add(people(60))
            running = asyncio.ensure_future(campaign.run())
            await waits_for(campaign, "abort_if")
            refused = await resend_refused(campaign)
            assert refused >= 20
            assert len(service.client.moments) == refused

            await campaign.resume()  # too early: the brake pauses after as many results again
            await until(lambda: len(service.client.moments) >= refused + 20)
            await waits_for(campaign, "abort_if")
            assert await resend_refused(campaign) >= 20
            service.refuses = False
            await campaign.resume()
            async with asyncio.timeout(600):
                counts = await running

        assert counts.states == {"sent": 60}
        assert service.got == {phone(number): 1 for number in range(60)}

    run_virtually(main())


def test_a_canary_holds_after_its_rows_that_were_sent_again() -> None:
    """Ten rows, refused and sent again, are the first ten; the others wait for the word."""

    async def main() -> None:
        service = Service()
        async with service.opened(canary=Canary(first=10), abort_if=None) as campaign:
            await campaign.add(people(30))
            running = asyncio.ensure_future(campaign.run())
            await waits_for(campaign, "canary")
            service.refuses = False
            assert await resend_refused(campaign) == 10
            await asyncio.sleep(60)
            assert service.got == {phone(number): 1 for number in range(10)}
            await waits_for(campaign, "canary")

            await campaign.release()
            assert (await running).states == {"sent": 30}

        assert service.got == {phone(number): 1 for number in range(30)}

    run_virtually(main())


def test_a_budget_holds_for_rows_that_are_sent_again() -> None:
    """What was refused cost nothing; of what is sent again, five may cost what is allowed."""

    async def main() -> None:
        service, tariff = Service(), Tariff({"sms": "0.07"}, fee="0")
        async with service.opened(max_spend=Decimal("0.35"), tariff=tariff) as campaign:
            await campaign.add(people(10))
            assert (await campaign.run()).states == {"refused": 10}
            service.refuses = False
            assert await resend_refused(campaign) == 10
            running = asyncio.ensure_future(campaign.run())
            await waits_for(campaign, "max_spend")
            await campaign.stop()
            assert (await running).states == {"sent": 5, "pending": 5}

    run_virtually(main())


async def test_a_campaign_sends_rows_of_no_other_state_again() -> None:
    """A mistake in the state is an error, and changes nothing."""
    service = Service()
    async with service.opened() as campaign:
        await campaign.add(people(1))
        with pytest.raises(LedgerError, match="'unknown' or 'refused'"):
            await campaign.resend(1, state="sent")
        assert await campaign.resend(1) == await campaign.resend(1, state="refused") == 0
