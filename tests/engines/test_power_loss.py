"""The power fails on the machine of Postgres: what was acknowledged is there, and no state goes back."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, request, result
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, State
from nexmo_dispatch_webhooks import Context, parse_event
from nexmo_dispatch_webhooks.inbox import NewRecord, PostgresInbox
from nexmo_dispatch_webhooks.inbox.records import make_record
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.testing import status_body
from tests.support import power_loss
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.traced_server import Call, Folder, calls_of, tracer

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(400)]

ROWS, EVENTS = 300, 300
LOSSES = int(os.environ.get("POSTGRES_LOSSES", "30"))
#: How far a row is, by the code of its state in the table.
_FAR = {0: 0, 1: 0, 2: 1, 5: 1, 3: 2}
_PROMISED: dict[State, int] = {"sending": 1, "sent": 2}


@dataclass
class Promises:
    """What clients were told, each with the time at which it was."""

    stored: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    states: list[tuple[float, int, State]] = field(default_factory=list[tuple[float, int, State]])

    def until(self, at: float) -> tuple[set[int], dict[int, State]]:
        """Return the events that were stored, and the last state of each row, before a time."""
        states = {row_id: state for when, row_id, state in self.states if when < at}
        return {record_id for when, record_id in self.stored if when < at}, states


def record(number: int) -> NewRecord:
    """Return a callback."""
    body = json.dumps(status_body(message_uuid=f"aaaaaaaa-bbbb-4ccc-8ddd-{number:012x}")).encode()
    return make_record(RawRequest({}, body), Context(timestamp=1.0), parse_event(body))


async def receive(inbox: PostgresInbox, promises: Promises, numbers: Iterator[int]) -> None:
    """Store events, and note each when it would be answered with 200."""
    for number in numbers:
        record_id = await inbox.store.add(record(number))
        assert record_id is not None
        promises.stored.append((time.time(), record_id))


async def send(ledger: PostgresLedger, promises: Promises, worker: str) -> None:
    """Claim rows and record results, and note both when a sender would go by them."""
    done: list[Claimed] = []
    while True:
        rows = await ledger.claim(request(limit=5), [result(row) for row in done], worker=worker)
        now = time.time()
        promises.states += [(now, row.id, "sent") for row in done]
        promises.states += [(now, row.id, "sending") for row in rows]
        if not rows:
            return
        done = rows


async def work(server: PostgresServer, ledger: PostgresLedger, inbox: PostgresInbox) -> Promises:
    """Receive and send at once, with two checkpoints in between."""
    promises, numbers = Promises(), iter(range(EVENTS))
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for worker in ("a", "b"):
            group.create_task(send(ledger, promises, worker))
        for _ in range(8):
            group.create_task(receive(inbox, promises, numbers))
        for share in (3, 1.5):
            while len(promises.stored) < EVENTS / share:  # noqa: ASYNC110 - of other tasks
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.sql, "CHECKPOINT")
    return promises


def assert_kept(server: PostgresServer, stored: set[int], states: dict[int, State]) -> None:
    """Compare what a server has after its recovery with what was promised."""
    events = server.sql("SELECT id FROM nexmo_dispatch.inbox_events")
    assert stored <= set(map(int, events.split()))
    rows = server.sql("SELECT id, state FROM nexmo_dispatch.campaign_states").split()
    found = {int(row_id): _FAR[int(state)] for row_id, state in (row.split("|") for row in rows)}
    assert len(found) == ROWS
    back = {row_id for row_id, state in states.items() if found[row_id] < _PROMISED[state]}
    assert not back, f"rows went back: {sorted(back)}"


def traced(server: PostgresServer, output: Path) -> tuple[Folder, list[Call], Promises]:
    """Run a server under a tracer; return its folder before, its calls, and what it promised."""

    async def prepare() -> None:
        async with (
            await PostgresLedger.open(server.dsn(), "spring") as ledger,
            PostgresInbox(server.dsn()),
        ):
            await ledger.add(people(ROWS))

    async def main() -> Promises:
        async with (
            await PostgresLedger.open(server.dsn(), "spring") as ledger,
            PostgresInbox(server.dsn()) as inbox,
        ):
            return await work(server, ledger, inbox)

    server.start()
    asyncio.run(prepare())
    server.stop("fast")
    folder = Folder.read(server.data)
    server.under = tracer(output)
    server.start()
    pid = server.pid
    promises = asyncio.run(main())
    server.stop("immediate")
    server.under = []
    deadline = time.monotonic() + 30
    while f"{pid} " not in (ends := [line for line in lines_of(output) if "+++ exited" in line] or [""])[-1]:
        assert time.monotonic() < deadline, f"the tracer did not end: {ends[-1]}"
        time.sleep(0.1)
    return folder, calls_of(lines_of(output), server.data), promises


def lines_of(output: Path) -> Iterator[str]:
    """Yield the lines of a trace."""
    with output.open(encoding="ascii", errors="replace") as file:
        yield from file


@pytest.mark.skipif(power_loss.strace is None, reason="strace is not installed")
def test_power_lost_at_any_moment() -> None:
    """Only what was synced is there, or a torn part of the rest as well; the server recovers, and has all."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    # A new segment of the log is not filled with zeros first, which would be most of the trace.
    server = PostgresServer(settings=["wal_init_zero = off", "jit = off"])
    output = server.folder / "trace"
    try:
        folder, calls, promises = traced(server, output)
        assert len(promises.stored) == EVENTS
        begun = min(at for at, _ in promises.stored)
        syncs = [n for n, call in enumerate(calls) if call.at > begun and "sync" in call.name]
        assert len(syncs) > LOSSES
        chance = random.Random(5)
        after = [n + 1 for n in chance.sample(syncs[:-1], LOSSES // 2)]
        anywhere = chance.sample(range(syncs[0], len(calls)), LOSSES - len(after))
        position, tested = 0, Counter[str]()
        for seed, point in enumerate(sorted([*after, *anywhere])):
            for number in range(position, point):
                folder.play(number, calls[number])
            position = point
            shutil.rmtree(server.data)
            server.data.mkdir()
            folder.after_power_loss(server.data, seed % 3 and seed)
            with (server.data / "postgresql.conf").open("a", encoding="ascii") as conf:
                conf.write("fsync = off\n")  # what is recovered here needs to survive nothing
            server.adopt()
            server.start()
            stored, states = promises.until(calls[min(point, len(calls) - 1)].at)
            assert_kept(server, stored, states)
            server.stop()
            tested += Counter(stored=len(stored), unsynced=sum(map(len, folder.since.values())))
            tested += Counter(states.values())
        print(f"{LOSSES} losses of power among {len(calls)} calls; promises compared: {dict(tested)}")
        assert all(tested[kind] for kind in ("stored", "sending", "sent", "unsynced"))
    finally:
        server.remove()
