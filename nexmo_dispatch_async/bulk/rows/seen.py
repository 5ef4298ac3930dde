"""Counts the occurrences of keys in one pass over the rows, in bounded memory for any number of rows."""

from __future__ import annotations

import sqlite3
import struct
import tempfile
from array import array
from hashlib import blake2b
from itertools import accumulate
from types import TracebackType
from typing import IO, Self

__all__ = ["Seen"]

# Hashes in memory, about 25 MB of them; when there are more, they all move to a temporary file.
_IN_MEMORY = 1_000_000
# Lists of hashes: so many that a search in one of them takes less than a microsecond.
_BUCKETS = 8192
_SIZE = 16
# Of the filter, which takes 8 MB: 1 of 15 new keys is looked for in a file of 10,000,000 keys in vain.
_BITS = 1 << 26
# Two places of it for each hash.
_places = struct.Struct("<8xII4x").iter_unpack
# A hash, and the line of its first occurrence.
_ENTRY = struct.Struct("<16sI")
_pack = _ENTRY.pack
_places_of = struct.Struct("<8xII").unpack
_LAST_LINE = (1 << 32) - 1
# Keys in memory that came more than once.
_REPEATED = 50_000


class Seen:
    """Counts keys by a hash of 128 bits, and knows the line of the first; no key is stored.

    A new key, and nearly all are new, costs no look into the file: a filter proves that it is not there.

    Args:
        in_memory: Maximum number of hashes in memory; a temporary file holds the others.
        repeated: The same, for the keys that occurred more than once.
    """

    def __init__(self, in_memory: int = _IN_MEMORY, repeated: int = _REPEATED) -> None:
        self._limit, self._room = in_memory, in_memory
        self._buckets = [bytearray() for _ in range(_BUCKETS)]
        self._repeats = _Repeats(repeated)
        # The file: for each time that hashes moved to it, where each bucket begins, and the last one ends.
        self._file: IO[bytes] | None = None
        self._moved: list[array[int]] = []
        self._filter = bytearray()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        digest = _digest(key)
        number = digest[0] << 5 | digest[1] >> 3
        return digest in self._buckets[number] or self._line_in_file(digest, number) is not None

    def first(self, key: str) -> int:
        """Return the line of the first occurrence of a key; 0 for a key without one."""
        digest = _digest(key)
        number = digest[0] << 5 | digest[1] >> 3
        return _line_in(self._buckets[number], digest) or self._line_in_file(digest, number) or 0

    def count(self, key: str, line: int = 0) -> int:
        """Count a key; return the number of its occurrences so far.

        Args:
            key: The key.
            line: Line of the source, from 1.
        """
        digest = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()
        number = digest[0] << 5 | digest[1] >> 3
        bucket = self._buckets[number]
        if digest in bucket or (self._file is not None and self._line_in_file(digest, number) is not None):
            return self._repeats.count(digest)
        bucket += _pack(digest, line if line <= _LAST_LINE else 0)
        self._room -= 1
        if not self._room:
            self._move()
        return 1

    def close(self) -> None:
        """Delete all counts."""
        for bucket in self._buckets:
            bucket.clear()
        self._filter.clear()
        self._moved.clear()
        self._repeats.close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _move(self) -> None:
        """Move the hashes in memory to the file."""
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
            self._filter = bytearray(_BITS // 8)
        begin = self._file.seek(0, 2)
        self._moved.append(array("Q", accumulate(map(len, self._buckets), initial=begin)))
        flags = self._filter
        for bucket in self._buckets:
            for a, b in _places(bucket):
                flags[(a % _BITS) >> 3] |= 1 << (a & 7)
                flags[(b % _BITS) >> 3] |= 1 << (b & 7)
            self._file.write(bucket)
            bucket.clear()
        self._file.flush()
        self._room = self._limit

    def _line_in_file(self, digest: bytes, number: int) -> int | None:
        """Return the line of a hash in the file; `None` for a hash that is not there."""
        file, flags = self._file, self._filter
        if file is None:
            return None
        a, b = _places_of(digest)
        if not flags[(a % _BITS) >> 3] >> (a & 7) & flags[(b % _BITS) >> 3] >> (b & 7) & 1:
            return None
        for begins in self._moved:
            file.seek(begins[number])
            line = _line_in(file.read(begins[number + 1] - begins[number]), digest)
            if line is not None:
                return line
        return None


class _Repeats:
    """Counts the keys that occurred before, which are few, or else are counted in a temporary file."""

    def __init__(self, in_memory: int) -> None:
        self._limit = in_memory
        self._counts: dict[bytes, int] = {}
        self._file: sqlite3.Connection | None = None

    def count(self, digest: bytes) -> int:
        """Count the second or a later occurrence of a key."""
        known = self._counts.get(digest)
        if known is None and self._file is not None:
            found = self._file.execute(
                "UPDATE seen SET n = n + 1 WHERE key = ? RETURNING n", (digest,)
            ).fetchone()
            if found is not None:
                return int(found[0])
        number = self._counts[digest] = (known or 1) + 1
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
        file = self._file
        if file is None:
            # "" is a private database that spills to a temporary file, which SQLite deletes itself. Batches
            # of rows are read in whichever worker thread is free, one after the other.
            file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            file.execute("PRAGMA journal_mode = OFF")
            file.execute("CREATE TABLE seen (key BLOB PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID")
            file.execute("BEGIN")
            self._file = file
        # In their order: neighbours share a page.
        file.executemany("INSERT INTO seen VALUES (?, ?)", sorted(self._counts.items()))
        self._counts.clear()


def _line_in(entries: bytes | bytearray, digest: bytes) -> int | None:
    """Return the line of a hash among entries; `None` for a hash that is not there."""
    at = entries.find(digest)
    return None if at < 0 else _ENTRY.unpack_from(entries, at)[1]


def _digest(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_SIZE).digest()
