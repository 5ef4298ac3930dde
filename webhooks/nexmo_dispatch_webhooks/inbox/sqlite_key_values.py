"""Key-value pairs in the file of an inbox, by which processes inform each other; no personal data.

Every function runs on the given connection, inside a transaction of the caller.
"""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

__all__ = ["SCHEMA", "erase", "read", "write"]

#: `worker`: the identity of the companion file that the process that handles events has locked;
#: `empty-log`: a request to that process; `owner`: the owner of the events; `indexed`: the last id up to
#: which the index has all keys; `spare`: zeros that are written and erased at once, which leaves free pages.
Name = Literal["worker", "empty-log", "owner", "indexed", "spare"]

SCHEMA: Final = "CREATE TABLE inbox_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


def read(db: sqlite3.Connection, name: Name) -> str | None:
    """Return the value of a key."""
    row: tuple[str] | None = db.execute("SELECT value FROM inbox_notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def write(db: sqlite3.Connection, name: Name, value: str | bytes) -> None:
    """Set the value of a key."""
    db.execute("REPLACE INTO inbox_notes VALUES (?, ?)", (name, value))


def erase(db: sqlite3.Connection, name: Name, value: str | None = None) -> None:
    """Delete a key; with *value*, unless its value has changed."""
    db.execute("DELETE FROM inbox_notes WHERE name = ? AND value = coalesce(?, value)", (name, value))
