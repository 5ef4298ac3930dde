"""What a failure of a POST means for its campaign: how long a service that refuses all rows is waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk import Campaign, Governor
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import Pace, Rate
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    CertificateError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProxyError,
)
from nexmo_dispatch_async.sansio import Response
from nexmo_dispatch_async.simulator import Fault, Simulator
from tests.bulk.campaigns import EPOCH, TEMPLATE, filled, phone, recipients, sender_of, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually

NOT_FOUND = NotFoundError("POST /dispatch: 404 Not Found", status=404)
OF_A_DEPLOYMENT = [
    AuthenticationError("POST /dispatch: 401 Unauthorized", status=401),
    PermissionDeniedError("POST /dispatch: 403 Forbidden", status=403),
    NOT_FOUND,
    CertificateError("POST /dispatch: the certificate is not trusted"),
    ProxyError("POST /dispatch: the proxy answered 407", status=407),
]
#: Sends that may be in flight when the service begins to refuse, those of the claim under way included.
SLOTS = 8


class Outage:
    """A service that accepts, and fails with an error at certain times.

    Args:
        error: The error, or what makes it.
        times: Begin and end of each outage, in seconds of the test.
    """

    def __init__(self, error: APIError | Callable[[float], APIError], *times: tuple[float, float]) -> None:
        self._error, self._times = error, times
        self._begun = asyncio.get_running_loop().time()
        #: When sends failed, in seconds of the test.
        self.failed: list[float] = []

    def client(self) -> FakeClient:
        return FakeClient(self._answer)

    def _answer(self, _address: str) -> Response | BaseException:
        now = asyncio.get_running_loop().time() - self._begun
        if not any(begin <= now < end for begin, end in self._times):
            return accepted(1)
        self.failed.append(now)
        return self._error if isinstance(self._error, APIError) else self._error(now)


def started(ledger: MemoryLedger, client: FakeClient, **more: Any) -> tuple[Sender, asyncio.Task[Any]]:
    sender = sender_of(ledger, client, **{"pace": Pace(rates=(Rate(10),), limit=SLOTS)} | more)
    return sender, asyncio.ensure_future(sender.run())


async def ended(running: asyncio.Task[Any]) -> Any:
    """Return the numbers of a run, which ends within two hours: one that is paused would never."""
    return await asyncio.wait_for(running, 7200)


def is_paused(sender: Sender) -> bool:
    return sender.wait is not None and sender.wait.reason == "paused"


def test_the_errors_stand_for_what_no_row_causes() -> None:
    """A proxy that wants other credentials is one of them by its class."""
    assert all(isinstance(error, APIError) for error in OF_A_DEPLOYMENT)
    assert OF_A_DEPLOYMENT[-1].error_class == "configuration"


@pytest.mark.parametrize("error", OF_A_DEPLOYMENT, ids=lambda error: type(error).__name__)
def test_a_deployment_of_a_gateway_pauses_no_campaign(
    error: APIError, caplog: pytest.LogCaptureFixture
) -> None:
    """It refuses everything for a second: the campaign waits as long, and each row is accepted once."""

    async def main() -> None:
        ledger, outage = await filled(100), Outage(error, (5.0, 6.0))
        client = outage.client()
        sender, running = started(ledger, client)
        await until(lambda: bool(outage.failed))
        await until(lambda: sender.wait is not None and sender.wait.reason == "service", seconds=1)
        wait, began = sender.wait, EPOCH + outage.failed[0]

        assert wait is not None
        assert (wait.bucket, wait.words) == ("gateway", str(error))
        assert wait.until == pytest.approx(began + 1, abs=0.2)
        assert wait.pauses_at == pytest.approx(began + 300, abs=0.2)
        assert wait.is_shown(wall())

        assert (await ended(running)).states == {"sent": 100}
        assert (await ledger.control()).state == "run"
        assert len(outage.failed) <= SLOTS
        assert len(client.moments) == 100 + len(outage.failed)
        assert client.moments[-1] - client.moments[0] == pytest.approx(11.5, abs=1)

    run_virtually(main())
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == [f"the service refuses all sends, one at a time is tried again: {error}"]


def test_a_service_that_refuses_everything_for_good_pauses_after_five_minutes() -> None:
    """One send at a time is tried until then, and the reason is that of the service."""

    async def main() -> None:
        ledger, outage = await filled(100), Outage(NOT_FOUND, (5.0, 1e9))
        sender, running = started(ledger, outage.client())
        await asyncio.sleep(300)
        assert not is_paused(sender)
        await until(lambda: is_paused(sender), seconds=10)

        assert outage.failed[-1] - outage.failed[0] == pytest.approx(300, abs=1.5)
        assert len(outage.failed) <= SLOTS + 13
        assert sender.wait is not None
        assert (sender.wait.by, sender.wait.words) == ("service", str(NOT_FOUND))
        counts = await ledger.counts()
        assert counts.states == {"sent": 100 - counts.open, "pending": counts.open}

        before = len(outage.failed)
        resumed = await ledger.control(lambda known: known.asked(state="run", by="command", reason=""))
        sender.follow(resumed)
        await asyncio.sleep(2)
        assert is_paused(sender), "an operator who resumes it sees at once that nothing is mended"
        assert len(outage.failed) == before + 1
        sender.stop()
        await ended(running)

    run_virtually(main())


def test_each_outage_has_its_five_minutes() -> None:
    """An accepted send ends the first: one of four minutes after another pauses nothing."""

    async def main() -> None:
        ledger, outage = await filled(100), Outage(NOT_FOUND, (2.0, 240.0), (272.0, 512.0))
        _, running = started(ledger, outage.client(), pace=Pace(rates=(Rate(0.5),), limit=SLOTS))

        assert (await ended(running)).states == {"sent": 100}
        assert (await ledger.control()).state == "run"

    run_virtually(main())


@pytest.mark.parametrize("error", OF_A_DEPLOYMENT, ids=lambda error: type(error).__name__)
def test_what_is_refused_from_the_first_send_pauses_at_once(error: APIError) -> None:
    """An operator who typed the wrong secret sees it now, and not in five minutes."""

    async def main() -> None:
        ledger, outage = await filled(100), Outage(error, (0.0, 1e9))
        sender, running = started(ledger, outage.client())
        await until(lambda: is_paused(sender), seconds=1)
        sender.stop()

        assert (await ended(running)).states == {"pending": 100}

    run_virtually(main())


def test_credit_that_is_used_up_pauses_at_once() -> None:
    """It does not come back by itself."""

    async def main() -> None:
        error = PaymentRequiredError("POST /dispatch: 402 Payment Required", status=402)
        ledger, outage = await filled(100), Outage(error, (5.0, 1e9))
        sender, running = started(ledger, outage.client())
        await until(lambda: bool(outage.failed))
        await until(lambda: is_paused(sender), seconds=1)
        sender.stop()
        await ended(running)

    run_virtually(main())


def test_a_try_that_is_unknown_waits_like_one_that_is_refused() -> None:
    """A deployed gateway changes between 404 and 502: few rows become unknown, and none is sent twice."""

    async def main() -> None:
        unknown = OutcomeUnknownError("POST /dispatch: 502 Bad Gateway")
        outage = Outage(lambda now: NOT_FOUND if now < 6 else unknown, (5.0, 60.0))
        ledger, client = await filled(100), outage.client()
        _, running = started(ledger, client)

        states = (await ended(running)).states
        assert states == {"sent": 100 - states["unknown"], "unknown": states["unknown"]}
        assert 1 <= states["unknown"] <= 5
        assert (await ledger.control()).state == "run"
        assert max(client.sends.values()) <= 2

    run_virtually(main())


def test_unknown_tries_pause_after_the_same_five_minutes() -> None:
    """The reason is the last one."""

    async def main() -> None:
        unknown = OutcomeUnknownError("POST /dispatch: 502 Bad Gateway")
        outage = Outage(lambda now: NOT_FOUND if now < 6 else unknown, (5.0, 1e9))
        ledger = await filled(100)
        sender, running = started(ledger, outage.client())
        await asyncio.sleep(300)
        await until(lambda: is_paused(sender), seconds=10)

        assert sender.wait is not None
        assert (sender.wait.by, sender.wait.words) == ("service", unknown.message)
        assert outage.failed[-1] - outage.failed[0] == pytest.approx(300, abs=1.5)
        assert (await ledger.counts()).states["unknown"] <= 13
        sender.stop()
        await ended(running)

    run_virtually(main())


def test_a_slow_pace_does_not_hide_that_the_service_refuses() -> None:
    """The next send is an hour away, and status says until then why it may be the last."""

    async def main() -> None:
        ledger, outage = await filled(10), Outage(NOT_FOUND, (3000.0, 4000.0))
        sender, running = started(ledger, outage.client(), pace=Pace(rates=(Rate(1 / 3600),)))
        await asyncio.sleep(3602)

        wait = sender.shown(wall())
        assert wait is not None
        assert (wait.reason, wait.words) == ("service", str(NOT_FOUND))
        assert wait.until == pytest.approx(EPOCH + 7200, abs=1)
        sender.stop()
        await ended(running)

    run_virtually(main())


@pytest.mark.parametrize(("seconds", "pauses"), [(60.0, False), (1e9, True)])
def test_every_worker_waits_and_tries_for_itself(seconds: float, pauses: bool) -> None:
    """Each by one send at a time; the first whose five minutes are over pauses the campaign for all."""

    async def main() -> None:
        ledger = MemoryLedger(shared=True, clock=wall)
        await ledger.add(recipients(300))
        outage = Outage(NOT_FOUND, (5.0, 5.0 + seconds))
        clients = [outage.client() for _ in range(3)]
        workers = [started(ledger, client, worker=str(n)) for n, client in enumerate(clients)]
        senders = [sender for sender, _ in workers]
        await until(lambda: bool(outage.failed))
        await until(lambda: all(sender.wait and sender.wait.reason == "service" for sender in senders))

        if pauses:
            await asyncio.sleep(290)
            assert not any(map(is_paused, senders))
            await until(lambda: all(map(is_paused, senders)), seconds=20)
            assert outage.failed[-1] - outage.failed[0] == pytest.approx(300, abs=3)
            for sender in senders:
                sender.stop()
        for _, running in workers:
            await ended(running)
        assert len(outage.failed) <= 3 * (SLOTS + (13 if pauses else 6))
        if not pauses:
            assert (await ledger.counts()).states == {"sent": 300}
            assert (await ledger.control()).state == "run"
            assert all(max(client.moments) - min(client.moments) > 60 for client in clients), (
                "all of them send again"
            )

    run_virtually(main())


# --- against the simulator -------------------------------------------------------------------------


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop with sockets whose clock a test moves on."""

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def run_skipping(main: Callable[[SkippingLoop], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, SkippingLoop)
        runner.run(main(loop))


@asynccontextmanager
async def in_a_file(folder: Path) -> AsyncGenerator[tuple[Simulator, Campaign]]:
    """A campaign of thirty people in a file, and the service that it sends to."""
    async with (
        Simulator() as sim,
        sim.client() as client,
        Campaign.open(
            folder / "c.db", client=client, template=TEMPLATE, limit=4, governor=Governor()
        ) as campaign,
    ):
        await campaign.add([{"phone": phone(number), "name": "Ada"} for number in range(30)])
        yield sim, campaign


async def waits(campaign: Campaign, reason: str) -> float:
    """Wait until a campaign waits for a reason; return the seconds until it tries again, 0 for no time."""
    async with asyncio.timeout(20):
        while True:
            status = await campaign.status()
            if status.wait is not None and status.wait.reason == reason and not status.in_flight:
                return 0.0 if status.wait.until is None else status.wait.until - status.at
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_campaign_in_a_file_goes_on_when_the_gateway_is_back(tmp_path: Path, status: int) -> None:
    """The faults of the simulator refuse a while: each row is accepted once, in two waits."""

    async def main(loop: SkippingLoop) -> None:
        async with in_a_file(tmp_path) as (sim, campaign):
            fault = sim.faults.add(Fault(kind="error", route="POST /dispatch", status=status, skip=10))
            running = asyncio.ensure_future(campaign.run())
            assert await waits(campaign, "service") <= 1.0
            tried = sim.counts["POST /dispatch"]
            loop.skipped += 1.0
            await until(lambda: sim.counts["POST /dispatch"] > tried)
            assert 1.0 < await waits(campaign, "service") <= 5.0
            sim.faults.remove(fault)
            loop.skipped += 5.0

            assert (await asyncio.wait_for(running, 20)).states == {"sent": 30}
            assert sim.accepted == 30

    run_skipping(main)


def test_a_gateway_that_stays_away_pauses_the_campaign_in_the_file(tmp_path: Path) -> None:
    """For the next run, too: no row is lost, and a resume goes on."""

    async def main(loop: SkippingLoop) -> None:
        async with in_a_file(tmp_path) as (sim, campaign):
            fault = sim.faults.add(Fault(kind="error", route="POST /dispatch", status=404, skip=10))
            running = asyncio.ensure_future(campaign.run())
            await waits(campaign, "service")
            loop.skipped += 300.0
            await waits(campaign, "paused")
            found = await campaign.ledger.control()
            assert (found.state, found.by) == ("pause", "service")
            assert "404" in found.reason

            sim.faults.remove(fault)
            await campaign.resume()
            assert (await asyncio.wait_for(running, 20)).states == {"sent": 30}
            assert sim.accepted == 30
            assert (await campaign.ledger.control()).resumed == Control().resumed + 1

    run_skipping(main)
