"""Every store behind a real PgBouncer in transaction mode, with fewer server connections than clients."""

from __future__ import annotations

import asyncio

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW, assert_recount, people, request, result
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.rates import RateRequest
from nexmo_dispatch_async.cli.postgres_store import examine_store
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.tracking import postgres as postgres_tracking
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_webhooks import Context, MessageStatus
from nexmo_dispatch_webhooks.inbox import PostgresInbox
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from tests.support.callbacks import UUID, status
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres_server import PostgresServer
from tests.webhooks.inbox.support import frozen, in_workflow, new_record, put

pytestmark = pytest.mark.engines


def _error(failure: Failure) -> Exception:
    return RuntimeError(failure.text)


SCHEMA = "CREATE TABLE IF NOT EXISTS effects (number bigserial, name text)"


@pytest.fixture
def pooled(pgbouncer: PgBouncer, database: str) -> str:
    """Return the URL of an empty database behind the pooler."""
    return pgbouncer.url(database)


async def test_processes_that_start_at_the_same_instant_make_the_tables_once(pooled: str) -> None:
    """The pooler lends sessions that looked for the tables before."""
    tables = schema.Component("things", ("CREATE TABLE nexmo_dispatch.things (n integer)",))
    databases = [Database(pooled, error=_error, name="test", connections=1) for _ in range(10)]

    await asyncio.gather(*(schema.require(database, tables, _error) for database in databases))

    assert await databases[0].alone(schema.versions) == {"things": 1}


async def test_events_are_handled_once_and_in_order(
    pooled: str, database: str, postgres: PostgresServer
) -> None:
    """By two processes, with writes on the connection of the transaction: no session state is lost."""

    async def handler(event: MessageStatus, context: Context) -> None:
        connection = await context.transaction.connection()
        await connection.execute("INSERT INTO effects (name) VALUES (%s)", (event.message_uuid,))

    inboxes = [PostgresInbox(pooled, schema=SCHEMA, poll=0.2) for _ in range(2)]
    for inbox in inboxes:
        await inbox.start(frozen(handler))
    await asyncio.gather(
        *(put(inboxes[n % 2], in_workflow(100 * n + lane, f"w{lane}")) for n in range(6) for lane in range(6))
    )
    async with asyncio.timeout(60):
        while (await inboxes[0].store.count()).pending:  # noqa: ASYNC110 - of both processes
            await asyncio.sleep(0.05)
    for inbox in inboxes:
        await inbox.aclose()

    name = database.partition("?")[0].rpartition("/")[2]
    effects = postgres.sql("SELECT name FROM effects ORDER BY number", name).split()
    assert len(effects) == len(set(effects)) == 36


async def test_an_event_of_another_process_is_found_by_the_poll(pooled: str) -> None:
    """The pooler drops `LISTEN`, and nothing but the poll tells of the event."""
    handled = asyncio.Event()

    async def handler(event: MessageStatus) -> None:
        handled.set()

    inbox = PostgresInbox(pooled, poll=0.2)
    await inbox.start(frozen(handler))
    elsewhere = PostgresInboxStore(pooled)
    await elsewhere.open()

    await elsewhere.add(new_record(in_workflow(1, "w")))

    await asyncio.wait_for(handled.wait(), 60)
    await elsewhere.aclose()
    await inbox.aclose()


async def test_a_caller_is_woken_by_the_poll(pooled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fact that another process stored reaches the caller that waits here."""
    monkeypatch.setattr(postgres_tracking, "_POLL", 0.2)
    async with Tracker(pooled) as here, Tracker(pooled) as there, asyncio.timeout(60):
        waiting = asyncio.create_task(here.follow(UUID).wait("read", timeout=None))
        await there.receive(status("m", "read", 1))
        assert (await waiting).has("read")


async def test_senders_share_the_rows_and_the_rate(pooled: str) -> None:
    """Claims of four processes at once give each row to one of them, and grants follow each other."""
    ledgers = [await PostgresLedger.open(pooled, "spring") for _ in range(4)]
    await ledgers[0].add(people(200))

    claims = await asyncio.gather(*(ledger.claim(request(limit=10)) for ledger in ledgers for _ in range(3)))
    asked = [RateRequest(name="campaign", n=1, rate=0.01)]
    grants = await asyncio.gather(*(ledger.lease(asked, now=NOW) for ledger in ledgers))
    for ledger, rows in zip(ledgers * 3, claims, strict=False):
        await ledger.record([result(row) for row in rows])

    ids = [row.id for rows in claims for row in rows]
    assert len(ids) == len(set(ids)) == 120
    assert sum(answer.grants[0].n for answer in grants) == 1
    assert (await assert_recount(ledgers[1])).states["sent"] == 120
    for ledger in ledgers:
        await ledger.aclose()


async def test_a_campaign_opens_by_its_url(pooled: str) -> None:
    """The parameters of the pooler's address stay in front of the name of the campaign."""
    ledger = await open_ledger(f"{pooled}&campaign=spring")
    await ledger.add(people(1))

    assert (await ledger.counts()).states == {"pending": 1}
    await ledger.aclose()


async def test_doctor_names_the_pooler(pooled: str, database: str) -> None:
    """With what it changes, and without it nothing is said."""
    behind = {finding.code: finding for finding in await examine_store(pooled)}
    direct = {finding.code: finding for finding in await examine_store(database)}

    assert "PgBouncer" in behind["postgres-pooler"].text
    assert behind["postgres-notifications"].level == "warning"
    assert "polls" in behind["postgres-notifications"].cure
    assert "postgres-pooler" not in direct
    assert direct["postgres-notifications"].level == "good"
