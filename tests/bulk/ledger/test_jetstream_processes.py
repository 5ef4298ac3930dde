"""Several processes at one campaign on JetStream: what a failure of one of them may cost, and what not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.jetstream_campaigns import OpenCampaigns
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.rates import RateRequest
from nexmo_dispatch_async.bulk.ledger.records import Cap, Claimed, Control
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from tests.bulk.ledger.conformance import NOW, assert_recount, people, person, request, result, states
from tests.bulk.ledger.conformance_results import news
from tests.bulk.ledger.test_jetstream import JetStreamLedgers
from tests.support.nats_server import NatsServer

pytestmark = pytest.mark.engines


@pytest.fixture
async def makes(nats_url: str) -> AsyncIterator[JetStreamLedgers]:
    ledgers = JetStreamLedgers(nats_url)
    yield ledgers
    await ledgers.aclose()


def losing_one_response(ledger: JetStreamLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next write be stored, and its caller get an error."""
    lease = ledger._journal._lease
    write = lease.write

    async def lost(*arguments: Any) -> int:
        monkeypatch.setattr(lease, "write", write)
        await write(*arguments)
        raise LedgerError("the ledger failed: NATS did not answer in time")

    monkeypatch.setattr(lease, "write", lost)


async def test_a_lost_cancellation_keeps_no_ledger_open(
    makes: JetStreamLedgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A response that comes at the same instant swallows it: the end asks again."""
    ledger = await makes.open("spring", lease=0.2)
    reading = asyncio.Event()

    async def deaf() -> None:
        reading.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    read = ledger._journal.read
    monkeypatch.setattr(ledger._journal, "read", deaf)
    await asyncio.wait_for(reading.wait(), 10)
    monkeypatch.setattr(ledger._journal, "read", read)

    async with asyncio.timeout(20):
        await ledger.aclose()


async def die(ledger: JetStreamLedger) -> None:
    """End a ledger as the death of its process would: it gives up nothing, and shows no life any more."""
    alive = ledger._batches._alive
    assert alive is not None
    while not alive.done():
        alive.cancel()
        await asyncio.wait({alive}, timeout=1.0)
    ledger._batches._alive = None


async def until_reaped(ledger: JetStreamLedger, process: str) -> None:
    """Return when no row is in flight in the name of a process."""
    async with asyncio.timeout(20):
        await ledger.counts()
        while ledger._journal.view.sending(process):
            await asyncio.sleep(0.05)
            await ledger.counts()


async def test_senders_share_the_rows_out(makes: JetStreamLedgers) -> None:
    """Four senders that claim and record at the same instants, callbacks beside them: each row goes once."""
    senders = [await makes.open("spring") for _ in range(4)]
    await senders[0].add(people(600))
    claims: list[Claimed] = []

    async def send(ledger: JetStreamLedger, number: int) -> None:
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


async def test_lists_that_are_added_at_the_same_instant_make_one_row_for_each_key(
    makes: JetStreamLedgers,
) -> None:
    """Two processes add lists that overlap: each key has one row, and each process knows which were there."""
    one, other = await makes.open("spring"), await makes.open("spring")

    added = await asyncio.gather(one.add(people(700)), other.add(people(700, first=300)))

    assert sum(each.added for each in added) == 1000
    assert sum(len(each.duplicates) for each in added) == 400
    rows = await one.scan(limit=2000)
    assert len({row.key for row in rows}) == len(rows) == 1000
    await assert_recount(other)


async def test_rows_of_a_sender_that_died_become_unknown(makes: JetStreamLedgers) -> None:
    """Never `pending`, and those of a sender that lives stay; a late result still mends what is unknown."""
    one = await makes.open("spring", lease=1.0)
    other = await makes.open("spring", lease=1.0)
    await one.add(people(6))
    lost = await one.claim(request(limit=2))
    kept = await other.claim(request(limit=2))
    await die(one)

    third = await makes.open("spring", lease=1.0)
    await until_reaped(third, one._journal.process)

    found = dict(zip(range(1, 7), await states(third), strict=True))
    assert {found[row.id] for row in lost} == {"unknown"}
    assert sorted(found.values()) == ["pending", "pending", "sending", "sending", "unknown", "unknown"]
    await one.record([result(lost[0]), result(lost[1], "pending")])
    await other.record([result(row) for row in kept])
    found = dict(zip(range(1, 7), await states(third), strict=True))
    assert [found[row.id] for row in lost] == ["sent", "unknown"]
    assert {found[row.id] for row in kept} == {"sent"}
    await assert_recount(third)


async def test_a_sender_that_slept_claims_nothing_under_its_old_name(makes: JetStreamLedgers) -> None:
    """Taken for dead meanwhile, it finds that out with its next write, and goes on under a new name."""
    one, other = await makes.open("spring", lease=0.5), await makes.open("spring", lease=0.5)
    await one.add(people(4))
    slept = await one.claim(request(limit=2))
    await die(one)
    before = one._journal.process
    await until_reaped(other, before)

    rows = await one.claim(request(limit=1), [result(slept[0], "pending")])

    assert one._journal.process != before
    assert not {row.id for row in rows} & {row.id for row in slept}
    assert [(await states(other))[row.id - 1] for row in slept] == ["unknown", "unknown"]
    await assert_recount(other)


async def test_the_cap_holds_over_senders(makes: JetStreamLedgers) -> None:
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


async def test_a_stop_in_the_middle_of_a_claim_is_honoured(
    makes: JetStreamLedgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A STOP that another process stored after this one decided: the claim is refused, and made anew."""
    shared = await makes.new_opt_outs()
    ledger = await makes.open("spring", opt_outs=shared)
    await ledger.add(people(3))
    write = ledger._journal.write

    async def interrupted(writes: Any) -> dict[str, int]:
        monkeypatch.setattr(ledger._journal, "write", write)
        await shared.suppress(person(1).address)
        return await write(writes)

    monkeypatch.setattr(ledger._journal, "write", interrupted)
    rows = await ledger.claim(request())

    assert [row.id for row in rows] == [1, 3]
    assert (await assert_recount(ledger)).skipped == {"suppressed": 1}


async def test_rates_are_shared_by_the_processes_that_send(makes: JetStreamLedgers) -> None:
    """Alone a sender has all of it; a process that only receives takes no part; grants follow each other."""
    one, receiver, *others = [await makes.open("spring") for _ in range(5)]
    await one.add(people(1))
    for ledger in (one, *others):
        await ledger.claim(request())
        await ledger._journal.show_life()
    await one.counts()
    assert one.share == 0.25
    asked = RateRequest(name="a", n=2, rate=8)
    answers = await asyncio.gather(*(ledger.lease([asked], now=NOW) for ledger in (receiver, *others)))
    assert sum(answer.grants[0].n for answer in answers) == 5  # at 0, 1/8 … 4/8 of a second
    for ledger in others:
        await ledger.aclose()
    await one.control(Control())  # a change, with which what is new is read
    await one.counts()
    assert one.share == 1.0


async def test_an_observer_asks_and_changes_nothing_else(makes: JetStreamLedgers) -> None:
    """It reads, counts and asks for something; its end gives up no row."""
    one = await makes.open("spring")
    await one.add(people(2))
    await one.claim(request(limit=1))

    watcher = await makes.open("spring", observer=True, accept_loss=False)
    await watcher.control(Control(state="pause", by="command"))
    with pytest.raises(LedgerError, match="for looking at it"):
        await watcher.claim(request())
    await watcher.aclose()

    assert (await one.control()).state == "pause"
    assert await states(one) == ["sending", "pending"]
    with pytest.raises(LedgerError, match="no campaign of this name"):
        await makes.open("autumn", observer=True, create=False)


async def test_a_sender_that_ends_in_order_leaves_what_it_claimed_unknown(makes: JetStreamLedgers) -> None:
    """At once, without its lease."""
    one, other = await makes.open("spring"), await makes.open("spring")
    await one.add(people(2))
    await one.claim(request(limit=1))
    await one.aclose()

    assert await states(other) == ["unknown", "pending"]


async def test_a_claim_whose_caller_was_cancelled_goes_back(makes: JetStreamLedgers) -> None:
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


async def test_a_claim_whose_response_was_lost_is_not_lost(
    makes: JetStreamLedgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stored it, and the caller got an error: the rows go back, since they were not sent."""
    ledger = await makes.open("spring")
    await ledger.add(people(4))
    losing_one_response(ledger, monkeypatch)
    with pytest.raises(LedgerError):
        await ledger.claim(request(limit=2))

    rows = await ledger.claim(request(limit=4))
    again = await ledger.claim(request(limit=4))

    assert sorted(row.id for row in (*rows, *again)) == [1, 2, 3, 4]
    await assert_recount(ledger)


async def test_an_import_whose_response_was_lost_doubles_no_person(
    makes: JetStreamLedgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added again, all rows are known."""
    ledger = await makes.open("spring")
    losing_one_response(ledger, monkeypatch)
    with pytest.raises(LedgerError):
        await ledger.add(people(300))

    assert (await ledger.add(people(300))).added == 0
    assert (await assert_recount(ledger)).total == 300


async def test_people_of_another_space_are_refused(makes: JetStreamLedgers) -> None:
    """A claim could not look there."""
    elsewhere = OptOutList(JetStreamOptOutStore(makes.url + "_other"))
    for opt_outs in (elsewhere, OptOutList()):
        with pytest.raises(ConfigurationError, match="the same space"):
            await makes.open("spring", opt_outs=opt_outs)


async def test_a_stream_that_may_lose_what_it_acknowledged_is_refused(makes: JetStreamLedgers) -> None:
    """A `sending` that is lost messages a person twice: only an operator may accept that, once."""
    with pytest.raises(LedgerError, match=r"one replica.*accept_loss=True"):
        await makes.open("spring", accept_loss=False)

    one = await makes.open("spring", accept_loss=True)
    await one.add(people(1))

    other = await makes.open("spring", accept_loss=False)
    assert await states(other) == ["pending"]


async def test_workers_find_the_campaigns_with_rows(makes: JetStreamLedgers) -> None:
    """Those with pending rows, whatever their name; none that is over, or stopped."""
    names = ("autumn über alles", "over", "spring", "stopped")
    ledgers = {name: await makes.open(name) for name in names}
    for ledger in ledgers.values():
        await ledger.add(people(2))
    await ledgers["over"].record([result(row) for row in await ledgers["over"].claim(request())])
    await ledgers["stopped"].control(Control(state="stop"))
    await makes.open("empty")

    async with OpenCampaigns(makes.url) as campaigns:
        assert await campaigns.names() == ["autumn über alles", "spring"]


async def test_a_killed_server_loses_nothing_that_returned(
    makes: JetStreamLedgers, nats_server: NatsServer
) -> None:
    """Killed and started again: claims and results are there, and a call in between waits."""
    ledger = await makes.open("spring")
    await ledger.add(people(30))
    claimed = await ledger.claim(request(limit=10))
    await ledger.record([result(row) for row in claimed[:4]])

    nats_server.restart()

    async with asyncio.timeout(25):
        rows = await ledger.claim(request(limit=10), [result(row) for row in claimed[4:6]])
    assert not {row.id for row in rows} & {row.id for row in claimed}
    assert (await assert_recount(ledger)).states == {"sent": 6, "sending": 14, "pending": 10}
