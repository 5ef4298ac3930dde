"""The SQL of the SQLite store: the schema, and each statement with the reason for its form.

Every function runs on the given connection, inside a transaction of the caller.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_webhooks.exceptions import TransactionError, UnknownRecordError
from nexmo_dispatch_webhooks.inbox import sqlite_record_ages as ages
from nexmo_dispatch_webhooks.inbox.records import (
    STATES,
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.inbox.sqlite_key_values import SCHEMA as NOTES
from nexmo_dispatch_webhooks.inbox.sqlite_recent_keys import SCHEMA as KEYS
from nexmo_dispatch_webhooks.inbox.sqlite_recent_keys import RecentKeys
from nexmo_dispatch_webhooks.inbox.store import RecordChoice
from nexmo_dispatch_webhooks.signature import Claims
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = [
    "PIECE",
    "SCHEMA",
    "SCHEMA_VERSION",
    "commit_handler",
    "count",
    "describe",
    "finish",
    "has_room",
    "insert",
    "is_full",
    "is_locked",
    "load",
    "pending",
    "postpone",
    "prune",
    "purge",
    "retry",
    "select",
    "summary",
]

SCHEMA_VERSION: Final = 6
PENDING, QUARANTINED, HANDLED, FORGOTTEN = range(4)  # as in STATES
_NUMBERS: dict[RecordState, int] = {state: number for number, state in enumerate(STATES)}

# Ids are never used twice, so that an operator's id always means the same event. The partial index holds
# unfinished records only: it stays small, however many handled records are kept. Contents have a table of
# their own: a mark writes few pages, and forgotten contents free their pages.
SCHEMA: Final = (
    """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key BLOB NOT NULL,
    lane INTEGER NOT NULL,
    state INTEGER NOT NULL,
    kind TEXT NOT NULL,
    received_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL DEFAULT 0,
    done TEXT NOT NULL DEFAULT '[]',
    failed TEXT NOT NULL DEFAULT '[]',
    finished_at REAL
)
""",
    "CREATE INDEX unfinished ON events (state) WHERE state < 2",
    """
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    claims BLOB NOT NULL,
    body BLOB NOT NULL
)
""",
    KEYS,
    ages.SCHEMA,
    NOTES,
)

# One statement for many rows: each statement releases the interpreter to the thread of the event loop and
# waits to get it back, so statements cost time, and rows do not.
_MOST_ROWS: Final = 64
# Until its next use a compiled statement keeps a copy of its values, and the connection keeps a statement for
# each number of rows: larger bodies, in bytes, have a statement with one row.
_SMALL: Final = 4096
# OR ROLLBACK: for a statement that may fail alone SQLite copies each page before it changes it, into a
# temporary file when there are many pages. A transaction without its new records is rolled back anyway.
_INSERT: Final = "INSERT OR ROLLBACK INTO"
# The retention works in pieces, so that no acknowledgement waits for long: maximum numbers of records that
# one piece changes, of keys that it deletes (each key is on another page of its index), and of records that
# it reads.
PIECE: Final = 500
_KEYS: Final = 100
_SCAN: Final = 10_000
_PAGES_OF_AN_EVENT: Final = 4
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
# Failures of the file, the disk or the machine, and not of a statement.
_STORE_ERRORS: Final = _LOCKED | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CANTOPEN,
}
_decode_names = msgspec.json.Decoder(list[str]).decode
_decode_failures = msgspec.json.Decoder(tuple[StoredFailure, ...]).decode
_decode_claims = msgspec.json.Decoder(Claims).decode
_decode_pending = msgspec.json.Decoder(list[tuple[int, int, float, int, float, list[str], str]]).decode


@cache
def _insert_sql(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?)"] * rows)
    return f"{_INSERT} events (key, lane, state, kind, received_at) VALUES {values}"


@cache
def _contents_sql(rows: int) -> str:
    return f"{_INSERT} contents VALUES {','.join(['(?,?,?,?)'] * rows)}"


def insert(db: sqlite3.Connection, records: Sequence[NewRecord], recent: RecentKeys) -> list[int | None]:
    """Store records; return the id of each, None for a duplicate."""
    ids: list[int | None] = []
    for start in range(0, len(records), _MOST_ROWS):
        ids += _insert(db, records[start : start + _MOST_ROWS], recent)
    return ids


def _insert(db: sqlite3.Connection, records: Sequence[NewRecord], recent: RecentKeys) -> list[int | None]:
    known = recent.known(db, [r.key for r in records])
    values: list[Any] = []
    is_new: list[bool] = []
    for r in records:
        is_new.append(r.key not in known)
        if is_new[-1]:
            known.add(r.key)
            values += (r.key, r.lane, PENDING if r.parsable else QUARANTINED, r.kind, r.received_at)
    number = sum(is_new)
    if not number:
        return [None] * len(records)
    last = db.execute(_insert_sql(number), values).lastrowid or 0
    recent.note(last, values[::5])
    following = iter(range(last - number + 1, last + 1))  # the ids of one statement have no gaps
    ids = [next(following) if new else None for new in is_new]
    contents: list[Any] = []
    for record_id, r in zip(ids, records, strict=True):
        if record_id is None:
            continue
        if len(r.body) <= _SMALL:
            contents += (record_id, r.path, r.claims, r.body)
        else:
            db.execute(_contents_sql(1), (record_id, r.path, r.claims, r.body))
    if contents:
        db.execute(_contents_sql(len(contents) // 4), contents)
    return ids


def finish(db: sqlite3.Connection, ids: Sequence[int], now: float) -> None:
    """Mark records as handled, in one statement."""
    db.execute(
        "UPDATE events SET state = 2, finished_at = ?, due = 0, failed = '[]' "
        "WHERE id IN (SELECT value FROM json_each(?)) AND state < 2",
        (now, msgspec.json.encode(ids).decode()),
    )


def commit_handler(
    db: sqlite3.Connection,
    record_id: int,
    handler: str,
    statements: Sequence[Statement],
    *,
    now: float | None,
) -> None:
    """Run the statements of a handler and mark it as done; with *now*, mark the event as handled."""
    for number, (sql, parameters) in enumerate(statements, 1):
        try:
            db.execute(sql, parameters)
        except Exception as error:
            if _code(error) in _STORE_ERRORS:
                raise
            raise TransactionError(f"{_which(number, statements)} failed: {describe(error)}") from error
        if not db.in_transaction:
            raise TransactionError(f"{_which(number, statements)} ended the transaction")
    marked = db.execute(
        "UPDATE events SET done = json_insert(done, '$[#]', ?), "
        "state = CASE WHEN ? IS NULL THEN 0 ELSE 2 END, finished_at = ? "
        "WHERE id = ? AND state < 2 AND state = 0 "
        "AND NOT EXISTS (SELECT 1 FROM json_each(done) WHERE value = ?)",
        (handler, now, now, record_id, handler),
    )
    if marked.rowcount != 1:  # another process handled it, so nothing of this may be stored
        raise TransactionError(f"record {record_id} is not pending, or the handler is done already")


def _which(number: int, statements: Sequence[Statement]) -> str:
    return f"statement {number} of {len(statements)} in context.transaction"


def describe(error: Exception) -> str:
    """Return the class of a failure and its SQLite name (`SQLITE_FULL`, `SQLITE_BUSY`), without data."""
    name = getattr(error, "sqlite_errorname", None)
    return f"{type(error).__name__} ({name})" if isinstance(name, str) else type(error).__name__


def reason(path: Path, error: Exception) -> str:
    """Return what failed, and for a failure of the file, the disk or the machine what to do about it."""
    if isinstance(error, OSError) or (isinstance(error, sqlite3.Error) and _code(error) in _STORE_ERRORS):
        return reason_of(path, error)
    return describe(error)


def is_full(error: Exception) -> bool:
    """Return whether there was no room on the disk, or below the largest size of the file."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_locked(error: Exception) -> bool:
    """Return whether another connection held a lock for too long."""
    return _code(error) in _LOCKED


def _code(error: Exception) -> int | None:
    """Return the primary SQLite code of a failure; an extended code has more bits above it."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def postpone(
    db: sqlite3.Connection,
    record_id: int,
    *,
    attempts: int,
    due: float | None,
    done: Sequence[str],
    failed: Sequence[StoredFailure],
) -> None:
    """Store the result of a failed attempt."""
    db.execute(
        "UPDATE events SET state = ?, attempts = ?, due = ?, done = (SELECT json_group_array(value) FROM "
        "(SELECT value FROM json_each(events.done) UNION ALL SELECT value FROM json_each(?) "
        "WHERE value NOT IN (SELECT value FROM json_each(events.done)))), failed = ? "
        "WHERE id = ? AND state < 2",
        (
            QUARANTINED if due is None else PENDING,
            attempts,
            due or 0.0,
            msgspec.json.encode(done).decode(),
            msgspec.json.encode(failed).decode(),
            record_id,
        ),
    )


def pending(db: sqlite3.Connection) -> list[PendingEvent]:
    """Return all pending records in the order of arrival, read as one row (see `_MOST_ROWS`)."""
    (text,) = db.execute(
        "SELECT json_group_array(json_array(id, lane, received_at, attempts, due, json(done), kind)) FROM "
        "(SELECT * FROM events WHERE state < 2 AND state = 0 ORDER BY id)"
    ).fetchone()
    found = [PendingEvent(*values) for values in _decode_pending(text)]
    for item in found:
        item.kind = sys.intern(item.kind)  # a few kinds, and perhaps a hundred thousand records
    return found


_COLUMNS = (
    "id, state, kind, received_at, path, claims, attempts, due, done, failed, finished_at, length(body)"
)
_BOTH = "events LEFT JOIN contents USING (id)"


def load(db: sqlite3.Connection, record_id: int) -> Record:
    """Return one record with its body."""
    row = db.execute(f"SELECT {_COLUMNS}, body FROM {_BOTH} WHERE id = ?", (record_id,)).fetchone()  # noqa: S608 - constants
    if row is None:
        raise UnknownRecordError(f"there is no record {record_id}")
    return _record(row[:-1], row[-1])


def select(db: sqlite3.Connection, state: RecordState | None, *, limit: int, after: int) -> list[Record]:
    """Return records without their bodies; the partial index serves the states of unfinished records."""
    if state is None:
        where = "state < 3"
    else:
        number = _NUMBERS[state]
        where = f"state < 2 AND state = {number}" if number < HANDLED else f"state = {number}"
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM {_BOTH} WHERE {where} AND id > ? ORDER BY id LIMIT ?",  # noqa: S608 - constants
        (after, limit),
    ).fetchall()
    return [_record(row, None) for row in rows]


def _record(row: tuple[Any, ...], body: bytes | None) -> Record:
    (record_id, state, kind, received_at, path, claims, attempts, due, done, failed, finished_at, size) = row
    return Record(
        id=record_id,
        state=STATES[int(state)],
        kind=kind,
        received_at=datetime.fromtimestamp(received_at, UTC),
        path=path or "",
        size=size or 0,
        attempts=attempts,
        done=tuple(_decode_names(done)),
        failed=_decode_failures(failed),
        next_attempt_at=datetime.fromtimestamp(due, UTC) if due else None,
        finished_at=None if finished_at is None else datetime.fromtimestamp(finished_at, UTC),
        claims=_claims(claims),
        body=body,
    )


def _claims(stored: bytes | None) -> Claims | None:
    try:
        return _decode_claims(stored) if stored else None
    except msgspec.DecodeError:  # of another version; the event is more important
        return None


def retry(
    db: sqlite3.Connection, which: RecordChoice, *, handler: str | None = None, kind: str | None = None
) -> int:
    """Make quarantined records, and records between two attempts, pending and due."""
    conditions, values = ["state < 2", "(state = 1 OR due > 0)"], list[int | str]()
    if which != "all":
        conditions.append("id = ?")
        values.append(which)
    if kind is not None:
        conditions.append("kind = ?")
        values.append(kind)
    if handler is not None:
        conditions.append("EXISTS (SELECT 1 FROM json_each(failed) WHERE value ->> '$.handler' = ?)")
        values.append(handler)
    return db.execute(
        "UPDATE events SET state = 0, attempts = 0, due = 0, failed = '[]' "  # noqa: S608 - constants
        f"WHERE {' AND '.join(conditions)}",
        values,
    ).rowcount


def summary(db: sqlite3.Connection) -> list[FailureTally]:
    """Count what failed in unfinished records; a quarantined record without a failure counts too."""
    rows = db.execute(
        "SELECT state, kind, value ->> '$.handler', value ->> '$.error', count(*), min(received_at) "
        "FROM events LEFT JOIN json_each(events.failed) "
        "WHERE state < 2 AND (state = 1 OR value IS NOT NULL) GROUP BY 1, 2, 3, 4"
    ).fetchall()
    return [
        FailureTally(STATES[int(state)], kind, handler, error, count, datetime.fromtimestamp(oldest, UTC))
        for state, kind, handler, error, count, oldest in rows
    ]


def has_room(db: sqlite3.Connection, most: int) -> bool:
    """Return whether *most* pages have room for another event; it writes, which fails on a full disk."""
    count, free = (
        int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("page_count", "freelist_count")
    )
    if most - count + free < _PAGES_OF_AN_EVENT:
        return False
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")  # unchanged
    return True


def _forget(db: sqlite3.Connection, where: str, values: Sequence[object]) -> int:
    """Delete the contents of some records; return the number of records."""
    db.execute(f"DELETE FROM contents WHERE id IN (SELECT id FROM events WHERE {where})", values)  # noqa: S608 - constants
    return db.execute(
        f"UPDATE events SET state = 3, lane = 0, done = '[]', failed = '[]' WHERE {where}",  # noqa: S608 - constants
        values,
    ).rowcount


def purge(
    db: sqlite3.Connection,
    which: RecordChoice,
    *,
    states: Sequence[RecordState],
    before: float | None,
    after: int,
    piece: int = PIECE,
) -> tuple[int, int]:
    """Forget the contents of at most *piece* records; keys remain, so that a repetition is recognised.

    Returns:
        The number of records, *piece* if there may be more, and the last id: the next *after*.
    """
    numbers = ",".join(str(_NUMBERS[state]) for state in states)
    conditions, values = [f"state IN ({numbers})", "id > ?"], list[float]([after])
    if which != "all":
        conditions.append("id = ?")
        values.append(which)
    if before is not None:
        conditions.append("received_at < ?")
        values.append(before)
    chosen = f"SELECT id FROM events WHERE {' AND '.join(conditions)} ORDER BY id LIMIT {piece}"  # noqa: S608 - constants
    count, last = db.execute(f"SELECT count(*), max(id) FROM ({chosen})", values).fetchone()  # noqa: S608 - the same
    if count:
        _forget(db, f"id IN ({chosen})", values)
    return count, last or after


def prune(
    db: sqlite3.Connection,
    start: int,
    *,
    handled: float,
    quarantined: float,
    keys: float,
    piece: int = PIECE,
) -> tuple[bool, int]:
    """Do one piece of the retention, by the ages of `sqlite_record_ages`.

    Args:
        db: The connection, inside a transaction.
        start: The id where the last piece ended, 0 for the first piece.
        handled: Forget handled records of this age, in seconds.
        quarantined: Forget quarantined records of this age, in seconds.
        keys: Delete forgotten records of this age, in seconds.
        piece: Maximum number of records.

    Returns:
        Whether more pieces remain, and the id where the next piece begins.
    """
    boundary, start = ages.end_of(db, handled, "by_clock"), max(start, _first_id(db))
    look_until = min(start + _SCAN, boundary)
    found, last = db.execute(
        "SELECT count(*), max(id) FROM "  # noqa: S608 - a number
        f"(SELECT id FROM events WHERE id >= ? AND id < ? AND state = 2 ORDER BY id LIMIT {piece})",
        (start, look_until),
    ).fetchone()
    if found:
        _forget(db, "id >= ? AND id <= ? AND state = 2", (start, last))
    reached = last + 1 if found == piece else look_until
    set_aside = _forget(
        db,
        "id IN (SELECT id FROM events WHERE state < 2 AND state = 1 AND id < ? "  # noqa: S608 - a number
        f"ORDER BY id LIMIT {piece})",
        (ages.end_of(db, quarantined, "measured"),),
    )
    most = min(_KEYS, piece)
    oldest = f"FROM events WHERE id < ? AND state = 3 ORDER BY id LIMIT {most}"
    before = ages.end_of(db, keys, "measured")
    db.execute(f"DELETE FROM keys WHERE key IN (SELECT key {oldest})", (before,))  # noqa: S608 - a number
    deleted = db.execute(f"DELETE FROM events WHERE id IN (SELECT id {oldest})", (before,)).rowcount  # noqa: S608 - the same
    if reached < boundary or set_aside == piece or deleted == most:
        return True, reached
    ages.forget_marks(db, handled, quarantined, keys)
    return False, 0  # the next round starts at the first record: pending records may be handled then


def _first_id(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT coalesce(min(id), 0) FROM events").fetchone()[0])


def count(db: sqlite3.Connection) -> RecordCounts:
    """Count by the partial index; ids ascend in the order of arrival, so the lowest one is the oldest."""
    found = db.execute(
        "SELECT state, count(*), min(id) FROM events WHERE state < 2 GROUP BY state"
    ).fetchall()
    numbers = {state: number for state, number, _ in found}
    first = next((lowest for state, _, lowest in found if state == PENDING), None)
    oldest = None
    if first is not None:
        (oldest,) = db.execute("SELECT received_at FROM events WHERE id = ?", (first,)).fetchone()
    return RecordCounts(numbers.get(PENDING, 0), numbers.get(QUARANTINED, 0), oldest)
