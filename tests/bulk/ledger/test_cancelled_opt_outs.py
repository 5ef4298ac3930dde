"""Calls of opt-out lists whose task is cancelled, wherever they wait; the first one opens the store."""

from __future__ import annotations

import asyncio
from itertools import count

from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.opt_outs_sqlite import SqliteOptOutStore
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from tests.bulk.ledger.test_cancelled_calls import BOUND, place, stored
from tests.support.leftovers import assert_left, held, needs_descriptors
from tests.support.walker import Walker, cancelled_everywhere

__all__ = ["place", "stored"]

pytestmark = needs_descriptors


def list_at(place: str, name: str = "people") -> OptOutList:
    """Return a list at a place; its pool has one connection, and none to lose."""
    if place == "memory":
        return OptOutList()
    if place.startswith("postgres"):
        return OptOutList(PostgresOptOutStore(place, name=name, connections=1))
    if place.startswith("nats"):
        return OptOutList(JetStreamOptOutStore(place, name=name))
    return OptOutList(SqliteOptOutStore(f"{place}-{name}"))


async def test_a_cancelled_first_call_leaves_the_list_usable(stored: str) -> None:
    """Another call opens it; the close leaves nothing."""
    before = held()
    for step in count(1):
        opt_outs = list_at(stored, f"people {step}")
        walker = Walker(cancel_at=step)
        await walker.run(opt_outs.suppress("447700900321"))
        arrived = walker.arrived
        del walker
        async with asyncio.timeout(BOUND):
            await opt_outs.suppress("447700900321")
            assert await opt_outs.suppressed("447700900321") is not None
            await opt_outs.aclose()
        await assert_left(before, collect=True)
        if not arrived:
            break


async def test_a_cancelled_call_is_stored_whole_or_not_at_all(place: str) -> None:
    """A person's addresses stand on the list together, or none of them; a repetition completes the call."""
    opt_outs = list_at(place)
    numbers = count()

    def people() -> list[str]:
        return [f"4477009{next(numbers):05}" for _ in range(2)]

    chosen = people()
    await opt_outs.suppress("447700999999")

    async def listed() -> list[bool]:
        return [await opt_outs.suppressed(address) is not None for address in chosen]

    async def link() -> None:
        await opt_outs.link(*chosen)

    async def suppress() -> None:
        await opt_outs.suppress(chosen[0])

    async def allow() -> None:
        await opt_outs.unsuppress(chosen[1])

    for call, before in ((link, ()), (suppress, (link,)), (allow, (link, suppress))):
        for each in before:
            await each()
        async for _ in cancelled_everywhere(call):
            async with asyncio.timeout(BOUND):
                await opt_outs.suppress(*people())  # what was called before is stored or given up then
                assert len(set(await listed())) == 1
                await call()
                if call is link:
                    await suppress()
                assert await listed() == [call is not allow] * 2
                chosen = people()
                for each in before:
                    await each()
        chosen = people()

    async def read() -> None:
        assert len(await opt_outs.list(limit=1)) == 1
        await opt_outs.forget(0.0)

    async for _ in cancelled_everywhere(read):
        async with asyncio.timeout(BOUND):
            await read()
    await opt_outs.aclose()
