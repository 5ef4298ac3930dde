"""`DiskReserve`: how far the file of an inbox may grow, so that a deletion always has room on the disk.

A deletion writes too: it goes to the log first. So a companion file (`-reserve`) occupies a part of the disk.
While the companion exists, the file may grow, but no commit leaves more pages to be moved from the log than
half of the reserve, unless the disk has twice that room. When the disk is full, the companion is deleted: its
room is enough to move the log, which then starts over in place, and to add a few spare pages to the file. The
file does not grow any more, the log has the rest, marks and deletions use the spare pages, and new events use
freed pages beyond those. Once the disk has room again the companion is created again.

It decides nothing about events; the writer thread calls it between transactions and before each commit.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Final

from nexmo_dispatch_core.bursts import Bursts
from nexmo_dispatch_webhooks.inbox import sqlite_file as file
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteSettings
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["DiskReserve"]

#: Bytes of the reserve, if the disk and `max_bytes` are large enough.
_RESERVE: Final = 2 * 1024**2
_LEAST_RESERVE: Final = 64 * 1024
#: The reserve is at most this fraction of the disk, and of `max_bytes`: 1/8 and 1/4.
_OF_DISK, _OF_FILE = 8, 4
#: The spare pages are this fraction of the reserve: 1/4.
_SPARE: Final = 4
#: Bytes by which a file of the largest size may grow for work on stored events: marks, results, retention.
_ALLOWANCE: Final = 1024**2
_ZEROS: Final = bytes(64 * 1024)


class DiskReserve:
    """The limits of one file, for one connection.

    Args:
        path: The file.
        settings: `max_bytes` limits the file; `busy_timeout` limits the wait for other processes when a very
            long log is moved.
    """

    def __init__(self, path: Path, settings: SqliteSettings) -> None:
        # settings
        self._path = path.resolve()  # SQLite puts its companion files there too
        self._companion = self._path.parent / f"{self._path.name}-reserve"
        self._max_bytes = settings.max_bytes
        self._busy_timeout = settings.busy_timeout
        # state
        self._bursts = Bursts()
        self.is_keeper: bool = False
        """Whether this process creates the reserve: a process that only reads leaves no files."""
        self._held = False
        """Whether the companion exists."""
        self._tight = False
        """Whether the file must not grow, since there is no reserve."""
        self._stored = False
        """Whether the next write is about stored events, which may use the spare pages."""
        self._spare = 0
        """The number of spare pages, as far as there were so many."""
        self._size = _RESERVE
        self._page_size = 4096
        self._moved = 0
        """The number of pages of the file without the log."""

    def begin(self, db: sqlite3.Connection) -> None:
        """Read the sizes of file and disk, after the file was opened."""
        self._measure()
        (self._page_size,) = db.execute("PRAGMA page_size").fetchone()
        self._look()
        self._note_spare_pages(db)
        self.limit(db)

    def limit(self, db: sqlite3.Connection, *, stored: bool = False) -> None:
        """Set the largest size of the file; beyond it SQLite reports a full disk.

        Args:
            db: The connection, outside a transaction.
            stored: The next write is about stored events: it makes room, or belongs to acknowledged events.
        """
        self._stored = stored
        db.execute(f"PRAGMA max_page_count = {self.pages(stored=stored)}")

    @property
    def spare_pages(self) -> int:
        """The number of free pages that new events leave to marks and deletions."""
        return self._spare if self._tight else 0

    def pages(self, *, stored: bool = False) -> int:
        """Return the largest number of pages of the file; see `limit`."""
        most = self._max_bytes + (_ALLOWANCE if stored else 0)
        if self._tight:
            # Not one page more: a file that has to grow when the log is moved, on a disk that the log has
            # filled, is a dead end. Marks and deletions have the spare pages.
            most = min(most, self._moved * self._page_size)
        return max(1, most // self._page_size)

    def check(self, db: sqlite3.Connection) -> None:
        """Refuse a commit whose pages may have no room at the move from the log to the file.

        Args:
            db: The connection, inside the transaction, before its end.

        Raises:
            sqlite3.OperationalError: There is not enough room: SQLITE_FULL.
        """
        if not self._held:
            # `limit` keeps the file from growing: only free pages can run out
            if not self._stored and self._tight and _free_pages(db) < self.spare_pages:
                raise _full()
            return
        grown = (_pages(db) - self._moved) * self._page_size
        if grown > self._size // 2 and self._available() < 2 * grown:
            raise _full()

    def why_full(self, db: sqlite3.Connection) -> str:
        """Return why there is no room for another event, and what to do about it."""
        size, name, free = _pages(db) * self._page_size, self._path.name, self._available()
        if self._tight or free < 2 * self._size:
            return (
                f"the disk of the inbox {name} is full (SQLITE_FULL): {free} bytes are free, and the file of "
                f"{size} bytes does not grow; make room on the disk"
            )
        return (
            f"the inbox {name} is full (SQLITE_FULL): the file has {size} bytes, and max_bytes is "
            f"{self._max_bytes}. If events wait for a handler, nexmo-dispatch inbox summary {name} names it: "
            f"mend it, and nexmo-dispatch inbox retry {name} all handles them now. Otherwise handled events "
            "fill it until `keep` is over: give the inbox more max_bytes and start it again"
        )

    def move_log(self, db: sqlite3.Connection) -> None:
        """Move the log to the file, between two transactions; on a full disk delete the reserve for that."""
        file.move_log(db, self._busy_timeout)
        self._look()
        if self._held and _pages(db) > self._moved and self.give_up():
            file.move_log(db, self._busy_timeout)
            self._add_spare_pages(db)
            self.limit(db)

    def hold(self, db: sqlite3.Connection) -> None:
        """Create the reserve when it is missing and the disk has twice its room."""
        if self._held:
            return
        self.is_keeper = True
        if self._available() >= 2 * self._size:
            with contextlib.suppress(OSError):  # another process created it, or filled the disk
                self._create()
        self._look()
        self.limit(db)

    def make_room(self, db: sqlite3.Connection) -> None:
        """Make room for a deletion: move the log, and delete the reserve when the disk is full."""
        self.move_log(db)
        if self.give_up():
            self._add_spare_pages(db)
        self.limit(db, stored=True)

    def _add_spare_pages(self, db: sqlite3.Connection) -> None:
        """Let the file grow once, while the room of the reserve is free: marks wait for no deletion."""
        missing = self._size // _SPARE // self._page_size - _free_pages(db)
        if missing > 0:
            self._grow(db, missing)
        self._look()
        self._note_spare_pages(db)

    def _note_spare_pages(self, db: sqlite3.Connection) -> None:
        self._spare = min(self._size // _SPARE // self._page_size, _free_pages(db))

    def _grow(self, db: sqlite3.Connection, pages: int) -> None:
        db.execute(f"PRAGMA max_page_count = {_pages(db) + 2 * pages}")
        with contextlib.suppress(sqlite3.Error):  # another program took the room first: the disk is full
            db.execute("BEGIN IMMEDIATE")
            try:
                notes.write(db, "spare", bytes(pages * self._page_size))
                notes.erase(db, "spare")
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
            file.move_log(db, self._busy_timeout)

    def give_up(self) -> bool:
        """Delete the reserve if it exists and the disk is full; return whether it was deleted."""
        try:
            self._measure()  # before the file was opened too: its disk may be smaller than the usual reserve
            if self._available() >= 2 * self._size:
                return False
            self._companion.unlink()
        except OSError:  # there is no reserve
            return False
        more = self._bursts.begin()
        if more is not None:
            logger.warning(
                "the disk of the inbox is full: its file does not grow until %d bytes are free, and new "
                "events use the room of forgotten events%s",
                2 * self._size,
                more,
            )
        return True

    def _look(self) -> None:
        """Read the size of the file, and whether the reserve exists; other processes change both."""
        self._moved = self._path.stat().st_size // self._page_size
        try:
            self._held = self._companion.stat().st_size >= self._size
        except OSError:
            self._held = False
        self._tight = not self._held and (self.is_keeper or self._available() < 2 * self._size)

    def _create(self) -> None:
        """Create the companion; a file system without allocation gets zeros.

        Raises:
            OSError: There is no room, or another file of that name.
        """
        with contextlib.suppress(FileNotFoundError):  # the remains of a killed process
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

    def _measure(self) -> None:
        """Let the size of the reserve fit the disk.

        Raises:
            OSError: The folder of the file cannot be read.
        """
        total, _, _ = shutil.disk_usage(self._path.parent)
        least = min(_RESERVE, total // _OF_DISK, self._max_bytes // _OF_FILE)
        self._size = max(_LEAST_RESERVE, least)

    def _available(self) -> int:
        """Return the free bytes of the disk."""
        return shutil.disk_usage(self._path.parent).free


def _full() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("the disk has no room for this")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
    return error


def _free_pages(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA freelist_count").fetchone()
    return int(pages)


def _pages(db: sqlite3.Connection) -> int:
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return int(pages)
