"""The claim to be the one process that handles the events of a file: a lock on its companion `-worker`.

The system frees the lock when the process dies. It reads no event; the writer thread calls it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nexmo_dispatch_core.sqlite import SqliteFile, is_locked
from nexmo_dispatch_webhooks.exceptions import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["GRACE", "Claim"]

#: Seconds in which a process notices, at its `poll`, that the file that it locks has lost its name.
GRACE: Final = 3.0


class Claim:
    """What one writer holds, or would like to hold.

    A lock is worth as much as the name of the file that is locked: when that file is removed, another process
    makes a new one and gets its lock. So the inbox knows which file the last holder locked. Who finds another
    one there leaves a living holder `GRACE` seconds to lock it, too.

    Args:
        path: the file of the inbox, at its real place.
        monotonic: gives seconds.
    """

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path.with_name(path.name + "-worker")
        self._monotonic = monotonic
        self._lock: SqliteFile | None = None
        self._strange_since: float | None = None

    @property
    def held(self) -> bool:
        """Whether this was the process that handles events at the last look."""
        return self._lock is not None

    @property
    def is_waiting(self) -> bool:
        """Whether the lock was free at the last look, and was left to a holder that may still be there."""
        return self._strange_since is not None

    def take(self, db: sqlite3.Connection) -> bool:
        """Whether this is the process that handles events, from now on or still.

        Args:
            db: the inbox, in a transaction.

        Raises:
            InboxError: the companion cannot be locked by this user, so nobody would know who handles.
        """
        before = self._lock
        if before is not None and before.trouble() is None:
            return True
        lock = _lock(self._path)
        if lock is None:
            self.release()
            self._strange_since = None
            if before is not None:
                logger.error(
                    "%s was removed or replaced, and another process handles the events of this inbox now: "
                    "this one starts no more handlers",
                    self._path.name,
                )
            return False
        name, known = _name(self._path), notes.read(db, "worker")
        if before is None and known not in {None, name} and not self._has_waited():
            lock.close()
            return False
        if known != name:
            notes.write(db, "worker", name)
        self.release()
        self._lock, self._strange_since = lock, None
        return True

    def release(self) -> None:
        """Let another process handle events."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def _has_waited(self) -> bool:
        now = self._monotonic()
        if self._strange_since is None:
            self._strange_since = now
        return now - self._strange_since >= GRACE


def _lock(path: Path) -> SqliteFile | None:
    """Lock a companion file; None if another process, or another inbox of this one, has it."""
    try:
        lock = SqliteFile(path, busy_timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise InboxError(f"{path.name} cannot be opened: {_words(error)}") from error
    try:
        lock.connection.execute("PRAGMA journal_mode = MEMORY")  # else writing made another file
        lock.connection.execute("BEGIN EXCLUSIVE")
        # A file that may only be read is locked for reading, which several may do.
        lock.connection.execute("PRAGMA user_version = 1")
    except sqlite3.Error as error:
        lock.close()
        if is_locked(error):
            return None
        raise InboxError(
            f"{path.name} cannot be locked ({_words(error)}), so two processes might handle the same events: "
            "let the user of this process write it, or remove it"
        ) from error
    if lock.trouble() is not None:  # removed or replaced meanwhile: the lock is worth nothing
        lock.close()
        return None
    return lock


def _name(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _words(error: OSError | sqlite3.Error) -> str:
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
