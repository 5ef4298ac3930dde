"""Waits for a transaction that must not be cut short, and for a ledger that fails."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerError, LedgerInUseError

__all__ = ["StoreFailures", "settled"]

_PAUSES: Final = (0.2, 1.0, 2.0, 5.0, 10.0)


async def settled(task: asyncio.Future[Any]) -> bool:
    """Wait for the end of a transaction despite cancellations; return whether it was committed."""
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return not task.cancelled() and task.exception() is None


class StoreFailures:
    """The failures of a ledger in a row."""

    def __init__(self) -> None:
        self._count = 0

    def pause(self, error: LedgerError) -> float:
        """Count a failure; return the seconds until the ledger is tried again.

        Raises:
            LedgerError: `error`, when another try is of no use.
        """
        if isinstance(error, LedgerInUseError | LedgerCopiedError) or self._count == len(_PAUSES):
            raise error
        self._count += 1
        return _PAUSES[self._count - 1]

    def end(self) -> None:
        """Count a success."""
        self._count = 0
