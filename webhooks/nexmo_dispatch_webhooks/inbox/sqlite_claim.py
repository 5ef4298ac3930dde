"""The claim of the one process that handles the events of a file: a lock on the companion file `-worker`.

The operating system releases the lock when the process dies. The module reads no event; the writer thread
calls it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile, is_locked
from nexmo_dispatch_webhooks.exceptions import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["GRACE", "Claim"]

#: Seconds within which a process notices, at its `poll`, that its locked file was removed or replaced.
GRACE: Final = 3.0


class Claim:
    """The claim of one writer.

    A lock protects only as long as the locked file keeps its name: after a removal another process creates a
    new file and locks it. So the inbox stores which file the last holder locked. A process that finds another
    file leaves the last holder, which may be alive, `GRACE` seconds to lock the new file.

    Args:
        path: The file of the inbox, with all links resolved.
        monotonic: Returns monotonic seconds.
    """

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._path = path.parent / f"{path.name}-worker"
        self._monotonic = monotonic
        self._lock: SqliteFile | None = None
        #: since when the companion differs from the file that the last holder locked
        self._replaced_since: float | None = None

    @property
    def held(self) -> bool:
        """Whether this process held the claim at the last call of `take`."""
        return self._lock is not None

    @property
    def is_waiting(self) -> bool:
        """Whether the lock was free at the last `take`, and was left to a last holder that may be alive."""
        return self._replaced_since is not None

    def take(self, db: sqlite3.Connection) -> bool:
        """Return whether this process holds the claim, from now on or still.

        Args:
            db: The connection to the inbox, inside a transaction.

        Raises:
            InboxError: This user cannot lock the companion, so two processes might handle the same events.
        """
        before = self._lock
        if before is not None and before.damage() is None:
            return True
        lock = _lock(self._path)
        if lock is None:
            self.release()
            self._replaced_since = None
            if before is not None:
                logger.error(
                    "%s was removed or replaced, and another process handles the events of this inbox now: "
                    "this process starts no more handlers",
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
        self._lock, self._replaced_since = lock, None
        return True

    def release(self) -> None:
        """Release the claim."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def _has_waited(self) -> bool:
        now = self._monotonic()
        if self._replaced_since is None:
            self._replaced_since = now
        return now - self._replaced_since >= GRACE


def _lock(path: Path) -> SqliteFile | None:
    """Lock a companion file; None if another process, or another inbox of this process, holds the lock."""
    try:
        lock = SqliteFile(path, busy_timeout=0)
    except (OSError, sqlite3.Error) as error:
        raise InboxError(f"{path.name} cannot be opened: {reason_of(path, error)}") from None
    try:
        lock.connection.execute("PRAGMA journal_mode = MEMORY")  # any other mode would create another file
        # Not EXCLUSIVE, which readers prevent: two at one instant read both, and both would stand by.
        lock.connection.execute("BEGIN IMMEDIATE")
        # A read-only file is locked for reading only, which several processes may do.
        lock.connection.execute("PRAGMA user_version = 1")
    except sqlite3.Error as error:
        lock.close()
        if is_locked(error):
            return None
        raise InboxError(
            f"{path.name} cannot be locked, so two processes might handle the same events: "
            f"{reason_of(path, error)}"
        ) from error
    if lock.damage() is not None:  # removed or replaced meanwhile: the lock protects nothing
        lock.close()
        return None
    return lock


def _name(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"
