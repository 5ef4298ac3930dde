"""A stream of campaigns that is put back from a backup: no campaign goes on with it without a word."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.ledger import jetstream
from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, request, result, states
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.places import join_url
from nexmo_dispatch_async.exceptions import LedgerCopiedError
from tests.bulk.ledger.test_jetstream import JetStreamLedgers
from tests.support.nats_backup import Backup, restore, take_backup
from tests.support.nats_server import NatsServer
from tests.support.started import started

pytestmark = pytest.mark.engines


@pytest.fixture(autouse=True)
def no_time_of_a_restoration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take each later start of a stream for a restoration: the streams of these tests are young."""
    monkeypatch.setattr(jetstream, "RESTORING", 0.0)


@pytest.fixture
async def makes(nats_url: str) -> AsyncIterator[JetStreamLedgers]:
    ledgers = JetStreamLedgers(nats_url)
    yield ledgers
    await ledgers.aclose()


def client_of(ledger: JetStreamLedger) -> Client:
    client = ledger._connection._client
    assert client is not None
    return client


async def restored(makes: JetStreamLedgers) -> None:
    """Send two of five rows after a backup was taken, and put that back."""
    ledger = await makes.open("spring")
    await ledger.add(people(5))
    backup: Backup = await take_backup(client_of(ledger), ledger._stream.name)
    await ledger.record([result(row) for row in await ledger.claim(request(limit=2))])
    await ledger.aclose()
    operator = await makes.open("another")
    await restore(client_of(operator), backup)


async def test_a_campaign_that_was_put_back_is_refused(makes: JetStreamLedgers) -> None:
    """Its pending rows may have been sent since: only an operator can know."""
    await restored(makes)

    with pytest.raises(LedgerCopiedError, match=r"put back from a backup, or copied.*restored=True"):
        await makes.open("spring")
    with pytest.raises(LedgerCopiedError):
        async with Campaign.open(join_url(makes.url, "spring"), accept_loss=True):
            """It is not opened."""
    looking = await makes.open("spring", observer=True)
    assert await states(looking) == ["pending"] * 5


async def test_an_operator_says_it_once(makes: JetStreamLedgers) -> None:
    """The campaign keeps that, so that workers need not repeat it."""
    await restored(makes)

    await (await makes.open("spring", restored=True)).aclose()

    ledger = await makes.open("spring")
    assert len(await ledger.claim(request())) == 5


async def test_a_server_that_was_started_again_is_no_restoration() -> None:
    """Its streams are those that were there."""
    with started(NatsServer()) as server:
        for _ in range(2):
            async with await JetStreamLedger.open(server.url("x"), "spring", accept_loss=True) as ledger:
                await ledger.add(people(5))
            server.restart()
