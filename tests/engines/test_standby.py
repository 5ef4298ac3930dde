"""A synchronous standby that is promoted in the middle of a campaign: no recipient gets a second message."""

from __future__ import annotations

import asyncio

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import assert_recount, people, request, result
from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
from nexmo_dispatch_async.bulk.ledger.records import Claimed
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.postgres.database import Database
from nexmo_dispatch_core.postgres.examination import examine
from nexmo_dispatch_core.postgres.failures import Failure
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.engines, pytest.mark.timeout(180)]


def _error(failure: Failure) -> Exception:
    return RuntimeError(failure.text)


async def test_a_promoted_standby_has_every_claim(postgres_pair: list[PostgresServer]) -> None:
    """What was `sending` or settled on the primary is so on the standby; nothing goes out again."""
    primary, standby = postgres_pair
    url = f"postgresql://postgres@/postgres?host={primary.folder},{standby.folder}"
    findings = await examine(Database(url, error=_error, name="test"), [])
    assert "commits wait for a synchronous standby" in [finding.text for finding in findings]
    ledger = await PostgresLedger.open(url, "spring", timeout=5.0)
    await ledger.add(people(200))
    before: list[Claimed] = []
    for _ in range(5):
        rows = await ledger.claim(request(limit=10), [result(row) for row in before[-10:]])
        before += rows

    primary.stop("immediate")
    await asyncio.to_thread(standby.promote)

    after: list[Claimed] = []
    async with asyncio.timeout(60):
        while len(after) < 150:
            try:
                after += await ledger.claim(request(limit=50))
            except LedgerError:
                await asyncio.sleep(0.2)
    assert not {row.id for row in before} & {row.id for row in after}
    assert (await assert_recount(ledger)).states == {"sending": 160, "sent": 40}
    await ledger.aclose()
    # another timeline, and the same cluster: no sender has to be told that it is no copy
    async with await PostgresLedger.open(url, "spring") as again:
        assert (await again.counts()).total == 200
