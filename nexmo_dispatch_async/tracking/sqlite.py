"""`SqliteTrackingStore`: keeps the facts of a tracker in an SQLite file, so that a restart loses nothing.

It is a module of its own so that `tracking` does not import sqlite3. The file holds no texts and no numbers;
`reducer` describes its content.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread
import msgspec

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import TrackingStoreError
from nexmo_dispatch_async.tracking.reducer import WorkflowState
from nexmo_dispatch_async.tracking.store import Kind, TrackingRetention, kind_of
from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["SqliteTrackingStore"]

T = TypeVar("T")

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tracking_schema (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS tracking_workflow (
    dispatch_uuid TEXT PRIMARY KEY, kind TEXT NOT NULL, touched REAL NOT NULL, state BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS tracking_by_age ON tracking_workflow (kind, touched);
"""
_KINDS: tuple[Kind, ...] = ("unclaimed", "open", "ended")
# The number of changes between two clean-ups, and the maximum number of workflows that one clean-up deletes.
# The remaining workflows are deleted with the next changes, one piece with each.
_PRUNE_EVERY = 64
_PIECE = 256
# Between two processes only the wall clock tells the time, and it may be days ahead: at most this number of
# seconds counts.
_TRUSTED = 24 * 3600.0

_decode = msgspec.json.Decoder(WorkflowState).decode


class SqliteTrackingStore:
    """A `TrackingStore` in a file, which several processes may share and which may have other tables.

    Each call runs in a worker thread, one call at a time. A crash of the process loses no merged facts; a
    loss of power may lose the last ones.

    Args:
        path: The file; created at the first use when it is missing, readable for its owner only.
        busy_timeout: Maximum wait, in seconds, for another process that writes.

    Raises:
        ConfigurationError: *path* is no path, or *busy_timeout* no number of seconds up to a day.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 10.0) -> None:
        checks.path("path", path)
        checks.seconds("busy_timeout", busy_timeout, most=DAY)
        self._path = path
        self._busy_timeout = busy_timeout
        self._file: SqliteFile | None = None
        self._closed = False
        self._changes = 0
        # Whether a clean-up is incomplete, and whether the log still holds deleted facts.
        self._more = False
        self._traces = False
        # Added to the time of the process, so that the time of the file continues where it stopped.
        self._shift: float | None = None
        # The limiter keeps callers from filling the thread pool. The lock is for a caller that asyncio
        # cancels: the caller leaves the limiter at once, while its thread still runs.
        self._limiter: anyio.CapacityLimiter | None = None
        self._lock = threading.Lock()

    @shows_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._file is not None else "not open yet"
        return f"<SqliteTrackingStore {state}>"

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Merge facts of a workflow; see `TrackingStore`.

        Raises:
            TrackingStoreError: The file cannot be used, is of a newer version, or is no longer the file
                that was opened; nothing was stored that a restart would find.
        """

        def work() -> WorkflowState:
            file = self._open()
            connection = file.connection
            self._check(file)
            if self._shift is None:
                self._shift = _shift(connection, now)
            at = now + self._shift
            known = _read(connection, state.dispatch_uuid)
            merged = known.merge(state)
            if merged == known:
                return known
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                # Another process may have written meanwhile.
                merged = _read(connection, state.dispatch_uuid).merge(state)
                row = (state.dispatch_uuid, kind_of(merged), at, msgspec.json.encode(merged))
                connection.execute("REPLACE INTO tracking_workflow VALUES (?, ?, ?, ?)", row)
                before = connection.total_changes
                if self._more or self._changes % _PRUNE_EVERY == 0:
                    self._more = _prune(connection, at, retention)
                self._traces |= connection.total_changes != before
            if self._traces and not self._more:
                self._traces = not file.erase_log()  # a reader may prevent it: then with the next change
            self._check(file)
            self._changes += 1
            return merged

        return await self._run(work)

    def watch(self, changed: Callable[[str | None], object]) -> float | None:
        """Return None: a file does not report the changes of other processes."""
        return None

    async def aclose(self) -> None:
        """Close the file after all earlier calls."""

        def work() -> None:
            file, self._file = self._file, None
            self._closed = True
            if file is not None:
                file.close()

        with anyio.CancelScope(shield=True):
            await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(1)

        failed = f"the store of the tracker failed: {Path(self._path).name}"

        def locked() -> T:
            with self._lock:
                try:
                    return work()
                except (OSError, sqlite3.Error) as error:
                    why = reason_of(self._path, error)
                    raise TrackingStoreError(f"{failed}: {why}") from error
                except msgspec.DecodeError as error:
                    raise TrackingStoreError(f"{failed}: {error}") from error

        return await anyio.to_thread.run_sync(locked, limiter=self._limiter)

    def _check(self, file: SqliteFile) -> None:
        if (damage := file.damage()) is not None:
            raise TrackingStoreError(
                f"the file of the tracker, {Path(self._path).name}, {damage}: nothing is stored until it is "
                "put back, or the process is started again"
            )

    def _open(self) -> SqliteFile:
        if self._closed:
            raise TrackingStoreError("the store of the tracker is closed")
        if self._file is None:
            file = SqliteFile(self._path, busy_timeout=self._busy_timeout)
            try:
                file.keep_log()
                # A loss of power may lose the last facts; a crash of the process loses nothing.
                file.connection.execute("PRAGMA synchronous = NORMAL")
                # Deleted content is overwritten.
                file.connection.execute("PRAGMA secure_delete = ON")
                _prepare(file.connection)
                file.watch()
            except BaseException:
                file.close()
                raise
            self._file = file
            if file.exposure is not None:
                logger.warning("the file of the tracker, %s, %s", Path(self._path).name, file.exposure)
        return self._file


def _prepare(connection: sqlite3.Connection) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        versions = connection.execute("SELECT version FROM tracking_schema").fetchall()
        if not versions:
            connection.execute("INSERT INTO tracking_schema VALUES (?)", (_VERSION,))
    if versions and versions != [(_VERSION,)]:
        raise TrackingStoreError(f"the file has version {versions[0][0]}, this release reads {_VERSION}")


def _shift(connection: sqlite3.Connection, now: float) -> float:
    """Return the offset from the time of this process to the time of the file, which never goes back."""
    (last,) = connection.execute("SELECT max(touched) FROM tracking_workflow").fetchone()
    return 0.0 if last is None else min(max(now, last), last + _TRUSTED) - now


def _read(connection: sqlite3.Connection, dispatch_uuid: str) -> WorkflowState:
    query = "SELECT state FROM tracking_workflow WHERE dispatch_uuid = ?"
    row: tuple[bytes] | None = connection.execute(query, (dispatch_uuid,)).fetchone()
    return WorkflowState(dispatch_uuid) if row is None else _decode(row[0])


def _prune(connection: sqlite3.Connection, now: float, retention: TrackingRetention) -> bool:
    """Delete one piece of expired workflows; return whether more may remain."""
    remaining = _PIECE
    for kind in _KINDS:
        remaining -= connection.execute(
            "DELETE FROM tracking_workflow WHERE dispatch_uuid IN (SELECT dispatch_uuid FROM"
            " tracking_workflow WHERE kind = ? AND touched < ? ORDER BY touched LIMIT ?)",
            (kind, now - retention.seconds(kind), remaining),
        ).rowcount
    query = "SELECT count(*) FROM tracking_workflow WHERE kind = 'unclaimed'"
    (unclaimed,) = connection.execute(query).fetchone()
    remaining -= connection.execute(
        "DELETE FROM tracking_workflow WHERE dispatch_uuid IN (SELECT dispatch_uuid FROM tracking_workflow"
        " WHERE kind = 'unclaimed' ORDER BY touched LIMIT ?)",
        (min(remaining, max(0, unclaimed - retention.max_unclaimed)),),
    ).rowcount
    return remaining == 0
