"""Excluded recipients: `Excluding` skips the recipients of other campaigns, and a plan counts them.

The recipients are read from the other ledgers: rows that are `sent`, `sending` or `unknown`, since an unknown
row may have reached its person. Erased rows cannot be compared.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.records import Added, Recipient, State
from nexmo_dispatch_async.bulk.rows.seen import Seen

__all__ = ["Excluding", "excluding", "opted_out", "sent_to"]

_SENT_TO: Final[tuple[State, ...]] = ("sent", "sending", "unknown")


class _Adds(Protocol):
    """The part of a ledger to which rows are added."""

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows."""
        ...


class Excluding:
    """Adds rows to a ledger; recipients of other campaigns are added as skipped.

    Args:
        ledger: The ledger.
        seen: Addresses of the other campaigns' recipients.
    """

    def __init__(self, ledger: _Adds, seen: Seen) -> None:
        self._ledger = ledger
        self._seen = seen

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows; a row that is skipped for another reason keeps that reason."""
        return await self._ledger.add(
            [
                replace(row, skip="excluded") if row.skip is None and row.address in self._seen else row
                for row in rows
            ]
        )


@asynccontextmanager
async def excluding(ledger: _Adds, others: Iterable[str | Path | Ledger]) -> AsyncGenerator[Excluding]:
    """Read the recipients of other campaigns, and yield an `Excluding`.

    Args:
        ledger: The ledger to which rows are added.
        others: Ledgers, their files, or URLs with `?campaign=name`; they are only read.

    Raises:
        LedgerError: A ledger cannot be read.
    """
    async with sent_to(others) as seen:
        yield Excluding(ledger, seen)


@asynccontextmanager
async def sent_to(others: Iterable[str | Path | Ledger]) -> AsyncGenerator[Seen]:
    """Yield the addresses of other campaigns' recipients.

    Args:
        others: Ledgers, their files, or URLs with `?campaign=name`; they are only read.

    Raises:
        LedgerError: A ledger cannot be read.
    """
    with Seen() as seen:
        for other in others:
            if not isinstance(other, str | Path):
                await _read(other, seen)
                continue
            async with await open_ledger(other, observer=True, create=False) as opened:
                await _read(opened, seen)
        yield seen


@asynccontextmanager
async def opted_out(opt_outs: OptOutList | None) -> AsyncGenerator[Seen]:
    """Yield the addresses on an opt-out list; no addresses without a list.

    Raises:
        OptOutError: The list cannot be read.
    """
    with Seen() as seen:
        after = ""
        while opt_outs is not None and (page := await opt_outs.list(after=after)):
            after = page[-1].address
            for entry in page:
                seen.count(entry.address)
        yield seen


async def _read(other: Ledger, seen: Seen) -> None:
    for state in _SENT_TO:
        async for row in rows_of(other, state):
            if row.address:
                seen.count(row.address)
