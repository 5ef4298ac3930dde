"""Many rows of a campaign in SQLite: what goes in pieces gives the same as what goes at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger import sqlite_sql
from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW, WHATSAPP, assert_recount, person, request
from nexmo_dispatch_async.bulk.ledger.records import News, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger


async def test_a_duplicate_among_many_rows_keeps_the_others(tmp_path: Path) -> None:
    """More rows than one statement inserts, in no order, with keys that came before and twice."""
    rows = [person(n * 7919 % 10_007) for n in range(1203)]
    async with await SqliteLedger.open(tmp_path / "a.db") as ledger:
        await ledger.add(rows[:3])

        added = await ledger.add([*rows[2:700], rows[600], *rows[700:]])

        assert (added.added, added.duplicates) == (1200, (0, 698))
        found = await ledger.scan(limit=10_000)
        assert [row.address for row in found] == [row.address for row in rows]
        assert [row.id for row in found] == list(range(1, 1204))
        await assert_recount(ledger)


async def test_the_numbers_of_pieces_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are counted so many at a time, which bounds the memory: states, claims, costs, lanes."""
    monkeypatch.setattr(sqlite_sql, "_PIECE", 3)
    path = tmp_path / "a.db"
    async with await SqliteLedger.open(path) as ledger:
        await ledger.add([person(n, bucket=WHATSAPP) for n in range(4)])
        await ledger.add([person(n, skip="hold_out") for n in range(4, 6)])
        await ledger.add([person(n, not_before=NOW + 9) for n in range(6, 11)])
        claimed = await ledger.claim(request(limit=3))
        await ledger.record([Result(id=row.id, state="sent", at=NOW, attempts=1) for row in claimed])
        refs = [f"{ledger.reference}-{row.id}" for row in claimed]
        await ledger.observe(
            [News(dispatch_uuid="", client_ref=ref, at=NOW, ended=True, cost="0.05") for ref in refs]
        )
        counts = await assert_recount(ledger)

    async with await SqliteLedger.open(path) as again:
        assert await assert_recount(again) == counts
        assert (counts.ended, counts.states) == (3, {"pending": 6, "sent": 3, "skipped": 2})
        assert [row.id for row in await again.claim(request(now=NOW + 9))] == [4, 7, 8, 9, 10, 11]
