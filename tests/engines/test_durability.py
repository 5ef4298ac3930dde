"""A server whose settings lose commits in a power failure is named by doctor, and refused for campaigns."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, request, states
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.cli.postgres_store import examine_store
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.findings import Finding
from tests.support.postgres_server import PostgresServer, binaries
from tests.support.started import started

pytestmark = pytest.mark.engines


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of its own: its settings are changed."""
    if binaries() is None:
        pytest.skip("there is no Postgres server: install the package `postgresql`")
    with started(PostgresServer()) as server:
        yield server


async def durability(server: PostgresServer) -> Finding:
    """Return what doctor says of it."""
    (found,) = [f for f in await examine_store(server.dsn()) if f.code == "postgres-durability"]
    return found


async def changed(server: PostgresServer, setting: str, value: str) -> None:
    """Change a setting, and wait until new sessions have it."""
    server.sql(f"ALTER SYSTEM SET {setting} = {value}")
    server.sql("SELECT pg_reload_conf()")
    async with asyncio.timeout(30):
        while server.sql(f"SHOW {setting}") != value:  # noqa: ASYNC110 - of the server
            await asyncio.sleep(0.05)


async def test_settings_that_lose_commits_are_refused(server: PostgresServer) -> None:
    """Each of the three; who accepts the loss says so, and a server that is safe again is good again."""
    assert (await durability(server)).level == "good"
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        await changed(server, setting, "off")

        found = await durability(server)
        assert found.level == "bad"
        assert f"{setting} off" in found.text
        with pytest.raises(LedgerError, match=f"{setting} off.*messaged twice"):
            await PostgresLedger.open(server.dsn(), "spring")
        ledger = await PostgresLedger.open(server.dsn(), "spring", accept_loss=True)
        await ledger.aclose()
        await changed(server, setting, "on")
    assert (await durability(server)).level == "good"


async def test_a_claim_that_returned_survives_a_crash_of_the_server(server: PostgresServer) -> None:
    """`immediate` leaves it nothing but its log, which is replayed: what was `sending` is not `pending`."""
    ledger = await PostgresLedger.open(server.dsn(), "spring")
    await ledger.add(people(40))
    for number in range(4):
        await ledger.claim(request(limit=10))
        server.restart("immediate")
        async with asyncio.timeout(30):
            while True:
                try:
                    found = await states(ledger)
                    break
                except LedgerError:
                    await asyncio.sleep(0.1)
        assert found.count("sending") == 10 * (number + 1)
    await ledger.aclose()
