"""A database that is restored from a backup, or copied: no campaign goes on with it without a word."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from nexmo_dispatch_async import sms
from nexmo_dispatch_async.bulk import WorkflowTemplate
from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, request, result, states
from nexmo_dispatch_async.bulk.ledger.places import join_url
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.postgres_tables import CAMPAIGNS
from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerError
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Database
from nexmo_dispatch_core.postgres.examination import examine
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.postgres.schema import Component
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup
from tests.bulk.ledger.test_postgres import PostgresLedgers
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]

DROP = "DROP SCHEMA nexmo_dispatch CASCADE"
_numbers = itertools.count(1)


def _error(failure: Failure) -> Exception:
    return RuntimeError(failure.text)


def name_of(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]


@pytest.fixture
async def makes(database: str) -> AsyncIterator[PostgresLedgers]:
    ledgers = PostgresLedgers(database)
    yield ledgers
    await ledgers.aclose()


@pytest.fixture
def copied(postgres: PostgresServer, database: str) -> Iterator[Callable[[], str]]:
    """Copy the database as it is, and return the URL of the copy."""
    made: list[str] = []

    def copy() -> str:
        made.append(f"copy_{next(_numbers)}_of_{name_of(database)}")
        postgres.sql(f"CREATE DATABASE {made[-1]} TEMPLATE {name_of(database)}")
        return postgres.dsn(made[-1])

    yield copy
    for name in made:
        postgres.sql(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def role(postgres: PostgresServer, database: str) -> Iterator[str]:
    """The name of a role without rights."""
    name = f"app_{name_of(database)}"
    postgres.sql(f"CREATE ROLE {name} LOGIN")
    yield name
    postgres.sql(f"DROP OWNED BY {name}", name_of(database))
    postgres.sql(f"DROP ROLE {name}")


async def begun(makes: PostgresLedgers, name: str = "spring") -> None:
    """Make a campaign of five rows, none of which is sent."""
    async with await makes.open(name) as ledger:
        await ledger.add(people(5))


async def sent(makes: PostgresLedgers, name: str = "spring") -> None:
    """Send two rows of a campaign."""
    async with await makes.open(name) as ledger:
        await ledger.record([result(row) for row in await ledger.claim(request(limit=2))])


async def test_a_copy_is_refused_and_the_original_goes_on(
    makes: PostgresLedgers, copied: Callable[[], str]
) -> None:
    """Two that both send would reach each person twice; an observer may look at the copy."""
    await begun(makes)
    copy = copied()
    await sent(makes)

    with pytest.raises(LedgerCopiedError, match=r"another database.*restored=True \(--restored\)"):
        await PostgresLedger.open(copy, "spring")
    with pytest.raises(LedgerCopiedError):
        async with Campaign.open(join_url(copy, "spring")):
            """It is not opened."""
    async with await PostgresLedger.open(copy, "spring", observer=True) as looking:
        assert await states(looking) == ["pending"] * 5
    assert await states(await makes.open("spring")) == ["sent"] * 2 + ["pending"] * 3


async def test_a_dump_that_is_put_back_is_refused(
    makes: PostgresLedgers, postgres: PostgresServer, databases: Callable[[], str]
) -> None:
    """In its own database, in another one, and in another cluster: its pending rows were sent since."""
    await begun(makes)
    dump = postgres.dump(name_of(makes.url))
    await sent(makes)
    elsewhere = databases()
    other = PostgresServer()
    try:
        other.start()
        postgres.load(dump, name_of(makes.url), first=DROP)
        postgres.load(dump, name_of(elsewhere))
        other.load(dump, "postgres")

        for url, why in (
            (makes.url, "its tables were put back from a dump"),
            (elsewhere, "another database of the cluster"),
            (other.dsn(), "another cluster of Postgres"),
        ):
            with pytest.raises(LedgerCopiedError, match=why):
                await PostgresLedger.open(url, "spring")
    finally:
        other.remove()


async def test_an_operator_says_it_once_for_each_campaign(
    makes: PostgresLedgers, copied: Callable[[], str]
) -> None:
    """The campaign keeps it, so that workers need not repeat it; it says nothing of another campaign."""
    await begun(makes, "spring")
    await begun(makes, "summer")
    copies = PostgresLedgers(copied())

    await (await copies.open("spring", restored=True)).aclose()

    ledgers = await asyncio.gather(*(copies.open("spring") for _ in range(3)))
    assert len(await ledgers[0].claim(request())) == 5
    with pytest.raises(LedgerCopiedError):
        await copies.open("summer")
    await (await copies.open("autumn")).add(people(1))
    await copies.aclose()


async def test_senders_that_begin_at_the_same_instant_agree(
    makes: PostgresLedgers, copied: Callable[[], str]
) -> None:
    """Four make the campaign and its mark at once; each of them and a later one may send."""
    ledgers = await asyncio.gather(*(makes.open("spring") for _ in range(4)))
    await ledgers[0].add(people(8))
    claims = await asyncio.gather(*(ledger.claim(request(limit=2)) for ledger in ledgers))
    await makes.aclose()

    assert sorted(row.id for rows in claims for row in rows) == list(range(1, 9))
    await (await makes.open("spring")).aclose()
    with pytest.raises(LedgerCopiedError):
        await PostgresLedger.open(copied(), "spring")


async def test_tables_of_an_older_release_take_the_mark_when_they_are_opened_to_send(
    makes: PostgresLedgers, postgres: PostgresServer, copied: Callable[[], str]
) -> None:
    """A look does not mark them; copies that were made before are not noticed, and later ones are."""
    older = Component(CAMPAIGNS.name, CAMPAIGNS.steps[:1])
    await schema.migrate(Database(makes.url, error=_error, name="test"), [older], _error)
    postgres.sql(
        "INSERT INTO nexmo_dispatch.campaigns (name, reference) VALUES ('spring', 'r')", name_of(makes.url)
    )
    await (await makes.open("spring", observer=True)).aclose()
    before = copied()
    await (await makes.open("spring")).aclose()

    await (await PostgresLedger.open(before, "spring")).aclose()

    with pytest.raises(LedgerCopiedError):
        await PostgresLedger.open(copied(), "spring")


async def test_a_role_with_the_least_rights_notices_a_copy(
    makes: PostgresLedgers, postgres: PostgresServer, copied: Callable[[], str], role: str
) -> None:
    """Every role may read the identifier; one that may not still knows the database, and `doctor` says so."""
    await begun(makes)
    owner = Database(makes.url, error=_error, name="test")
    await schema.grant(owner, role)
    limited = postgres.dsn(name_of(makes.url), role)
    await (await PostgresLedger.open(limited, "spring")).aclose()
    kept = postgres.sql("SELECT mark FROM nexmo_dispatch.campaigns", name_of(makes.url))

    postgres.sql("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC", name_of(makes.url))

    await (await PostgresLedger.open(limited, "spring")).aclose()
    assert postgres.sql("SELECT mark FROM nexmo_dispatch.campaigns", name_of(makes.url)) == kept
    findings = await examine(Database(limited, error=_error, name="test"), [])
    assert "GRANT EXECUTE" in {finding.code: finding.cure for finding in findings}["postgres-identifier"]
    assert "postgres-identifier" not in {finding.code for finding in await examine(owner, [])}
    copy = name_of(copied())
    with pytest.raises(LedgerCopiedError, match="another database"):
        await PostgresLedger.open(postgres.dsn(copy, role), "spring")
    postgres.sql(f"DROP OWNED BY {role}", copy)


async def test_the_steps_of_the_page_message_no_person_twice(
    makes: PostgresLedgers, postgres: PostgresServer, hold_port: Callable[[], int]
) -> None:
    """Paused, opened with `restored`, callbacks that still arrive, resumed: only unsent rows are sent."""
    template = WorkflowTemplate(sms.text("Hello", from_="31647356950", to="{phone}"))
    url = join_url(makes.url, "spring")
    async with Simulator() as sim, AsyncExitStack() as stack:
        port = hold_port()
        hooks = f"http://127.0.0.1:{port}/webhooks"
        sim.create_application(status_url=hooks, inbound_url=hooks)
        client = await stack.enter_async_context(sim.client())
        async with Campaign.open(url, client=client, template=template) as campaign:
            await campaign.add([{"phone": f"99900000000{number}"} for number in range(1, 6)])
            dump = postgres.dump(name_of(makes.url))
            await campaign.run()
        accepted = sim.accepted
        postgres.load(dump, name_of(makes.url), first=DROP)

        async with Campaign.open(url, observer=True) as operator:
            await operator.pause("restored")
        campaign = await stack.enter_async_context(
            Campaign.open(url, client=client, template=template, restored=True)
        )
        router, app = Router(), web.Application()
        campaign.attach(router)
        setup(app, router, secrets={sim.api_key: sim.signature_secret}, clock=sim.timestamp)
        runner = web.AppRunner(app)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        running = asyncio.create_task(campaign.run())
        await sim.advance_until_idle()
        assert (await campaign.ledger.counts()).states == {"sent": 5}
        await campaign.resume()
        counts = await running

    assert (accepted, sim.accepted, counts.states) == (5, 5, {"sent": 5})


# --- a database that is put back under a sender ---


async def test_a_sender_notices_after_a_failure(makes: PostgresLedgers, postgres: PostgresServer) -> None:
    """The first call after tables were missing, or a connection was cut, looks before it claims."""
    ledger = await makes.open("spring", lease=600.0)
    await ledger.add(people(5))
    dump = postgres.dump(name_of(makes.url))
    await ledger.record([result(row) for row in await ledger.claim(request(limit=2))])
    postgres.sql(DROP, name_of(makes.url))
    with pytest.raises(LedgerError, match="tables are missing"):
        await ledger.claim(request())
    postgres.load(dump, name_of(makes.url))

    for _ in range(2):
        with pytest.raises(LedgerCopiedError):
            await ledger.claim(request())

    async with await makes.open("spring", observer=True) as looking:
        assert await states(looking) == ["pending"] * 5


async def test_a_sender_notices_without_a_failure(makes: PostgresLedgers, postgres: PostgresServer) -> None:
    """With its signs of life it looks again: tables may be put back in one transaction."""
    ledger = await makes.open("spring", lease=0.4)
    await ledger.add(people(5))
    postgres.load(postgres.dump(name_of(makes.url)), name_of(makes.url), first=DROP)

    async def look() -> None:
        async with asyncio.timeout(30):
            while True:
                await ledger.counts()

    with pytest.raises(LedgerCopiedError):
        await look()


async def test_a_sender_does_not_go_on_in_an_older_backup(
    makes: PostgresLedgers, postgres: PostgresServer
) -> None:
    """One that does not know the campaign at all."""
    await (await makes.open("winter")).aclose()
    dump = postgres.dump(name_of(makes.url))
    ledger = await makes.open("spring")
    await ledger.add(people(5))
    postgres.load(dump, name_of(makes.url), first=DROP)
    ledger._doubted = True

    with pytest.raises(LedgerError, match="the campaign is gone"):
        await ledger.claim(request())


# --- physical backups ---


async def test_a_recovery_to_a_point_in_time_is_refused() -> None:
    """Its settings name the target, and the timeline is new; a promoted standby has no target."""
    source = PostgresServer()
    copy = PostgresServer(
        source=source, settings=["restore_command = 'false'", "recovery_target = 'immediate'"]
    )
    try:
        source.start()
        await begun(PostgresLedgers(source.dsn()))
        copy.create()
        (copy.data / "standby.signal").rename(copy.data / "recovery.signal")
        await sent(PostgresLedgers(source.dsn()))
        source.stop("fast")
        copy.start()
        copy.promote()

        with pytest.raises(LedgerCopiedError, match="recovered to a point in time"):
            await PostgresLedger.open(copy.dsn(), "spring")
        await (await PostgresLedger.open(copy.dsn(), "spring", restored=True)).aclose()
        copy.restart()

        async with await PostgresLedger.open(copy.dsn(), "spring") as ledger:
            assert await states(ledger) == ["pending"] * 5
    finally:
        copy.remove()
        source.remove()
