"""Opens the SQLite files of the SDK: for nobody else to read, and by several processes at once.

It knows no table; `care_window_sqlite` and `tracking.sqlite` make theirs. The receiver, which imports
nothing of the SDK, opens its inbox itself.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time

__all__ = ["open_file"]

# Seconds between two attempts at what SQLite does not wait for.
_AGAIN = 0.01


def open_file(path: str | os.PathLike[str], *, busy_timeout: float) -> sqlite3.Connection:
    """Open a file, or make one that only its owner may read; the mode of one that exists is left as it is.

    Args:
        path: The file; `":memory:"` is none.
        busy_timeout: How many seconds to wait for others who use it.

    Raises:
        sqlite3.Error: It cannot be opened, or was in use for too long.
    """
    if os.fspath(path) not in {":memory:", ""}:
        # Never opened when it exists: closing it would drop the locks that SQLite holds in this process. What
        # else is wrong, SQLite finds as well and says in its own words. Its companions get the same mode.
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=busy_timeout)
    try:
        _keep_a_log(connection, time.monotonic() + busy_timeout)
        # A power cut may lose the last moments; a crash of the process loses nothing.
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _keep_a_log(connection: sqlite3.Connection, until: float) -> None:
    """Let others read while one writes; SQLite does not wait for a lock here as it does elsewhere."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _IN_USE or time.monotonic() >= until:
                raise
            time.sleep(_AGAIN)
        else:
            return


_IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
