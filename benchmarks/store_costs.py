"""What the calls of a ledger cost a Postgres server in CPU time, for the model of `many_workers`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.rates import RateRequest
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result

BUCKET: Final = "sms|31647356950"


@dataclass(frozen=True)
class Costs:
    """CPU seconds of the server for the calls of a ledger.

    Attributes:
        claim: One transaction that claims rows and records results, without its rows.
        row: Each row of it, from `pending` to its result.
        lease: One exchange of rates.
        look: One of the small calls: control, counts, a sign of life.
    """

    claim: float = 600e-6
    row: float = 40e-6
    lease: float = 250e-6
    look: float = 200e-6


def recipient(number: int) -> Recipient:
    phone = f"999{number:09}"
    return Recipient(key=phone, address=phone, fields={"phone": phone, "name": "Ada"}, bucket=BUCKET)


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process, its children, and those of them that have ended."""
    parents: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has just ended
            parts = (entry / "stat").read_text().rpartition(") ")[2].split()
            parents.setdefault(int(parts[1]), []).append(int(entry.name))
            spent[int(entry.name)] = sum(map(int, parts[11:15])) / os.sysconf("SC_CLK_TCK")
    total, wanted = 0.0, [pid]
    while wanted:
        each = wanted.pop()
        total += spent.get(each, 0.0)
        wanted += parents.get(each, [])
    return total


@dataclass
class Timer:
    """The CPU seconds of a server while something is measured."""

    pid: int
    seconds: float = field(default=0.0)

    @contextmanager
    def measure(self) -> Iterator[None]:
        before = cpu_of(self.pid)
        yield
        self.seconds = cpu_of(self.pid) - before


async def measured(url: str, pid: int, *, times: int = 600) -> Costs:
    """Return what the calls of a ledger cost a Postgres server in CPU time.

    Args:
        url: A database that is empty.
        pid: Of the server.
        times: Calls of each kind; the clock of the kernel has ticks of 10 ms.
    """
    many = 50
    timer = Timer(pid)
    async with await PostgresLedger.open(url, "costs") as ledger:
        await ledger.add([recipient(number) for number in range(times + many * (times // 10))])

        async def claims(limit: int, number: int) -> float:
            done: list[Result] = []
            with timer.measure():
                for _ in range(number):
                    now = time.time()
                    claimed = await ledger.claim(
                        ClaimRequest(limit=limit, now=now, buckets={BUCKET: limit}), done
                    )
                    done = [
                        Result(id=row.id, state="sent", at=now, dispatch_uuid=f"{row.id:032x}", attempts=1)
                        for row in claimed
                    ]
            await ledger.record(done)
            return timer.seconds / number

        one, wave = await claims(1, times), await claims(many, times // 10)
        row = max(0.0, (wave - one) / (many - 1))
        with timer.measure():
            for _ in range(times):
                request = RateRequest(name="campaign", n=1, rate=1e6)
                await ledger.lease([request], now=time.time())
        lease = timer.seconds / times
        with timer.measure():
            for _ in range(times):
                await ledger.control()
        return Costs(claim=max(0.0, one - row), row=row, lease=lease, look=timer.seconds / times)
