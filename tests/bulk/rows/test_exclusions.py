"""A second campaign leaves out exactly those to whom the first one sent."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.rows.exclusions import excluding
from nexmo_dispatch_async.bulk.rows.seen import Seen
from nexmo_dispatch_async.exceptions import LedgerError


def people(*numbers: int) -> list[Recipient]:
    return [Recipient(key=f"k{n}", address=f"99900000{n:04d}", fields={}, bucket="b") for n in numbers]


async def test_the_follow_up_goes_to_the_others(tmp_path: Path) -> None:
    """Sent, sending and unknown people are left out; refused and skipped ones, and new ones, are not."""
    async with await SqliteLedger.open(tmp_path / "first.db") as first:
        await first.add(people(1, 2, 3, 4, 5))
        await first.drop([5], state="pending")
        claimed = await first.claim(ClaimRequest(limit=4, now=1.0))
        states: tuple[Literal["sent", "refused", "unknown"], ...] = ("sent", "refused", "unknown")
        await first.record(
            [Result(id=row.id, state=state, at=1.0) for row, state in zip(claimed, states, strict=False)]
        )

        second = MemoryLedger()
        async with excluding(second, [tmp_path / "first.db"]) as keeper:
            added = await keeper.add(people(1, 2, 3, 4, 5, 6))

    assert added.added == 6
    rows = await second.scan()
    assert {row.key: row.skip for row in rows} == {
        "k1": "excluded",
        "k2": None,
        "k3": "excluded",
        "k4": "excluded",
        "k5": None,
        "k6": None,
    }
    assert [row.key for row in await second.claim(ClaimRequest(limit=9, now=1.0))] == ["k2", "k5", "k6"]


async def test_a_ledger_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped name must not send to all recipients again."""
    with pytest.raises(LedgerError):
        async with excluding(MemoryLedger(), [tmp_path / "frist.db"]):
            pass


def test_membership_beyond_memory() -> None:
    """Looking does not count, in memory or in the file that follows it."""
    for limit in (1, 100):
        with Seen(in_memory=limit) as seen:
            for key in ("a", "b", "c"):
                seen.count(key)
            assert "a" in seen
            assert "z" not in seen
            assert seen.count("z") == 1
