"""Several processes at one campaign on JetStream: what a failure of one of them may cost, and what not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    assert_recount,
    people,
    person,
    request,
    result,
    states,
)
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.jetstream_campaigns import OpenCampaigns
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.rates import RateRequest
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
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


async def test_a_sender_that_slept_claims_nothing_under_its_old_name(makes: JetStreamLedgers) -> None:
    """Taken for dead meanwhile, it finds that out with its next write, and goes on under a new name."""
    one, other = await makes.open("spring"), await makes.open("spring")
    await one.add(people(4))
    slept = await one.claim(request(limit=2))
    before = one._journal.process
    await makes.die(one)

    rows = await one.claim(request(limit=1), [result(slept[0], "pending")])

    assert one._journal.process != before
    assert not {row.id for row in rows} & {row.id for row in slept}
    assert [(await states(other))[row.id - 1] for row in slept] == ["unknown", "unknown"]
    await assert_recount(other)


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
    await one.control(lambda _: Control(by="command"))  # a change, with which what is new is read
    await one.counts()
    assert one.share == 1.0


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
    await ledgers["stopped"].control(lambda _: Control(state="stop"))
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
