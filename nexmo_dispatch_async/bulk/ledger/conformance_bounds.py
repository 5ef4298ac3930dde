"""What every `Ledger` promises of claims within a canary or a budget; `conformance` says how to use it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    SMS,
    Ledgers,
    assert_recount,
    people,
    request,
    result,
    uuid_of,
)
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.records import Bounds, News, State

#: At most 1.00, and at most 0.10 for a row.
BUDGET = Bounds(spend=Decimal("1.00"), worst=Decimal("0.10"), currency="EUR")


#: Two bounds of 25 rows.
BOUNDS_OF_25 = [Bounds(sends=25), Bounds(spend=Decimal(5), worst=Decimal("0.2"))]


async def send_within(ledger: Ledger, bucket: str, bounds: Bounds) -> int:
    """Claim rows of a bucket until there are none, with results of some; return their number."""
    total = 0
    while rows := await ledger.claim(request(4, buckets={bucket: 4}, bounds=bounds)):
        total += len(rows)
        await ledger.record([result(row, "unknown") for row in rows[::2]])
    return total


class BoundsConformance:
    """Claims with bounds."""

    async def test_a_claim_brings_no_more_than_the_canary(self, ledgers: Ledgers) -> None:
        """Whatever became of the first rows; of a row that was not sent the place is free again."""
        ledger = await ledgers.new()
        await ledger.add(people(30))
        bounds = Bounds(sends=10)

        first = await ledger.claim(request(4, bounds=bounds))
        kinds: tuple[State, ...] = ("sent", "refused", "unknown", "pending")
        results = [result(row, state) for row, state in zip(first, kinds, strict=True)]
        second = await ledger.claim(request(20, bounds=bounds), results)

        assert (len(first), len(second)) == (4, 7)
        assert await ledger.claim(request(20, bounds=bounds)) == []
        assert len(await ledger.claim(request(20))) == 20
        assert (await assert_recount(ledger)).sends == 30

    async def test_a_claim_brings_no_more_than_the_budget(self, ledgers: Ledgers) -> None:
        """What was charged and the worst of what may still be stay below it; a refused row costs nothing."""
        ledger = await ledgers.new()
        await ledger.add(people(40))

        first = await ledger.claim(request(40, bounds=BUDGET))
        assert len(first) == 10
        results = [result(row) for row in first[:8]] + [result(row, "refused") for row in first[8:]]
        second = await ledger.claim(request(40, bounds=BUDGET), results)
        assert len(second) == 2

        await ledger.observe(
            [
                News(dispatch_uuid=uuid_of(row.id), at=NOW, ended=True, cost="0.06", currency="EUR")
                for row in first[:8]
            ]
        )
        third = await ledger.claim(request(40, bounds=BUDGET), [result(row) for row in second])
        assert len(third) == 3  # 0.48 were charged, and two rows may cost 0.20
        assert await ledger.claim(request(40, bounds=BUDGET)) == []
        await assert_recount(ledger)

    async def test_rows_that_do_not_go_take_no_room(self, ledgers: Ledgers) -> None:
        """A person who opted out is no one of the first."""
        ledger = await ledgers.new()
        await ledger.add(people(12))
        for number in (0, 3):
            await ledgers.opt_outs_of(ledger).suppress(f"4477009{number:05d}", reason="stop")

        assert len(await ledger.claim(request(30, bounds=Bounds(sends=8)))) == 8
        assert await ledger.claim(request(30, bounds=Bounds(sends=8))) == []

    @pytest.mark.parametrize("bounds", BOUNDS_OF_25)
    async def test_claims_at_once_never_pass_them_together(self, ledgers: Ledgers, bounds: Bounds) -> None:
        """Three senders of one process, and some results in between: exactly 25 rows go."""
        ledger = await ledgers.new()
        await ledger.add(people(100))

        sent = await asyncio.gather(*(send_within(ledger, SMS, bounds) for _ in range(3)))

        assert sum(sent) == 25
        assert (await assert_recount(ledger)).sends == 25
