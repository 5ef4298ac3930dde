"""A sender that is suspended past its lease sends nothing that another one has taken over."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexmo_dispatch_async import DispatchClient
from nexmo_dispatch_async.auth import BearerToken
from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.exceptions import LedgerInUseError
from tests.support.campaign_process import TEMPLATE, person
from tests.support.misbehaving import Connection, RawServer, Received, accept, reply

BOUND = 60.0
LEASE = 2.0

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be suspended here")


class Service:
    """Accepts everything, the very first request only when `go` is set, and counts sends by address.

    While `refuses` is set, it answers 400 to all but the first request.
    """

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.first = ""
        self.refuses = False
        self.sends: Counter[str] = Counter()
        self.server = RawServer(self._answer)

    async def _answer(self, request: Received, connection: Connection) -> None:
        address = request.json["workflow"][0]["to"]["number"]
        if self.first and self.refuses:
            await connection.write(reply(400, {"title": "Bad Request"}))
            return
        self.sends[address] += 1
        if not self.first:
            self.first = address
            await self.go.wait()
        await accept(request, connection)


@asynccontextmanager
async def sender(place: str, service: Service) -> AsyncGenerator[asyncio.subprocess.Process]:
    """Run a process with one slot; it is killed when the test leaves it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.one_slot_process"),
        *(place, service.server.base_url, str(LEASE)),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def operator(
    place: str, service: Service
) -> AsyncGenerator[tuple[Campaign, Callable[..., Awaitable[bool]]]]:
    """A campaign in another process than the sender, and whether its rows are in these states."""
    async with (
        service.server as server,
        await open_ledger(place, name="spring", lease=LEASE, accept_loss=True) as ledger,
        DispatchClient(
            auth=BearerToken("secret-token"), application_id="app", base_url=server.base_url
        ) as client,
        Campaign.open(ledger, client=client, template=TEMPLATE) as campaign,
    ):

        async def states(**expected: int) -> bool:
            return (await ledger.counts()).states == expected

        yield campaign, states


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for other processes, at most so long."""
    async with asyncio.timeout(BOUND):
        while not await condition():  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
async def test_what_a_suspended_sender_had_claimed_is_sent_by_the_next_one_alone(
    engine: str, request: pytest.FixtureRequest
) -> None:
    """It sleeps with a row that it claimed and did not send; an operator resends it: it is sent once."""
    place, service = str(request.getfixturevalue(engine)), Service()
    async with operator(place, service) as (campaign, states):
        await campaign.add([person(0), person(1)])
        async with sender(place, service) as process:
            await asyncio.wait_for(service.server.arrived.wait(), BOUND)
            await eventually(lambda: states(sending=2))
            process.send_signal(signal.SIGSTOP)
            await eventually(lambda: states(unknown=2))
            assert await campaign.resend(1, 2) == 2
            await campaign.run()
            assert await states(sent=2)
            service.go.set()
            process.send_signal(signal.SIGCONT)
            assert await asyncio.wait_for(process.wait(), BOUND) == 0

        assert service.sends.pop(service.first) == 2  # in flight when it fell asleep: the operator's risk
        assert list(service.sends.values()) == [1]
        assert await states(sent=2)


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["database", "nats_url"])
async def test_a_late_answer_ends_a_row_that_was_refused_to_the_next_sender(
    engine: str, request: pytest.FixtureRequest
) -> None:
    """The suspended sender learns last that its request was accepted: no operator sends the row again."""
    place, service = str(request.getfixturevalue(engine)), Service()
    async with operator(place, service) as (campaign, states):
        await campaign.add([person(0)])
        async with sender(place, service) as process:
            await asyncio.wait_for(service.server.arrived.wait(), BOUND)
            process.send_signal(signal.SIGSTOP)
            await eventually(lambda: states(unknown=1))
            assert await campaign.resend(1) == 1
            service.refuses = True
            await campaign.run()
            assert await states(refused=1)
            service.go.set()
            process.send_signal(signal.SIGCONT)
            assert await asyncio.wait_for(process.wait(), BOUND) == 0

        service.refuses = False
        assert await states(sent=1)
        assert await campaign.resend(1, state="refused") == 0
        await campaign.run()
        assert list(service.sends.values()) == [1]


async def test_no_process_gets_the_file_of_a_suspended_sender(tmp_path: Path) -> None:
    """Its lock is no lease: what it had claimed stays its own, and is sent once when it wakes up."""
    place, service = str(tmp_path / "spring.db"), Service()
    async with await open_ledger(place) as ledger, Campaign.open(ledger, template=TEMPLATE) as campaign:
        await campaign.add([person(0), person(1)])
    async with service.server:
        async with sender(place, service) as process:
            await asyncio.wait_for(service.server.arrived.wait(), BOUND)
            process.send_signal(signal.SIGSTOP)
            with pytest.raises(LedgerInUseError):
                await open_ledger(place)
            service.go.set()
            process.send_signal(signal.SIGCONT)
            assert await asyncio.wait_for(process.wait(), BOUND) == 0
        async with await open_ledger(place) as ledger:
            assert (await ledger.counts()).states == {"sent": 2}
    assert sorted(service.sends.values()) == [1, 1]
