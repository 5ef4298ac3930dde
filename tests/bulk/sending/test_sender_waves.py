"""When a campaign claims its waves: one half of the slots, while the other half is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Result
from nexmo_dispatch_async.bulk.settings import Pace
from tests.bulk.campaigns import recipients, sender_of, wall
from tests.bulk.fake_client import FakeClient
from tests.bulk.sending.test_sender import verified
from tests.support.virtual_loop import run_virtually


def test_one_half_of_the_slots_is_claimed_while_the_other_half_is_sent() -> None:
    """A claim for all slots would leave nothing in flight while it waits for its commit."""

    class Watched(MemoryLedger):
        limits: list[int] = []  # noqa: RUF012 - one ledger

        async def claim(
            self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
        ) -> list[Claimed]:
            self.limits.append(request.limit)
            return await super().claim(request, results, worker=worker)

    async def main() -> None:
        for limit, half in ((8, 4), (7, 4), (1, 1)):
            ledger, client = Watched(clock=wall), FakeClient()
            ledger.limits = []
            await ledger.add(recipients(60))
            await sender_of(ledger, client, pace=Pace(limit=limit)).run()

            assert max(ledger.limits) == half
            assert client.most_in_flight == limit
            assert (await verified(ledger)).states == {"sent": 60}

    run_virtually(main())


class Eager(MemoryLedger):
    """A ledger that calls a function when a claim begins, with the number of the claim."""

    def __init__(self, begun: Callable[[int], None]) -> None:
        super().__init__(clock=wall)
        self.begun = begun
        self.claims = 0

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        self.claims += 1
        self.begun(self.claims)
        await asyncio.sleep(0.001)
        return await super().claim(request, results, worker=worker)


def test_the_next_claim_begins_before_the_rows_of_the_last_one_are_sent() -> None:
    """Its commit takes time, in which they are sent; after it, nothing is in flight any more."""

    async def main() -> None:
        client = FakeClient(latency=0.0)
        ledger = Eager(lambda number: sends.append((number, len(client.sends))))
        sends: list[tuple[int, int]] = []
        await ledger.add(recipients(12))
        await sender_of(ledger, client).run()

        assert sends[:3] == [(1, 0), (2, 0), (3, 4)]
        assert (await verified(ledger)).states == {"sent": 12}

    run_virtually(main())


def test_rows_are_sent_once_the_ledger_only_waits_for_its_disk() -> None:
    """A thread that computes beside the loop would take as long as both together."""

    class Beside(Eager):
        async def computed(self) -> None:
            await asyncio.sleep(0.0004)
            moments.append((self.claims, len(client.sends)))

    async def main() -> None:
        await ledger.add(recipients(12))
        await sender_of(ledger, client).run()

        assert moments[0] == (2, 0)
        assert (await verified(ledger)).states == {"sent": 12}

    client = FakeClient()
    ledger = Beside(lambda _: None)
    moments: list[tuple[int, int]] = []
    run_virtually(main())


@pytest.mark.parametrize("way", ["cancelled", "stopped twice"])
def test_rows_that_were_claimed_and_not_sent_go_back(way: str) -> None:
    """The run ends between a claim and the sends of its rows: none of them is unknown."""

    async def main() -> None:
        client = FakeClient()
        ledger = Eager(lambda number: end() if number == 2 else None)
        await ledger.add(recipients(12))
        sender = sender_of(ledger, client)
        running = asyncio.create_task(sender.run())

        def end() -> None:
            if way == "cancelled":
                running.cancel()
                return
            sender.stop()
            sender.stop()

        with suppress(asyncio.CancelledError):
            await running

        sent = len(client.sends)
        states = (await verified(ledger)).states
        assert sent <= 4
        assert states == {"pending": 12 - sent} | ({"sent": sent} if sent else {})

    run_virtually(main())
