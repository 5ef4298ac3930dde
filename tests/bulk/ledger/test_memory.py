"""Promises of `MemoryLedger`: those of every ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.people import People
from nexmo_dispatch_async.exceptions import ConfigurationError
from tests.bulk.ledger.conformance import NOW, AddConformance, CapConformance, ClaimConformance, Ledgers
from tests.bulk.ledger.conformance_results import ForgetConformance, NewsConformance, ResultConformance


class MemoryLedgers:
    """Makes ledgers in memory."""

    now = NOW

    def _clock(self) -> float:
        return self.now

    async def new(self, people: People | None = None) -> Ledger:
        return MemoryLedger(people, clock=self._clock)

    async def new_people(self) -> People:
        return People(clock=self._clock)

    def people_of(self, ledger: Any) -> People:
        assert isinstance(ledger, MemoryLedger)
        return ledger.people


class _InMemory:
    @pytest.fixture
    def ledgers(self) -> Ledgers:
        return MemoryLedgers()


class TestAdd(_InMemory, AddConformance):
    """Adding rows to memory."""


class TestClaim(_InMemory, ClaimConformance):
    """Claims in memory."""


class TestCap(_InMemory, CapConformance):
    """The cap in memory."""


class TestResult(_InMemory, ResultConformance):
    """Results in memory."""


class TestNews(_InMemory, NewsConformance):
    """Callbacks in memory."""


class TestForget(_InMemory, ForgetConformance):
    """Erasing in memory."""


def test_people_in_a_file_are_none_for_memory(tmp_path: Path) -> None:
    """A ledger in memory could not look into the file within its claim."""
    with pytest.raises(ConfigurationError, match="in memory"):
        MemoryLedger(People.open(tmp_path / "people.db"))
