"""The tables of an `OptOutList`: the statements, for a file of its own and for the file of a campaign.

A claim of a campaign runs them in its own transaction, on a connection that has the file attached.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from nexmo_dispatch_async.bulk.ledger.records import Cap, Suppressed

__all__ = [
    "APPLICATION_ID",
    "VERSION",
    "find",
    "forget",
    "free_at",
    "link",
    "make",
    "note",
    "page",
    "suppress",
    "unlink",
    "unnote",
    "unsuppress",
]

APPLICATION_ID: Final = 0x4E445050  # "NDPP"
VERSION: Final = 1

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS {0}.suppressed (
        address TEXT PRIMARY KEY, reason TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS {0}.contact (
        address TEXT NOT NULL, at REAL NOT NULL, source TEXT NOT NULL,
        PRIMARY KEY (address, at, source)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS {0}.same_person (
        address TEXT PRIMARY KEY, person TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS {0}.same_person_by_person ON same_person (person)",
)
# The name of a schema cannot be a parameter of a statement; it is `main` or `people`, never a user's text.
Schema = str


def make(db: sqlite3.Connection, schema: Schema) -> None:
    """Make the tables, where they are missing."""
    for table in _TABLES:
        db.execute(table.format(schema))


def suppress(
    db: sqlite3.Connection, schema: Schema, addresses: Sequence[str], *, reason: str, at: float
) -> int:
    """Add addresses, and the others of the same people; those that are there keep their reason."""
    addresses = _of_people(db, schema, addresses)
    insert = f"INSERT OR IGNORE INTO {schema}.suppressed VALUES (?, ?, ?)"  # noqa: S608 - see `Schema`
    return sum(db.execute(insert, (address, reason, at)).rowcount for address in addresses)


def unsuppress(db: sqlite3.Connection, schema: Schema, addresses: Sequence[str]) -> int:
    """Take addresses off, and the others of the same people."""
    addresses = _of_people(db, schema, addresses)
    delete = f"DELETE FROM {schema}.suppressed WHERE address = ?"  # noqa: S608 - see `Schema`
    return sum(db.execute(delete, (address,)).rowcount for address in addresses)


def link(db: sqlite3.Connection, schema: Schema, people: Sequence[Sequence[str]]) -> None:
    """Note the addresses of each person; where one of them is on the list, the others join it."""
    add = f"INSERT OR REPLACE INTO {schema}.same_person VALUES (?, ?)"  # noqa: S608 - see `Schema`
    for addresses in people:
        known = _of_people(db, schema, addresses)
        person = min(known)
        db.executemany(add, [(address, person) for address in known])
        if entries := find(db, schema, known):
            first = min(entries, key=lambda entry: entry.at)
            suppress(db, schema, known, reason=first.reason, at=first.at)


def unlink(db: sqlite3.Connection, schema: Schema, address: str) -> None:
    """Erase which other addresses a person has."""
    delete = f"DELETE FROM {schema}.same_person WHERE address = ?"  # noqa: S608 - see `Schema`
    db.executemany(delete, [(each,) for each in _of_people(db, schema, [address])])


def _of_people(db: sqlite3.Connection, schema: Schema, addresses: Sequence[str]) -> list[str]:
    """Return addresses with all others of the same people, each once."""
    query = (
        f"SELECT address FROM {schema}.same_person WHERE person ="  # noqa: S608 - see `Schema`
        f" (SELECT person FROM {schema}.same_person WHERE address = ?)"
    )
    found = dict.fromkeys(addresses)
    for address in addresses:
        found.update(dict.fromkeys(other for (other,) in db.execute(query, (address,))))
    return list(found)


def find(db: sqlite3.Connection, schema: Schema, addresses: Sequence[str]) -> list[Suppressed]:
    """Return the entries of addresses."""
    query = f"SELECT address, reason, at FROM {schema}.suppressed WHERE address = ?"  # noqa: S608 - see `Schema`
    rows = (row for address in addresses for row in db.execute(query, (address,)))
    return [Suppressed(address=address, reason=reason, at=at) for address, reason, at in rows]


def page(db: sqlite3.Connection, schema: Schema, *, after: str, limit: int) -> list[Suppressed]:
    """Return entries behind an address."""
    query = (
        f"SELECT address, reason, at FROM {schema}.suppressed"  # noqa: S608 - see `Schema`
        " WHERE address > ? ORDER BY address LIMIT ?"
    )
    rows = db.execute(query, (after, limit))
    return [Suppressed(address=address, reason=reason, at=at) for address, reason, at in rows]


def free_at(db: sqlite3.Connection, schema: Schema, address: str, cap: Cap, now: float) -> float | None:
    """Return when a person may get a message again, `None` when that is now."""
    query = (
        f"SELECT at FROM {schema}.contact WHERE address = ? AND at + ? > ?"  # noqa: S608 - see `Schema`
        " ORDER BY at DESC LIMIT ?"
    )
    counted = db.execute(query, (address, cap.window, now, cap.messages)).fetchall()
    return counted[-1][0] + cap.window if len(counted) >= cap.messages else None


def note(db: sqlite3.Connection, schema: Schema, messages: Sequence[tuple[str, float, str]]) -> None:
    """Count messages: address, epoch seconds, and the `client_ref` of the row."""
    insert = f"INSERT OR IGNORE INTO {schema}.contact VALUES (?, ?, ?)"  # noqa: S608 - see `Schema`
    db.executemany(insert, messages)


def unnote(db: sqlite3.Connection, schema: Schema, address: str, source: str) -> None:
    """Count the last message of a row no longer: it was not sent."""
    where = "address = ? AND source = ?"
    db.execute(
        f"DELETE FROM {schema}.contact WHERE {where}"  # noqa: S608 - see `Schema`
        f" AND at = (SELECT max(at) FROM {schema}.contact WHERE {where})",
        (address, source) * 2,
    )


def forget(db: sqlite3.Connection, schema: Schema, before: float, *, limit: int) -> int:
    """Erase at most *limit* old messages."""
    delete = (
        f"DELETE FROM {schema}.contact WHERE (address, at, source) IN"  # noqa: S608 - see `Schema`
        f" (SELECT address, at, source FROM {schema}.contact WHERE at < ? LIMIT ?)"
    )
    return db.execute(delete, (before, limit)).rowcount
