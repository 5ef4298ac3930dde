"""What results, callbacks and operators do to the rows of a campaign in SQLite, within a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, groupby
from typing import Any, Final

from nexmo_dispatch_async.bulk.ledger import opt_outs_sql
from nexmo_dispatch_async.bulk.ledger import sqlite_rows as rows
from nexmo_dispatch_async.bulk.ledger.records import (
    SKIP_REASONS,
    Droppable,
    News,
    Observed,
    Resendable,
    Result,
)
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import UUID_INDEX, Work
from nexmo_dispatch_async.bulk.ledger.transitions import (
    OPT_OUT_CODES,
    amount,
    merge,
    normal_uuid,
    proven_state,
    require_droppable,
    require_resendable,
    row_of_ref,
    settle,
)
from nexmo_dispatch_async.exceptions import LedgerError

__all__ = ["drop", "forget", "observe", "reap", "record", "resend"]

_CODE: Final = {
    "sending": rows.SENDING,
    "sent": rows.SENT,
    "refused": rows.REFUSED,
    "unknown": rows.UNKNOWN,
    "skipped": rows.SKIPPED,
}
_ROW: Final = (
    "SELECT s.state, s.lane, s.skip, s.attempts, s.uuid, n.body, s.not_before FROM state s"
    " LEFT JOIN news n ON n.id = s.id WHERE s.id = ?"
)


_SENT: Final = (
    "UPDATE state SET state = 3, uuid = column1, at = column2, error = NULL, code = NULL FROM (VALUES {0})"
    " WHERE id = column3 AND state = 2 AND uuid IS NULL AND column4 IN (0, attempts)"
)
#: Results that one statement records at most, and of which multiple: other numbers are filled up.
_TOGETHER: Final = 64
_MULTIPLE: Final = 16
_NO_RESULT: Final = (None, None, None, None)


def record(work: Work, results: Sequence[Result]) -> None:
    """Record results; nearly all are `sent` for a row that is `sending`, and cost one statement together."""
    for sent, group in groupby(results, key=_is_sent):
        together = list(group)
        if not sent or not _record_sent(work, together):
            for result in together:
                _record_one(work, result)


def _is_sent(result: Result) -> bool:
    return result.state == "sent"


def _record_sent(work: Work, results: Sequence[Result]) -> bool:
    """Record what was sent as usual, and return whether all of it was as usual.

    What is recorded here is left as it is when it is recorded again.
    """
    values = [
        (rows.pack_uuid(normal_uuid(result.dispatch_uuid)), result.at, result.id, result.attempts)
        for result in results
    ]
    changed = sum(
        _update_sent(work.db, values[first : first + _TOGETHER]) for first in range(0, len(values), _TOGETHER)
    )
    work.tally.move("sending", "sent", changed)
    return changed == len(results)


def _update_sent(db: sqlite3.Connection, values: list[tuple[Any, ...]]) -> int:
    """Record results in one statement, whose steps do not wait for other threads in between."""
    values += [_NO_RESULT] * (-len(values) % _MULTIPLE)
    return db.execute(_sent_update(len(values)), list(chain.from_iterable(values))).rowcount


@cache
def _sent_update(count: int) -> str:
    return _SENT.format(", ".join(["(?, ?, ?, ?)"] * count))


def _record_one(work: Work, result: Result) -> None:
    row = work.db.execute(_ROW, (result.id,)).fetchone()
    if row is None:
        raise LedgerError(f"there is no row {result.id} in this ledger: nothing was stored")
    code, lane, skip, attempts, packed, body, _ = row
    proven = body is not None or packed is not None
    state = settle(rows.state_of(code), attempts or 0, result, proven=proven)
    if state is None:
        return
    uuid = normal_uuid(result.dispatch_uuid) if result.state == "sent" else ""
    uuid = min(filter(None, (uuid, rows.unpack_uuid(packed))), default="")
    if body is not None and uuid != rows.unpack_uuid(packed):
        _store_news(work, result.id, _news(work, result.id, body, packed), uuid)
    if state == "sending":
        work.db.execute("UPDATE state SET uuid = ? WHERE id = ?", (rows.pack_uuid(uuid), result.id))
        return
    if state == "pending":
        after = rows.LATER if result.not_before else rows.READY
        work.db.execute(
            "UPDATE state SET not_before = ? WHERE id = ?", (result.not_before or None, result.id)
        )
    else:
        after = _CODE[state]
    error, failed = (None, None) if state == "sent" else (result.error or None, result.code or None)
    work.db.execute(
        "UPDATE state SET state = ?, at = ?, uuid = ?, error = ?, code = ?, skip = NULL WHERE id = ?",
        (after, result.at, rows.pack_uuid(uuid), error, failed, result.id),
    )
    work.move(lane, code, after)
    if skip is not None:
        work.tally.skipped[SKIP_REASONS[skip]] -= 1
    if state in {"pending", "refused"}:
        address = _address(work.db, result.id)
        opt_outs_sql.unnote(work.db, work.opt_outs, address, work.source(result.id))
        if state == "refused" and result.code in OPT_OUT_CODES and address:
            opt_outs_sql.suppress(work.db, work.opt_outs, [address], reason=result.code, at=result.at)


def observe(work: Work, news: Sequence[News]) -> Observed:
    """Merge what callbacks tell."""
    for piece in news:
        amount(piece.cost)
    work.db.execute(UUID_INDEX)
    found = [_observe_one(work, piece) for piece in news]
    unmatched = tuple(position for position, changed in enumerate(found) if changed is None)
    return Observed(changed=sum(map(bool, found)), unmatched=unmatched)


def _observe_one(work: Work, news: News) -> bool | None:
    """Whether its row changed; `None` when it is of no row."""
    row_id = _find(work, news)
    row = work.db.execute(_ROW, (row_id,)).fetchone() if row_id is not None else None
    if row is None or row_id is None:
        return None
    code, lane, skip, _, packed, body, _ = row
    known = _news(work, row_id, body, packed)
    merged, state = merge(known, news), proven_state(rows.state_of(code))
    if merged == known and state == rows.state_of(code):
        return False
    uuid = min(filter(None, (normal_uuid(news.dispatch_uuid), rows.unpack_uuid(packed))), default="")
    work.tally.news(known, -1)
    work.tally.news(merged)
    _store_news(work, row_id, merged, uuid)
    if rows.pack_uuid(uuid) != packed:
        work.db.execute("UPDATE state SET uuid = ? WHERE id = ?", (rows.pack_uuid(uuid), row_id))
    if state != rows.state_of(code):
        work.db.execute(
            "UPDATE state SET state = ?, skip = NULL, error = NULL, code = NULL WHERE id = ?",
            (_CODE[state], row_id),
        )
        work.move(lane, code, _CODE[state])
        if skip is not None:
            work.tally.skipped[SKIP_REASONS[skip]] -= 1
    return True


def _find(work: Work, news: News) -> int | None:
    uuid = rows.pack_uuid(normal_uuid(news.dispatch_uuid))
    if uuid is not None:
        query = "SELECT id FROM state INDEXED BY state_uuid WHERE uuid = ? AND uuid IS NOT NULL"
        if (found := work.db.execute(query, (uuid,)).fetchone()) is not None:
            return int(found[0])
    return row_of_ref(work.reference, news.client_ref)


def _news(work: Work, row_id: int, body: bytes | None, packed: Any) -> News | None:
    return rows.unpack_news(body, rows.unpack_uuid(packed), work.source(row_id))


def _store_news(work: Work, row_id: int, news: News | None, uuid: str) -> None:
    if news is not None:
        body = rows.pack_news(news, uuid, work.source(row_id))
        work.db.execute(
            "REPLACE INTO news VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row_id, news.ended, news.reached, news.cost, news.currency, news.at, body),
        )


def reap(work: Work, worker: str | None, now: float) -> int:
    """Turn `sending` rows into `unknown`, those proven sent into `sent`: as many as were in flight."""
    query = (
        "SELECT s.id, s.lane, s.at, n.id IS NOT NULL OR s.uuid IS NOT NULL, r.address FROM state s"
        " JOIN recipient r ON r.id = s.id LEFT JOIN news n ON n.id = s.id"
        " WHERE s.state = 2 AND (? IS NULL OR coalesce(s.worker, '') = ?)"
    )
    found = work.db.execute(query, (worker, worker)).fetchall()
    for row_id, lane, at, proven, address in found:
        after = rows.SENT if proven else rows.UNKNOWN
        work.db.execute("UPDATE state SET state = ?, at = ? WHERE id = ?", (after, now, row_id))
        work.move(lane, rows.SENDING, after)
        if work.shared:  # the loss of power may have taken the message from the other file, not from this one
            opt_outs_sql.note(work.db, work.opt_outs, [(address, at, work.source(row_id))])
    return len(found)


def resend(work: Work, ids: Iterable[int], now: float, *, state: Resendable) -> int:
    """Put rows of a state back, those whose person is still known."""
    require_resendable(state)
    count, code = 0, _CODE[state]
    for row_id in ids:
        query = (
            "SELECT s.lane, s.not_before FROM state s JOIN recipient r ON r.id = s.id"
            " WHERE s.id = ? AND s.state = ? AND r.fields IS NOT NULL"
        )
        if (row := work.db.execute(query, (row_id, code)).fetchone()) is not None:
            after = rows.READY if row[1] is None else rows.LATER
            work.db.execute(
                "UPDATE state SET state = ?, at = ?, error = NULL, code = NULL WHERE id = ?",
                (after, now, row_id),
            )
            work.move(row[0], code, after)
            count += 1
    return count


def drop(work: Work, ids: Iterable[int], now: float, *, state: Droppable) -> int:
    """Give rows of a state up."""
    require_droppable(state)
    codes = (rows.UNKNOWN, rows.UNKNOWN) if state == "unknown" else (rows.READY, rows.LATER)
    count, reason = 0, SKIP_REASONS.index("dropped")
    for row_id in ids:
        query = "SELECT state, lane FROM state WHERE id = ? AND state IN (?, ?)"
        if (row := work.db.execute(query, (row_id, *codes)).fetchone()) is not None:
            work.db.execute(
                "UPDATE state SET state = 6, at = ?, skip = ? WHERE id = ?", (now, reason, row_id)
            )
            work.move(row[1], row[0], rows.SKIPPED)
            work.tally.skipped["dropped"] += 1
            count += 1
    return count


def forget(work: Work, before: float, after: int, limit: int) -> tuple[int, int]:
    """Erase the persons of at most *limit* rows that are over; return how many, and the last id."""
    query = (
        "SELECT s.id, r.address, coalesce(r.key, r.address) FROM state s JOIN recipient r ON r.id = s.id"
        " LEFT JOIN news n ON n.id = s.id WHERE s.id > ? AND s.state > 2 AND r.fields IS NOT NULL"
        " AND max(coalesce(s.at, 0), coalesce(n.at, 0)) < ? ORDER BY s.id LIMIT ?"
    )
    found = work.db.execute(query, (after, before, limit)).fetchall()
    for row_id, address, key in found:
        work.db.execute("DELETE FROM key WHERE key = ? AND id = ?", (key, row_id))
        work.db.execute(
            "UPDATE recipient SET address = '', key = NULL, fields = NULL WHERE id = ?", (row_id,)
        )
        if not work.shared:
            work.db.execute("DELETE FROM contact WHERE address = ?", (address,))
            opt_outs_sql.unlink(work.db, "main", address)
    return len(found), found[-1][0] if found else after


def _address(db: sqlite3.Connection, row_id: int) -> str:
    (address,) = db.execute("SELECT address FROM recipient WHERE id = ?", (row_id,)).fetchone()
    return str(address)
