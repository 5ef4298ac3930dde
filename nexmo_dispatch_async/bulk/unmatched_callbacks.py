"""Callbacks without a row: kept for a while, stored again later, and compared with unknown rows.

A callback may overtake the result of its own POST, and a final report does not repeat the `client_ref`
(contract 5.4). The number and the age of the kept callbacks are bounded. The module does no I/O.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Final

from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.folding import join
from nexmo_dispatch_async.bulk.ledger.records import News, Row
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Candidate", "Suggestion", "UnmatchedCallbacks", "suggest"]

_FIRST_TRY_S: Final = 1.0


class Candidate(AsShown, Struct, frozen=True, kw_only=True):
    """A workflow that may belong to an unknown row.

    Attributes:
        dispatch_uuid: Id of the workflow.
        address: Address of the recipient, in the form of the ledger.
        at: Time of the first callback, in epoch seconds.
    """

    dispatch_uuid: str
    address: str
    at: float

    def __repr__(self) -> str:
        return f"<Candidate {self.dispatch_uuid}>"


class Suggestion(Struct, frozen=True, kw_only=True):
    """An unknown row and a workflow that fits by address and time: a hint for an operator, no proof.

    Attributes:
        id: Number of the row.
        line: Line of the source.
        dispatch_uuid: Id of the workflow.
        seconds: Seconds from the row becoming unknown to the first callback of the workflow; may be negative.
    """

    id: int
    line: int
    dispatch_uuid: str
    seconds: float


class _Stranger(AsShown, Struct, kw_only=True):
    news: News
    address: str
    first_at: float
    since: float
    next_try: float

    def __repr__(self) -> str:
        return "<_Stranger>"


class UnmatchedCallbacks:
    """News without a row, by workflow, the oldest first.

    Args:
        keep: Seconds for which news are kept.
        most: Maximum number of workflows; the oldest are dropped first.
    """

    def __init__(self, *, keep: float, most: int) -> None:
        self._keep = keep
        self._most = most
        self._kept: dict[str, _Stranger] = {}

    def __len__(self) -> int:
        return len(self._kept)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<UnmatchedCallbacks, {len(self)} kept>"

    def complete(self, news: News) -> News:
        """Return the news and what was kept of the same workflow."""
        kept = self._kept.get(news.dispatch_uuid)
        return news if kept is None else join(kept.news, news) or news

    def add(self, news: News, address: str, now: float) -> None:
        """Keep news that belong to no row, and an address if the callback names one."""
        kept = self._kept.get(news.dispatch_uuid)
        if kept is None:
            self._kept[news.dispatch_uuid] = _Stranger(
                news=news, address=address, first_at=news.at, since=now, next_try=now + _FIRST_TRY_S
            )
        else:
            kept.news = join(kept.news, news) or news
            kept.address = kept.address or address
            kept.first_at = min(kept.first_at, news.at)
            # Twice as long as it has waited: a handful of tries, however long it is kept.
            kept.next_try = now + max(now - kept.since, _FIRST_TRY_S)
        self._prune(now)

    def found(self, dispatch_uuid: str) -> None:
        """Forget one that has its row."""
        self._kept.pop(dispatch_uuid, None)

    def due(self, now: float, limit: int) -> list[News]:
        """Return news that are worth another try, at most `limit`."""
        self._prune(now)
        found: list[News] = []
        for kept in self._kept.values():
            if len(found) == limit:
                break
            if kept.next_try <= now:
                found.append(kept.news)
        return found

    def all(self) -> list[News]:
        """Return the news of all."""
        return [kept.news for kept in self._kept.values()]

    def candidates(self) -> list[Candidate]:
        """Return the workflows whose address is known."""
        return [
            Candidate(dispatch_uuid=uuid, address=kept.address, at=kept.first_at)
            for uuid, kept in self._kept.items()
            if kept.address
        ]

    def _prune(self, now: float) -> None:
        while self._kept:
            oldest = next(iter(self._kept))
            if len(self._kept) <= self._most and self._kept[oldest].since >= now - self._keep:
                return
            del self._kept[oldest]


async def suggest(
    unknown: AsyncIterable[Row], candidates: Iterable[Candidate], *, within: float
) -> list[Suggestion]:
    """Compare unknown rows with workflows of no row, by address and time.

    Args:
        unknown: The rows.
        candidates: Workflows that belong to no row.
        within: Seconds between the row and the workflow, before or after.

    Returns:
        The closest workflow first for each row; one workflow may fit several rows.
    """
    by_address: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_address.setdefault(candidate.address, []).append(candidate)
    found: list[Suggestion] = []
    async for row in unknown:
        fitting = [c for c in by_address.get(row.address, ()) if abs(c.at - row.changed) <= within]
        found.extend(
            Suggestion(
                id=row.id,
                line=row.line,
                dispatch_uuid=candidate.dispatch_uuid,
                seconds=candidate.at - row.changed,
            )
            for candidate in sorted(fitting, key=lambda c: abs(c.at - row.changed))
        )
    return found
