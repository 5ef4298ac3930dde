"""What up to 100 workers of one campaign do to each other and to their store: a simulation in virtual time.

Real: the senders, their rate leases (`SharedPace`, `LeasedMeter`, the rule of `Ledger.lease`) and the claims.
Assumed: the store, a model of Postgres whose calls cost what `store_costs` found on a server of this machine,
and everything in `Assumptions`, which the benchmark prints. `simulate` needs no server.
"""

from __future__ import annotations

import asyncio
import math
import random
from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from functools import partial
from itertools import pairwise
from typing import Final, TypeVar

from benchmarks.store_costs import Costs, recipient
from nexmo_dispatch_async import sms
from nexmo_dispatch_async.bulk import Governor, WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Control, Counts, Result
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import Pace, Rate
from nexmo_dispatch_async.sansio import Headers, Request, Response, dispatch_request

T = TypeVar("T")
TEMPLATE: Final = WorkflowTemplate(sms.text("Your parcel is here, {name}", from_="31647356950", to="{phone}"))
#: Epoch seconds at the beginning of a simulation.
EPOCH: Final = 1_800_000_000.0
#: Seconds of a window in which the rate is compared, and by how much it may differ.
WINDOW, TOLERANCE = 10.0, 0.03


@dataclass(frozen=True)
class Assumptions:
    """What the simulation takes for given.

    Attributes:
        cores: Cores of the server; a call occupies one for its CPU time, the others queue.
        network: Seconds to the server and back.
        sync: Seconds of one sync of its log; all commits that wait share the next one.
        latency: Seconds until the service answers, 50 % more or less by chance.
        limit: Sends in flight of each worker.
        row_locks: Exchanges of one rate follow one another, for the CPU time of each.
    """

    cores: int = 4
    network: float = 0.001
    sync: float = 0.002
    latency: float = 0.2
    limit: int = 64
    row_locks: bool = True


class Store:
    """The model of the server: cores with a queue, and a log that is synced for all who wait."""

    def __init__(self, costs: Costs, given: Assumptions) -> None:
        self.costs, self.given = costs, given
        self.rows = MemoryLedger(shared=True, clock=wall)
        self.calls = 0
        self.busy = 0.0
        self._cores = asyncio.Semaphore(given.cores)
        self._rate = asyncio.Lock()
        self._synced_from = -math.inf
        self._added = 0

    async def call(self, seconds: float, work: Callable[[], Awaitable[T]], *, syncs: bool = False) -> T:
        """Do something that costs the server CPU time; return when the answer is back."""
        await asyncio.sleep(self.given.network / 2)
        async with self._cores:
            self.calls += 1
            self.busy += seconds
            await asyncio.sleep(seconds)
            found = await work()
        if syncs:
            await asyncio.sleep(self._sync())
        await asyncio.sleep(self.given.network / 2)
        return found

    async def exchange(self, work: Callable[[], Awaitable[T]]) -> T:
        """Exchange rates: the row of a rate is locked by one worker at a time, and nothing is synced."""
        if not self.given.row_locks:
            return await self.call(self.costs.lease, work)
        async with self._rate:
            return await self.call(self.costs.lease, work)

    def _sync(self) -> float:
        """Return how long a commit waits: a sync that began before it does not cover it."""
        now = asyncio.get_running_loop().time()
        if self._synced_from < now:
            self._synced_from = max(now, self._synced_from + self.given.sync)
        return self._synced_from + self.given.sync - now

    async def fill(self, most: int) -> None:
        """Add rows until so many are pending."""
        pending = (await self.rows.counts()).states.get("pending", 0)
        while pending < most:
            added = [recipient(self._added + number) for number in range(1000)]
            self._added += len(added)
            pending += (await self.rows.add(added)).added


class Session(MemoryLedger):
    """The ledger of one worker: its calls follow one another, except for the exchange of rates."""

    def __init__(self, store: Store) -> None:
        super().__init__(shared=True, clock=wall)
        self._store = store
        self._lock = asyncio.Lock()

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        cost = self._store.costs.claim + self._store.costs.row * max(request.limit, len(results))
        work = partial(self._store.rows.claim, request, results, worker=worker)
        return await self._alone(cost, work, syncs=True)

    async def record(self, results: Sequence[Result]) -> None:
        cost = self._store.costs.claim + self._store.costs.row * len(results)
        await self._alone(cost, partial(self._store.rows.record, results), syncs=True)

    async def lease(
        self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause] = (), *, now: float
    ) -> RateExchange:
        return await self._store.exchange(partial(self._leased, requests, pauses))

    async def _leased(self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause]) -> RateExchange:
        return await self._store.rows.lease(requests, pauses, now=wall())  # by the clock of the server

    async def show_life(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            await self._store.call(self._store.costs.look, partial(asyncio.sleep, 0))

    async def counts(self, *, verify: bool = False) -> Counts:
        return await self._alone(self._store.costs.look, partial(self._store.rows.counts, verify=verify))

    async def control(self, change: Control | None = None) -> Control:
        return await self._alone(self._store.costs.look, partial(self._store.rows.control, change))

    async def due(self) -> float | None:
        return await self._alone(self._store.costs.look, self._store.rows.due)

    async def buckets(self) -> frozenset[str]:
        return await self._alone(self._store.costs.look, self._store.rows.buckets)

    async def reap(self, worker: str | None = None) -> int:
        return await self._alone(self._store.costs.look, partial(self._store.rows.reap, worker))

    async def _alone(self, cost: float, work: Callable[[], Awaitable[T]], *, syncs: bool = False) -> T:
        async with self._lock:
            return await self._store.call(cost, work, syncs=syncs)


class Client:
    """Stands where a `DispatchClient` stands: the service accepts everything, after its latency."""

    def __init__(self, latency: float, seed: int) -> None:
        self.moments: list[float] = []
        self._latency, self._chance = latency, random.Random(seed)
        body = b'{"dispatch_uuid":"aaaaaaaa-bbbb-4ccc-8ddd-%012x"}' % seed
        self._answer = Response(202, Headers({}), body)

    def ready_request(self, body: bytes) -> Request:
        return dispatch_request("http://service", {"ApplicationId": "app"}, body)

    async def call(self, _request: Request, decode: Callable[[Response], T], **_settings: object) -> T:
        self.moments.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._latency * self._chance.uniform(0.5, 1.5))
        return decode(self._answer)


class Workers:
    """The workers of one campaign, which join, leave in order or die."""

    def __init__(self, store: Store, rate: float) -> None:
        self.store, self._rate = store, rate
        self.clients: list[Client] = []
        self._senders: list[Sender] = []
        self._tasks: list[tuple[asyncio.Task[Counts], asyncio.Task[None]]] = []
        self.begun = asyncio.get_running_loop().time()

    def join(self, number: int = 1) -> None:
        """Start workers."""
        for _ in range(number):
            client, session = Client(self.store.given.latency, len(self.clients)), Session(self.store)
            rates = (Rate(self._rate),) if self._rate < math.inf else ()
            sender = Sender(
                session,
                client,  # type: ignore[arg-type]  # what a sender uses of it
                TEMPLATE,
                governor=Governor(random=lambda: 0.5),
                pace=Pace(rates=rates, limit=self.store.given.limit),
                calendar=Calendar(),
                worker=str(len(self.clients)),
                wall_clock=wall,
            )
            self.clients.append(client)
            self._senders.append(sender)
            alive = asyncio.ensure_future(session.show_life())
            self._tasks.append((asyncio.ensure_future(sender.run()), alive))

    def leave(self, first: int, number: int) -> None:
        """Let workers drain and end."""
        for sender in self._senders[first : first + number]:
            sender.stop()

    def die(self, first: int, number: int) -> None:
        """End workers that give nothing back of what they leased."""
        for tasks in self._tasks[first : first + number]:
            for task in tasks:
                task.cancel()

    async def aclose(self) -> None:
        self.die(0, len(self._tasks))
        await asyncio.gather(*(task for tasks in self._tasks for task in tasks), return_exceptions=True)

    def moments(self) -> list[float]:
        """Return when each send left, in seconds from the beginning."""
        return sorted(at - self.begun for client in self.clients for at in client.moments)


@dataclass
class Found:
    """What a number of workers did in some seconds.

    Attributes:
        workers: How many sent.
        rate: Sends a second.
        least: Sends a second in the emptiest window, as a part of the rate of the campaign.
        most: The same in the fullest one.
        uneven: The difference between the worker with most sends and that with fewest, by their mean.
        calls: Calls of the store a second.
        load: Part of the CPU time of the store that was used.
    """

    workers: int
    rate: float
    least: float
    most: float
    uneven: float
    calls: float
    load: float


def wall() -> float:
    """Return the epoch seconds of the virtual loop."""
    return EPOCH + asyncio.get_running_loop().time()


def windows(moments: Sequence[float], begin: float, end: float, span: float = WINDOW) -> list[float]:
    """Return the sends a second of all windows of a span, half a second apart."""
    rates: list[float] = []
    while begin + span <= end + 1e-9:
        rates.append((bisect_left(moments, begin + span) - bisect_left(moments, begin)) / span)
        begin += 0.5
    return rates


@asynccontextmanager
async def campaign(costs: Costs, given: Assumptions, rate: float) -> AsyncGenerator[Workers]:
    """Run a campaign whose rows never run out."""
    store = Store(costs, given)
    most = 6000 if rate == math.inf else int(rate) + 1000
    await store.fill(most)

    async def feed() -> None:
        while True:
            await asyncio.sleep(0.1)
            await store.fill(most)

    workers, feeding = Workers(store, rate), asyncio.ensure_future(feed())
    try:
        yield workers
    finally:
        feeding.cancel()
        await workers.aclose()


async def steady(
    costs: Costs, given: Assumptions, number: int, rate: float, seconds: float, *, warm: float = 2.0
) -> Found:
    """Let a number of workers send for some seconds."""
    async with campaign(costs, given, rate) as workers:
        workers.join(number)
        await asyncio.sleep(warm)
        store = workers.store
        calls, busy = store.calls, store.busy
        await asyncio.sleep(seconds)
        calls, busy = store.calls - calls, store.busy - busy
        moments = workers.moments()
        begin, end = warm, warm + seconds
        each = [sum(begin <= at - workers.begun < end for at in client.moments) for client in workers.clients]
    sent = sum(each)
    rates = windows(moments, begin, end, min(WINDOW, seconds))
    whole = rate if rate < math.inf else sent / seconds
    return Found(
        workers=number,
        rate=sent / seconds,
        least=min(rates) / whole,
        most=max(rates) / whole,
        uneven=(max(each) - min(each)) * number / max(sent, 1),
        calls=calls / seconds,
        load=busy / seconds / given.cores,
    )


async def joining(costs: Costs, given: Assumptions, number: int, rate: float) -> Found:
    """Let workers join until there are so many, then let some die and some leave, and others join.

    A tenth joins each half second; at 10 s a tenth dies at once, with what it leased; at 20 s three tenths
    leave in order; at 25 s as many join; it ends at 32 s.
    """
    part = max(1, number // 10)
    async with campaign(costs, given, rate) as workers:
        for _ in range(10):
            workers.join(part)
            await asyncio.sleep(0.5)
        await asyncio.sleep(5)
        workers.die(0, part)
        await asyncio.sleep(10)
        workers.leave(part, 3 * part)
        await asyncio.sleep(5)
        workers.join(3 * part)
        await asyncio.sleep(7)
        store, moments, seconds = workers.store, workers.moments(), 32.0
        rates = windows(moments, 1.0, seconds)
        return Found(
            workers=number,
            rate=len(moments) / seconds,
            least=min(rates) / rate,
            most=max(rates) / rate,
            uneven=math.nan,  # they did not send equally long
            calls=store.calls / seconds,
            load=store.busy / seconds / given.cores,
        )


def simulate(
    costs: Costs,
    *,
    given: Assumptions = Assumptions(),
    numbers: Iterable[int] = (1, 3, 10, 30, 100),
    rate: float = 1000.0,
    seconds: float = 10.0,
) -> Iterator[str]:
    """Yield the report, line by line; the last ones begin with `met` or `MISSED`."""
    from tests.support.virtual_loop import run_virtually

    numbers = list(numbers)
    yield "Simulation, assumptions: " + ", ".join(
        f"{each.name} {getattr(given, each.name)}" for each in fields(given)
    )
    yield "  CPU of the store: " + ", ".join(
        f"{each.name} {1e6 * getattr(costs, each.name):.0f} µs" for each in fields(costs)
    )
    head = "  workers  sends/s   used  least   most  uneven  calls/s  load"
    yield f"at {rate:,.0f} sends/s of all workers together"
    yield head
    for number in numbers:
        found = run_virtually(steady(costs, given, number, rate, seconds))
        yield _line(found, rate)
    yield f"at {rate:,.0f} sends/s, workers join, die, leave and join again"
    yield head
    joined = run_virtually(joining(costs, given, max(numbers), rate))
    yield _line(joined, rate)
    yield "without a rate"
    yield head
    free = [run_virtually(steady(costs, given, number, math.inf, 2.0, warm=1.0)) for number in numbers]
    for found in free:
        yield _line(found, math.inf)
    yield f"  {saturation(free)}"
    low, high = 1 - TOLERANCE, 1 + TOLERANCE
    holds = low <= joined.least and joined.most <= high
    yield (
        f"{'met   ' if holds else 'MISSED'}  simulation, {joined.workers} workers: any {WINDOW:.0f} s within "
        f"{TOLERANCE:.0%} of {rate:,.0f} /s while workers join, die and leave"
    )


def saturation(found: Sequence[Found]) -> str:
    """Say from which number of workers on another one adds little."""
    for fewer, more in pairwise(found):
        if more.rate < 1.1 * fewer.rate or more.load > 0.95:
            return (
                f"saturates between {fewer.workers} and {more.workers} workers, at {more.rate:,.0f} sends/s"
            )
    return f"does not saturate with {found[-1].workers} workers"


def _line(found: Found, rate: float) -> str:
    used = "     -" if rate == math.inf else f"{found.rate / rate:>6.1%}"
    uneven = "-" if math.isnan(found.uneven) else f"{found.uneven:.0%}"
    return (
        f"  {found.workers:>7} {found.rate:>8,.0f} {used} {found.least:>6.1%} {found.most:>6.1%}"
        f" {uneven:>7} {found.calls:>8,.0f} {found.load:>5.0%}"
    )
