"""How old the records of an SQLite file are, whatever the wall clock says.

A mark says of all records up to its id that they are at least so old. Marks grow older by the time that the
inbox has measured, so a clock that jumps makes no record older or younger.
"""

from __future__ import annotations

import math
import sqlite3
from typing import Final, Literal

__all__ = ["SCHEMA", "AgeKind", "age", "aged_at", "end_of", "forget_marks"]

#: Which of the two ages of a mark counts, see `InboxStore.age`.
AgeKind = Literal["sure", "told"]

SCHEMA: Final = """
CREATE TABLE ages (
    id INTEGER PRIMARY KEY,
    sure REAL NOT NULL,
    told REAL NOT NULL,
    epoch REAL NOT NULL
)
"""


def aged_at(db: sqlite3.Connection) -> float | None:
    """The epoch time that `age` was given last; None when there was nothing to make older."""
    moment: float | None = db.execute("SELECT max(epoch) FROM ages").fetchone()[0]
    return moment


def age(db: sqlite3.Connection, *, sure: float, told: float, epoch: float, newest: bool) -> None:
    """Make every mark older and set one for the records that came since the last; see `InboxStore.age`."""
    if newest:
        _mark(db, epoch)
    db.execute("UPDATE ages SET sure = sure + ?, told = told + ?, epoch = ?", (sure, told, epoch))
    if not newest:
        _mark(db, epoch)


def _mark(db: sqlite3.Connection, epoch: float) -> None:
    # an id that is marked already keeps its age
    db.execute("INSERT OR IGNORE INTO ages SELECT id, 0, 0, ? FROM events ORDER BY id DESC LIMIT 1", (epoch,))


def end_of(db: sqlite3.Connection, seconds: float, clock: AgeKind) -> int:
    """One past the last id that is at least so old.

    Args:
        db: inside of a transaction.
        seconds: the age; 0 or less for all records.
        clock: which age counts.
    """
    if seconds <= 0:
        chosen = "SELECT max(id) FROM events"
        (last,) = db.execute(chosen).fetchone()
    else:
        chosen = f"SELECT max(id) FROM ages WHERE {clock} >= ?"  # noqa: S608 - one of two names
        (last,) = db.execute(chosen, (seconds,)).fetchone()
    return 0 if last is None else int(last) + 1


def forget_marks(db: sqlite3.Connection, *limits: float) -> None:
    """Drop the marks that tell nothing new: an age above all limits is needed once."""
    longest = max((limit for limit in limits if math.isfinite(limit)), default=0.0)
    db.execute(
        "DELETE FROM ages WHERE id < (SELECT max(id) FROM ages WHERE sure >= ? AND told >= ?)",
        (longest, longest),
    )
