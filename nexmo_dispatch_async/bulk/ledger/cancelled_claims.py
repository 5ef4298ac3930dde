"""`CancelledClaims`: the rows of a claim whose caller was cancelled go back to `pending`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nexmo_dispatch_async.bulk.ledger.records import Claimed, Result
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["CancelledClaims"]


class CancelledClaims:
    """The claims of a ledger, which a cancellation of their caller does not cut short.

    Args:
        record: Records results.
        clock: Returns epoch seconds.
    """

    def __init__(
        self, record: Callable[[Sequence[Result]], Awaitable[object]], *, clock: Callable[[], float]
    ) -> None:
        self._record = record
        self._clock = clock
        # claims without a caller, and what gives their rows back
        self._under_way: set[asyncio.Future[Any]] = set()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<CancelledClaims, {len(self._under_way)} under way>"

    async def rows_of(self, claiming: asyncio.Future[list[Claimed]]) -> list[Claimed]:
        """Return the rows of a claim; if the caller is cancelled meanwhile, its rows go back."""
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._under_way.add(claiming)
            claiming.add_done_callback(self._give_back)
            raise

    async def settled(self) -> None:
        """Return when no claim without a caller has rows; before the ledger gives up those that it sends."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _give_back(self, claiming: asyncio.Future[list[Claimed]]) -> None:
        self._under_way.discard(claiming)
        if claiming.cancelled() or claiming.exception() is not None:
            return
        at = self._clock()
        back = [Result(id=row.id, state="pending", at=at, attempts=row.attempts) for row in claiming.result()]
        if back:
            giving = asyncio.ensure_future(self._record(back))
            self._under_way.add(giving)
            giving.add_done_callback(self._given)

    def _given(self, giving: asyncio.Future[object]) -> None:
        self._under_way.discard(giving)
        # Where it failed, the rows are reaped when this process ends, or with the next opening.
        _ = giving.cancelled() or giving.exception()
