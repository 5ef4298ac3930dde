"""Keeps the moments of the Customer Care Window in an SQLite file, so that a restart forgets nothing.

It is a module of its own so that `import nexmo_dispatch_async` does not import sqlite3. The file holds phone
numbers: one that is made here may be read by its owner only, and one that exists keeps its mode.
"""

import logging
import os
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import CareWindowStoreError, ConfigurationError
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile

__all__ = ["SqliteWindowStore"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_TIMEOUT = 10.0
# Seconds that a reader of the file may delay an erasure.
_PATIENCE = 1.0
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS care_window (channel TEXT, customer TEXT, at INTEGER NOT NULL,"
    " PRIMARY KEY (channel, customer)) WITHOUT ROWID"
)


class SqliteWindowStore:
    """A `WindowStore` in a file; several processes may share it.

    Each call is a short transaction, tens of microseconds on a local disk. On an event loop that must never
    wait, run `CareWindow` calls through `asyncio.to_thread`; the store may be used from any thread.

    Args:
        path: The file; it is created when missing, for its owner only. `":memory:"` keeps everything in
            memory.

    Raises:
        ConfigurationError: *path* is no path, or the file cannot be opened, belongs to another user, is no
            database, or was in use for ten seconds.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        checks.path("path", path)
        self._lock = threading.Lock()
        self._path = path
        self._name = Path(path).name
        self._traces = False  # whether the log contains deleted customers
        try:
            self._file = SqliteFile(path, busy_timeout=_BUSY_TIMEOUT)
            try:
                self._file.keep_log()
                # A power cut may lose the newest moments; a template then goes where free content would do.
                self._file.connection.execute("PRAGMA synchronous = NORMAL")
                # Deleted content is overwritten.
                self._file.connection.execute("PRAGMA secure_delete = ON")
                self._file.connection.execute(_SCHEMA)
                self._file.watch()
            except BaseException:
                self._file.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"the file of the care window cannot be used: {reason_of(path, error)}"
            ) from error
        self._connection = self._file.connection
        if self._file.exposure is not None:
            logger.warning("the file of the care window, %s, %s", self._name, self._file.exposure)

    def last(self, channel: str, customer: str) -> datetime | None:
        """Return the time of this customer's last message, in UTC.

        Raises:
            CareWindowStoreError: The file cannot be read.
        """
        query = "SELECT at FROM care_window WHERE channel = ? AND customer = ?"
        with self._lock, self._own_errors():
            row: tuple[int] | None = self._connection.execute(query, (channel, customer)).fetchone()
        return None if row is None else _EPOCH + row[0] * _MICROSECOND

    def record(self, channel: str, customer: str, at: datetime) -> None:
        """Record a message; a time before the stored one changes nothing.

        Raises:
            CareWindowStoreError: The file cannot be written, or is no longer the one that was opened.
        """
        query = "INSERT INTO care_window VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)"
        with self._lock, self._own_errors():
            self._check()
            self._connection.execute(query, (channel, customer, (at - _EPOCH) // _MICROSECOND))
            self._erase_traces()
            self._check()

    def forget_before(self, moment: datetime) -> int:
        """Delete customers whose last message is older than `moment`, from file and log; return their number.

        Raises:
            CareWindowStoreError: The file cannot be written, or is no longer the one that was opened.
        """
        query = "DELETE FROM care_window WHERE at < ?"
        with self._lock, self._own_errors():
            self._check()
            found = self._connection.execute(query, ((moment - _EPOCH) // _MICROSECOND,)).rowcount
            self._traces |= found > 0
            self._erase_traces(wait=_PATIENCE)
            self._check()
            if self._traces:
                logger.warning(
                    "the log of the care window still contains deleted customers: another connection to %s "
                    "reads; the log is erased with a later message",
                    self._name,
                )
        return found

    @contextmanager
    def _own_errors(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            why = reason_of(self._path, error)
            raise CareWindowStoreError(f"the store of the care window failed: {self._name}: {why}") from error

    def _erase_traces(self, *, wait: float = 0.0) -> None:
        if self._traces:
            self._traces = not self._file.erase_log(wait=wait)

    def _check(self) -> None:
        if (damage := self._file.damage()) is not None:
            raise CareWindowStoreError(
                f"the file of the care window, {self._name}, {damage}: nothing is noted until it is put "
                "back, or the process is started again"
            )

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._file.close()

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
