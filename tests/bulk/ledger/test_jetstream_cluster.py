"""A campaign on a cluster that loses servers: nothing is lost, and nothing is sent twice."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import Literal

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import assert_recount, people, request, result
from nexmo_dispatch_async.bulk.ledger.conformance_results import news
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.records import Result
from nexmo_dispatch_async.exceptions import LedgerError
from tests.support.nats_server import NatsCluster, NatsServer
from tests.support.started import started

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

ROWS, LIMIT = 1500, 8


class Senders:
    """Two processes that send, and that see the callbacks of each other's rows."""

    def __init__(self, ledgers: list[JetStreamLedger]) -> None:
        self.ledgers = ledgers
        self.posts: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.middle = asyncio.Event()

    async def send(self, number: int) -> None:
        """Send until no row is pending; a call that fails is repeated, as the sender of a campaign does."""
        ledger, other = self.ledgers[number], self.ledgers[1 - number]
        done: list[Result] = []
        while True:
            try:
                rows = await ledger.claim(request(limit=LIMIT), done, worker=str(number))
                done = [result(row) for row in rows]
                self.posts.update(row.id for row in rows)
                await other.observe([news(ledger, row.id, reached="read") for row in rows])
                if not rows and (await ledger.counts()).states.get("pending", 0) == 0:
                    return
            except LedgerError as error:
                self.errors[str(error)] += 1
            if len(self.posts) > ROWS // 3:
                self.middle.set()


@pytest.mark.parametrize("fault", ["kill", "suspend"])
async def test_a_leader_that_fails_in_the_middle_costs_a_wait(
    cluster: NatsCluster, fault: Literal["kill", "suspend"]
) -> None:
    """All are sent, each once; the counts are those of the rows."""
    ledgers = [
        await JetStreamLedger.open(cluster.durable_url("x", cluster.servers[n]), "spring") for n in range(2)
    ]
    await ledgers[0].add(people(ROWS))
    senders = Senders(ledgers)

    async with asyncio.timeout(200), asyncio.TaskGroup() as group:
        for number in range(2):
            group.create_task(senders.send(number))
        await senders.middle.wait()
        leader = await leader_of(cluster, ledgers[0])
        leader.send(signal.SIGKILL if fault == "kill" else signal.SIGSTOP)
        assert len(senders.posts) < ROWS
        await asyncio.sleep(8)  # the fault is that the server is away for so long
        if fault == "kill":
            await asyncio.to_thread(leader.restart)
        else:
            leader.send(signal.SIGCONT)

    print(f"{fault}: {sum(senders.posts.values())} posts, errors {dict(senders.errors)}")
    assert len(senders.posts) == ROWS
    assert set(senders.posts.values()) == {1}
    counts = await assert_recount(ledgers[1])
    assert (counts.states, counts.reached) == ({"sent": ROWS}, {"read": ROWS})
    for ledger in ledgers:
        await ledger.aclose()


async def leader_of(cluster: NatsCluster, ledger: JetStreamLedger) -> NatsServer:
    """Return the server that leads the stream."""
    state = await ledger._stream.state()
    assert state.replicas == 3
    return next(server for server in cluster.servers if server.name == state.leader)


async def test_only_a_durable_cluster_takes_a_campaign_without_a_word(cluster: NatsCluster) -> None:
    """Three replicas that write each message at once, which their monitoring ports confirm."""
    one_of_three = f"{cluster.url('x')}?monitor=http://127.0.0.1:{cluster.servers[0].monitor}"
    for url in (cluster.url("x"), one_of_three):
        with pytest.raises(LedgerError, match="whether sync_interval is `always` is not known"):
            await JetStreamLedger.open(url, "spring")

    async with await JetStreamLedger.open(cluster.durable_url("x"), "spring") as ledger:
        assert (await ledger.counts()).total == 0


async def test_a_cluster_that_syncs_now_and_then_is_refused() -> None:
    """Its power failure would lose what was `sending`, and message people twice."""
    with (
        started(NatsCluster(sync="")) as cluster,
        pytest.raises(LedgerError, match="sync_interval is not `always`: a power failure of most"),
    ):
        await JetStreamLedger.open(cluster.durable_url("x"), "spring")
