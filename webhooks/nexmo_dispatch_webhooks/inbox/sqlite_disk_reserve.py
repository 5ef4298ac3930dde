"""`DiskReserve`: how far the file of an inbox may grow, so that what makes room always finds room itself.

Forgetting is writing, too: it goes to the log first. So a companion file (`-reserve`) occupies a piece of the
disk. While it is there, the file may grow, but no commit leaves more to be moved from the log than half of
the reserve, unless the disk has twice that. When the disk is full, the reserve is given up: with what it
occupied the log can be moved, and starts over in place; from then on the file grows no further, new events
take pages that were freed, and the log has the rest. Once the disk has room again the reserve is made again.

It decides nothing about events; the writer thread calls it, between its transactions and before each commit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from nexmo_dispatch_webhooks.inbox import sqlite_file as file
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["DiskReserve"]

#: Bytes of the reserve, where the disk and `max_bytes` are large enough.
_RESERVE: Final = 2 * 1024**2
_LEAST_RESERVE: Final = 64 * 1024
#: Parts of the disk, and of the largest file, that the reserve is at most.
_OF_DISK, _OF_FILE = 8, 4
#: Bytes by which a file of the largest size may grow for what is under way: marks, results, the retention.
_UNDER_WAY: Final = 1024**2
_ZEROS: Final = bytes(64 * 1024)


class DiskReserve:
    """The limits of one file, for one connection.

    Args:
        path: the file.
        max_bytes: its largest size.
        busy_timeout: how long, in seconds, the move of a very long log may wait for other processes.
    """

    def __init__(self, path: Path, max_bytes: int, busy_timeout: float) -> None:
        # settings
        self._path = path.resolve()  # where SQLite has the other companions
        self._companion = self._path.with_name(self._path.name + "-reserve")
        self._max_bytes = max_bytes
        self._busy_timeout = busy_timeout
        # state
        self.wanted = False
        """Whether this process makes the reserve: one that only looks leaves no files behind."""
        self._held = False
        """Whether the reserve is there."""
        self._tight = False
        """Whether the file may not grow, since there is no reserve."""
        self._size = _RESERVE
        self._page_size = 4096
        self._moved = 0
        """Pages that are in the file, and no longer in the log alone."""

    def begin(self, db: sqlite3.Connection) -> None:
        """Learn what is there, after the file was opened."""
        total, _, _ = shutil.disk_usage(self._path.parent)
        least = min(_RESERVE, total // _OF_DISK, self._max_bytes // _OF_FILE)
        self._size = max(_LEAST_RESERVE, least)
        (self._page_size,) = db.execute("PRAGMA page_size").fetchone()
        self._look()
        self.limit(db)

    def limit(self, db: sqlite3.Connection, *, under_way: bool = False) -> None:
        """Let the file grow so far; beyond, SQLite says that it is full.

        Args:
            db: outside of a transaction.
            under_way: what is to be written makes room, or belongs to events that were acknowledged.
        """
        db.execute(f"PRAGMA max_page_count = {self.pages(under_way=under_way)}")

    def pages(self, *, under_way: bool = False) -> int:
        """How many pages the file may have; see `limit`."""
        most = self._max_bytes + (_UNDER_WAY if under_way else 0)
        if self._tight:  # a quarter of the reserve for pages that split, the rest for the log
            most = min(most, self._moved * self._page_size + (self._size // 4 if under_way else 0))
        return max(1, most // self._page_size)

    def check(self, db: sqlite3.Connection) -> None:
        """Refuse a commit whose pages may find no room when they are moved from the log to the file.

        Args:
            db: in the transaction, before its end.

        Raises:
            sqlite3.OperationalError: SQLITE_FULL, as SQLite says it.
        """
        if not self._held:
            return  # `limit` lets it grow by what the reserve has left
        grown = (_pages(db) - self._moved) * self._page_size
        if grown > self._size // 2 and self._available() < 2 * grown:
            error = sqlite3.OperationalError("the disk has no room for this")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise error

    def move_log(self, db: sqlite3.Connection) -> None:
        """Move the log to the file, between two transactions; a full disk costs the reserve."""
        file.move_log(db, self._busy_timeout)
        self._look()
        if self._held and _pages(db) > self._moved and self.give_up():
            file.move_log(db, self._busy_timeout)
            self._look()
            self.limit(db)

    def hold(self, db: sqlite3.Connection) -> None:
        """Make the reserve when there is none, and the disk has twice the room."""
        if self._held:
            return
        self.wanted = True
        if self._available() >= 2 * self._size:
            with contextlib.suppress(OSError):  # others were quicker, with the reserve or with the disk
                self._make()
        self._look()
        self.limit(db)

    def make(self, db: sqlite3.Connection) -> None:
        """Make room for what makes room: move the log, and give up the reserve when the disk is full."""
        self.move_log(db)
        if self.give_up():
            self._look()
        self.limit(db, under_way=True)

    def give_up(self) -> bool:
        """Free the reserve when there is one and the disk is full; whether it was so."""
        try:
            if self._available() >= 2 * self._size:
                return False
            self._companion.unlink()
        except OSError:  # there is none
            return False
        logger.warning(
            "the disk of the inbox is full: its file grows no further until %d bytes are free, and new "
            "events take the room of forgotten ones",
            2 * self._size,
        )
        return True

    def _look(self) -> None:
        """See what is in the file, and whether another process has made the reserve or given it up."""
        self._moved = self._path.stat().st_size // self._page_size
        try:
            self._held = self._companion.stat().st_size >= self._size
        except OSError:
            self._held = False
        self._tight = not self._held and (self.wanted or self._available() < 2 * self._size)

    def _make(self) -> None:
        """Occupy a piece of the disk; a file system that cannot promise it gets zeros.

        Raises:
            OSError: there is no room, or something of that name.
        """
        with contextlib.suppress(FileNotFoundError):  # what a killed process had begun
            self._companion.unlink()
        descriptor = os.open(self._companion, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._size)
            else:  # pragma: no cover - macOS and Windows
                for _ in range(-(-self._size // len(_ZEROS))):
                    os.write(descriptor, _ZEROS)
                os.fsync(descriptor)
        except OSError:
            self._companion.unlink()
            raise
        finally:
            os.close(descriptor)

    def _available(self) -> int:
        """Bytes that the disk has left for us."""
        return shutil.disk_usage(self._path.parent).free


def _pages(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return int(pages)
