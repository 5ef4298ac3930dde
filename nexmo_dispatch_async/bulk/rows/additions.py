"""Recipients are added to a ledger many at a time: the keys of a few, in no order, touch most of its pages.

It reads no source and decides nothing: `intake` makes the recipients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from nexmo_dispatch_async.bulk.ledger.ledger import TakesRows
from nexmo_dispatch_async.bulk.ledger.records import Recipient

__all__ = ["TOGETHER", "Additions"]

#: Rows of one `add`. Of the 6,000 pages that the keys of a million rows take, the keys of 2,000 rows, in no
#: order, touch 1,700, and those of 10,000 rows 4,900; each page is written twice, to the log and to the file.
TOGETHER: Final = 10_000


class Additions:
    """What is added in one pass over a source.

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
        self.added: int = 0
        self.already: int = 0
        self.held_out: int = 0

    def __repr__(self) -> str:
        return f"<Additions added={self.added} waiting={len(self._waiting)}>"

    async def take(self, recipients: Sequence[Recipient]) -> None:
        """Add recipients, or keep them for the next call.

        Raises:
            LedgerError: The ledger failed; what was added before stays added.
        """
        if self._ledger is None:
            return
        self._waiting += recipients
        if len(self._waiting) >= self._together:
            await self.finish()

    async def finish(self) -> None:
        """Add what was kept.

        Raises:
            LedgerError: As for `take`.
        """
        waiting, self._waiting = self._waiting, []
        if self._ledger is None or not waiting:
            return
        added = await self._ledger.add(waiting)
        there = frozenset(added.duplicates)
        self.added += added.added
        self.already += len(there)
        self.held_out += sum(row.skip == "hold_out" and n not in there for n, row in enumerate(waiting))
