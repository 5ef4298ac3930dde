"""The order of a lane in a store that several processes share: promises of `SharedInboxStore`, as tests.

Subclass `SharedInboxOrderConformance` beside the classes of `conformance`, with the same fixture `stores`.
Some of the tests repeat calls of the same instant: a store breaks such a promise once in many rounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nexmo_dispatch_webhooks.inbox.conformance import SharedInboxStores, record
from nexmo_dispatch_webhooks.inbox.records import PendingEvent, StoredFailure
from nexmo_dispatch_webhooks.inbox.store import SharedInboxStore

__all__ = ["SharedInboxOrderConformance"]

_LEASE = 30.0
_ROUNDS = 25


class SharedInboxOrderConformance:
    """Events of a lane go to one process at a time, from the first one on, whatever happens meanwhile."""

    async def test_a_retried_event_waits_for_a_later_one(self, stores: SharedInboxStores) -> None:
        """One that was quarantined, while another process has what is behind it."""
        one, other = await stores.new(), await stores.new()
        for number in range(2):
            await one.add(record(number, "w"))
        await one.postpone(1, attempts=6, due=None, done=[], failed=())
        (second,) = await one.take(9, lease=_LEASE)

        assert await one.retry(1) == 1
        assert await other.take(9, lease=_LEASE) == []
        one.finish(second.id, second.token)
        await one.count()

        assert [item.id for item in await other.take(9, lease=_LEASE)] == [1]

    async def test_a_retry_of_the_same_instant_overlaps_no_claim(self, stores: SharedInboxStores) -> None:
        """Two processes that take events while one is retried never have events of one lane."""
        one, other = await stores.new(), await stores.new()
        for number in range(_ROUNDS):
            ids = [await one.add(record(10 * number + n, f"w{number}")) or 0 for n in range(3)]
            await one.postpone(ids[0], attempts=6, due=None, done=[], failed=(StoredFailure("h", "E"),))

            mine, _, theirs = await asyncio.gather(
                one.take(9, lease=_LEASE), one.retry(ids[0]), other.take(9, lease=_LEASE)
            )

            assert not mine or not theirs, f"one has {ids_of(mine)}, the other {ids_of(theirs)}"
            await _finish_all((one, mine), (other, theirs), rest=one)

    async def test_no_event_is_taken_without_the_one_before(self, stores: SharedInboxStores) -> None:
        """Two processes take the lane of a dead one, which gives up and marks events at that instant."""
        for number in range(_ROUNDS):
            dead, one, other = await stores.new(), await stores.new(), await stores.new()
            for n in range(4):
                await dead.add(record(10 * number + n, f"w{number}"))
            held = await dead.take(9, lease=10.0)
            stores.now += 100.0
            dead.finish(held[0].id, held[0].token)

            mine, theirs, *_ = await asyncio.gather(
                one.take(9, lease=_LEASE),
                other.take(9, lease=_LEASE),
                dead.release([held[1].id], held[1].token),
                dead.count(),
            )

            pending = ids_of(await one.pending())
            for taken in (ids_of(mine), ids_of(theirs)):
                before = [record_id for record_id in pending if taken and record_id < max(taken)]
                assert set(before) <= set(taken), f"{taken} were taken of {pending}"
            await _finish_all((one, mine), (other, theirs), rest=one)
            for store in (dead, one, other):
                await store.aclose()


def ids_of(items: Sequence[PendingEvent]) -> list[int]:
    """Return the ids of events."""
    return [item.id for item in items]


async def _finish_all(
    *taken: tuple[SharedInboxStore, Sequence[PendingEvent]], rest: SharedInboxStore
) -> None:
    """Mark what was taken, and all that is left."""
    for store, items in taken:
        for item in items:
            store.finish(item.id, item.token)
        await store.count()
    while items := await rest.take(9, lease=_LEASE):
        for item in items:
            rest.finish(item.id, item.token)
        await rest.count()
