"""What a claim does to the rows of a campaign in SQLite, within a transaction.

Rows that follow one another are read, and become `sending`, with one statement: one for each row would
cost more than all else that a claim does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from nexmo_dispatch_async.bulk.ledger import opt_outs_sql
from nexmo_dispatch_async.bulk.ledger import sqlite_rows as rows
from nexmo_dispatch_async.bulk.ledger.records import SKIP_REASONS, Claimed, ClaimRequest, SkipReason
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import Work

__all__ = ["CANDIDATES", "claim"]

#: What a claim reads of rows; {0} is the schema of the opt-out list.
CANDIDATES: Final = (
    "SELECT s.id, s.attempts, s.not_before, s.expires, o.address IS NOT NULL, r.address, r.key, r.shape,"
    " r.fields, r.line, r.language, r.variant, r.channels FROM state s JOIN recipient r ON r.id = s.id"
    " LEFT JOIN {0}.suppressed o ON o.address = r.address WHERE s.id BETWEEN ? AND ? ORDER BY s.id"
)
#: Rows that one transaction of a claim looks at beyond those that it may hand out, and rows that it wakes.
_LOOK: Final = 1000
_WAKE: Final = 2000


class _Chosen(NamedTuple):
    """A ready row that may be handed out."""

    id: int
    lane: int


def claim(work: Work, request: ClaimRequest, worker: str) -> tuple[list[Claimed], bool]:
    """Hand out rows, and tell whether more may be found: one transaction looks at a bounded number."""
    woken = _wake(work, request.now)
    room = dict(request.buckets) if request.buckets is not None else None
    claimed: list[Claimed] = []
    looked = 0
    while len(claimed) < request.limit:
        if looked >= request.limit + _LOOK:
            return claimed, True
        limit = min(request.limit - len(claimed), request.limit + _LOOK - looked)
        chosen, left_out = _choose(work, request, room, limit)
        if not chosen:
            return claimed, woken == _WAKE
        looked += len(chosen)
        found = _hand_out(work, request, worker, chosen, left_out)
        claimed += found
        if room is not None:
            for row in found:
                room[row.bucket] -= 1
    return claimed, False


def _wake(work: Work, now: float) -> int:
    """Make rows ready whose time has come."""
    if not work.waiting():
        return 0
    found = work.db.execute(
        "SELECT id, lane FROM state INDEXED BY state_later WHERE state = 1 AND not_before <= ?"
        " ORDER BY not_before LIMIT ?",
        (now, _WAKE),
    ).fetchall()
    work.db.executemany("UPDATE state SET state = 0 WHERE id = ?", ((row_id,) for row_id, _ in found))
    for _, lane in found:
        work.move(lane, rows.LATER, rows.READY)
    return len(found)


def _choose(
    work: Work, request: ClaimRequest, room: dict[str, int] | None, limit: int
) -> tuple[list[_Chosen], dict[str, int]]:
    """Return the lowest ready rows of the open lanes, within the room of the buckets.

    Returns:
        Them, and by bucket the lowest row that was left out for lack of room.
    """
    free = None if room is None else dict(room)
    lanes = work.book.lanes
    # One more than there is room for: the one that is left out.
    query = "SELECT id FROM state INDEXED BY state_ready WHERE state = 0 AND lane = ? ORDER BY id LIMIT ?"
    heads: list[tuple[int, int, Iterator[tuple[int]]]] = []
    for lane in work.pending():
        bucket, zone = lanes[lane]
        if zone not in request.closed_zones and (most := limit if free is None else free.get(bucket, 0)) > 0:
            ids = iter(work.db.execute(query, (lane, min(limit, most) + 1)).fetchall())
            if (first := next(ids, None)) is not None:
                heads.append((first[0], lane, ids))
    heapq.heapify(heads)
    chosen: list[_Chosen] = []
    left_out: dict[str, int] = {}
    while heads and len(chosen) < limit:
        row_id, lane, ids = heads[0]
        bucket = lanes[lane][0]
        if free is not None and free[bucket] <= 0:
            left_out.setdefault(bucket, row_id)
            heapq.heappop(heads)
            continue
        chosen.append(_Chosen(row_id, lane))
        if free is not None:
            free[bucket] -= 1
        if (following := next(ids, None)) is None:
            heapq.heappop(heads)
        else:
            heapq.heapreplace(heads, (following[0], lane, ids))
    return chosen, left_out


def _runs(ids: Iterable[int]) -> list[tuple[int, int]]:
    """Return the first and the last of the ids that follow one another without a gap."""
    runs: list[tuple[int, int]] = []
    first = last = 0
    for row_id in ids:
        if row_id != last + 1 or not last:
            if last:
                runs.append((first, last))
            first = row_id
        last = row_id
    if last:
        runs.append((first, last))
    return runs


def _hand_out(
    work: Work, request: ClaimRequest, worker: str, chosen: list[_Chosen], left_out: dict[str, int]
) -> list[Claimed]:
    """Make rows `sending` that may go, and skip or put off the others.

    A row that does not go makes room in its bucket for the one that was left out: what comes behind that one
    waits for the next look, so that rows go in their order.
    """
    db, now, cap, book = work.db, request.now, request.cap, work.book
    query = CANDIDATES.format(work.opt_outs)
    candidates = [row for run in _runs(each.id for each in chosen) for row in db.execute(query, run)]
    claimed: list[Claimed] = []
    skipped: list[tuple[float, int, int]] = []
    put_off: list[tuple[float, int]] = []
    end: float = math.inf
    for (row_id, lane), row in zip(chosen, candidates, strict=True):
        if row_id > end:
            break
        not_before, expires, suppressed, address = row[2:6]
        until: float | None = None
        reason: SkipReason | None = None
        if not_before is not None and not_before > now:  # the clock went back since it was woken
            until = not_before
        elif expires is not None and expires <= now:
            reason = "expired"
        elif suppressed:
            reason = "suppressed"
        elif cap is not None:
            until = opt_outs_sql.free_at(db, work.opt_outs, address, cap, now)
            if until is not None and cap.over == "skip":
                until, reason = None, "capped"
        if until is not None or reason is not None:
            end = min(end, left_out.get(book.lanes[lane][0], math.inf))
        if until is not None:
            put_off.append((until, row_id))
            work.move(lane, rows.READY, rows.LATER)
            continue
        if reason is not None:
            skipped.append((now, SKIP_REASONS.index(reason), row_id))
            work.move(lane, rows.READY, rows.SKIPPED)
            work.tally.skipped[reason] += 1
            continue
        if work.shared or cap is not None:
            opt_outs_sql.note(db, work.opt_outs, [(address, now, work.source(row_id))])
        work.count(lane, rows.READY, -1)
        claimed.append(rows.claimed_of(row, book.lanes[lane][0], book.names))
    work.tally.move("pending", "sending", len(claimed))
    _mark(work, now, worker, claimed, skipped, put_off)
    work.claims += len(claimed)
    return claimed


def _mark(
    work: Work,
    now: float,
    worker: str,
    claimed: list[Claimed],
    skipped: list[tuple[float, int, int]],
    put_off: list[tuple[float, int]],
) -> None:
    work.db.executemany(
        "UPDATE state SET state = 2, attempts = coalesce(attempts, 0) + 1, at = ?, worker = ?"
        " WHERE id BETWEEN ? AND ?",
        [(now, worker or None, *run) for run in _runs(row.id for row in claimed)],
    )
    if skipped:
        work.db.executemany("UPDATE state SET state = 6, at = ?, skip = ? WHERE id = ?", skipped)
    if put_off:
        work.db.executemany("UPDATE state SET state = 1, not_before = ? WHERE id = ?", put_off)
