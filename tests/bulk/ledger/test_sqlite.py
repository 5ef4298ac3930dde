"""Promises of `SqliteLedger`: those of every ledger, with its own opt-out list and with a shared one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance import (
    CapConformance,
    ClaimConformance,
    ForgetConformance,
    LedgerConformance,
    Ledgers,
)
from tests.bulk.ledger.sqlite_ledgers import SqliteLedgers


class _InFiles:
    @pytest.fixture
    async def ledgers(self, tmp_path: Path) -> AsyncIterator[Ledgers]:
        made = SqliteLedgers(tmp_path)
        yield made
        await made.aclose()


class _InSharedFiles:
    @pytest.fixture
    async def ledgers(self, tmp_path: Path) -> AsyncIterator[Ledgers]:
        made = SqliteLedgers(tmp_path, shared=True)
        yield made
        await made.aclose()


class TestLedger(_InFiles, LedgerConformance):
    """See `LedgerConformance`."""


class TestSharedClaim(_InSharedFiles, ClaimConformance):
    """See `ClaimConformance`."""


class TestSharedCap(_InSharedFiles, CapConformance):
    """See `CapConformance`."""


class TestSharedForget(_InSharedFiles, ForgetConformance):
    """See `ForgetConformance`."""
