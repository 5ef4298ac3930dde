"""What the stores cost: callbacks, claims, sends and wake-ups on SQLite, Postgres and NATS JetStream.

Each worker is a process of its own and measures its own CPU time; the servers, of tests/support, are others
and share the machine. A store of one process has one worker.

    make bench-engines       or          python benchmarks/engines.py --count 5000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any, Final

from nexmo_dispatch_async import BearerToken, DispatchClient, sms
from nexmo_dispatch_async.bulk import Campaign, Governor, WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Result
from nexmo_dispatch_webhooks import parse_event
from nexmo_dispatch_webhooks.inbox import JetStreamInbox, NewRecord, PostgresInbox, SqliteInbox, StoreInbox
from nexmo_dispatch_webhooks.inbox.records import make_record
from nexmo_dispatch_webhooks.inbox.store import is_shared
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.testing import status_body

ROOT: Final = Path(__file__).parent.parent
#: Calls at the same time, rows of a claim, and wake-ups that are measured.
AT_ONCE, CLAIM, WAKES = 256, 100, 200
#: Of Postgres with one worker: events and claims a second, and seconds until a wake-up.
EVENTS_TARGET, CLAIMS_TARGET, WAKE_TARGET = 4000.0, 3000.0, 0.020
TEMPLATE = WorkflowTemplate(sms.text("Your parcel is here, {name}", from_="31647356950", to="{phone}"))
Work = Callable[[], Awaitable[dict[str, Any]]]


def inbox_at(place: str) -> StoreInbox:
    """Return the inbox at a place."""
    kind = place.partition("://")[0]
    return {"postgresql": PostgresInbox, "nats": JetStreamInbox}.get(kind, SqliteInbox)(place)


def record() -> NewRecord:
    """Return a callback that is new."""
    status = status_body(message_uuid=str(uuid.uuid4()), dispatch_uuid=str(uuid.uuid4()))
    body = json.dumps(status).encode()
    return make_record(RawRequest({}, body), Context(timestamp=time.time()), parse_event(body))


async def taken_in(place: str, count: int, stack: AsyncExitStack) -> Work:
    """Store callbacks, many at a time, as a receiver does before it answers."""
    inbox = await stack.enter_async_context(inbox_at(place))
    records = iter([record() for _ in range(count)])

    async def work() -> dict[str, Any]:
        async def one() -> None:
            for each in records:
                await inbox.store.add(each)

        await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        return {}

    return work


async def woken(place: str, _: int, stack: AsyncExitStack) -> Work:
    """Store a callback with one connection, and see how soon another one is woken."""
    inbox = await stack.enter_async_context(inbox_at(place))
    other = await stack.enter_async_context(inbox_at(place))
    store = other.store
    assert is_shared(store)

    async def work() -> dict[str, Any]:
        times: list[float] = []
        for _ in range(WAKES):
            while await store.wake(0.05):
                pass
            waiting = asyncio.create_task(store.wake(5.0))
            await asyncio.sleep(0)
            begun = time.perf_counter()
            await inbox.store.add(record())
            await waiting
            times.append(time.perf_counter() - begun)
        times.sort()
        return {"p50": times[len(times) // 2], "p99": times[int(len(times) * 0.99)]}

    return work


async def claimed(place: str, _: int, stack: AsyncExitStack) -> Work:
    """Claim rows and record what became of the last ones, until none is left."""
    ledger = await stack.enter_async_context(await open_ledger(place, create=False))
    (bucket,) = await ledger.buckets()

    async def work() -> dict[str, Any]:
        done: list[Claimed] = []
        total = 0
        while True:
            now = time.time()
            request = ClaimRequest(limit=CLAIM, now=now, buckets={bucket: CLAIM})
            results = [
                Result(
                    id=row.id, state="sent", at=now, dispatch_uuid=str(uuid.uuid4()), attempts=row.attempts
                )
                for row in done
            ]
            done = await ledger.claim(request, results)
            total += len(done)
            if not done:
                return {"count": total}

    return work


async def sent(place: str, _: int, stack: AsyncExitStack) -> Work:
    """Run a campaign against a server that accepts everything."""
    client = await stack.enter_async_context(
        DispatchClient(
            auth=BearerToken("benchmark"), application_id="benchmark", base_url=os.environ["BENCH_SERVICE"]
        )
    )
    ledger = await stack.enter_async_context(await open_ledger(place, create=False))
    opened = Campaign.open(ledger, client=client, template=TEMPLATE, governor=Governor())
    campaign = await stack.enter_async_context(opened)

    async def work() -> dict[str, Any]:
        await campaign.run()
        return {"count": client.statistics().attempts}

    return work


JOBS: Final = {"taken_in": taken_in, "woken": woken, "claimed": claimed, "sent": sent}


async def child(job: str, place: str, count: int) -> None:
    """Prepare, say so, begin with the other workers, and print what it took."""
    async with AsyncExitStack() as stack:
        work = await JOBS[job](place, count, stack)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begun, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        found = await work()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        measured = {"count": count, "seconds": time.perf_counter() - begun, "cpu": cpu}
        print(json.dumps(measured | found), flush=True)


def together(job: str, place: str, count: int, workers: int) -> dict[str, float]:
    """Run workers at the same time; return things a second over all, and CPU time of the workers for one."""
    command = [sys.executable, __file__, "--job", job, "--place", place, "--count", str(count // workers)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(workers)
    ]
    found: list[dict[str, float]] = []
    for each in children:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in children:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()
    for each in children:
        output, _ = each.communicate(timeout=120)
        found.append(json.loads(output))
    total = sum(each["count"] for each in found)
    figures = {"rate": total / max(each["seconds"] for each in found)}
    figures["cpu"] = 1e6 * sum(each["cpu"] for each in found) / max(total, 1)
    return found[0] | figures


async def fill(place: str, count: int) -> None:
    """Add rows to a ledger."""
    async with Campaign.open(place, template=TEMPLATE) as campaign:
        await campaign.add([{"phone": f"999{n:09}", "name": "Ada"} for n in range(count)])


def measure(engine: str, new: Callable[[], str], count: int, *, ledgers: bool) -> list[tuple[str, bool]]:
    """Measure one engine; return whether the targets hold."""
    shared = engine != "SQLite"
    targets: list[tuple[str, bool]] = []
    jobs = ["taken_in", *(["claimed", "sent"] if ledgers else [])]
    for workers in (1, 2, 3) if shared else (1,):
        for job in jobs:
            place = new()
            if job != "taken_in":
                place = join_url(place, "bench") if shared else place
                asyncio.run(fill(place, count))
            found = together(job, place, count, workers)
            print(
                f"{engine:<10} {job:<9} {workers} worker{'s' if workers > 1 else ' '}"
                f" {found['rate']:>8,.0f} /s {found['cpu']:>7,.0f} µs of CPU each"
            )
            target = {"taken_in": EVENTS_TARGET, "claimed": CLAIMS_TARGET}.get(job)
            if engine == "Postgres" and workers == 1 and target is not None:
                targets.append((f"{job}, {target:,.0f} /s", found["rate"] >= target))
    if shared and ledgers:
        found = together("woken", new(), 1, 1)
        print(f"{engine:<10} woken     p50 {1e3 * found['p50']:.1f} ms, p99 {1e3 * found['p99']:.1f} ms")
        if engine == "Postgres":
            targets.append((f"woken, p99 {1e3 * WAKE_TARGET:.0f} ms", found["p99"] < WAKE_TARGET))
    return targets


def main() -> int:
    """Start the servers, measure all engines, and say which targets hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=3000, help="callbacks or recipients of a measurement")
    parser.add_argument("--job", choices=sorted(JOBS), help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        asyncio.run(child(arguments.job, arguments.place, arguments.count))
        return 0
    sys.path.insert(0, str(ROOT))
    from tests.support import nats_server, postgres_server

    targets: list[tuple[str, bool]] = []
    names = (f"bench_{number}" for number in range(1000))
    service = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stdin is not None
    os.environ["BENCH_SERVICE"] = f"http://127.0.0.1:{service.stdout.readline().split()[0]}"
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder, closing(service.stdin):
        measure("SQLite", lambda: f"{folder}/{next(names)}.db", arguments.count, ledgers=True)
        if postgres_server.binaries() is None:
            print("Postgres: left out, there is no server")
        else:
            postgres = postgres_server.PostgresServer()
            try:
                postgres.start()

                def database() -> str:
                    name = next(names)
                    postgres.sql(f"CREATE DATABASE {name}")
                    return postgres.dsn(name)

                targets += measure("Postgres", database, arguments.count, ledgers=True)
            finally:
                postgres.remove()
        if nats_server.program() is None:
            print("JetStream: left out, there is no server")
        else:
            nats = nats_server.NatsServer()
            try:
                nats.start()
                measure("JetStream", lambda: nats.url(next(names)), arguments.count, ledgers=False)
            finally:
                nats.remove()
    service.wait(10)
    print(f"load {os.getloadavg()[0]:.1f}")
    for what, holds in targets:
        print(f"{'holds ' if holds else 'MISSED'}  Postgres, one worker: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
