"""Notes that processes leave in the file of an inbox for each other; they hold no personal data.

It runs on whatever connection it is given, inside of a transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

__all__ = ["SCHEMA", "erase", "read", "write"]

#: `worker`: the companion file that the process locks which handles events; `empty-log`: a request to it;
#: `owner`: whose events these are.
Name = Literal["worker", "empty-log", "owner"]

SCHEMA: Final = "CREATE TABLE inbox_notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


def read(db: sqlite3.Connection, name: Name) -> str | None:
    """What was written last."""
    row: tuple[str] | None = db.execute("SELECT value FROM inbox_notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def write(db: sqlite3.Connection, name: Name, value: str) -> None:
    """Replace what was written."""
    db.execute("REPLACE INTO inbox_notes VALUES (?, ?)", (name, value))


def erase(db: sqlite3.Connection, name: Name, value: str) -> None:
    """Take back a note, unless another one has replaced it."""
    db.execute("DELETE FROM inbox_notes WHERE name = ? AND value = ?", (name, value))
