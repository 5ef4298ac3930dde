"""Promises of `SqliteLedger`: those of every ledger, with its own opt-out list and with a shared one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bulk.ledger.conformance import AddConformance, CapConformance, ClaimConformance, Ledgers
from tests.bulk.ledger.conformance_rates import RateConformance
from tests.bulk.ledger.conformance_results import ForgetConformance, NewsConformance, ResultConformance
from tests.bulk.ledger.sqlite_ledgers import SqliteLedgers


class _InFiles:
    @pytest.fixture
    async def ledgers(self, tmp_path: Path) -> AsyncIterator[Ledgers]:
        made = SqliteLedgers(tmp_path)
        yield made
        await made.aclose()


class _InSharedFiles:
    @pytest.fixture(params=["own", "shared"])
    async def ledgers(self, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Ledgers]:
        made = SqliteLedgers(tmp_path, shared=request.param == "shared")
        yield made
        await made.aclose()


class TestAdd(_InFiles, AddConformance):
    """Adding rows to a file."""


class TestClaim(_InSharedFiles, ClaimConformance):
    """Claims in a file."""


class TestCap(_InSharedFiles, CapConformance):
    """The cap in a file."""


class TestResult(_InFiles, ResultConformance):
    """Results in a file."""


class TestNews(_InFiles, NewsConformance):
    """Callbacks in a file."""


class TestRates(_InFiles, RateConformance):
    """Rates that workers share."""


class TestForget(_InSharedFiles, ForgetConformance):
    """Erasing in a file."""
