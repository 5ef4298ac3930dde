"""When the loop of a campaign may send: pace, buckets, start and end, quiet hours, canary, budget, abort."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Control, News
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.bulk.sending.safety import AbortWatch, Budget, CanaryWatch
from nexmo_dispatch_async.bulk.settings import AbortIf, Canary, Pace, QuietHours, Rate
from nexmo_dispatch_async.exceptions import (
    BadRequestError,
    RateLimitError,
)
from nexmo_dispatch_async.sansio import Response
from tests.bulk.campaigns import EPOCH, filled, phone, recipients, sender_of, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually


def test_the_pace_is_exact_and_one_in_two_minutes_is_one() -> None:
    """30 rows at one per two minutes take 58 minutes, and status says what it waits for meanwhile."""

    async def main() -> None:
        ledger, client = await filled(30), FakeClient()
        sender = sender_of(ledger, client, pace=Pace(rates=(Rate(1 / 120),)))
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(130)
        assert sender.wait is not None
        assert (sender.wait.reason, sender.wait.bucket) == ("rate", "campaign")
        assert sender.wait.until == pytest.approx(EPOCH + 240, abs=0.1)

        await running
        gaps = [b - a for a, b in zip(client.moments, client.moments[1:], strict=False)]
        assert min(gaps) >= 119.9
        assert sum(gaps) == pytest.approx(29 * 120, abs=1)

    run_virtually(main())


@pytest.mark.parametrize("rate", [20, pytest.param(300, marks=pytest.mark.long)])
def test_a_rate_is_kept_by_the_loop(rate: int) -> None:
    """The loop that claims in waves keeps the pace of the governor."""

    async def main() -> None:
        ledger, client = await filled(rate * 10), FakeClient()
        await sender_of(ledger, client, pace=Pace(rates=(Rate(rate),), limit=64)).run()

        assert client.moments[-1] - client.moments[0] == pytest.approx(10, rel=0.02)

    run_virtually(main())


@pytest.mark.parametrize("shared", [False, True])
def test_a_slow_pace_loses_no_turn_to_a_look_that_found_no_row(shared: bool) -> None:
    """A row that is due in a minute is sent then, and not half an hour later, at one an hour."""

    async def main() -> None:
        ledger, client = MemoryLedger(shared=shared, clock=wall), FakeClient()
        await ledger.add(recipients(1, not_before=EPOCH + 60))
        await sender_of(ledger, client, pace=Pace(rates=(Rate(1 / 3600),))).run()

        assert client.moments[0] - 1000.0 == pytest.approx(60, abs=2)

    run_virtually(main())


def test_a_throttled_bucket_holds_no_other() -> None:
    """Two senders, one throttled to 2/s: the rows of the other go at their pace."""

    async def main() -> None:
        ledger = await filled(100)
        await ledger.add(recipients(500, start=1000, bucket="whatsapp|447418342140"))
        throttle = Meter("service", 2)

        def answer(address: str) -> Response | BaseException:
            now = asyncio.get_running_loop().time()
            if address < phone(1000):
                if not throttle.available(now, 1):
                    return RateLimitError("429", retry_after=0.5)
                throttle.take(now, 1, hungry=False)
            return accepted(1)

        client = FakeClient(answer)
        pace = Pace(limit=64, by_bucket={"whatsapp": 50.0})
        started = asyncio.get_running_loop().time()
        sender = sender_of(ledger, client, pace=pace)
        running = asyncio.ensure_future(sender.run())
        await until(lambda: client.sends[phone(1499)] == 1)

        assert asyncio.get_running_loop().time() - started <= 10.2
        assert (await running).states == {"sent": 600}

    run_virtually(main())


def test_start_at_and_send_until_bound_the_campaign() -> None:
    """Nothing before, nothing after: what is left expires, and the campaign is over."""

    async def main() -> None:
        ledger, client = await filled(100, expires=EPOCH + 105), FakeClient()
        calendar = Calendar(start_at=EPOCH + 100, send_until=EPOCH + 105)
        sender = sender_of(ledger, client, pace=Pace(rates=(Rate(10),)), calendar=calendar)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(50)
        assert sender.wait is not None
        assert (sender.wait.reason, sender.wait.until) == ("start_at", EPOCH + 100)

        counts = await running
        assert min(client.moments) >= 1100
        assert max(client.moments) < 1105
        assert counts.states["sent"] == pytest.approx(50, abs=2)
        assert counts.skipped == {"expired": 100 - counts.states["sent"]}

    run_virtually(main())


def test_quiet_hours_hold_the_zones_that_sleep() -> None:
    """2027-01-15 08:00 UTC: Tokyo is at 17:00, New York sleeps until 09:00 UTC; all are sent in the end."""

    async def main() -> None:
        ledger = await filled(20, zone="Asia/Tokyo")
        await ledger.add(recipients(20, start=100, zone="America/New_York"))
        client = FakeClient()
        calendar = Calendar("Europe/Amsterdam", QuietHours(begin=21 * 60, end=4 * 60))
        sender = sender_of(ledger, client, calendar=calendar)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(600)
        assert len(client.moments) == 20
        assert sender.wait is not None
        assert (sender.wait.reason, sender.wait.until) == ("quiet_hours", EPOCH + 3600)

        await running
        new_york = [
            at for at, ref in zip(client.moments, client.refs, strict=True) if int(ref.split("-")[1]) > 20
        ]
        assert min(new_york) >= 1000 + 3600 - 0.01
        assert len(new_york) == 20

    run_virtually(main())


def test_a_canary_sends_its_rows_and_waits_for_a_word() -> None:
    """Ten, exactly; released from another process, the rest follows."""

    async def main() -> None:
        ledger, client = await filled(100), FakeClient()
        sender = sender_of(ledger, client, canary=CanaryWatch(Canary(first=10)))
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(60)
        assert len(client.moments) == 10
        assert sender.wait is not None
        assert sender.wait.reason == "canary"

        await ledger.control(lambda _: Control(release=True))
        assert (await running).states == {"sent": 100}

    run_virtually(main())


def test_a_budget_holds_until_callbacks_tell_what_it_cost() -> None:
    """10 rows at most 0.10 of 1.00; they cost 0.05 each, so ten more may go, and so on until it is spent."""

    async def main() -> None:
        ledger, client = await filled(100), FakeClient()
        budget = Budget(Decimal("1.00"), worst=Decimal("0.10"))
        sender = sender_of(ledger, client, budget=budget)
        running = asyncio.ensure_future(sender.run())
        sent: list[int] = []
        for _ in range(12):
            await asyncio.sleep(10)
            sent.append(len(client.moments))
            await ledger.observe(
                [
                    News(dispatch_uuid=row.dispatch_uuid, at=1.0, ended=True, cost="0.05", currency="EUR")
                    for row in await ledger.scan("sent")
                ]
            )

        assert sent[0] == 10
        assert sent[1] == 15
        assert sent[-1] == 19
        assert sender.wait is not None
        assert (sender.wait.reason, sender.wait.by) == ("paused", "max_spend")
        sender.stop()
        await running

    run_virtually(main())


def test_abort_if_pauses_before_the_list_is_burnt() -> None:
    """A third of the last 50 refused: paused, with the reason, and hundreds are still pending."""

    async def main() -> None:
        ledger = await filled(500)
        client = FakeClient(
            lambda address: BadRequestError("400", status=400) if int(address) % 3 == 0 else accepted(1)
        )
        sender = sender_of(ledger, client, abort=AbortWatch(AbortIf(refused=0.3, last=50)))
        running = asyncio.ensure_future(sender.run())
        await until(lambda: sender.wait is not None and sender.wait.reason == "paused")

        assert sender.wait is not None
        assert sender.wait.by == "abort_if"
        assert len(client.moments) <= 50 + 8
        sender.stop()
        await running

    run_virtually(main())
