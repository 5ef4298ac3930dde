"""What a claim does to the rows of a campaign in SQLite, within a transaction.

Rows that follow one another are read, and become `sending`, with one statement: one for each row would
cost more than all else that a claim does.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from nexmo_dispatch_async.bulk.ledger import opt_outs_sql
from nexmo_dispatch_async.bulk.ledger import sqlite_rows as rows
from nexmo_dispatch_async.bulk.ledger.records import SKIP_REASONS, Claimed, ClaimRequest, SkipReason
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import Work

__all__ = ["claim"]

_ids = msgspec.json.Decoder(list[int]).decode

#: What a claim reads of rows that follow one another; {0} is the schema of the opt-out list. All rows are one
#: value, since each step of a statement gives the interpreter to another thread and waits to get it back.
_CANDIDATES: Final = (
    "SELECT json_group_array(json_array(id, usual, attempts, address, key, shape, json(fields), line,"
    " language, variant, json(channels))) FROM (SELECT s.id, o.address IS NULL"
    " AND coalesce(s.not_before <= :now, 1) AND coalesce(s.expires > :now, 1) AS usual, s.attempts,"
    " r.address, r.key, r.shape, CAST(r.fields AS TEXT) AS fields, r.line, r.language, r.variant,"
    " CAST(r.channels AS TEXT) AS channels FROM state s {1} JOIN recipient r ON r.id = s.id"
    " LEFT JOIN {0}.suppressed o ON o.address = r.address WHERE {2})"
)
_OF_RUN: Final = ("", "s.id BETWEEN :first AND :last ORDER BY s.id")
_OF_LANE: Final = ("INDEXED BY state_ready", "s.state = 0 AND s.lane = :lane ORDER BY s.id LIMIT :limit")
_UNUSUAL: Final = (
    "SELECT s.not_before, s.expires, o.address IS NOT NULL FROM state s JOIN recipient r ON r.id = s.id"
    " LEFT JOIN {0}.suppressed o ON o.address = r.address WHERE s.id = ?"
)
_READY: Final = (
    "SELECT json_group_array(id) FROM (SELECT id FROM state INDEXED BY state_ready"
    " WHERE state = 0 AND lane = ? ORDER BY id LIMIT ?)"
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
    if request.bounds is not None:
        request = request.within(work.counts())
    woken = _wake(work, request.now)
    room = dict(request.buckets) if request.buckets is not None else None
    claimed: list[Claimed] = []
    looked = 0
    while len(claimed) < request.limit:
        if looked >= request.limit + _LOOK:
            return claimed, True
        limit = min(request.limit - len(claimed), request.limit + _LOOK - looked)
        chosen, candidates, left_out = _choose(work, request, room, limit)
        if not chosen:
            return claimed, woken == _WAKE
        looked += len(chosen)
        found = _hand_out(work, request, worker, chosen, candidates, left_out)
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
) -> tuple[list[_Chosen], list[rows.Candidate], dict[str, int]]:
    """Return the lowest ready rows of the open lanes, within the room of the buckets.

    Returns:
        Their lanes, what was read of them, and by bucket the lowest row that was left out for lack of room.
    """
    found = _open(work, request, room, limit)
    if len(found) == 1 and found[0][1] >= limit:
        ((lane, _),) = found
        candidates = _read(work, _OF_LANE, now=request.now, lane=lane, limit=limit)
        return [_Chosen(row.id, lane) for row in candidates], candidates, {}
    chosen, left_out = _merge(work, found, room, limit)
    candidates = list[rows.Candidate]()
    for first, last in _runs([each.id for each in chosen]):
        candidates += _read(work, _OF_RUN, now=request.now, first=first, last=last)
    return chosen, candidates, left_out


def _open(
    work: Work, request: ClaimRequest, room: dict[str, int] | None, limit: int
) -> list[tuple[int, int]]:
    """Return the lanes with ready rows that may go, and the room of their buckets."""
    lanes = work.book.lanes
    found = [
        (lane, limit if room is None else room.get(lanes[lane][0], 0))
        for lane in work.pending()
        if lanes[lane][1] not in request.closed_zones
    ]
    return [each for each in found if each[1] > 0]


def _read(work: Work, which: tuple[str, str], **values: float) -> list[rows.Candidate]:
    (found,) = work.db.execute(_CANDIDATES.format(work.opt_outs, *which), values).fetchone()
    return rows.candidates(found)


def _merge(
    work: Work, found: list[tuple[int, int]], room: dict[str, int] | None, limit: int
) -> tuple[list[_Chosen], dict[str, int]]:
    """Return the lowest ready rows of several lanes."""
    free = None if room is None else dict(room)
    lanes = work.book.lanes
    heads: list[tuple[int, int, Iterator[int]]] = []
    for lane, most in found:
        # One more than there is room for: the one that is left out.
        (ready,) = work.db.execute(_READY, (lane, min(limit, most) + 1)).fetchone()
        ids = iter(_ids(ready))
        if (first := next(ids, None)) is not None:
            heads.append((first, lane, ids))
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
            heapq.heapreplace(heads, (following, lane, ids))
    return chosen, left_out


def _runs(ids: list[int]) -> list[tuple[int, int]]:
    """Return the first and the last of the ascending ids that follow one another without a gap."""
    if ids and ids[-1] - ids[0] + 1 == len(ids):
        return [(ids[0], ids[-1])]
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
    work: Work,
    request: ClaimRequest,
    worker: str,
    chosen: list[_Chosen],
    candidates: list[rows.Candidate],
    left_out: dict[str, int],
) -> list[Claimed]:
    """Make rows `sending` that may go, and skip or put off the others.

    A row that does not go makes room in its bucket for the one that was left out: what comes behind that one
    waits for the next look, so that rows go in their order.
    """
    db, now, cap, book = work.db, request.now, request.cap, work.book
    claimed: list[Claimed] = []
    ready, usual = work.ready, cap is None and not work.shared
    skipped: list[tuple[float, int, int]] = []
    put_off: list[tuple[float, int]] = []
    end: float = math.inf
    for (row_id, lane), row in zip(chosen, candidates, strict=True):
        if row_id > end:
            break
        if usual and row.usual:
            ready[lane] -= 1
            claimed.append(rows.claimed_of(row, book.lanes[lane][0], book.names))
            continue
        until: float | None = None
        reason: SkipReason | None = None
        if not row.usual:
            until, reason = _obstacle(work, row_id, now)
        elif cap is not None:
            until = opt_outs_sql.free_at(db, work.opt_outs, row.address, cap, now)
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
            opt_outs_sql.note(db, work.opt_outs, [(row.address, now, work.source(row_id))])
        ready[lane] -= 1
        claimed.append(rows.claimed_of(row, book.lanes[lane][0], book.names))
    work.tally.move("pending", "sending", len(claimed))
    _mark(work, now, worker, claimed, skipped, put_off)
    work.claims += len(claimed)
    return claimed


def _obstacle(work: Work, row_id: int, now: float) -> tuple[float | None, SkipReason | None]:
    """Return until when a row is put off, or why it is skipped."""
    query = _UNUSUAL.format(work.opt_outs)
    not_before, expires, suppressed = work.db.execute(query, (row_id,)).fetchone()
    if not_before is not None and not_before > now:  # the clock went back since it was woken
        return not_before, None
    if expires is not None and expires <= now:
        return None, "expired"
    return None, "suppressed" if suppressed else None


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
        [(now, worker or None, *run) for run in _runs([row.id for row in claimed])],
    )
    if skipped:
        work.db.executemany("UPDATE state SET state = 6, at = ?, skip = ? WHERE id = ?", skipped)
    if put_off:
        work.db.executemany("UPDATE state SET state = 1, not_before = ? WHERE id = ?", put_off)
