"""The ledger on Postgres keeps what every ledger promises, and what several senders need of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import split_url
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import PostgresOptOutStore
from nexmo_dispatch_async.bulk.ledger.records import Cap, Claimed, Control
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from tests.bulk.ledger.conformance import (
    NOW,
    AddConformance,
    CapConformance,
    ClaimConformance,
    assert_recount,
    people,
    person,
    request,
    result,
    states,
)
from tests.bulk.ledger.conformance_rates import RateConformance
from tests.bulk.ledger.conformance_results import (
    ForgetConformance,
    NewsConformance,
    ResultConformance,
    news,
)
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


class TestAdd(_OnPostgres, AddConformance):
    """See `AddConformance`."""


class TestClaim(_OnPostgres, ClaimConformance):
    """See `ClaimConformance`."""


class TestCap(_OnPostgres, CapConformance):
    """See `CapConformance`."""


class TestSharedCap(_WithSharedOptOuts, CapConformance):
    """See `CapConformance`."""


class TestResults(_OnPostgres, ResultConformance):
    """See `ResultConformance`."""


class TestNews(_OnPostgres, NewsConformance):
    """See `NewsConformance`."""


class TestRates(_OnPostgres, RateConformance):
    """Rates that workers share."""


class TestForget(_OnPostgres, ForgetConformance):
    """See `ForgetConformance`."""


# --- several processes ---


@pytest.fixture
async def makes(database: str) -> AsyncIterator[PostgresLedgers]:
    ledgers = PostgresLedgers(database)
    yield ledgers
    await ledgers.aclose()


async def die(ledger: PostgresLedger) -> None:
    """End a ledger as the death of its process would: it gives up nothing, and shows no life any more."""
    assert ledger._alive is not None
    ledger._alive.cancel()
    await asyncio.wait({ledger._alive})
    ledger._alive = None
    dead = "UPDATE nexmo_dispatch.campaign_workers SET until = 0 WHERE name = %s"
    await ledger._database.run(lambda connection: connection.execute(dead, (ledger._instance,)))


async def test_senders_share_the_rows_out(makes: PostgresLedgers) -> None:
    """Four senders that claim and record at the same instants, callbacks beside them: each row goes once."""
    senders = [await makes.open("spring") for _ in range(4)]
    await senders[0].add(people(600))
    claims: list[Claimed] = []

    async def send(ledger: PostgresLedger, number: int) -> None:
        done: list[Claimed] = []
        while True:
            rows = await ledger.claim(request(limit=7), [result(row) for row in done], worker=f"w{number}")
            if not rows:
                return
            claims.extend(rows)
            done = rows
            await senders[(number + 1) % 4].observe([news(ledger, row.id, reached="read") for row in rows])

    async with asyncio.timeout(60):
        await asyncio.gather(*(send(ledger, number) for number, ledger in enumerate(senders)))

    assert sorted(row.id for row in claims) == list(range(1, 601))
    counts = await assert_recount(senders[3])
    assert counts.reached == {"read": 600}
    assert counts.states == {"sent": 600}


async def test_rows_of_a_sender_that_died_become_unknown(makes: PostgresLedgers) -> None:
    """Never `pending`, and those of a sender that lives stay; a late result still mends what is unknown."""
    one, other = await makes.open("spring"), await makes.open("spring")
    await one.add(people(6))
    lost = await one.claim(request(limit=2))
    kept = await other.claim(request(limit=2))
    await die(one)

    third = await makes.open("spring")

    assert third.reaped == 2
    assert await states(third) == ["unknown", "unknown", "sending", "sending", "pending", "pending"]
    await one.record([result(lost[0]), result(lost[1], "pending")])
    await other.record([result(row) for row in kept])
    assert await states(third) == ["sent", "unknown", "sent", "sent", "pending", "pending"]
    await assert_recount(third)


async def test_the_cap_holds_over_senders(makes: PostgresLedgers) -> None:
    """Two campaigns and four senders at the same instant: no person gets more messages than the cap."""
    shared = await makes.new_opt_outs()
    names = ("spring", "summer", "spring", "summer")
    senders = [await makes.open(name, opt_outs=shared) for name in names]
    for ledger in senders[:2]:
        await ledger.add([person(n % 25, key=f"k{n}") for n in range(50)])
    cap = Cap(messages=1, window=3600)

    claims = await asyncio.gather(
        *(ledger.claim(request(limit=20, cap=cap)) for _ in range(3) for ledger in senders)
    )

    sent = [row.address for rows in claims for row in rows]
    assert len(sent) == len(set(sent)) == 25
    await assert_recount(senders[0])


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


async def test_an_observer_asks_and_changes_nothing_else(makes: PostgresLedgers) -> None:
    """It reads, counts and asks for something; it shows no life, and its end gives up no row."""
    one = await makes.open("spring")
    await one.add(people(2))
    await one.claim(request(limit=1))

    watcher = await makes.open("spring", observer=True)
    await watcher.control(Control(state="pause", by="command"))
    with pytest.raises(LedgerError, match="for looking at it"):
        await watcher.claim(request())
    await watcher.aclose()

    assert (await one.control()).state == "pause"
    assert await states(one) == ["sending", "pending"]
    with pytest.raises(LedgerError, match="no campaign of this name"):
        await makes.open("autumn", observer=True, create=False)


async def test_a_sender_that_ends_in_order_leaves_what_it_claimed_unknown(makes: PostgresLedgers) -> None:
    """At once, without its lease."""
    one, other = await makes.open("spring"), await makes.open("spring")
    await one.add(people(2))
    await one.claim(request(limit=1))
    await one.aclose()

    assert await states(other) == ["unknown", "pending"]


async def test_a_claim_whose_caller_was_cancelled_goes_back(makes: PostgresLedgers) -> None:
    """Whenever that was: its rows were not sent."""
    ledger = await makes.open("spring")
    await ledger.add(people(4))
    for rounds in range(4):
        claiming = asyncio.create_task(ledger.claim(request(limit=2)))
        for _ in range(rounds):
            await asyncio.sleep(0)
        claiming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await claiming
    # a call waits for those before it, the ones that put rows back included
    for _ in range(10):
        await ledger.counts()
    assert (await assert_recount(ledger)).states == {"pending": 4}


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
