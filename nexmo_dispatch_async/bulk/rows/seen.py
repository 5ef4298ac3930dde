"""Counts the occurrences of keys in one pass over the rows, in bounded memory for any number of rows."""

from __future__ import annotations

import hashlib
import sqlite3
from types import TracebackType
from typing import Self

__all__ = ["Seen"]

# About 30 MB; beyond that a temporary file takes over, which SQLite deletes itself.
_IN_MEMORY = 200_000


class Seen:
    """Counts keys by a hash of 128 bits; no key is stored.

    Args:
        in_memory: Maximum number of keys in memory; a temporary file is used for more.
    """

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._limit = in_memory
        self._counts: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        digest = _digest(key)
        if self._file is None:
            return digest in self._counts
        return self._file.execute("SELECT 1 FROM seen WHERE key = ?", (digest,)).fetchone() is not None

    def count(self, key: str) -> int:
        """Count a key; return the number of its occurrences so far."""
        digest = _digest(key)
        if self._file is not None:
            return self._count_in_file(self._file, digest)
        number = self._counts[digest] = self._counts.get(digest, 0) + 1
        if len(self._counts) > self._limit:
            self._move()
        return number

    def close(self) -> None:
        """Delete all counts."""
        self._counts.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _move(self) -> None:
        # "" is a private database that spills to a temporary file. Batches of rows are read in any free
        # worker thread, one after the other.
        file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        file.execute("PRAGMA cache_size = -16384")
        file.execute("PRAGMA journal_mode = OFF")
        file.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID")
        file.execute("BEGIN")
        file.executemany("INSERT INTO seen VALUES (?, ?)", self._counts.items())
        self._file = file
        self._counts.clear()

    def _count_in_file(self, file: sqlite3.Connection, digest: bytes) -> int:
        found = file.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET n = n + 1 RETURNING n", (digest,)
        ).fetchone()
        return int(found[0])


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
