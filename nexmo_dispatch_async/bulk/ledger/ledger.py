"""`Ledger`: what a campaign needs of a place to keep its rows, on one machine or on several.

A crash turns `sending` into `unknown`, never back into `pending`; only a proven not-sent goes back. So a
lease decides when to say unknown and is never needed for safety.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

from nexmo_dispatch_async.bulk.ledger.records import (
    Added,
    Claimed,
    Control,
    Counts,
    News,
    Observed,
    Recipient,
    Result,
    Row,
    State,
    Wanted,
)

__all__ = ["Ledger", "TakesRows", "rows_of"]


class TakesRows(Protocol):
    """What an intake needs of a ledger."""

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new; a key that is there keeps its row as it was first added."""
        ...


class Ledger(Protocol):
    """Rows of one campaign. Every method is atomic, and durable when it returns.

    All methods raise `LedgerError` when the store fails; then nothing of the call was stored.
    """

    @property
    def reference(self) -> str:
        """Random text of at most 16 characters, made with the ledger: `client_ref`s begin with it."""
        ...

    async def describe(self, plan: bytes | None = None) -> bytes:
        """Return the campaign's frozen plan as JSON, `b""` when there is none.

        Args:
            plan: The plan to store first.

        Raises:
            PlanChangedError: Another plan is stored.
        """
        ...

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new; a key that is there keeps its row as it was first added."""
        ...

    async def claim(
        self, wanted: Wanted, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        """Record results and hand out `pending` rows as `sending`, in one transaction, by ascending id.

        A row whose address is suppressed becomes `skipped` in the same transaction instead, one over the cap
        becomes `skipped` or waits, one that expired becomes `skipped`. Rows that are not due, or in a closed
        zone, stay. With a cap, or where campaigns share a `People`, each row that is handed out counts as a
        message to its person, until its result proves that nothing was sent.

        A caller that is cancelled got no rows: they are `pending` again.
        """
        ...

    async def record(self, results: Sequence[Result]) -> None:
        """Record results without a claim.

        A result of a row that is not `sending` changes nothing, but `sent` and `refused` mend an `unknown`.
        A code of the service for people who opted out (contract 6.1: 1050, 1240) suppresses the address.
        """
        ...

    async def observe(self, news: Sequence[News]) -> Observed:
        """Merge what callbacks tell into the rows, by `dispatch_uuid` or else by `client_ref`.

        A `client_ref` of this ledger proves that the row was sent, whatever its state says: one that is
        `unknown` becomes `sent`, and so does one that is `pending` in a restored file. A row that is
        `sending` does so with its result, or when it is reaped. Merging is idempotent and commutative.

        Returns:
            How many rows changed, and which news belong to no row.
        """
        ...

    async def reap(self, worker: str | None = None) -> int:
        """Turn the `sending` rows of a worker that is gone into `unknown`; `None` for all workers.

        Returns:
            How many rows.
        """
        ...

    async def resend(self, ids: Iterable[int]) -> int:
        """Put `unknown` rows back to `pending`: an operator's decision, and the only other way back."""
        ...

    async def drop(self, ids: Iterable[int]) -> int:
        """Turn `unknown` or `pending` rows into `skipped`, reason `dropped`."""
        ...

    async def expire(self, now: float, *, limit: int = 10_000) -> int:
        """Skip at most `limit` rows whose time is over; return how many."""
        ...

    async def due(self) -> float | None:
        """Return when the next pending row is due, or any earlier moment if one is; `None` for no row."""
        ...

    async def zones(self) -> frozenset[str]:
        """Return the zones of the pending rows."""
        ...

    async def buckets(self) -> frozenset[str]:
        """Return the buckets of the pending rows."""
        ...

    async def lease(self, bucket: str, n: int, *, rate: float, now: float) -> float:
        """Reserve `n` sends of a bucket's shared rate; return the epoch seconds from which they may leave."""
        ...

    async def control(self, change: Control | None = None) -> Control:
        """Return what operators have asked for; a `change` is stored first, with the next version."""
        ...

    async def counts(self, *, verify: bool = False) -> Counts:
        """Return the numbers; with `verify` counted anew from the rows."""
        ...

    async def scan(self, state: State | None = None, *, after: int = 0, limit: int = 1000) -> list[Row]:
        """Return rows in the order of their ids, those with a higher id than `after`."""
        ...

    async def forget(self, before: float) -> int:
        """Erase addresses, keys and fields of rows that ended before then, and keep their counts.

        `sent`, `refused`, `skipped` and `unknown` rows are over; the last news of them counts too. What was
        erased cannot be sent again. The opt-out list stays.

        Returns:
            How many rows.
        """
        ...

    async def aclose(self) -> None:
        """Release what it holds."""
        ...


async def rows_of(ledger: Ledger, state: State | None = None, *, page: int = 1000) -> AsyncIterator[Row]:
    """Yield rows in the order of their ids, a page at a time.

    Raises:
        LedgerError: The ledger failed.
    """
    after = 0
    while rows := await ledger.scan(state, after=after, limit=page):
        for row in rows:
            yield row
        after = rows[-1].id
