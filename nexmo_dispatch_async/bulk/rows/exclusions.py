"""`Excluding`: people to whom another campaign sent are skipped in this one, and stay visible as skipped.

Who was sent to is read from the other ledgers' rows: `sent`, `sending` and `unknown` ones, since an unknown
row may have reached its person. What was erased there cannot be compared.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.records import Added, Recipient, State
from nexmo_dispatch_async.bulk.rows.seen import Seen

__all__ = ["Excluding", "excluding"]

_SENT_TO: Final[tuple[State, ...]] = ("sent", "sending", "unknown")


class _Adds(Protocol):
    """What rows are added to."""

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows."""
        ...


class Excluding:
    """Adds rows, those of people who were sent to elsewhere as skipped.

    Args:
        ledger: What they are added to.
        seen: Addresses that were sent to.
    """

    def __init__(self, ledger: _Adds, seen: Seen) -> None:
        self._ledger = ledger
        self._seen = seen

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows; one that is skipped for another reason keeps it."""
        return await self._ledger.add(
            [
                replace(row, skip="excluded") if row.skip is None and row.address in self._seen else row
                for row in rows
            ]
        )


@asynccontextmanager
async def excluding(ledger: _Adds, others: Iterable[str | Path | Ledger]) -> AsyncGenerator[Excluding]:
    """Read whom other campaigns sent to, and yield what rows are then added to.

    Args:
        ledger: What they are added to.
        others: Ledgers, or their files; a file that another process has is only looked at.

    Raises:
        LedgerError: One of them cannot be read.
    """
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

    with Seen() as seen:
        for other in others:
            if not isinstance(other, str | Path):
                await _read(other, seen)
                continue
            async with await SqliteLedger.open(other, observer=True, create=False) as opened:
                await _read(opened, seen)
        yield Excluding(ledger, seen)


async def _read(other: Ledger, seen: Seen) -> None:
    for state in _SENT_TO:
        async for row in rows_of(other, state):
            if row.address:
                seen.count(row.address)
