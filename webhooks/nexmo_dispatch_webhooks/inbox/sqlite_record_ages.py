"""The ages of the records of an SQLite file, independent of the wall clock.

A mark holds a minimum age of all records up to its id. The inbox adds the time that it has measured to all
marks, so a jump of the clock makes no record older or younger.
"""

from __future__ import annotations

import math
import sqlite3
from typing import Final, Literal

__all__ = ["SCHEMA", "AgeKind", "age", "aged_at", "end_of", "forget_marks"]

#: The two ages of a mark, see `InboxStore.age`.
AgeKind = Literal["measured", "by_clock"]

SCHEMA: Final = """
CREATE TABLE ages (
    id INTEGER PRIMARY KEY,
    measured REAL NOT NULL,
    by_clock REAL NOT NULL,
    epoch REAL NOT NULL
)
"""


def aged_at(db: sqlite3.Connection) -> float | None:
    """Return the epoch time of the last call of `age`; None when there was no record."""
    moment: float | None = db.execute("SELECT max(epoch) FROM ages").fetchone()[0]
    return moment


def age(db: sqlite3.Connection, *, measured: float, by_clock: float, epoch: float, newest: bool) -> None:
    """Add time to every mark, and set a mark for the records since the last one; see `InboxStore.age`."""
    if newest:
        _mark(db, epoch)
    db.execute(
        "UPDATE ages SET measured = measured + ?, by_clock = by_clock + ?, epoch = ?",
        (measured, by_clock, epoch),
    )
    if not newest:
        _mark(db, epoch)


def _mark(db: sqlite3.Connection, epoch: float) -> None:
    # an id with a mark keeps its age
    db.execute("INSERT OR IGNORE INTO ages SELECT id, 0, 0, ? FROM events ORDER BY id DESC LIMIT 1", (epoch,))


def end_of(db: sqlite3.Connection, seconds: float, kind: AgeKind) -> int:
    """Return the last id of at least an age, plus one.

    Args:
        db: The connection, inside a transaction.
        seconds: The age; 0 or less for all records.
        kind: Which age counts.
    """
    if seconds <= 0:
        chosen = "SELECT max(id) FROM events"
        (last,) = db.execute(chosen).fetchone()
    else:
        chosen = f"SELECT max(id) FROM ages WHERE {kind} >= ?"  # noqa: S608 - one of two names
        (last,) = db.execute(chosen, (seconds,)).fetchone()
    return 0 if last is None else int(last) + 1


def forget_marks(db: sqlite3.Connection, *limits: float) -> None:
    """Delete redundant marks: of the marks above all limits only the last one is needed."""
    longest = max((limit for limit in limits if math.isfinite(limit)), default=0.0)
    db.execute(
        "DELETE FROM ages WHERE id < (SELECT max(id) FROM ages WHERE measured >= ? AND by_clock >= ?)",
        (longest, longest),
    )
