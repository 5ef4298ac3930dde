"""A process that dies at any request to JetStream: no row is skipped, and no person is messaged twice."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW, assert_recount, people, request, result
from nexmo_dispatch_async.bulk.ledger.conformance_results import news
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, Result
from nexmo_dispatch_core.jetstream.connection import Connection
from tests.bulk.ledger.test_jetstream import silence

pytestmark = pytest.mark.engines

ROWS, IN_FLIGHT = 12, 3


class Crash(BaseException):
    """The process is dead."""


class Death:
    """Kills the process with its n-th request: before the server has it, or after it answered.

    Args:
        connection: Of the ledger.
        number: Of the request, from 1.
        answered: Whether the server has it.
    """

    def __init__(self, connection: Connection, number: int, *, answered: bool) -> None:
        self._request = connection.request
        self._left = number
        self._answered = answered
        self.is_dead = False

    async def request(self, *arguments: Any) -> bytes:
        """Take the place of `Connection.request`."""
        if self.is_dead:
            raise Crash
        self._left -= 1
        if self._left > 0:
            return await self._request(*arguments)
        self.is_dead = True
        if self._answered:
            await self._request(*arguments)
        raise Crash


def outcome(row: Claimed) -> Result:
    """Return what the POST of a row gave: the first one of row 5 was provably not sent."""
    if row.id == 5 and row.attempts == 1:
        return result(row, "pending")
    return result(row, "refused", code="1240") if row.id == 7 else result(row)


async def send_all(ledger: JetStreamLedger, posts: Counter[tuple[int, int]]) -> None:
    """Send the rows of a campaign: what is in `posts` left this process."""
    await ledger.add(people(ROWS))
    done: list[Result] = []
    while rows := await ledger.claim(request(limit=IN_FLIGHT), done, worker="w"):
        posts.update((row.id, row.attempts) for row in rows)
        done = [outcome(row) for row in rows]
        await ledger.observe([news(ledger, row.id, reached="read") for row in rows if row.id % 4 == 0])
    await ledger.record(done)


async def taken_over(url: str, name: str) -> JetStreamLedger:
    """Open the campaign in another process, and return when the dead one was reaped."""
    ledger = await JetStreamLedger.open(url, name, accept_loss=True, lease=0.02, clock=lambda: NOW)
    async with asyncio.timeout(20):
        while ledger._journal.view.senders():
            await asyncio.sleep(0.02)
            await ledger.counts()
    return ledger


@pytest.mark.timeout(280)
@pytest.mark.parametrize("answered", [False, True])
async def test_a_process_may_die_at_any_request(
    nats_url: str, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown is at most what was in flight, whatever the last request was, and all others are sent once."""
    worst = 0
    for number in itertools.count(1):
        name, posts = f"crash-{number}", Counter[tuple[int, int]]()
        ledger = await JetStreamLedger.open(nats_url, name, accept_loss=True, lease=60, clock=lambda: NOW)
        death = Death(ledger._connection, number, answered=answered)
        monkeypatch.setattr(ledger._connection, "request", death.request)
        with contextlib.suppress(Crash):
            await send_all(ledger, posts)
        await silence(ledger)
        await ledger._connection.aclose()
        if not death.is_dead:
            break

        other = await taken_over(nats_url, name)
        unknown = (await other.counts()).states.get("unknown", 0)
        worst = max(worst, unknown)
        assert unknown <= IN_FLIGHT
        await send_all(other, posts)

        counts = await assert_recount(other)
        assert counts.total == ROWS
        assert counts.open == 0
        assert counts.states["sent"] + counts.states.get("refused", 0) + unknown == ROWS
        assert set(posts.values()) <= {1}, "the same claim left twice"
        people_of = Counter(row_id for row_id, _ in posts)
        assert {row_id for row_id, times in people_of.items() if times > 1} <= {5}
        await other.aclose()
    assert number > 10, "the campaign makes more requests"
    assert worst > 0, "some deaths are in flight"
