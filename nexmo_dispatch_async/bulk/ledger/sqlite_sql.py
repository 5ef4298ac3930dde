"""The tables of a campaign in SQLite, and what each call of a ledger does to them within a transaction.

`recipient` is written once. `state` is small and changes; a partial index finds its ready rows by lane, which
is a bucket and a zone. The numbers are kept in memory: a `Work` holds what its transaction changes of them.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

import msgspec

from nexmo_dispatch_async.bulk.ledger import sqlite_rows as rows
from nexmo_dispatch_async.bulk.ledger.records import (
    SKIP_REASONS,
    Added,
    Counts,
    Recipient,
    Row,
    State,
)
from nexmo_dispatch_async.bulk.ledger.transitions import Tally
from nexmo_dispatch_async.exceptions import LedgerError

__all__ = ["SCHEMA", "UUID_INDEX", "Book", "Work", "add", "due", "expire", "load", "load_names", "scan"]

SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE lane (id INTEGER PRIMARY KEY, bucket TEXT NOT NULL, zone TEXT NOT NULL)",
    "CREATE TABLE shape (id INTEGER PRIMARY KEY, names BLOB NOT NULL)",
    "CREATE TABLE key (key TEXT PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE recipient (
        id INTEGER PRIMARY KEY, address TEXT NOT NULL, key TEXT, shape INTEGER NOT NULL, fields BLOB,
        line INTEGER, language TEXT, variant TEXT, channels BLOB)""",
    """CREATE TABLE state (
        id INTEGER PRIMARY KEY, state INTEGER NOT NULL, lane INTEGER NOT NULL, not_before REAL, expires REAL,
        attempts INTEGER, at REAL, uuid BLOB, error TEXT, code TEXT, skip INTEGER, worker TEXT)""",
    "CREATE INDEX state_ready ON state (lane) WHERE state = 0",
    "CREATE INDEX state_later ON state (not_before) WHERE state = 1",
    "CREATE INDEX state_expires ON state (expires) WHERE state < 2 AND expires IS NOT NULL",
    """CREATE TABLE news (
        id INTEGER PRIMARY KEY, ended INTEGER NOT NULL, reached TEXT NOT NULL, cost TEXT NOT NULL,
        currency TEXT NOT NULL, at REAL NOT NULL, body BLOB NOT NULL)""",
)
#: Made with the first callback: ids come in no order, so that each row of a wave changes a page of it.
UUID_INDEX: Final = "CREATE INDEX IF NOT EXISTS state_uuid ON state (uuid) WHERE uuid IS NOT NULL"
SCAN: Final = (
    "SELECT s.id, s.state, s.lane, s.not_before, s.expires, s.attempts, s.at, s.uuid, s.error, s.code,"
    " s.skip, r.address, r.key, r.shape, r.fields, r.line, r.language, r.variant, r.channels, n.body"
    " FROM state s JOIN recipient r ON r.id = s.id LEFT JOIN news n ON n.id = s.id WHERE s.id > ?"
)

#: Rows that one statement inserts, as many as are left: SQLite takes at least 32,766 values.
_TOGETHER: Final = (2500, 250, 25, 1)
#: Rows that are counted at a time.
_PIECE: Final = 50_000


class Book:
    """What is known in memory of the committed rows.

    Attributes:
        tally: The numbers.
        ready: Ready rows by lane.
        later: Rows that wait for their `not_before`, by lane.
        lanes: Bucket and zone by lane.
        names: Names of fields by shape.
        claims: How often a row was claimed, over all rows: never less than before.
        last: The highest id.
    """

    def __init__(self) -> None:
        self.tally: Tally = Tally()
        self.ready: Counter[int] = Counter()
        self.later: Counter[int] = Counter()
        self.lanes: dict[int, tuple[str, str]] = {}
        self.lane_ids: dict[tuple[str, str], int] = {}
        self.names: dict[int, list[str]] = {}
        self.shape_ids: dict[tuple[str, ...], int] = {}
        self.claims = 0
        self.last = 0


class Work:
    """One transaction: its connection, and what it changes of the `Book`.

    Args:
        db: In a transaction.
        book: What is committed.
        opt_outs: Schema of the opt-out list.
        shared: Whether other campaigns count the messages to a person as well.
        reference: Of the ledger.
    """

    def __init__(
        self, db: sqlite3.Connection, book: Book, *, opt_outs: str, shared: bool, reference: str
    ) -> None:
        self.db: sqlite3.Connection = db
        self.book: Book = book
        self.opt_outs: str = opt_outs
        self.shared: bool = shared
        self.reference: str = reference
        self.tally: Tally = Tally()
        self.ready: Counter[int] = Counter()
        self.later: Counter[int] = Counter()
        self.lanes: dict[int, tuple[str, str]] = {}
        self.shapes: dict[int, list[str]] = {}
        self.claims = 0
        self.added = 0

    def counts(self) -> Counts:
        """Return the numbers, those of this transaction included."""
        tally = self.book.tally
        tally.include(self.tally)
        try:
            return tally.counts()
        finally:
            tally.include(self.tally.negative())

    def commit(self) -> None:
        """Add the change to the book: the transaction is committed."""
        book = self.book
        book.tally.include(self.tally)
        book.ready.update(self.ready)
        book.later.update(self.later)
        book.claims += self.claims
        book.last += self.added

    def undo(self) -> None:
        """Take out of the book what the transaction had to put there: it was rolled back."""
        for lane, key in self.lanes.items():
            del self.book.lanes[lane], self.book.lane_ids[key]
        for shape, names in self.shapes.items():
            del self.book.names[shape], self.book.shape_ids[tuple(names)]

    def move(self, lane: int, before: int, after: int, n: int = 1) -> None:
        """Count rows of a lane that went from one code to another."""
        self.tally.move(rows.state_of(before), rows.state_of(after), n)
        self.count(lane, before, -n)
        self.count(lane, after, n)

    def count(self, lane: int, code: int, n: int) -> None:
        """Count pending rows of a lane."""
        if code == rows.READY:
            self.ready[lane] += n
        elif code == rows.LATER:
            self.later[lane] += n

    def pending(self) -> dict[int, int]:
        """Ready rows by lane, those of this transaction included."""
        book = self.book
        return {lane: n for lane in book.lanes if (n := book.ready[lane] + self.ready[lane]) > 0}

    def waiting(self) -> dict[int, int]:
        """Rows that wait for their time, by lane."""
        book = self.book
        return {lane: n for lane in book.lanes if (n := book.later[lane] + self.later[lane]) > 0}

    def lane(self, bucket: str, zone: str) -> int:
        """Return the number of a lane, which is made when it is new."""
        found = self.book.lane_ids.get((bucket, zone))
        if found is None:
            found = len(self.book.lanes) + 1
            self.db.execute("INSERT INTO lane VALUES (?, ?, ?)", (found, bucket, zone))
            self.book.lane_ids[bucket, zone] = found
            self.book.lanes[found] = self.lanes[found] = (bucket, zone)
        return found

    def shape(self, names: tuple[str, ...]) -> int:
        """Return the number of a set of names of fields, which is made when it is new."""
        found = self.book.shape_ids.get(names)
        if found is None:
            found = len(self.book.names) + 1
            self.db.execute("INSERT INTO shape VALUES (?, ?)", (found, msgspec.json.encode(names)))
            self.book.shape_ids[names] = found
            self.book.names[found] = self.shapes[found] = list(names)
        return found

    def source(self, row_id: int) -> str:
        """Return the `client_ref` of a row."""
        return f"{self.reference}-{row_id}"


# --- opening ---


def load(db: sqlite3.Connection) -> Book:
    """Read the book by counting all rows."""
    book = load_names(db)
    (book.last,) = db.execute("SELECT coalesce(max(id), 0) FROM recipient").fetchone()
    # In pieces, since SQLite sorts what it groups, in memory.
    for first in range(1, book.last + 1, _PIECE):
        _load_piece(db, book, first, first + _PIECE - 1)
    return book


def _load_piece(db: sqlite3.Connection, book: Book, first: int, last: int) -> None:
    grouped = (
        "SELECT state, lane, skip, count(*), sum(attempts) FROM state WHERE id BETWEEN ? AND ?"
        " GROUP BY state, lane, skip"
    )
    for code, lane, skip, n, claims in db.execute(grouped, (first, last)):
        book.tally.add(rows.state_of(code), rows.skip_of(skip), n)
        book.claims += claims or 0
        if code == rows.READY:
            book.ready[lane] += n
        elif code == rows.LATER:
            book.later[lane] += n
    _load_news(db, book.tally, first, last)


def load_names(db: sqlite3.Connection) -> Book:
    """Read a book without its numbers."""
    book = Book()
    for lane, bucket, zone in db.execute("SELECT id, bucket, zone FROM lane"):
        book.lanes[lane] = bucket, zone
        book.lane_ids[bucket, zone] = lane
    for shape, names in db.execute("SELECT id, names FROM shape"):
        book.names[shape] = msgspec.json.decode(names, type=list[str])
        book.shape_ids[tuple(book.names[shape])] = shape
    return book


def _load_news(db: sqlite3.Connection, tally: Tally, first: int, last: int) -> None:
    grouped = (
        "SELECT ended, reached, cost, currency, count(*) FROM news WHERE id BETWEEN ? AND ?"
        " GROUP BY ended, reached, cost, currency"
    )
    for ended, reached, cost, currency, n in db.execute(grouped, (first, last)):
        tally.ended += n if ended else 0
        if reached:
            tally.reached[reached] += n
        tally.pay(cost, currency, n)


# --- adding ---


def add(work: Work, recipients: Sequence[Recipient], now: float) -> Added:
    """Add rows whose key is new."""
    db, first = work.db, work.book.last + work.added + 1
    duplicates: list[int] = []
    keys = [(recipient.key, first + n) for n, recipient in enumerate(recipients)]
    db.execute("SAVEPOINT keys")
    # In the order of the keys: neighbours share a page.
    if _insert(db, "INSERT OR IGNORE INTO key", sorted(keys)) < len(keys):
        db.execute("ROLLBACK TO keys")
        duplicates = _duplicates(db, recipients)
        left_out = set(duplicates)
        recipients = [recipient for n, recipient in enumerate(recipients) if n not in left_out]
        keys = [(recipient.key, first + n) for n, recipient in enumerate(recipients)]
        _insert(db, "INSERT INTO key", sorted(keys))
    db.execute("RELEASE keys")
    _insert(
        db,
        "INSERT INTO recipient",
        [_recipient(work, first + n, recipient) for n, recipient in enumerate(recipients)],
    )
    if not _insert_ready(work, first, recipients):
        _insert(
            db,
            "INSERT INTO state (id, state, lane, not_before, expires, at, skip)",
            [_state(work, first + n, recipient, now) for n, recipient in enumerate(recipients)],
        )
    work.added += len(recipients)
    return Added(added=len(recipients), duplicates=tuple(duplicates))


def _insert_ready(work: Work, first: int, recipients: Sequence[Recipient]) -> bool:
    """Insert the states of rows of one lane that are all ready, and return whether they are."""
    lanes = {(recipient.bucket, recipient.zone) for recipient in recipients}
    if len(lanes) != 1 or any(
        recipient.not_before or recipient.expires != math.inf or recipient.skip is not None
        for recipient in recipients
    ):
        return False
    lane, count = work.lane(*lanes.pop()), len(recipients)
    work.db.execute(
        "INSERT INTO state (id, state, lane) SELECT id, 0, ? FROM recipient WHERE id BETWEEN ? AND ?",
        (lane, first, first + count - 1),
    )
    work.tally.add("pending", n=count)
    work.count(lane, rows.READY, count)
    return True


def _insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]]) -> int:
    """Insert rows, and return how many were inserted.

    Many in a statement: after each step of a statement this thread waits for the interpreter, for up to five
    milliseconds while the thread that reads the next rows computes.
    """
    count = first = 0
    for together in _TOGETHER:
        while len(rows) - first >= together:
            values = list(chain.from_iterable(rows[first : first + together]))
            count += db.execute(_insertion(into, len(rows[0]), together), values).rowcount
            first += together
    return count


@cache
def _insertion(into: str, columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{into} VALUES {', '.join([row] * count)}"


def _duplicates(db: sqlite3.Connection, recipients: Sequence[Recipient]) -> list[int]:
    seen: set[str] = set()
    found: list[int] = []
    for n, recipient in enumerate(recipients):
        known = db.execute("SELECT 1 FROM key WHERE key = ?", (recipient.key,)).fetchone()
        if known is not None or recipient.key in seen:
            found.append(n)
        seen.add(recipient.key)
    return found


def _recipient(work: Work, row_id: int, recipient: Recipient) -> tuple[Any, ...]:
    return (
        row_id,
        recipient.address,
        None if recipient.key == recipient.address else recipient.key,
        work.shape(tuple(recipient.fields)),
        msgspec.json.encode(list(recipient.fields.values())),
        recipient.line or None,
        recipient.language or None,
        recipient.variant or None,
        msgspec.json.encode(recipient.channels) if recipient.channels else None,
    )


def _state(work: Work, row_id: int, recipient: Recipient, now: float) -> tuple[Any, ...]:
    lane = work.lane(recipient.bucket, recipient.zone)
    not_before = recipient.not_before or None
    expires = None if recipient.expires == math.inf else recipient.expires
    if recipient.skip is not None:
        code, at = rows.SKIPPED, now
    else:
        code, at = rows.READY if not_before is None else rows.LATER, None
    work.tally.add(rows.state_of(code), recipient.skip)
    work.count(lane, code, 1)
    return row_id, code, lane, not_before, expires, at, rows.skip_code(recipient.skip)


# --- reading, and what goes by time ---


def due(work: Work) -> float | None:
    """Return when the next pending row is due."""
    if work.pending():
        return 0.0
    if not work.waiting():
        return None
    query = "SELECT min(not_before) FROM state INDEXED BY state_later WHERE state = 1"
    (found,) = work.db.execute(query).fetchone()
    return float(found)


def expire(work: Work, now: float, limit: int) -> int:
    """Skip rows whose time is over."""
    found = work.db.execute(
        "SELECT id, lane, state FROM state INDEXED BY state_expires WHERE state < 2 AND expires <= ?"
        " ORDER BY expires, id LIMIT ?",
        (now, limit),
    ).fetchall()
    reason = SKIP_REASONS.index("expired")
    work.db.executemany(
        "UPDATE state SET state = 6, at = ?, skip = ? WHERE id = ?",
        ((now, reason, row_id) for row_id, _, _ in found),
    )
    for _, lane, code in found:
        work.move(lane, code, rows.SKIPPED)
    work.tally.skipped["expired"] += len(found)
    return len(found)


def scan(work: Work, state: State | None, after: int, limit: int) -> list[Row]:
    """Return a page of rows."""
    condition = ""
    if state is not None:
        if state not in rows.CODES:
            raise LedgerError(f"there is no state {state!r}: it is one of {', '.join(rows.CODES)}")
        condition = f" AND s.state IN ({', '.join(map(str, rows.CODES[state]))})"
    found = work.db.execute(f"{SCAN}{condition} ORDER BY s.id LIMIT ?", (after, limit))
    book = work.book
    return [rows.row_of(row, book.lanes, book.names, work.source(row[0])) for row in found]
