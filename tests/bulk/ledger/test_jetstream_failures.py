"""A stream that is full, deleted, not durable, behind TLS, or not ours: the ledger says what is wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    assert_recount,
    people,
    person,
    request,
    result,
    states,
)
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError, OptOutError
from tests.bulk.ledger.test_jetstream import JetStreamLedgers
from tests.support.nats_server import NatsServer
from tests.support.started import started

pytestmark = pytest.mark.engines


@pytest.fixture
async def makes(nats_url: str) -> AsyncIterator[JetStreamLedgers]:
    ledgers = JetStreamLedgers(nats_url)
    yield ledgers
    await ledgers.aclose()


async def ask(ledger: JetStreamLedger, verb: str, **body: Any) -> dict[str, Any]:
    """Send a request about the stream, as an operator does."""
    name = ledger._stream.name
    answer = await ledger._connection.request(f"$JS.API.STREAM.{verb}.{name}", json.dumps(body).encode())
    found: dict[str, Any] = json.loads(answer)
    return found


async def set_limit(ledger: JetStreamLedger, max_bytes: int) -> None:
    config = (await ask(ledger, "INFO"))["config"]
    assert "error" not in await ask(ledger, "UPDATE", **config | {"max_bytes": max_bytes})


async def test_a_list_that_leaves_no_room_for_its_results_is_refused(makes: JetStreamLedgers) -> None:
    """As a whole, before anything is sent; with a higher limit it goes in."""
    ledger = await makes.open("spring", max_bytes=200_000)
    await ledger.add(people(50))

    with pytest.raises(LedgerError, match=r"no room for 100 rows .*max_bytes \(200000\)"):
        await ledger.add(people(100, first=50))

    assert (await assert_recount(ledger)).total == 50
    await set_limit(ledger, 10_000_000)
    assert (await ledger.add(people(100, first=50))).added == 100


async def test_a_full_stream_sends_nothing_and_loses_nothing(makes: JetStreamLedgers) -> None:
    """A claim that cannot be stored is an error and hands nothing out; with room again all goes on."""
    ledger = await makes.open("spring")
    await ledger.add(people(20))
    claimed = await ledger.claim(request(limit=5))
    full = (await ask(ledger, "INFO"))["state"]["bytes"]
    await set_limit(ledger, full)

    with pytest.raises(LedgerError, match="no room"):
        await ledger.claim(request(limit=5), [result(row) for row in claimed])
    with pytest.raises(LedgerError, match="no room"):
        await ledger.record([result(row) for row in claimed])
    with pytest.raises(OptOutError, match="no room"):
        await ledger.opt_outs.suppress(person(9).address)

    await set_limit(ledger, -1)
    rows = await ledger.claim(request(limit=100), [result(row) for row in claimed])
    assert len(rows) == 15
    assert await states(ledger) == ["sent"] * 5 + ["sending"] * 15
    await assert_recount(ledger)


async def test_a_stream_that_was_deleted_is_said_at_once(makes: JetStreamLedgers) -> None:
    """No empty stream comes in its place: then all people would be messaged again."""
    ledger = await makes.open("spring")
    await ledger.add(people(5))
    claimed = await ledger.claim(request(limit=2))
    assert "error" not in await ask(ledger, "DELETE")

    async with asyncio.timeout(10):  # sooner than one call gives up
        with pytest.raises(LedgerError, match="the stream is not there: it was deleted"):
            await ledger.claim(request())
        with pytest.raises(LedgerError, match="it was deleted"):
            await ledger.record([result(row) for row in claimed])
        with pytest.raises(LedgerError, match="it was deleted"):
            await ledger.counts()
        with pytest.raises(LedgerError, match="it was deleted"):
            await makes.open("spring", create=False)


async def test_a_stream_that_was_made_anew_is_not_taken_for_the_old_one(makes: JetStreamLedgers) -> None:
    """Deleted, and made by another process: the rows are gone, and nothing is sent."""
    ledger = await makes.open("spring")
    await ledger.add(people(5))
    await ask(ledger, "DELETE")
    other = await makes.open("spring")

    with pytest.raises(LedgerError, match="deleted and made anew"):
        await ledger.claim(request())
    await other.add(people(900))
    await other.claim(request(limit=300))
    with pytest.raises(LedgerError, match="deleted and made anew"):
        await ledger.counts()
    with pytest.raises(LedgerError, match="deleted and made anew"):
        await ledger.claim(request())


async def test_refused_credentials_are_said_without_them() -> None:
    """Neither user nor password is in the error, or behind it."""
    with (
        started(NatsServer(lines=["authorization { user: app, password: other }"])) as server,
        pytest.raises(LedgerError, match="NATS refused the credentials") as caught,
    ):
        await JetStreamLedger.open(server.url("x", "app:open-sesame@"), "spring")
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert "sesame" not in str(caught.value)


async def test_an_old_server_is_refused() -> None:
    """It has no atomic batches with conditions, so nothing would be fenced."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"server_id": "x", "version": "2.11.9", "headers": True, "max_payload": 1048576}
        writer.write(b"INFO " + json.dumps(info | {"jetstream": True}).encode() + b"\r\n")
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(LedgerError, match=r"version 2\.11\.9: nats-server 2\.12\.1 is needed"):
        await JetStreamLedger.open(f"nats://127.0.0.1:{port}/x", "spring")
    server.close()


async def test_a_server_that_is_not_there_is_an_error_in_time() -> None:
    """After the timeout, without the URL."""
    with pytest.raises(LedgerError, match="NATS cannot be reached") as caught:
        await JetStreamLedger.open("nats://a:open-sesame@127.0.0.1:1/x", "spring", timeout=0.5)
    assert "sesame" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


async def test_a_stream_of_another_make_is_refused(makes: JetStreamLedgers) -> None:
    """One with other limits could drop rows."""
    ledger = await makes.open("spring")
    config = (await ask(ledger, "INFO"))["config"]
    await ask(ledger, "UPDATE", **config | {"max_age": 3600 * 10**9})

    with pytest.raises(LedgerError, match="of another shape"):
        await makes.open("summer")


def test_a_url_that_cannot_be_read_is_not_quoted() -> None:
    """Its password would be in the error."""
    opening = JetStreamLedger.open("nats://a:open-sesame@127.0.0.1:1/x?nothing=1", "spring")
    with pytest.raises(ConfigurationError, match="unknown options") as caught:
        asyncio.run(opening)
    assert "sesame" not in str(caught.value)


# --- TLS ---


@pytest.fixture
def behind_tls(certificate: Path) -> Iterator[NatsServer]:
    """A server that takes TLS alone, with a certificate of our own authority."""
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{certificate}" }}'
    with started(NatsServer(lines=[tls])) as server:
        yield server


async def test_a_campaign_goes_over_tls(behind_tls: NatsServer, certificate: Path) -> None:
    """Host and certificate are checked; the authority is named in the URL."""
    url = f"tls://localhost:{behind_tls.port}/x?ca={certificate}"
    async with await JetStreamLedger.open(url, "spring", accept_loss=True) as ledger:
        await ledger.add(people(3))
        assert len(await ledger.claim(request())) == 3


async def test_a_certificate_of_another_authority_is_refused(behind_tls: NatsServer) -> None:
    """And that is said: nothing goes to a server that may be another one."""
    url = f"tls://localhost:{behind_tls.port}/x"
    with pytest.raises(LedgerError, match="certificate"):
        await JetStreamLedger.open(url, "spring", accept_loss=True, timeout=2.0)
