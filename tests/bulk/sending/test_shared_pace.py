"""Several workers share the rates of one campaign: in virtual time, over one slow ledger in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Control, News, Result
from nexmo_dispatch_async.bulk.sending.safety import Budget, CanaryWatch
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import Canary, Pace, Rate
from nexmo_dispatch_async.exceptions import LedgerError, RateLimitError
from nexmo_dispatch_async.sansio import Response
from tests.bulk.campaigns import recipients, sender_of, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually

_LEASE, _COMMIT = 0.03, 0.01  # seconds that the calls of the ledger take


class SlowLedger(MemoryLedger):
    """A ledger that is as far away as that of a database."""

    def __init__(self) -> None:
        super().__init__(shared=True, clock=wall)
        self.leases = 0
        self.broken = False

    async def lease(
        self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause] = (), *, now: float
    ) -> RateExchange:
        await asyncio.sleep(_LEASE / 2)
        self.leases += 1
        if self.broken:
            raise LedgerError("the ledger failed")
        answer = await super().lease(requests, pauses, now=wall())
        await asyncio.sleep(_LEASE / 2)
        return answer

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        await asyncio.sleep(_COMMIT)
        return await super().claim(request, results, worker=worker)


class Workers:
    """Senders of one campaign, each with a client and a governor of its own."""

    def __init__(self, ledger: MemoryLedger, **settings: Any) -> None:
        self.ledger, self.settings = ledger, settings
        self.clients: list[FakeClient] = []
        self.senders: list[Sender] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.begun = asyncio.get_running_loop().time()

    def join(self, client: FakeClient | None = None, **settings: Any) -> int:
        """Start a worker; return its number."""
        number = len(self.senders)
        self.clients.append(client or FakeClient())
        more = {**self.settings, **settings}
        self.senders.append(sender_of(self.ledger, self.clients[-1], worker=str(number), **more))
        self.tasks.append(asyncio.ensure_future(self.senders[-1].run()))
        return number

    def sent(self, begin: float, end: float, worker: int | None = None) -> int:
        """Return how many sends left between two seconds."""
        clients = self.clients if worker is None else [self.clients[worker]]
        moments = [at - self.begun for client in clients for at in client.moments]
        return sum(begin <= at < end for at in moments)

    def die(self, worker: int) -> None:
        """End a worker, which gives nothing back that it leased."""
        self.tasks[worker].cancel()

    async def stop(self) -> None:
        for sender in self.senders:
            sender.stop()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def workers_of(rows: int, rate: float, *, limit: int = 64, **pace: Any) -> Workers:
    ledger = SlowLedger()
    await ledger.add(recipients(rows))
    return Workers(ledger, pace=Pace(rates=(Rate(rate),), limit=limit, **pace))


def about(number: float, share: float = 0.03) -> Any:
    return pytest.approx(number, rel=share, abs=1.01)


@pytest.mark.parametrize(
    ("number", "rate"),
    [(1, 100), (2, 100), (4, 100), (8, 40), (3, 1), pytest.param(4, 1000, marks=pytest.mark.long)],
)
def test_all_workers_together_keep_the_rate(number: int, rate: int) -> None:
    """Within 3 % over ten seconds, each second its share, and no worker goes without."""

    async def main() -> None:
        workers = await workers_of(15 * rate, rate)
        for _ in range(number):
            workers.join()
        await asyncio.sleep(13)

        assert workers.sent(2, 12) == about(10 * rate)
        assert max(workers.sent(second, second + 1) for second in range(12)) <= 1.05 * rate + 1
        if rate >= 40:
            least = min(workers.sent(0, 12, worker) for worker in range(number))
            assert least >= 0.3 * 12 * rate / number
        await workers.stop()

    run_virtually(main())


def test_workers_join_and_leave_at_the_same_rate() -> None:
    """Two, then four, then one that was not cancelled in order, then two again."""

    async def main() -> None:
        workers = await workers_of(6000, 100)
        workers.join()
        workers.join()
        await asyncio.sleep(10)
        workers.join()
        workers.join()
        await asyncio.sleep(10)
        for worker in (0, 1, 2):
            workers.die(worker)
        await asyncio.sleep(10)
        workers.join()
        await asyncio.sleep(10)

        for begin in (0, 5, 10, 15, 20, 25, 30):
            assert workers.sent(begin, begin + 10) == about(1000), begin
        await workers.stop()

    run_virtually(main())


def test_workers_that_leave_in_order_give_back_what_they_leased() -> None:
    """Three of four stop at once: not a moment of the rate is lost, the fourth has it all."""

    async def main() -> None:
        workers = await workers_of(3000, 100)
        for _ in range(4):
            workers.join()
        await asyncio.sleep(5)
        for sender in workers.senders[:3]:
            sender.stop()
        await asyncio.sleep(5)

        assert all(task.done() for task in workers.tasks[:3])
        assert workers.sent(5, 6) >= 97
        assert workers.sent(5, 9) == about(400, 0.01)
        await workers.stop()

    run_virtually(main())


def test_a_worker_that_has_little_room_leaves_its_part_to_the_others() -> None:
    """One can send ten a second, the other the rest of the hundred; neither keeps more than it uses."""

    async def main() -> None:
        workers = await workers_of(3000, 100)
        slow = workers.join(pace=Pace(rates=(Rate(100),), limit=1))
        workers.join()
        await asyncio.sleep(21)

        assert workers.sent(1, 21) == about(2000)
        assert workers.sent(1, 21, slow) >= 100
        await workers.stop()

    run_virtually(main())


def test_no_send_waits_for_the_ledger() -> None:
    """Sends are leased ahead, a few times a second: a slow ledger costs nothing of the rate."""

    async def main() -> None:
        workers = await workers_of(3000, 200)
        workers.join()
        await asyncio.sleep(10)
        ledger = workers.ledger
        assert isinstance(ledger, SlowLedger)

        gaps = [
            b - a for a, b in zip(workers.clients[0].moments, workers.clients[0].moments[1:], strict=False)
        ]
        assert max(gaps[10:]) <= 0.035
        assert ledger.leases <= 150
        await workers.stop()

    run_virtually(main())


def test_a_rate_that_changes_changes_for_all() -> None:
    """From anywhere, within a second: from 100/s to 10/s and to 200/s."""

    async def main() -> None:
        workers = await workers_of(6000, 100)
        for _ in range(3):
            workers.join()
        await asyncio.sleep(10)
        await workers.ledger.control(lambda _: Control(rate=10))
        await asyncio.sleep(12)
        await workers.ledger.control(lambda _: Control(rate=200))
        await asyncio.sleep(12)

        assert workers.sent(12, 22) == about(100)
        assert workers.sent(24, 34) == about(2000)
        await workers.stop()

    run_virtually(main())


def test_the_rate_of_a_channel_is_shared_too() -> None:
    """20/s for a channel, within 100/s of the campaign, by three workers."""

    async def main() -> None:
        workers = await workers_of(2000, 100, by_bucket={"sms": 20.0})
        for _ in range(3):
            workers.join()
        await asyncio.sleep(12)

        assert workers.sent(2, 12) == about(200)
        await workers.stop()

    run_virtually(main())


def test_a_ramp_counts_the_sends_of_all_workers() -> None:
    """Ten seconds at 20/s come to an end after 200 sends of all, not of each."""

    async def main() -> None:
        ledger = SlowLedger()
        await ledger.add(recipients(4000))
        workers = Workers(ledger, pace=Pace(rates=(Rate(20, 10), Rate(100)), limit=64))
        for _ in range(4):
            workers.join()
        await asyncio.sleep(24)

        assert workers.sent(0, 10) == about(200, 0.1)
        assert workers.sent(13, 23) == about(1000)
        await workers.stop()

    run_virtually(main())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: {"canary": CanaryWatch(Canary(first=100))}, "canary"),
        (lambda: {"budget": Budget(Decimal(10), worst=Decimal("0.10"))}, "max_spend"),
    ],
)
def test_canary_and_budget_hold_over_all_workers(make: Callable[[], dict[str, Any]], reason: str) -> None:
    """A hundred rows, exactly, whatever the others have in flight; and each worker says why it waits."""

    async def main() -> None:
        workers = await workers_of(2000, 1000)
        for _ in range(4):
            workers.join(**make())
        await asyncio.sleep(20)

        assert workers.sent(0, 20) == 100
        assert [sender.wait and sender.wait.reason for sender in workers.senders] == [reason] * 4
        await workers.stop()

    run_virtually(main())


def test_a_canary_that_went_well_frees_all_workers() -> None:
    """Delivered to enough of the first rows: everyone goes on, by itself."""

    async def main() -> None:
        workers = await workers_of(500, 1000)
        for _ in range(3):
            workers.join(canary=CanaryWatch(Canary(first=50, until="delivered", share=0.8)))
        await asyncio.sleep(5)
        assert workers.sent(0, 5) == 50
        rows = await workers.ledger.scan("sent")
        await workers.ledger.observe(
            [
                News(dispatch_uuid=row.dispatch_uuid, at=wall(), ended=True, reached="delivered")
                for row in rows
            ]
        )
        await asyncio.gather(*workers.tasks)

        assert workers.sent(0, 60) == 500
        assert all(workers.sent(5, 60, worker) for worker in range(3))

    run_virtually(main())


def test_a_pause_of_one_is_a_pause_of_all() -> None:
    """The service asks one worker for five seconds of peace: the other one keeps them too."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        workers = await workers_of(3000, 100)
        refused: list[float] = []

        def once(_address: str) -> Response | BaseException:
            if loop.time() - workers.begun > 5 and not refused:
                refused.append(loop.time() - workers.begun)
                return RateLimitError("429", retry_after=5.0)
            return accepted(1)

        workers.join(FakeClient(once))
        workers.join()
        await asyncio.sleep(9)

        assert workers.sent(refused[0] + 0.2, refused[0] + 3.9) == 0
        await asyncio.sleep(8)
        assert workers.sent(11, 17, 1) > 50
        await workers.stop()

    run_virtually(main())


def test_a_ledger_that_fails_holds_the_workers_and_is_asked_again() -> None:
    """The reason is visible, and the rate is the same afterwards: nothing is made up for."""

    async def main() -> None:
        workers = await workers_of(3000, 100)
        ledger = workers.ledger
        assert isinstance(ledger, SlowLedger)
        workers.join()
        workers.join()
        await asyncio.sleep(5)
        ledger.broken = True
        await until(lambda: workers.senders[0].wait is not None and workers.senders[0].wait.reason == "store")
        await asyncio.sleep(1)
        ledger.broken = False
        await asyncio.sleep(14)

        assert workers.sent(9, 19) == about(1000)
        await workers.stop()

    run_virtually(main())
