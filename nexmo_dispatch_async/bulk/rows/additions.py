"""Recipients are added to a ledger many at a time: the keys of a few, in no order, touch most of its pages.

It reads no source and decides nothing: `intake` makes the recipients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from nexmo_dispatch_async.bulk.ledger.ledger import TakesRows
from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_core.tasks import end
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["TOGETHER", "Additions"]

#: Rows of one `add`. Of the 6,000 pages that the keys of a million rows take, the keys of 2,000 rows, in no
#: order, touch 1,700, and those of 10,000 rows 4,900; each page is written twice, to the log and to the file.
TOGETHER: Final = 10_000


class Additions:
    """What is added in one pass over a source: the next rows are read while the ledger takes the last ones.

    Args:
        ledger: Where to; `None` to add nothing.
        together: Rows of one `add`, at least.

    Attributes:
        added: Number of rows that are new.
        already: Number of rows whose key was there.
        held_out: Number of new rows that are kept back.
    """

    def __init__(self, ledger: TakesRows | None, together: int = TOGETHER) -> None:
        self._ledger = ledger
        self._together = together
        self._waiting: list[Recipient] = []
        self._under_way: asyncio.Task[None] | None = None
        self.added: int = 0
        self.already: int = 0
        self.held_out: int = 0

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Additions added={self.added} waiting={len(self._waiting)}>"

    async def take(self, recipients: Sequence[Recipient]) -> None:
        """Begin to add recipients, or keep them for the next call.

        Raises:
            LedgerError: The ledger failed; what was added before stays added.
        """
        if self._ledger is None:
            return
        self._waiting += recipients
        if len(self._waiting) >= self._together:
            await self._begin(self._ledger)

    async def finish(self) -> None:
        """Add what was kept, and wait for all of it.

        Raises:
            LedgerError: As for `take`.
        """
        if self._ledger is not None and self._waiting:
            await self._begin(self._ledger)
        await self._end()

    async def give_up(self) -> None:
        """Wait for no more than is under way; without an effect after `finish`."""
        task, self._under_way = self._under_way, None
        if task is not None:
            await end(task)

    async def _begin(self, ledger: TakesRows) -> None:
        await self._end()
        batch, self._waiting = self._waiting, []
        self._under_way = asyncio.create_task(self._add(ledger, batch))

    async def _end(self) -> None:
        if self._under_way is not None:
            await self._under_way
            self._under_way = None

    async def _add(self, ledger: TakesRows, rows: list[Recipient]) -> None:
        added = await ledger.add(rows)
        there = frozenset(added.duplicates)
        self.added += added.added
        self.already += len(there)
        self.held_out += sum(row.skip == "hold_out" and n not in there for n, row in enumerate(rows))
