"""Calls of ledgers and opt-out lists whose task is cancelled, wherever they wait.

The store is usable at once; a call is stored whole or not at all, and a repetition completes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    SMS,
    assert_recount,
    people,
    request,
    result,
)
from nexmo_dispatch_async.bulk.ledger.conformance_results import news
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.rates import RateRequest
from nexmo_dispatch_async.bulk.ledger.records import Claimed, Control, Row
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from tests.support.leftovers import assert_left, held, needs_descriptors
from tests.support.walker import cancelled_everywhere

BOUND = 10.0
ROWS = 3

pytestmark = needs_descriptors


STORED = ["file", *(pytest.param(name, marks=pytest.mark.engines) for name in ("database", "nats_url"))]


@pytest.fixture(params=STORED)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a store is: a file, or a URL."""
    return str(tmp_path / "a.db") if request.param == "file" else request.getfixturevalue(request.param)


@pytest.fixture(params=["memory", *STORED])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a store is, or `memory`."""
    if request.param == "memory":
        return "memory"
    return str(tmp_path / "a.db") if request.param == "file" else request.getfixturevalue(request.param)


def now() -> float:
    return NOW


async def opened(place: str) -> Ledger:
    """Open the ledger at a place; its pool has one connection, and none to lose."""
    if place == "memory":
        return MemoryLedger(clock=now)
    if place.startswith("postgres"):
        return await PostgresLedger.open(place, "spring", accept_loss=True, connections=1, clock=now)
    if place.startswith("nats"):
        return await JetStreamLedger.open(place, "spring", accept_loss=True, clock=now)
    return await SqliteLedger.open(place, clock=now)


@asynccontextmanager
async def ledger_at(place: str) -> AsyncIterator[Ledger]:
    """Open a ledger, and hold that its close leaves nothing."""
    await (await opened(place)).aclose()
    before = held()
    ledger = await opened(place)
    try:
        yield ledger
    finally:
        await ledger.aclose()
    await assert_left(before)


class Rows:
    """New rows of a ledger, and what a call is to do with them."""

    def __init__(self, ledger: Ledger, first: int) -> None:
        self.ledger = ledger
        self.people = people(ROWS, first=first, expires=NOW + 60)
        self.claimed: list[Claimed] = []

    async def seen(self) -> list[Row]:
        keys = {person.key for person in self.people}
        return [row for row in await self.ledger.scan(limit=10_000) if row.key in keys]

    async def ids(self) -> list[int]:
        return [row.id for row in await self.seen()]

    async def claim(self) -> None:
        self.claimed = await self.ledger.claim(request(), worker="w")
        assert len(self.claimed) == ROWS

    # --- calls ---

    async def add(self) -> None:
        await self.ledger.add(self.people)

    async def record(self) -> None:
        await self.ledger.record([result(row) for row in self.claimed])

    async def observe(self) -> None:
        found = [news(self.ledger, row.id, ended=True, cost="0.1", currency="EUR") for row in self.claimed]
        await self.ledger.observe(found)

    async def reap(self) -> None:
        await self.ledger.reap("w")

    async def resend(self) -> None:
        await self.ledger.resend([row.id for row in self.claimed])

    async def drop(self) -> None:
        await self.ledger.drop(await self.ids(), state="pending")

    async def expire(self) -> None:
        await self.ledger.expire(NOW + 61)

    async def forget(self) -> None:
        await self.ledger.forget(NOW + 100)


#: What is called, and the calls before it.
CALLS: dict[str, Sequence[str]] = {
    "add": (),
    "record": ("add", "claim"),
    "observe": ("add", "claim"),
    "reap": ("add", "claim"),
    "resend": ("add", "claim", "reap"),
    "drop": ("add",),
    "expire": ("add",),
    "forget": ("add", "claim", "record"),
}


async def settle(ledger: Ledger) -> None:
    """Return when what was called before is stored or given up."""
    await ledger.control(lambda known: Control(version=known.version, rate=(known.rate or 0) + 1))


@pytest.mark.parametrize("call", CALLS)
async def test_a_cancelled_call_is_stored_whole_or_not_at_all(place: str, call: str) -> None:
    """Its repetition finds the rest, and the numbers are those of the rows."""
    numbers = count(0, ROWS)
    async with ledger_at(place) as ledger:
        rows = Rows(ledger, next(numbers))

        async def prepare() -> list[Row]:
            nonlocal rows
            await ledger.drop([row.id for row in await ledger.scan("pending")], state="pending")
            rows = Rows(ledger, next(numbers))
            for before in CALLS[call]:
                await getattr(rows, before)()
            return await rows.seen()

        before = await prepare()
        async for _ in cancelled_everywhere(lambda: getattr(rows, call)()):
            async with asyncio.timeout(BOUND):
                await settle(ledger)
                after = await rows.seen()
                await getattr(rows, call)()
                assert after in (before, await rows.seen())
                await assert_recount(ledger)
                before = await prepare()


async def test_a_cancelled_read_or_exchange_holds_nothing_up(place: str) -> None:
    """The next calls get all of their answers."""
    async with ledger_at(place) as ledger:
        await ledger.add(people(ROWS))
        expected = (await ledger.scan(), await ledger.counts())

        async def read() -> None:
            assert (await ledger.due(), await ledger.zones(), await ledger.buckets()) == (
                0.0,
                frozenset({""}),
                frozenset({SMS}),
            )
            found = (await ledger.scan(), await ledger.counts())
            assert found == (expected[0], await ledger.counts(verify=True)) == expected
            await ledger.lease([RateRequest(name="a", n=1, rate=1000.0)], now=NOW)

        async for _ in cancelled_everywhere(read):
            async with asyncio.timeout(BOUND):
                await settle(ledger)
                await read()


async def settled_states(ledger: Ledger) -> list[str]:
    """Return the states of all rows once none is `sending`."""
    async with asyncio.timeout(BOUND):
        while "sending" in (found := [row.state for row in await ledger.scan()]):
            await settle(ledger)
    return list(found)


async def test_rows_of_a_cancelled_claim_are_pending_again(place: str) -> None:
    """They are handed out once more, and the results of the call are stored or not."""
    async with ledger_at(place) as ledger:
        await ledger.add(people(ROWS))
        results = [result(row) for row in await ledger.claim(request(), worker="w")]
        await ledger.add(people(ROWS, first=ROWS))

        async def claim() -> None:
            claimed.extend(await ledger.claim(request(), results, worker="w"))

        claimed: list[Claimed] = []
        async for _ in cancelled_everywhere(claim, with_tasks=True):
            if not claimed:
                await ledger.record(results)
                assert await settled_states(ledger) == ["sent"] * ROWS + ["pending"] * ROWS
                claimed = await ledger.claim(request(), worker="w")
            await assert_recount(ledger)
            assert len(claimed) == ROWS
            await ledger.record([result(row, "pending") for row in claimed])
            claimed.clear()


async def test_a_close_right_after_a_cancelled_claim_leaves_its_rows_pending(stored: str) -> None:
    """No operator has to decide on rows of which nothing was sent."""
    ledger = await opened(stored)
    await ledger.add(people(ROWS))
    before = held()
    claimed: list[Claimed] = []

    async def claim() -> None:
        claimed.extend(await ledger.claim(request()))

    async for _ in cancelled_everywhere(claim, with_tasks=True):
        if claimed:
            break
        async with asyncio.timeout(BOUND):
            await ledger.aclose()
        ledger = await opened(stored)
        assert [row.state for row in await ledger.scan()] == ["pending"] * ROWS
        await assert_left(before)
    await ledger.aclose()
