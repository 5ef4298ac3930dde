"""The promises of every ledger, as tests that any ledger passes unchanged, your own included.

It needs pytest and pytest-asyncio, with `asyncio_mode = "auto"`. Subclass `LedgerConformance`, and for a
ledger of several processes `SharedLedgerConformance` too, each with its fixture:

    class TestMyLedger(LedgerConformance):
        @pytest.fixture
        async def ledgers(self, tmp_path): yield MyLedgers(tmp_path)
"""

from __future__ import annotations

from nexmo_dispatch_async.bulk.ledger.conformance_bounds import BoundsConformance
from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    AddConformance,
    CapConformance,
    ClaimConformance,
    Ledgers,
)
from nexmo_dispatch_async.bulk.ledger.conformance_processes import SharedLedgerConformance, SharedLedgers
from nexmo_dispatch_async.bulk.ledger.conformance_rates import RateConformance
from nexmo_dispatch_async.bulk.ledger.conformance_resends import ResendConformance
from nexmo_dispatch_async.bulk.ledger.conformance_results import (
    ForgetConformance,
    NewsConformance,
    ResultConformance,
)

__all__ = [
    "AddConformance",
    "BoundsConformance",
    "CapConformance",
    "ClaimConformance",
    "ForgetConformance",
    "LedgerConformance",
    "Ledgers",
    "NewsConformance",
    "RateConformance",
    "ResendConformance",
    "ResultConformance",
    "SharedLedgerConformance",
    "SharedLedgers",
]


class LedgerConformance(
    AddConformance,
    ClaimConformance,
    CapConformance,
    BoundsConformance,
    ResultConformance,
    ResendConformance,
    NewsConformance,
    RateConformance,
    ForgetConformance,
):
    """All promises of a ledger. It needs a fixture `ledgers`, of type `Ledgers`."""
