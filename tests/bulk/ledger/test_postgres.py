"""The ledger on Postgres keeps what every ledger promises, and what several senders need of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance import (
    CapConformance,
    LedgerConformance,
    SharedLedgerConformance,
)
from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    assert_recount,
    people,
    request,
    result,
    states,
)
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import split_url
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.bulk.ledger.tenure import boot_time
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from nexmo_dispatch_core.tasks import end
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.engines


class PostgresLedgers:
    """Makes ledgers, each a campaign of its own in one database."""

    now = NOW

    def __init__(self, url: str, *, shared: bool = False) -> None:
        self.url = url
        self._shared = shared
        self._opened: list[PostgresLedger | OptOutList] = []

    def _clock(self) -> float:
        return self.now

    async def new(self, opt_outs: OptOutList | None = None) -> Ledger:
        if opt_outs is None and self._shared:
            opt_outs = await self.new_opt_outs()
        return await self.open(f"campaign {len(self._opened)}", opt_outs=opt_outs)

    async def open(self, name: str, **settings: Any) -> PostgresLedger:
        ledger = await PostgresLedger.open(self.url, name, clock=self._clock, **settings)
        self._opened.append(ledger)
        return ledger

    async def new_opt_outs(self) -> OptOutList:
        opt_outs = OptOutList(
            PostgresOptOutStore(self.url, name=f"people {len(self._opened)}"), clock=self._clock
        )
        self._opened.append(opt_outs)
        return opt_outs

    def opt_outs_of(self, ledger: Any) -> OptOutList:
        assert isinstance(ledger, PostgresLedger)
        return ledger.opt_outs

    async def die(self, ledger: PostgresLedger, /) -> None:
        """End a ledger without a last word, and its lease with it."""
        alive, ledger._alive = ledger._alive, None
        assert alive is not None
        await end(alive)
        dead = "UPDATE nexmo_dispatch.campaign_workers SET until = 0 WHERE name = %s"
        await ledger._database.run(lambda connection: connection.execute(dead, (ledger._instance,)))
        ledger._tenure._clock = lambda: boot_time() + ledger._lease

    async def aclose(self) -> None:
        for opened in reversed(self._opened):
            await opened.aclose()


class _OnPostgres:
    @pytest.fixture
    async def ledgers(self, database: str) -> AsyncIterator[PostgresLedgers]:
        ledgers = PostgresLedgers(database)
        yield ledgers
        await ledgers.aclose()


class _WithSharedOptOuts:
    @pytest.fixture
    async def ledgers(self, database: str) -> AsyncIterator[PostgresLedgers]:
        ledgers = PostgresLedgers(database, shared=True)
        yield ledgers
        await ledgers.aclose()


class TestLedger(_OnPostgres, LedgerConformance):
    """See `LedgerConformance`."""


class TestSharedCap(_WithSharedOptOuts, CapConformance):
    """See `CapConformance`."""


class TestSharedLedger(SharedLedgerConformance):
    """See `SharedLedgerConformance`."""

    @pytest.fixture
    async def shared_ledgers(self, database: str) -> AsyncIterator[PostgresLedgers]:
        ledgers = PostgresLedgers(database)
        yield ledgers
        await ledgers.aclose()


# --- several processes ---


@pytest.fixture
async def makes(database: str) -> AsyncIterator[PostgresLedgers]:
    ledgers = PostgresLedgers(database)
    yield ledgers
    await ledgers.aclose()


async def test_opening_tells_how_many_rows_of_dead_senders_it_found(makes: PostgresLedgers) -> None:
    """They are `unknown` before the first claim."""
    one = await makes.open("spring")
    await one.add(people(3))
    await one.claim(request(limit=2))
    await makes.die(one)

    other = await makes.open("spring")

    assert (other.reaped, await states(other)) == (2, ["unknown", "unknown", "pending"])


async def test_a_sender_learns_of_the_server_that_its_lease_was_over(
    makes: PostgresLedgers, caplog: pytest.LogCaptureFixture
) -> None:
    """Its clocks did not see the pause of a virtual machine; what it had claimed is not sent."""
    one = await makes.open("spring")
    await one.add(people(1))
    guard = one.guard()
    await one.claim(request())
    over = "UPDATE nexmo_dispatch.campaign_workers SET until = 0"
    await one._database.run(lambda connection: connection.execute(over))
    guard()

    await one._show_life()

    with pytest.raises(LedgerError, match="too old"):
        guard()
    assert "no sign of life for too long" in caplog.text
    one.guard()()


async def test_rates_are_shared_by_the_senders_that_live(makes: PostgresLedgers) -> None:
    """Alone a sender has all of it; with three others a quarter, whatever their leases."""
    one = await makes.open("spring")
    assert one.share == 1.0
    others = [await makes.open("spring", lease=lease) for lease in (1.0, 60.0, 600.0)]
    await one._show_life()
    assert one.share == 0.25
    for ledger in others:
        await ledger.aclose()
    await one._show_life()
    assert one.share == 1.0


async def test_a_crash_of_the_server_loses_nothing_that_returned(
    makes: PostgresLedgers, postgres: PostgresServer
) -> None:
    """Stopped at once and started again: claims and results are there; a call in between fails as ours."""
    ledger = await makes.open("spring")
    await ledger.add(people(30))
    claimed = await ledger.claim(request(limit=10))
    await ledger.record([result(row) for row in claimed[:4]])

    postgres.restart("immediate")

    errors: list[LedgerError] = []
    async with asyncio.timeout(25):
        while True:
            try:
                rows = await ledger.claim(request(limit=10), [result(row) for row in claimed[4:6]])
                break
            except LedgerError as error:
                errors.append(error)
    assert not {row.id for row in rows} & {row.id for row in claimed}
    assert (await assert_recount(ledger)).states == {"sent": 6, "sending": 14, "pending": 10}
    assert all(error.__cause__ is error.__context__ is None for error in errors)


async def test_a_server_that_may_lose_what_it_committed_is_refused(
    makes: PostgresLedgers, postgres: PostgresServer, database: str
) -> None:
    """A `sending` that is lost messages a person twice: only the caller may accept that."""
    name = database.partition("?")[0].rpartition("/")[2]
    postgres.sql(f"ALTER DATABASE {name} SET synchronous_commit = off")

    with pytest.raises(LedgerError, match="synchronous_commit off"):
        await makes.open("spring")

    assert await (await makes.open("spring", accept_loss=True)).scan() == []


async def test_people_of_another_database_are_refused(
    makes: PostgresLedgers, postgres: PostgresServer
) -> None:
    """A claim could not look there."""
    elsewhere = OptOutList(PostgresOptOutStore(postgres.dsn("postgres")))
    with pytest.raises(ConfigurationError, match="another database"):
        await makes.open("spring", opt_outs=elsewhere)
    with pytest.raises(ConfigurationError, match="the same database"):
        await makes.open("spring", opt_outs=OptOutList())
    await elsewhere.aclose()


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://h/d", ("postgresql://h/d", "campaign")),
        ("postgresql://h/d?campaign=spring", ("postgresql://h/d", "spring")),
        ("postgresql://h/d?a=1&campaign=a%20b&b=2", ("postgresql://h/d?a=1&b=2", "a b")),
    ],
)
def test_a_url_names_the_campaign(url: str, parts: tuple[str, str]) -> None:
    """Beside what libpq takes."""
    assert split_url(url) == parts
