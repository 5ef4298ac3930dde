"""Keeps the moments of the Customer Care Window in an SQLite file, so that a restart forgets nothing.

It is a module of its own so that `import nexmo_dispatch_async` does not import sqlite3. The file holds phone
numbers: one that is made here may be read by its owner only, and one that exists keeps its mode.
"""

import os
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.sqlite_files import open_file

__all__ = ["SQLiteWindowStore"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_TIMEOUT = 10.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS care_window (channel TEXT, customer TEXT, at INTEGER NOT NULL,"
    " PRIMARY KEY (channel, customer)) WITHOUT ROWID"
)


class SQLiteWindowStore:
    """A `WindowStore` in a file; several processes may share it.

    Each call is a short transaction, tens of microseconds on a local disk. On an event loop that must never
    wait, run `CareWindow` calls through `asyncio.to_thread`; the store may be used from any thread.

    Args:
        path: The file; it is created when missing, for its owner only. `":memory:"` keeps everything in
            memory.

    Raises:
        ConfigurationError: The file cannot be opened, is no database, or was in use for ten seconds.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lock = threading.Lock()
        try:
            # A power cut may lose the newest moments; a template is then sent where free content would do.
            self._connection = open_file(path, busy_timeout=_BUSY_TIMEOUT)
            try:
                self._connection.execute(_SCHEMA)
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise ConfigurationError(f"the file of the care window cannot be used: {error}") from error

    def last(self, channel: str, customer: str) -> datetime | None:
        """When this customer wrote last, in UTC."""
        query = "SELECT at FROM care_window WHERE channel = ? AND customer = ?"
        with self._lock:
            row: tuple[int] | None = self._connection.execute(query, (channel, customer)).fetchone()
        return None if row is None else _EPOCH + row[0] * _MICROSECOND

    def record(self, channel: str, customer: str, at: datetime) -> None:
        """Note a message; an earlier moment than the one known changes nothing."""
        query = "INSERT INTO care_window VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)"
        with self._lock:
            self._connection.execute(query, (channel, customer, (at - _EPOCH) // _MICROSECOND))

    def forget_before(self, moment: datetime) -> int:
        """Drop customers who wrote last before a moment; returns how many."""
        query = "DELETE FROM care_window WHERE at < ?"
        with self._lock:
            return self._connection.execute(query, ((moment - _EPOCH) // _MICROSECOND,)).rowcount

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    async def aclose(self) -> None:
        """The same as `close()`, named as on every other resource."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
