"""The order of a lane on Postgres at the instants that a test of two processes rarely meets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import psycopg
import pytest

from nexmo_dispatch_webhooks.inbox.conformance import record
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from tests.webhooks.inbox.test_store import PostgresStores

pytestmark = pytest.mark.engines

# A claim of the event with this id waits for a lock that the test holds.
_BRAKE = """
CREATE FUNCTION brake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7);
    RETURN NEW;
END
$$;
CREATE TRIGGER brake BEFORE UPDATE ON nexmo_dispatch.inbox_events FOR EACH ROW
    WHEN (OLD.id = {id} AND NEW.worker IS DISTINCT FROM OLD.worker AND NEW.worker IS NOT NULL)
    EXECUTE FUNCTION brake();
"""


@pytest.fixture
async def stores(database: str) -> AsyncIterator[PostgresStores]:
    """Stores in one database."""
    made = PostgresStores(database)
    yield made
    for store in made.made:
        await store.aclose()


class Brake:
    """Holds up the claim of one event, after the statement has read all and locked what it locks first."""

    def __init__(self, connection: psycopg.AsyncConnection, database: str) -> None:
        self._connection = connection
        self._database = database

    @classmethod
    async def on(cls, database: str, record_id: int) -> Brake:
        connection = await psycopg.AsyncConnection.connect(database, autocommit=True)
        await connection.execute(_BRAKE.format(id=record_id).encode())
        await connection.execute("SELECT pg_advisory_lock(7)")
        return cls(connection, database)

    async def held(self, number: int) -> None:
        """Wait until so many sessions wait for a lock."""
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        async with asyncio.timeout(20):
            while True:
                found = await (await self._connection.execute(query)).fetchone()
                if found is not None and found[0] >= number:
                    return
                await asyncio.sleep(0.01)

    async def off(self) -> None:
        await self._connection.close()


async def settled_or_waiting(brake: Brake, call: Awaitable[object]) -> asyncio.Future[object]:
    """Start a call; return when it has ended, or waits for a lock besides the claim that is held up."""
    task = asyncio.ensure_future(call)
    waiting = asyncio.ensure_future(brake.held(2))
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return task


async def claimed(store: PostgresInboxStore, number: int) -> list[int]:
    """Store events of one lane, and claim them with a lease that ends at once."""
    for each in range(number):
        await store.add(record(each, "w"))
    return [item.token for item in await store.take(9, lease=1.0)]


async def test_a_claim_never_leaves_out_an_event_of_a_lane(stores: PostgresStores, database: str) -> None:
    """While the first event is claimed the second one changes: the third one is not claimed without it."""
    one, other = await stores.new(), await stores.new()
    stores.now = 100.0
    tokens = await claimed(one, 3)
    stores.now = 200.0
    brake = await Brake.on(database, 1)
    taking = asyncio.ensure_future(other.take(9, lease=10.0))
    await brake.held(1)

    releasing = await settled_or_waiting(brake, one.release([2], tokens[1]))
    await brake.off()

    ids = [item.id for item in await taking]
    await releasing
    assert ids == list(range(1, len(ids) + 1))


async def test_a_retried_event_does_not_overlap_a_claim_of_the_same_instant(
    stores: PostgresStores, database: str
) -> None:
    """A claim of the second event has begun when the first, quarantined before, is retried: one at a time."""
    one, other = await stores.new(), await stores.new()
    stores.now = 100.0
    for number in range(2):
        await one.add(record(number, "w"))
    await one.postpone(1, attempts=6, due=None, done=[], failed=())
    brake = await Brake.on(database, 2)
    taking = asyncio.ensure_future(one.take(9, lease=10.0))
    await brake.held(1)

    retrying = await settled_or_waiting(brake, one.retry(1))
    at_once = asyncio.ensure_future(other.take(9, lease=10.0))
    waiting = await settled_or_waiting(brake, at_once)
    await brake.off()

    first, second = await taking, await at_once
    await retrying
    await waiting
    assert [item.id for item in (*first, *second)] in ([2], [1])
    again = await other.take(9, lease=10.0)
    assert again == []
