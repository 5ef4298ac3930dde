"""A campaign that is resumed waits no longer for the service: one send is tried, in virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.bulk.settings import Pace
from nexmo_dispatch_async.exceptions import APIConnectionError, RateLimitError
from nexmo_dispatch_async.quota import quota_of
from nexmo_dispatch_async.sansio import Response
from tests.bulk.campaigns import EPOCH, filled, recipients, sender_of, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually


class Account:
    """A quota of the day that is used up after twenty calls, until it is raised."""

    def __init__(self, *, headers: bool = True) -> None:
        self.limit, self.used, self.refused = 20, 0, 0
        self.headers = headers

    def client(self) -> FakeClient:
        return FakeClient(self._answer)

    def _answer(self, _address: str) -> Response | BaseException:
        refused = self.used >= self.limit
        self.refused += refused
        self.used += not refused
        told = {
            "quota-limit": str(self.limit),
            "quota-interval": "1",
            "quota-time-unit": "day",
            "quota-used": str(self.used),
            "quota-reset-UTC": "2027-01-15T09:00:00Z",
        }
        if not self.headers:
            return RateLimitError("429", retry_after=3600) if refused else accepted(1)
        if refused:
            error = RateLimitError("429")
            error.quota = quota_of(told, now=wall())
            return error
        return accepted(1, told)


async def resume(ledger: MemoryLedger) -> None:
    """Do what `bulk resume` does in another process."""
    before = await ledger.control()
    await ledger.control(lambda _: Control(by="command", resumed=before.resumed + 1))


@pytest.mark.parametrize("headers", [True, False])
def test_a_raised_quota_is_used_after_a_resume(headers: bool) -> None:
    """From another process, within a second or two: the old reset is an hour away."""

    async def main() -> None:
        ledger, account = await filled(100), Account(headers=headers)
        sender = sender_of(ledger, account.client())
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(30)
        assert sender.wait is not None
        assert sender.wait.reason in {"quota", "throttled"}
        assert sender.wait.until == pytest.approx(EPOCH + 3600, abs=30)

        account.limit = 1000
        await resume(ledger)
        counts = await asyncio.wait_for(running, 60)

        assert counts.states == {"sent": 100}

    run_virtually(main())


def test_a_quota_that_was_not_raised_costs_one_send() -> None:
    """Each resume tries one, and the wait until the reset goes on."""

    async def main() -> None:
        ledger, account = await filled(100), Account()
        sender = sender_of(ledger, account.client(), pace=Pace(limit=64))
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(30)
        before = account.refused

        for number in range(1, 4):
            await resume(ledger)
            await asyncio.sleep(10)
            assert account.refused == before + number
            assert sender.wait is not None
            assert (sender.wait.reason, sender.wait.bucket) == ("quota", "gateway")
            assert sender.wait.until == pytest.approx(EPOCH + 3600, abs=1)

        account.limit = 1000
        assert (await running).states == {"sent": 100}
        assert asyncio.get_running_loop().time() >= 1000 + 3600

    run_virtually(main())


def test_another_pace_ends_no_wait() -> None:
    """Only a resume does: a program may adapt the rate every second."""

    async def main() -> None:
        ledger, account = await filled(100), Account()
        sender = sender_of(ledger, account.client())
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(30)
        before = account.refused

        await ledger.control(lambda _: Control(rate=5.0))
        await asyncio.sleep(30)
        assert account.refused == before
        sender.stop()
        await running

    run_virtually(main())


def test_a_resume_ends_a_wait_for_a_connection() -> None:
    """An operator who has opened the firewall does not wait for the last pause of a minute."""

    async def main() -> None:
        away = [True]

        def answer(_address: str) -> Response | BaseException:
            return APIConnectionError("refused") if away[0] else accepted(1)

        ledger = await filled(20)
        sender = sender_of(ledger, FakeClient(answer))
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(200)
        await until(lambda: sender.wait is not None and (sender.wait.until or 0) > wall() + 30, seconds=90)

        away[0] = False
        await resume(ledger)

        assert (await asyncio.wait_for(running, 5)).states == {"sent": 20}

    run_virtually(main())


def test_all_workers_try_again_and_one_that_joins_later_does_not_wait() -> None:
    """The ledger forgets the pause: it told every worker to wait for the old reset."""

    async def main() -> None:
        ledger = MemoryLedger(shared=True, clock=wall)
        await ledger.add(recipients(400))
        account = Account()
        senders = [sender_of(ledger, account.client(), worker=str(number)) for number in range(2)]
        tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(sender.run()) for sender in senders]
        await asyncio.sleep(30)
        assert [sender.wait and sender.wait.reason for sender in senders] == ["quota", "quota"]
        before = account.refused

        await resume(ledger)
        await asyncio.sleep(10)
        assert account.refused <= before + 2
        account.limit = 1000
        await resume(ledger)
        await asyncio.sleep(1.5)
        third = sender_of(ledger, account.client(), worker="3")
        tasks.append(asyncio.ensure_future(third.run()))

        for counts in await asyncio.wait_for(asyncio.gather(*tasks), 60):
            assert counts.states == {"sent": 400}
        assert third.progress is not None

    run_virtually(main())


class TestMeter:
    """The rule for one rate."""

    def test_one_send_is_tried_and_the_others_wait_for_its_response(self) -> None:
        """Accepted, all may go; refused, the pause begins anew."""
        meter = Meter("gateway")
        meter.pause(0.0, 3600.0, "quota")
        assert meter.available(10.0, 5) == 0

        meter.try_again(10.0)
        assert meter.available(10.0, 5) == 1
        meter.take(10.0, 1, hungry=False)
        assert meter.available(10.1, 5) == 0
        meter.out -= 1
        meter.accepted(10.2)
        assert meter.available(10.2, 5) == 5

    def test_a_meter_that_does_not_wait_goes_on_as_it_was(self) -> None:
        """A resume of a campaign that runs tries nothing."""
        meter = Meter("gateway")

        meter.try_again(10.0)

        assert meter.available(10.0, 5) == 5
