"""Promises of `MemoryLedger`: those of every ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance import LedgerConformance, Ledgers
from nexmo_dispatch_async.bulk.ledger.conformance_claims import NOW
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.exceptions import ConfigurationError


class MemoryLedgers:
    """Makes ledgers in memory."""

    now = NOW

    def _clock(self) -> float:
        return self.now

    async def new(self, opt_outs: OptOutList | None = None) -> Ledger:
        return MemoryLedger(opt_outs, clock=self._clock)

    async def new_opt_outs(self) -> OptOutList:
        return OptOutList(clock=self._clock)

    def opt_outs_of(self, ledger: Any) -> OptOutList:
        assert isinstance(ledger, MemoryLedger)
        return ledger.opt_outs


class TestLedger(LedgerConformance):
    """See `LedgerConformance`."""

    @pytest.fixture
    def ledgers(self) -> Ledgers:
        return MemoryLedgers()


def test_people_in_a_file_are_none_for_memory(tmp_path: Path) -> None:
    """A ledger in memory could not look into the file within its claim."""
    with pytest.raises(ConfigurationError, match="in memory"):
        MemoryLedger(OptOutList.open(tmp_path / "people.db"))
