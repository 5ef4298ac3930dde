"""Rows whose claim is too old when they would be sent go back, or belong to another sender by now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from nexmo_dispatch_async.bulk.ledger.ledger import Guard
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Result
from nexmo_dispatch_async.bulk.ledger.tenure import Tenure
from tests.bulk.campaigns import phone, recipients, sender_of, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.clock import Time
from tests.support.virtual_loop import run_virtually


class LeasedLedger(MemoryLedger):
    """A ledger whose process shows life with each claim, by a clock that the test moves."""

    def __init__(self, *, after_claim: Callable[[int], None] = lambda _number: None) -> None:
        super().__init__(clock=wall)
        self.time = Time()
        self.tenure = Tenure(120, clock=self.time, wall_clock=lambda: 0.0)
        self.tenure.renew(self.tenure.ask())
        self._after_claim, self._claims = after_claim, 0

    def guard(self) -> Guard:
        return self.tenure.guard()

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        self.tenure.renew(self.tenure.ask())
        rows = await super().claim(request, results, worker=worker)
        self._claims += 1
        self._after_claim(self._claims)
        return rows


def test_rows_that_were_claimed_before_a_sleep_go_back_and_are_sent_once() -> None:
    """No other process took them: they are claimed again, and the gateway is not thought to be away."""

    async def main() -> None:
        def sleep(number: int) -> None:
            if number in {2, 5}:
                ledger.time.now += 130

        ledger, client = LeasedLedger(after_claim=sleep), FakeClient()
        await ledger.add(recipients(30))
        began = asyncio.get_running_loop().time()
        counts = await sender_of(ledger, client).run()

        assert counts.states == {"sent": 30}
        assert client.sends == dict.fromkeys(map(phone, range(30)), 1)
        assert max(row.attempts for row in await ledger.scan()) > 1
        assert asyncio.get_running_loop().time() - began < 5

    run_virtually(main())


def test_rows_that_others_took_meanwhile_are_left_to_them() -> None:
    """The others gave them up as unknown: this sender neither sends them nor puts them back."""

    async def main() -> None:
        taken: set[int] = set()

        def lose(number: int) -> None:
            if number == 2:
                ledger.time.now += 130
                taken.update(row.id for row in ledger._rows.values() if row.state == "sending")
                for row_id in taken:
                    ledger._move(ledger._rows[row_id], "unknown", at=wall())

        ledger, client = LeasedLedger(after_claim=lose), FakeClient(lambda _address: accepted(1))
        await ledger.add(recipients(30))
        counts = await sender_of(ledger, client).run()

        assert taken
        late = {phone(row_id - 1) for row_id in taken} - client.sends.keys()
        assert late
        assert counts.states == {"sent": 30 - len(late), "unknown": len(late)}
        assert set(client.sends.values()) == {1}

    run_virtually(main())
