"""The ledger on JetStream keeps what every ledger promises."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
from nexmo_dispatch_async.bulk.ledger.jetstream_opt_outs import JetStreamOptOutStore
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from tests.bulk.ledger.conformance import NOW, AddConformance, CapConformance, ClaimConformance
from tests.bulk.ledger.conformance_rates import RateConformance
from tests.bulk.ledger.conformance_results import ForgetConformance, NewsConformance, ResultConformance

pytestmark = pytest.mark.engines


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
        given: dict[str, Any] = {"accept_loss": True, "clock": self._clock, "url": self.url} | settings
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


class TestAdd(_OnJetStream, AddConformance):
    """See `AddConformance`."""


class TestClaim(_OnJetStream, ClaimConformance):
    """See `ClaimConformance`."""


class TestCap(_OnJetStream, CapConformance):
    """See `CapConformance`."""


class TestSharedCap(_WithSharedOptOuts, CapConformance):
    """See `CapConformance`."""


class TestResults(_OnJetStream, ResultConformance):
    """See `ResultConformance`."""


class TestNews(_OnJetStream, NewsConformance):
    """See `NewsConformance`."""


class TestRates(_OnJetStream, RateConformance):
    """See `RateConformance`."""


class TestForget(_OnJetStream, ForgetConformance):
    """See `ForgetConformance`."""
