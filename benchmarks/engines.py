"""What the stores cost: callbacks, claims, sends and wake-ups on SQLite, Postgres and NATS JetStream.

Each worker is a process of its own and measures its own CPU time; the servers, of tests/support, are others
and share the machine. A store of one process has one worker. Then real senders join and leave at one rate,
and `many_workers` simulates up to a hundred. The last lines say which targets are met.

    make bench-engines       or          python benchmarks/engines.py --count 1000 --workers 1 10
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from nexmo_dispatch_async import BearerToken, DispatchClient, sms
from nexmo_dispatch_async.bulk import Campaign, Governor, WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.ledger import rows_of
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Result
from nexmo_dispatch_webhooks import MessageStatus, Router, parse_event
from nexmo_dispatch_webhooks.inbox import JetStreamInbox, NewRecord, PostgresInbox, SqliteInbox, StoreInbox
from nexmo_dispatch_webhooks.inbox.records import make_record
from nexmo_dispatch_webhooks.inbox.store import is_shared
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.testing import status_body

ROOT: Final = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import many_workers, store_costs  # noqa: E402 - found by the path above
from tests.support import nats_server, postgres_server  # noqa: E402 - the same

#: Calls at the same time, rows of a claim, and wake-ups that are measured.
AT_ONCE, CLAIM, WAKES = 256, 100, 200
#: Sends a second of a campaign whose senders join and leave, and seconds between two changes.
RATE, SPAN = 100, 8.0
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


async def handled(place: str, _: int, stack: AsyncExitStack) -> Work:
    """Store a callback, and see how soon its handler begins.

    With a server, another inbox than the one that handles stores it: each has its own connections.
    """
    inbox, router, calls = inbox_at(place), Router(), asyncio.Queue[float]()

    @router.message_status()
    async def handler(_event: MessageStatus) -> None:
        calls.put_nowait(time.perf_counter())

    router.freeze()
    await inbox.start(router)
    stack.push_async_callback(inbox.aclose)
    other = await stack.enter_async_context(inbox_at(place)) if "://" in place else inbox

    async def work() -> dict[str, Any]:
        times: list[float] = []
        for _ in range(WAKES):
            begun = time.perf_counter()
            await other.store.add(record())
            times.append(await asyncio.wait_for(calls.get(), 10) - begun)
            await asyncio.sleep(0.01)
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
    rate = float(os.environ.get("BENCH_RATE", "inf"))
    opened = Campaign.open(
        ledger, client=client, template=TEMPLATE, governor=Governor(), rate=None if rate == math.inf else rate
    )
    campaign = await stack.enter_async_context(opened)

    async def work() -> dict[str, Any]:
        await campaign.run(signals=True)
        return {"count": client.statistics().attempts}

    return work


JOBS: Final = {"taken_in": taken_in, "woken": woken, "handled": handled, "claimed": claimed, "sent": sent}


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


def started(job: str, place: str, count: int) -> subprocess.Popen[str]:
    """Start a worker."""
    command = [sys.executable, __file__, "--job", job, "--place", place, "--count", str(count)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def begin(children: Sequence[subprocess.Popen[str]]) -> None:
    """Wait until workers are ready, and let them begin."""
    for each in children:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in children:
        assert each.stdin is not None
        each.stdin.write("\n")
        each.stdin.flush()


def together(job: str, place: str, count: int, workers: int, server: int = 0) -> dict[str, float]:
    """Run workers at the same time.

    Args:
        job: What they do.
        place: The store.
        count: How many things all of them do.
        workers: How many there are.
        server: Process id of the server, 0 for none.

    Returns:
        Things a second over all, and the CPU time of the workers and of the server for one, in µs.
    """
    children = [started(job, place, count // workers) for _ in range(workers)]
    before = store_costs.cpu_of(server) if server else 0.0
    begin(children)
    found: list[dict[str, float]] = [json.loads(each.communicate(timeout=120)[0]) for each in children]
    spent = store_costs.cpu_of(server) - before if server else 0.0
    total = sum(each["count"] for each in found)
    return found[0] | {
        "rate": total / max(each["seconds"] for each in found),
        "cpu": 1e6 * sum(each["cpu"] for each in found) / max(total, 1),
        "server": 1e6 * spent / max(total, 1),
    }


async def fill(place: str, count: int) -> None:
    """Add rows to a ledger; one node of NATS is taken for what it is."""
    async with Campaign.open(place, template=TEMPLATE, accept_loss="://" in place) as campaign:
        await campaign.add([{"phone": f"999{n:09}", "name": "Ada"} for n in range(count)])


def measure(engine: str, new: Callable[[], str], count: int, server: int = 0) -> list[tuple[str, bool]]:
    """Measure one engine; return whether the targets hold."""
    shared = server != 0
    targets: list[tuple[str, bool]] = []
    for job in ("taken_in", "claimed", "sent"):
        rates: list[float] = []
        for workers in (1, 2, 3) if shared else (1,):
            place = new()
            if job != "taken_in":
                place = join_url(place, "bench") if shared else place
                asyncio.run(fill(place, count))
            found = together(job, place, count, workers, server)
            rates.append(found["rate"])
            print(
                f"{engine:<10} {job:<9} {workers} worker{'s' if workers > 1 else ' '}"
                f" {found['rate']:>8,.0f} /s {found['cpu']:>7,.0f} µs of CPU each"
                + (f", {found['server']:>5,.0f} µs of the server" if shared else ""),
                flush=True,
            )
            target = {"taken_in": EVENTS_TARGET, "claimed": CLAIMS_TARGET}.get(job)
            if engine == "Postgres" and workers == 1 and target is not None:
                what = f"{job}, at least {target:,.0f} /s with one worker: {found['rate']:,.0f} /s"
                targets.append((what, found["rate"] >= target))
        if shared:
            print(f"{engine:<10} {job:<9} {saturation(rates)}", flush=True)
    for job in ("woken", "handled"):
        if job == "woken" and engine != "Postgres":
            continue
        found = together(job, new(), 1, 1)
        print(
            f"{engine:<10} {job:<9} p50 {1e3 * found['p50']:.1f} ms, p99 {1e3 * found['p99']:.1f} ms",
            flush=True,
        )
        if job == "woken":
            what = f"woken, p99 below {1e3 * WAKE_TARGET:.0f} ms: {1e3 * found['p99']:.1f} ms"
            targets.append((what, found["p99"] < WAKE_TARGET))
    return targets


def saturation(rates: Sequence[float]) -> str:
    """Say from which number of workers on another one adds less than a tenth."""
    for workers, (fewer, more) in enumerate(pairwise(rates), 1):
        if more < 1.1 * fewer:
            return f"saturates with {workers} worker{'s' if workers > 1 else ''} on this machine"
    return f"does not saturate with {len(rates)} workers"


def joining(place: str) -> tuple[str, bool]:
    """Let senders join, leave in order and die at one rate, and compare any ten seconds with it."""
    place = join_url(place, "bench")
    asyncio.run(fill(place, int(RATE * SPAN * 12)))
    os.environ["BENCH_RATE"] = str(RATE)
    children: list[subprocess.Popen[str]] = []
    begun = 0.0
    try:
        for _ in range(3):
            children.append(started("sent", place, 1))
            begin(children[-1:])
            begun = begun or time.time()
            time.sleep(SPAN)
        children[0].send_signal(signal.SIGTERM)
        time.sleep(SPAN)
        children[1].kill()
        time.sleep(SPAN)
        ended = time.time()
    finally:
        del os.environ["BENCH_RATE"]
        for each in children:
            each.kill()
            each.communicate(timeout=30)
    moments = sorted(asyncio.run(answered(place)))
    rates = many_workers.windows(moments, begun + 2, ended - 0.5)
    low, high = min(rates) / RATE, max(rates) / RATE
    print(f"Postgres   at {RATE}/s, senders join, leave and die: any 10 s from {low:.1%} to {high:.1%} of it")
    tolerance = many_workers.TOLERANCE
    what = (
        f"rate within {tolerance:.0%} in any 10 s, workers join and leave: {low - 1:+.1%} to {high - 1:+.1%}"
    )
    return what, 1 - tolerance <= low and high <= 1 + tolerance


async def answered(place: str) -> list[float]:
    """Return when the service answered each send, in epoch seconds."""
    async with await open_ledger(place, observer=True) as ledger:
        return [row.changed async for row in rows_of(ledger, "sent")]


def main() -> int:
    """Start the servers, measure all engines, simulate many workers, and say which targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=12_000, help="callbacks or recipients of a measurement")
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[1, 3, 10, 30, 100], help="workers of the simulation"
    )
    parser.add_argument("--job", choices=sorted(JOBS), help=argparse.SUPPRESS)
    parser.add_argument("--place", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        logging.disable(logging.WARNING)  # one node of NATS is no cluster, which it says each time
        asyncio.run(child(arguments.job, arguments.place, arguments.count))
        return 0
    begun = time.monotonic()
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    service = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("server.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    assert service.stdin is not None
    os.environ["BENCH_SERVICE"] = f"http://127.0.0.1:{service.stdout.readline().split()[0]}"
    names = (f"bench_{number}" for number in range(1000))
    with tempfile.TemporaryDirectory() as folder, closing(service.stdin):
        measure("SQLite", lambda: f"{folder}/{next(names)}.db", arguments.count)
        targets, costs = on_postgres(names, arguments.count)
        if nats_server.program() is None:
            print("JetStream: left out, there is no server")
        else:
            nats = nats_server.NatsServer()
            try:
                nats.start()
                measure("JetStream", lambda: nats.url(next(names)), arguments.count, nats.pid)
            finally:
                nats.remove()
    service.wait(10)
    simulated = list[str]()
    for line in many_workers.simulate(costs, numbers=arguments.workers) if arguments.workers else ():
        simulated.append(line)
        print(line, flush=True)
    print(f"load {os.getloadavg()[0]:.1f}, {time.monotonic() - begun:.0f} s")
    for what, holds in targets:
        print(f"{'met   ' if holds else 'MISSED'}  Postgres: {what}")
    if simulated:
        print(simulated[-1])
    return 0


def on_postgres(names: Iterator[str], count: int) -> tuple[list[tuple[str, bool]], store_costs.Costs]:
    """Measure Postgres; return the targets, and what its calls cost the server."""
    if postgres_server.binaries() is None:
        print("Postgres: left out, there is no server; the simulation takes the costs of another machine")
        return [], store_costs.Costs()
    postgres = postgres_server.PostgresServer()

    def database() -> str:
        name = next(names)
        postgres.sql(f"CREATE DATABASE {name}")
        return postgres.dsn(name)

    try:
        postgres.start()
        targets = measure("Postgres", database, count, postgres.pid)
        targets.append(joining(database()))
        return targets, asyncio.run(store_costs.measured(database(), postgres.pid))
    finally:
        postgres.remove()


if __name__ == "__main__":
    sys.exit(main())
