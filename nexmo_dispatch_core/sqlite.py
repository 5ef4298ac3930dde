"""`SqliteFile`: an SQLite file with a write-ahead log, for its owner only, and checked while it is open.

It knows no table. The stores of both packages open their files with it, and call `damage` before they
acknowledge a write.
"""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from nexmo_dispatch_core import private_files
from nexmo_dispatch_core.sqlite_identity import LOG_HEADER as _LOG_HEADER
from nexmo_dispatch_core.sqlite_identity import Identity

__all__ = ["SqliteFile", "is_locked"]

#: Seconds between two attempts at an operation for which SQLite does not wait.
_AGAIN: Final = 0.01
_ZEROS: Final = bytes(256 * 1024)
_IN_USE: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteFile:
    """A connection to a file, with all links resolved.

    Call `keep_log` and then `watch` before the first write. Until then a file of another program can be
    inspected, and remains unchanged.

    Args:
        path: The file; created, for its owner only, when it is missing. `":memory:"` is no file.
        busy_timeout: Maximum wait, in seconds, for other processes that use the file.
        statements: Maximum number of compiled statements in the cache.

    Raises:
        PermissionError: The file, or the link to it, belongs to another user.
        OSError: The file is missing and cannot be created.
        sqlite3.Error: The file cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float, statements: int = 128) -> None:
        self._busy_timeout = busy_timeout
        self._identity: Identity | None = None
        self._keeper: sqlite3.Connection | None = None
        #: The path of the file; None in memory.
        self.path: Path | None = None
        #: Why other users may read the file, in words that follow its name.
        self.exposure: str | None = None
        if os.fspath(path) not in {":memory:", ""}:
            self.path = private_files.locate(path)
            private_files.create(self.path)
            self.exposure = private_files.exposure(self.path)
            self._identity = Identity(self.path)
        #: The connection, for one thread at a time.
        self.connection: sqlite3.Connection = sqlite3.connect(
            self.path or ":memory:",
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=statements,
        )

    def keep_log(self) -> None:
        """Switch to a write-ahead log, so that other connections read while one writes.

        Raises:
            sqlite3.Error: The file was in use for longer than *busy_timeout*, or is no database.
        """
        until = time.monotonic() + self._busy_timeout
        while True:
            try:
                self.connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                # SQLite does not wait for a lock here as it does elsewhere.
                if not is_locked(error) or time.monotonic() >= until:
                    raise
                time.sleep(_AGAIN)
            else:
                return

    def watch(self) -> None:
        """Note the identity of the file and its log, which `damage` compares from now on.

        Raises:
            sqlite3.Error: The file cannot be read.
        """
        if self.path is None or self._identity is None:
            return
        self._read()  # opens the log
        # A second, read-only connection for `close`: as long as it is open, the first connection is not the
        # last one, and SQLite does not move the log and remove it by its name.
        self._keeper = sqlite3.connect(
            f"file:{quote(os.fsencode(self.path))}?mode=ro",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=1,
        )
        self._keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._identity.note_log()

    def damage(self) -> str | None:
        """Return why commits may be lost, in words that follow the name of the file; None if they are safe.

        It costs two `stat` calls. Call it outside a transaction: before it, since the next write fills the
        hole that a truncation left, and after it, before the write is acknowledged.
        """
        if self._identity is None:
            return None
        return self._identity.damage(self.connection)

    def erase_log(self, *, wait: float = 0.0) -> bool:
        """Move the whole log to the file and overwrite it; return False when another connection prevents it.

        The log keeps its size: on a full disk another program would take the freed room.

        Args:
            wait: Maximum wait, in seconds, for other connections.

        Raises:
            OSError: The log cannot be written.
            sqlite3.Error: The disk failed.
        """
        if self.path is None:
            return True
        self.connection.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        try:
            before = self._version()
            (busy, _, _) = self.connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if busy:
                return False
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                if self._version() != before:
                    return False  # another connection has begun to write to the log again
                overwrite(self.path.with_name(self.path.name + "-wal"))
            finally:
                self.connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
            return False
        finally:
            self.connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout * 1000)}")
        return True

    def extend_log(self, size: int) -> None:
        """Fill the log with zeros behind its content: a sync is faster when the file does not grow.

        Call it outside a transaction.

        Args:
            size: Length of the log in bytes; a longer log stays as it is.

        Raises:
            OSError: The log cannot be written, and has its former length again.
            sqlite3.Error: Another connection writes for longer than *busy_timeout*.
        """
        if self.path is None:
            return
        self.connection.execute("BEGIN IMMEDIATE")  # no connection writes to the log meanwhile
        try:
            _fill(self.path.with_name(self.path.name + "-wal"), size)
        finally:
            self.connection.execute("ROLLBACK")

    def rescue_log(self) -> bool:
        """Move a log that has lost its name to an intact file; return whether that succeeded.

        It does not wait: once another process has created a new log, the old one would corrupt the file.
        """
        if self.path is None or self._identity is None or not self._identity.lost_log_only():
            return False
        try:
            busy, frames, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return False
        return not busy and frames == moved

    def close(self, *, keep_log: bool = False) -> None:
        """Close the file.

        Args:
            keep_log: Whether to keep the log. Otherwise the last connection moves it to the file and removes
                it. After `damage` the files are never changed.
        """
        first, second = self.connection, self._keeper
        if second is not None and not keep_log and self.damage() is None:
            first, second = second, first
        first.close()
        if second is not None:
            second.close()
        self._keeper = None

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def _read(self) -> None:
        self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _fill(log: Path, size: int) -> None:
    with log.open("ab", buffering=0) as file:
        before = os.fstat(file.fileno()).st_size
        remaining = size - before
        try:
            while remaining > 0:
                remaining -= file.write(_ZEROS[:remaining])
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def overwrite(log: Path) -> None:
    """Fill a log with zeros after its move to the file; no connection may read or write it meanwhile.

    SQLite holds no lock on the log, so closing it drops no lock.

    Raises:
        OSError: The log cannot be written.
    """
    with log.open("r+b", buffering=0) as file:
        total = os.fstat(file.fileno()).st_size
        # The header first, and synced: without it the log is empty. A log without its end would restore old
        # content of pages.
        for size in (min(total, _LOG_HEADER), max(0, total - _LOG_HEADER)):
            remaining = size
            while remaining:
                remaining -= file.write(_ZEROS[:remaining])
            os.fsync(file.fileno())


def is_locked(error: BaseException) -> bool:
    """Return whether the operation failed because another connection held a lock for too long."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _IN_USE
