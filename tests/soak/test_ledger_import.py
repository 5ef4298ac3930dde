"""A million rows into a ledger: how fast, how large, how much memory. Figures are printed."""

from __future__ import annotations

import os
import random
import resource
import time
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

ROWS = int(os.environ.get("LEDGER_ROWS", "1000000"))
PIECE = 10_000


def recipients(first: int, addresses: list[int]) -> list[Recipient]:
    return [
        Recipient(
            key=(address := f"31{addresses[n]:09d}"),
            address=address,
            fields={"name": "Ann de Vries", "to": "31612345678", "code": "ABC123"},
            bucket="sms|31647356950",
            line=n + 2,
        )
        for n in range(first, first + PIECE)
    ]


def uuid(number: int) -> str:
    return f"{number:08x}-bbbb-4ccc-8ddd-eeeeeeeeeeee"


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("order", ["random", "ordered"])
async def test_a_million_rows(tmp_path: Path, order: str, capsys: pytest.CaptureFixture[str]) -> None:
    """At least 30,000 rows a second, at most 150 MB, and the memory does not follow the rows."""
    path = tmp_path / "large.db"
    addresses = random.Random(1).sample(range(10**9), ROWS) if order == "random" else list(range(ROWS))
    async with await SqliteLedger.open(path) as ledger:
        await ledger.add(recipients(0, addresses))
        before, spent, cpu = memory(), 0.0, time.process_time()
        for first in range(PIECE, ROWS, PIECE):
            piece = recipients(first, addresses)
            start = time.perf_counter()
            await ledger.add(piece)
            spent += time.perf_counter() - start
        rate, grown = (ROWS - PIECE) / spent, memory() - before
        cpu = (time.process_time() - cpu) / ROWS * 1e6
        assert (await ledger.counts()).total == ROWS

        start, results, sends = time.perf_counter(), list[Result](), 0
        busy = time.process_time()
        while sends < 20_000:
            rows = await ledger.claim(ClaimRequest(limit=64, now=1.8e9), results)
            results = [
                Result(
                    id=r.id, state="sent", at=1.8e9, dispatch_uuid=f"{r.id:08x}-bbbb-4ccc-8ddd-eeeeeeeeeeee"
                )
                for r in rows
            ]
            sends += len(rows)
        busy, claims = (time.process_time() - busy) / sends * 1e6, sends / (time.perf_counter() - start)
        start = time.perf_counter()
        assert await ledger.counts(verify=True) == await ledger.counts()
        recount = time.perf_counter() - start
    size = path.stat().st_size / 1e6
    start = time.perf_counter()
    async with await SqliteLedger.open(path):
        opened = time.perf_counter() - start
    with capsys.disabled():
        print(
            f"\n{order}: {rate:,.0f} rows/s, {cpu:.1f} us CPU a row, {size:.0f} MB, memory +{grown:.0f} MB, "
            f"{claims:,.0f} claims and results/s ({busy:.0f} us CPU each), recount {recount:.2f} s, "
            f"opened in {opened:.2f} s"
        )
    assert grown < 30
    if ROWS == 1_000_000:
        assert size <= 150
