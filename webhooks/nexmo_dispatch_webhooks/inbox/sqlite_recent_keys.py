"""`RecentKeys`: the keys of the newest records, which are in memory and not in the index yet.

Keys are hashes, so each new key belongs on another page of the index, and a commit writes every page that it
changes: a complete index would cost a third of each commit. So new keys are collected, and the process that
handles events moves them to the index in their order, many to a page. The records are durable at once, and
each process that opens the file reads the keys of the newest records.

Every method runs inside a transaction of the caller. After a rollback the caller calls `forget`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes

__all__ = ["PIECE", "SCHEMA", "RecentKeys"]

SCHEMA: Final = "CREATE TABLE keys (key BLOB PRIMARY KEY) WITHOUT ROWID"
#: Maximum number of keys that move in one transaction, and the number of recent keys at which a move begins:
#: the more keys, the more of them share a page of a large index, and the longer their sort.
PIECE: Final = 256
_MANY: Final = 16_384
#: Bytes of a key.
_KEY: Final = 16


class RecentKeys:
    """The recent keys of a file, as far as one connection knows them."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Discard all keys; the next call reads the file."""
        self._keys: set[bytes] = set()
        self._last: int | None = None
        self._most = 0
        # the keys that are being moved, in their order, and the last id among their records
        self._moving: list[bytes] = []
        self._moved = 0
        self._until = 0

    def known(self, db: sqlite3.Connection, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of *keys* that a stored record has."""
        if self._last is None:
            self._read(db)
        rows = db.execute(_look_up_sql(len(keys)), (*keys, self._last)).fetchall()
        if (None,) in rows:  # another process has stored records
            self._read(db)
        found = self._keys.intersection(keys)
        found.update(key for (key,) in rows if key is not None)
        return found

    def note(self, last: int, keys: Iterable[bytes]) -> None:
        """Note records that the transaction of `known` has stored, so that the next call need not read them.

        Args:
            last: The last of their ids.
            keys: Their keys.
        """
        self._last = last
        self._keys.update(keys)

    def wants_move(self, *, holder: bool) -> bool:
        """Return whether `move` is due.

        Args:
            holder: Whether this process holds the claim. The other processes discard moved keys from time to
                time.
        """
        if holder:
            return bool(self._moving) or len(self._keys) >= _MANY
        if self._moving or len(self._keys) > self._most:
            self.forget()
        return False

    def move(self, db: sqlite3.Connection) -> None:
        """Move one piece of the keys to the index; they are not recent any more once all pieces are there."""
        self._read(db)
        if not self._moving:
            self._moving, self._moved, self._until = sorted(self._keys), 0, self._last or 0
        piece = self._moving[self._moved : self._moved + PIECE]
        if piece:
            # repeated up to the size of a piece, since a statement for each size would be compiled and kept
            db.execute(_insert_sql(PIECE), piece + piece[-1:] * (PIECE - len(piece)))
            self._moved += len(piece)
        if self._moved == len(self._moving):
            notes.write(db, "indexed", str(self._until))
            self._keys.difference_update(self._moving)
            self._moving = []

    def _read(self, db: sqlite3.Connection) -> None:
        """Read the keys that other processes have stored since the last call, or all recent ones."""
        opening = self._last is None
        if self._last is None:
            self._last = _indexed(db)
        # as one row, see `sqlite_statements`
        last, found = db.execute(
            "SELECT max(id), group_concat(hex(key), '') FROM events WHERE id > ?", (self._last,)
        ).fetchone()
        if last is not None:
            self._last = last
            keys = bytes.fromhex(found)
            self._keys.update(keys[start : start + _KEY] for start in range(0, len(keys), _KEY))
        if opening:
            self._most = 2 * max(_MANY, len(self._keys))


def _indexed(db: sqlite3.Connection) -> int:
    """Return the last id up to which all keys are in the index."""
    return int(notes.read(db, "indexed") or 0)


@cache
def _look_up_sql(number: int) -> str:
    """Return the statement that finds keys in the index, and NULL if there are records above an id."""
    return (
        f"SELECT key FROM keys WHERE key IN ({','.join('?' * number)}) "  # noqa: S608 - only question marks
        "UNION ALL SELECT NULL WHERE EXISTS (SELECT 1 FROM events WHERE id > ?)"
    )


@cache
def _insert_sql(number: int) -> str:
    return f"INSERT OR IGNORE INTO keys VALUES {','.join(['(?)'] * number)}"  # noqa: S608 - the same
