"""A process that works with a ledger in a file, made to be killed, or to be traced.

It writes down what it promises the moment that it may: `post 7 1` before the first POST of row 7, then how
that ended. A row whose POST provably did not happen says so with `pending`.

    python ledger_process.py run PATH LOG [PEOPLE]
    python ledger_process.py crash FOLDER POINT…     dies before the statement of that number
    python ledger_process.py hold PATH                opens it, says so, waits for the end of stdin
    python ledger_process.py race FOLDER              two forks open a new ledger at once, again and again
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import Cap, Claimed, ClaimRequest, News, Recipient, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.exceptions import LedgerInUseError
from tests.support.fork_races import race

ROWS: Final = 60
IN_FLIGHT: Final = 6
NOW: Final = 1_800_000_000.0


def recipients() -> list[Recipient]:
    """Return the rows of the campaign."""
    return [
        Recipient(
            key=f"row {n}",
            address=f"4477009{n // 2:05d}",
            fields={"name": f"Name{n}"},
            bucket=("sms|a", "whatsapp|b")[n % 2],
            zone=("", "Europe/Paris")[n % 3 == 0],
            not_before=NOW + 3 if n % 10 == 7 else 0.0,
            expires=NOW - 1 if n % 20 == 11 else NOW + 99,
        )
        for n in range(ROWS)
    ]


def outcome(row: Claimed, at: float) -> Result:
    """Return what the POST of a row gave: always the same for the same row and attempt."""
    kind = row.id % 7
    if kind == 3 and row.attempts == 1:
        return Result(id=row.id, state="pending", at=at, attempts=1, not_before=at + 1)
    if kind == 5:
        return Result(id=row.id, state="refused", at=at, attempts=row.attempts, code="1240", error="Refused")
    if kind == 6:
        return Result(id=row.id, state="unknown", at=at, attempts=row.attempts, error="OutcomeUnknownError")
    uuid = f"aaaaaaaa-bbbb-4ccc-8ddd-{row.id:012x}"
    return Result(id=row.id, state="sent", at=at, attempts=row.attempts, dispatch_uuid=uuid)


async def campaign(ledger: SqliteLedger, say: Callable[[str], None]) -> None:
    """Add all rows, again if need be, and send until nothing is left to send; say what is promised."""
    rows = recipients()
    for first in range(0, ROWS, 20):
        await ledger.add(rows[first : first + 20])
        say(f"added {first + 20}")
    now, results = NOW, list[Result]()
    while True:
        request = ClaimRequest(limit=IN_FLIGHT, now=now, cap=Cap(messages=2, window=3600))
        claimed = await ledger.claim(request, results)
        for result in results:
            say(f"{result.state} {result.id} {result.attempts}")
        for row in claimed:
            say(f"post {row.id} {row.attempts}")
        results = [outcome(row, now) for row in claimed]
        told = [r for r in results if r.state == "sent" and r.id % 2]
        refs = [f"{ledger.reference}-{r.id}" for r in told]
        await ledger.observe(
            [
                News(
                    dispatch_uuid=r.dispatch_uuid,
                    client_ref=ref,
                    at=now,
                    ended=True,
                    cost="0.01",
                    currency="EUR",
                )
                for r, ref in zip(told, refs, strict=True)
            ]
        )
        for r in told:
            say(f"told {r.id} {r.attempts}")
        if not claimed and (await ledger.counts()).open == 0:
            return
        now += 1


def writer_of(log: Path) -> Callable[[str], None]:
    """Return a function that appends a line to a file in one call of the system."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def say(line: str) -> None:
        os.write(fd, f"{line}\n".encode())

    return say


async def run(path: Path, log: Path, opt_outs_path: Path | None = None, kill_at: int = 0) -> None:
    """Run the whole campaign; with *kill_at* the process dies before the statement of that number."""
    opt_outs = OptOutList.open(opt_outs_path) if opt_outs_path is not None else None
    ledger = await SqliteLedger.open(path, opt_outs=opt_outs, clock=lambda: NOW)
    if kill_at:
        statements = 0

        def before(_statement: str) -> None:
            nonlocal statements
            statements += 1
            if statements == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        file: Any = ledger._writer._file
        file.connection.set_trace_callback(before)
    await campaign(ledger, writer_of(log))
    await ledger.aclose()


def crash(folder: Path, points: list[int]) -> None:
    """Run the campaign in a fork for each point."""
    for point in points:
        child = os.fork()
        if child == 0:
            name = folder / str(point)
            opt_outs = name.with_suffix(".people") if point % 2 else None
            asyncio.run(run(name.with_suffix(".db"), name.with_suffix(".log"), opt_outs, kill_at=point))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(point, "killed" if os.WIFSIGNALED(status) else "ended", flush=True)


async def hold(path: Path) -> None:
    """Open a ledger and keep it."""
    try:
        ledger = await SqliteLedger.open(path)
    except LedgerInUseError as error:
        print("refused", error.pid, error.host, flush=True)
        return
    print("open", os.getpid(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await ledger.aclose()


async def open_once(path: Path, said: int, leave: int) -> None:
    """Open a ledger, say how that went, and keep it until the other one has said so, too."""
    try:
        ledger = await SqliteLedger.open(path)
    except LedgerInUseError:
        os.write(said, b"refused")
        return
    os.write(said, b"open")
    os.read(leave, 1)
    await ledger.aclose()


def main(mode: str, *arguments: str) -> None:
    paths = [Path(argument) for argument in arguments]
    if mode == "run":
        asyncio.run(run(paths[0], paths[1], paths[2] if paths[2:] else None))
    elif mode == "crash":
        crash(paths[0], [int(point) for point in arguments[1:]])
    elif mode == "race":
        race(int(arguments[1]), lambda n, said, leave: open_once(paths[0] / f"{n}.db", said, leave))
    else:
        asyncio.run(hold(paths[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
