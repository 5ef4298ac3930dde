"""An SQLite file with a write-ahead log: opened for its owner only, and watched for as long as it is open.

It knows no table. The stores of both packages open their files here, and ask `trouble` before they promise
that something is kept.
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

#: Seconds between two attempts at what SQLite does not wait for.
_AGAIN: Final = 0.01
_ZEROS: Final = bytes(256 * 1024)
_IN_USE: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


class SqliteFile:
    """A connection to a file at its real place, behind all links.

    `keep_log` and then `watch` have to be called before anything is stored: a file of another program can be
    looked at, and left as it was, before.

    Args:
        path: the file; it is made, for its owner only, when it is missing. `":memory:"` is no file.
        busy_timeout: how long, in seconds, to wait for other processes that use it.
        statements: how many compiled statements are kept.

    Raises:
        PermissionError: the file, or the link to it, belongs to another user.
        OSError: the file is missing and cannot be made.
        sqlite3.Error: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float, statements: int = 128) -> None:
        self._busy_timeout = busy_timeout
        self._identity: Identity | None = None
        self._keeper: sqlite3.Connection | None = None
        #: Where the file is; None in memory.
        self.path: Path | None = None
        #: Why others may read the file, in words that follow its name.
        self.exposure: str | None = None
        if os.fspath(path) not in {":memory:", ""}:
            self.path = private_files.locate(path)
            private_files.create(self.path)
            self.exposure = private_files.exposure(self.path)
            self._identity = Identity(self.path)
        #: For one thread at a time.
        self.connection: sqlite3.Connection = sqlite3.connect(
            self.path or ":memory:",
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=statements,
        )

    def keep_log(self) -> None:
        """Let others read while one writes, by a log beside the file.

        Raises:
            sqlite3.Error: the file was in use for longer than *busy_timeout*, or is no database.
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
        """Note which files these are: from now on `trouble` tells when they are no longer there.

        Raises:
            sqlite3.Error: the file cannot be read.
        """
        if self.path is None or self._identity is None:
            return
        self._read()  # opens the log
        # A second connection, which only reads, for `close`: as long as it is open, SQLite does not take the
        # first one for the last, which moves the log and removes it by its name.
        self._keeper = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=ro",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=1,
        )
        self._keeper.execute("SELECT count(*) FROM sqlite_master").fetchone()
        self._identity.note_log()

    def trouble(self) -> str | None:
        """Why what is committed may not be found again, in words that follow the file's name; else None.

        Two `stat` calls. To be asked outside of a transaction: before one, since the next write covers the
        hole that a truncation left, and after it, before anything is promised.
        """
        if self._identity is None:
            return None
        return self._identity.trouble(self.connection)

    def erase_log(self, *, wait: float = 0.0) -> bool:
        """Move the whole log to the file and overwrite it; False when another connection was in the way.

        The log keeps its size: on a full disk another program would take what it gave back.

        Args:
            wait: how long, in seconds, others may take to finish.

        Raises:
            OSError: the log cannot be written.
            sqlite3.Error: the disk failed.
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

    def rescue_log(self) -> bool:
        """Move a log that has lost its name to the file, if that is intact; False when it is impossible.

        It must not wait: once another process has made a new log, the old one would spoil the file.
        """
        if self.path is None or self._identity is None or not self._identity.lost_log_only():
            return False
        try:
            busy, frames, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return False
        return not busy and frames == moved

    def close(self, *, keep_log: bool = False) -> None:
        """Let go of the file.

        Args:
            keep_log: leave the log as it is. Otherwise SQLite moves it to the file and removes it, if this is
                the last connection. Files that are in trouble are left alone in any case.
        """
        first, second = self.connection, self._keeper
        if second is not None and not keep_log and self.trouble() is None:
            first, second = second, first
        first.close()
        if second is not None:
            second.close()
        self._keeper = None

    def _version(self) -> int:
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def _read(self) -> None:
        self.connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def overwrite(log: Path) -> None:
    """Fill a log with zeros, which is in the file already, and which nobody reads or writes meanwhile.

    SQLite holds no lock on this file, so that closing it drops none.

    Raises:
        OSError: it cannot be written.
    """
    with log.open("r+b", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size
        # First the header, for good: without it the log is empty. A log that lost its end alone would put
        # back what pages held before.
        for size in (min(left, _LOG_HEADER), max(0, left - _LOG_HEADER)):
            left = size
            while left:
                left -= file.write(_ZEROS[:left])
            os.fsync(file.fileno())


def is_locked(error: BaseException) -> bool:
    """Whether another connection was in the way for too long."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _IN_USE
