"""Counts the occurrences of keys in one pass over the rows, in bounded memory for any number of rows."""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from types import TracebackType
from typing import Self

__all__ = ["Seen"]

# About 8 MB; when there are more, they all move to a temporary file at once, which SQLite deletes itself.
_IN_MEMORY = 50_000
# Of the filter, which takes 4 MB: 1 of 300 new keys is looked for in a file of 1,000,000 keys in vain.
_BITS = 1 << 25
_CACHE_KIB = 4096
# Two places of it for each key.
_places = struct.Struct("<II8x").unpack


class Seen:
    """Counts keys by a hash of 128 bits; no key is stored.

    A new key, and nearly all are new, costs no look into the file: a filter proves that it is not there.

    Args:
        in_memory: Maximum number of keys in memory; a temporary file holds the others.
    """

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        self._limit = in_memory
        self._counts: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None
        self._filter = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        digest = _digest(key)
        return digest in self._counts or self._count_in_file(digest) > 0

    def count(self, key: str) -> int:
        """Count a key; return the number of its occurrences so far."""
        digest = _digest(key)
        known = self._counts.get(digest)
        if known is None and self._file is not None and self._count_in_file(digest):
            (number,) = self._file.execute(
                "UPDATE seen SET n = n + 1 WHERE key = ? RETURNING n", (digest,)
            ).fetchone()
            return int(number)
        number = self._counts[digest] = (known or 0) + 1
        if len(self._counts) > self._limit:
            self._move()
        return number

    def close(self) -> None:
        """Delete all counts."""
        self._counts.clear()
        self._filter.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _move(self) -> None:
        """Move the keys in memory to the file; none of them is there yet."""
        file = self._file
        if file is None:
            # "" is a private database that spills to a temporary file. Batches of rows are read in
            # whichever worker thread is free, one after the other.
            file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            file.execute("PRAGMA journal_mode = OFF")
            file.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID")
            file.execute("BEGIN")
            self._file = file
            self._filter = bytearray(_BITS // 8)
        flags = self._filter
        for digest in self._counts:
            a, b = _places(digest)
            a, b = a % _BITS, b % _BITS
            flags[a >> 3] |= 1 << (a & 7)
            flags[b >> 3] |= 1 << (b & 7)
        # In their order: neighbours share a page.
        file.executemany("INSERT INTO seen VALUES (?, ?)", sorted(self._counts.items()))
        self._counts.clear()

    def _count_in_file(self, digest: bytes) -> int:
        if self._file is None:
            return 0
        flags = self._filter
        a, b = _places(digest)
        a, b = a % _BITS, b % _BITS
        if not (flags[a >> 3] >> (a & 7) & flags[b >> 3] >> (b & 7) & 1):
            return 0
        found = self._file.execute("SELECT n FROM seen WHERE key = ?", (digest,)).fetchone()
        return 0 if found is None else int(found[0])


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
