"""Detects whether an SQLite file and its log are still the files that a connection has open.

The module changes nothing. SQLite writes without an error to files that were removed, replaced or truncated:
such commits are lost with the process.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["LOG_HEADER", "Identity"]

#: Bytes of the header of a log, and of that of each of its frames (https://sqlite.org/fileformat2.html#walformat).
LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24


class _Seen(NamedTuple):
    device: int
    inode: int
    size: int


class Identity:
    """Device, inode and size of a file and its log: as opened, and grown since.

    Args:
        path: The file, which must exist.

    Raises:
        OSError: The file does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._log_path = self._path + "-wal"
        seen = _look(self._path)
        if seen is None:
            raise FileNotFoundError(self._path)
        self._file = seen
        self._log: _Seen | None = None

    def note_log(self) -> None:
        """Note the identity of the log, which SQLite has opened or created by now."""
        self._log = _look(self._log_path)

    def lost_log_only(self) -> bool:
        """Whether the file is intact, its log is lost, and there is no new log."""
        file = _look(self._path)
        return (
            self._log is not None
            and _look(self._log_path) is None
            and file is not None
            and file[:2] == self._file[:2]
            and file.size >= self._file.size
        )

    def damage(self, connection: sqlite3.Connection) -> str | None:
        """Return the damage, in words that follow the name of the file; None if there is none.

        Args:
            connection: The connection that has the files open, outside a transaction. It is used only when a
                file has become smaller, which may be correct: VACUUM, or a log that was moved.
        """
        file = _look(self._path)
        if file is None:
            return "was removed or renamed"
        if file[:2] != self._file[:2]:
            return "was replaced by another file"
        log = _look(self._log_path)
        if self._log is not None:
            if log is None:
                return "has lost its log: the -wal file was removed or renamed"
            if log[:2] != self._log[:2]:
                return "has lost its log: the -wal file was replaced by another one"
        if file.size < self._file.size and not _holds_all_pages(connection, file.size):
            return "was truncated"
        if self._log is not None and log is not None:
            if log.size < self._log.size and not _holds_all_frames(connection, log.size):
                return "has lost its log: the -wal file was truncated"
            self._log = log
        self._file = file
        return None


def _look(path: str) -> _Seen | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - twice in each commit
    except OSError:  # also when the folder is missing or inaccessible
        return None
    return _Seen(found.st_dev, found.st_ino, found.st_size)


def _holds_all_pages(connection: sqlite3.Connection, size: int) -> bool:
    try:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    except sqlite3.Error:
        return False
    return bool(pages * page_size <= size)


def _holds_all_frames(connection: sqlite3.Connection, size: int) -> bool:
    try:
        # Moves as much of the log as possible, and returns its number of frames; it fails at missing frames.
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    except sqlite3.Error:
        return False
    return bool(frames <= 0 or LOG_HEADER + frames * (_FRAME_HEADER + page_size) <= size)
