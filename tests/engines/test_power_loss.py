"""The power fails on the machine of Postgres: what was acknowledged is there, and no state goes back."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.records import State
from nexmo_dispatch_webhooks.inbox import PostgresInbox
from tests.support import power_loss
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.promises import Promised, Promises, keep_busy
from tests.support.traced_server import Call, Folder, calls_in, tracer, wait_for_tracer

pytestmark = [pytest.mark.engines, pytest.mark.long, pytest.mark.timeout(400)]

ROWS, EVENTS = 300, 300
LOSSES = int(os.environ.get("POSTGRES_LOSSES", "30"))
#: The states of rows by their codes in the table.
_STATES: dict[int, State] = {0: "pending", 1: "pending", 2: "sending", 3: "sent", 5: "unknown"}


async def work(server: PostgresServer, ledger: PostgresLedger, inbox: PostgresInbox) -> Promises:
    """Receive and send at once, with two checkpoints in between."""
    promises = Promises()
    async with asyncio.TaskGroup() as group:
        group.create_task(keep_busy(promises, inbox.store, ledger, iter(range(EVENTS))))
        for share in (3, 1.5):
            while len(promises.stored) < EVENTS / share:  # noqa: ASYNC110 - of other tasks
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.sql, "CHECKPOINT")
    assert not promises.errors
    return promises


def assert_kept(server: PostgresServer, promised: Promised) -> None:
    """Compare what a server has after its recovery with what was promised."""
    events = server.sql("SELECT id FROM nexmo_dispatch.inbox_events")
    rows = server.sql("SELECT id, state FROM nexmo_dispatch.campaign_states").split()
    codes = (row.split("|") for row in rows)
    states: dict[int, State] = {int(row_id): _STATES[int(code)] for row_id, code in codes}
    assert len(states) == ROWS
    promised.assert_kept(set(map(int, events.split())), states)


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
    wait_for_tracer(output, pid)
    return folder, calls_in(output, server.data), promises


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
        begun = promises.times[0]
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
            folder.after_power_loss(server.data, seed % 3 and seed)
            with (server.data / "postgresql.conf").open("a", encoding="ascii") as conf:
                conf.write("fsync = off\n")  # what is recovered here needs to survive nothing
            server.adopt()
            server.start()
            promised = promises.until(calls[min(point, len(calls) - 1)].at)
            assert_kept(server, promised)
            server.stop()
            tested += Counter(unsynced=sum(map(len, folder.since.values()))) + promised.counted()
        print(f"{LOSSES} losses of power among {len(calls)} calls; promises compared: {dict(tested)}")
        assert all(tested[kind] for kind in ("stored", "sending", "sent", "unsynced"))
    finally:
        server.remove()
