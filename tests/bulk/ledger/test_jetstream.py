"""The ledger on JetStream keeps what every ledger promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance import (
    CapConformance,
    LedgerConformance,
    SharedLedgerConformance,
)
from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    assert_recount,
    people,
    request,
    result,
)
from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import Claimed
from nexmo_dispatch_async.bulk.ledger.tenure import boot_time
from nexmo_dispatch_core.tasks import end

pytestmark = pytest.mark.engines

#: Seconds; no process of a test sleeps for so long.
_LEASE = 120.0


async def silence(ledger: JetStreamLedger) -> None:
    """End a ledger as the death of its process would: it gives up nothing, and shows no life any more."""
    alive, ledger._batches._alive = ledger._batches._alive, None
    assert alive is not None
    await end(alive)


class JetStreamLedgers:
    """Makes ledgers, each a campaign of its own in one space."""

    now = NOW

    def __init__(self, url: str, *, shared: bool = False) -> None:
        self.url = url
        self._shared = shared
        self._opened: list[JetStreamLedger | OptOutList] = []

    def _clock(self) -> float:
        return self.now

    async def new(self, opt_outs: OptOutList | None = None) -> Ledger:
        if opt_outs is None and self._shared:
            opt_outs = await self.new_opt_outs()
        return await self.open(f"campaign {len(self._opened)}", opt_outs=opt_outs)

    async def open(self, name: str, **settings: Any) -> JetStreamLedger:
        own = {"accept_loss": True, "clock": self._clock, "url": self.url, "lease": _LEASE}
        given: dict[str, Any] = own | settings
        ledger = await JetStreamLedger.open(name=name, **given)
        self._opened.append(ledger)
        return ledger

    async def new_opt_outs(self) -> OptOutList:
        store = JetStreamOptOutStore(self.url, name=f"people {len(self._opened)}")
        opt_outs = OptOutList(store, clock=self._clock)
        self._opened.append(opt_outs)
        return opt_outs

    def opt_outs_of(self, ledger: Any) -> OptOutList:
        assert isinstance(ledger, JetStreamLedger)
        return ledger.opt_outs

    async def die(self, ledger: JetStreamLedger, /) -> None:
        """Silence a ledger, and end its lease for itself and for another: its rows are `unknown` then."""
        await silence(ledger)
        journal, other = ledger._journal, await self.open(ledger.name)
        journal.tenure._clock = lambda: boot_time() + _LEASE
        await other.counts()
        other._journal.view.workers[journal.process].seen -= _LEASE
        await other._batches.reap_dead()

    async def aclose(self) -> None:
        for opened in reversed(self._opened):
            await opened.aclose()


class _OnJetStream:
    @pytest.fixture
    async def ledgers(self, nats_url: str) -> AsyncIterator[JetStreamLedgers]:
        ledgers = JetStreamLedgers(nats_url)
        yield ledgers
        await ledgers.aclose()


class _WithSharedOptOuts:
    @pytest.fixture
    async def ledgers(self, nats_url: str) -> AsyncIterator[JetStreamLedgers]:
        ledgers = JetStreamLedgers(nats_url, shared=True)
        yield ledgers
        await ledgers.aclose()


class TestLedger(_OnJetStream, LedgerConformance):
    """See `LedgerConformance`."""


class TestManyResults(_OnJetStream):
    """A batch has room for a thousand messages."""

    async def test_a_claim_takes_more_results_than_a_batch_has_room_for(
        self, ledgers: JetStreamLedgers
    ) -> None:
        """A campaign with many sends in flight brings them all after its ledger was away."""
        ledger, claimed = await ledgers.new(), list[Claimed]()
        await ledger.add(people(1300))
        while len(claimed) < 1200:
            claimed += await ledger.claim(request(limit=1200 - len(claimed)))

        assert len(await ledger.claim(request(limit=10), [result(row) for row in claimed])) == 10

        assert (await assert_recount(ledger)).states == {"sent": 1200, "sending": 10, "pending": 90}


class TestSharedCap(_WithSharedOptOuts, CapConformance):
    """See `CapConformance`."""


class TestSharedLedger(SharedLedgerConformance):
    """See `SharedLedgerConformance`."""

    @pytest.fixture
    async def shared_ledgers(self, nats_url: str) -> AsyncIterator[JetStreamLedgers]:
        ledgers = JetStreamLedgers(nats_url)
        yield ledgers
        await ledgers.aclose()
