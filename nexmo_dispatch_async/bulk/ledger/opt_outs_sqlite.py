"""Opt-out lists in SQLite: in a file of their own, which campaigns share, or in the file of a campaign."""

from __future__ import annotations

import builtins
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from nexmo_dispatch_async.bulk.ledger import opt_outs_sql
from nexmo_dispatch_async.bulk.ledger.records import Suppressed
from nexmo_dispatch_async.bulk.ledger.sqlite_file import open_opt_outs
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import Work
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import LedgerError, OptOutError
from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["CampaignOptOutStore", "SqliteOptOutStore"]

T = TypeVar("T")
_PIECE = 2000


class SqliteOptOutStore:
    """An `OptOutStore` in a file; what a call stored survives the loss of power.

    It works in a thread, one call at a time, and never on the event loop.

    Args:
        path: The file; it is made when missing, at the first use, for its owner only.
        busy_timeout: How many seconds to wait for another process that is writing.

    Raises:
        ConfigurationError: *path* is no path, or *busy_timeout* no number of seconds up to a day.
    """

    def __init__(self, path: str | os.PathLike[str], *, busy_timeout: float = 10.0) -> None:
        checks.path("path", path)
        checks.seconds("busy_timeout", busy_timeout, most=DAY)
        self.path: Path = Path(path)
        self.busy_timeout = busy_timeout
        self._file: SqliteFile | None = None
        self._closed = False
        self._lock = threading.Lock()

    @shows_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._file is not None else "not open yet"
        return f"<SqliteOptOutStore {state}>"

    async def suppress(self, addresses: Sequence[str], *, reason: str, at: float) -> int:
        """Add addresses."""
        return await self._run(lambda db: opt_outs_sql.suppress(db, "main", addresses, reason=reason, at=at))

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Take addresses off."""
        return await self._run(lambda db: opt_outs_sql.unsuppress(db, "main", addresses), erase=True)

    async def link(self, people: Sequence[Sequence[str]]) -> None:
        """Note the addresses of each person."""
        await self._run(lambda db: opt_outs_sql.link(db, "main", people))

    async def find(self, addresses: Sequence[str]) -> builtins.list[Suppressed]:
        """Return the entries of addresses."""
        return await self._run(lambda db: opt_outs_sql.find(db, "main", addresses), write=False)

    async def list(self, *, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return a page of the list."""
        return await self._run(
            lambda db: opt_outs_sql.page(db, "main", after=after, limit=limit), write=False
        )

    async def forget(self, before: float) -> int:
        """Erase old history, in pieces."""
        total, piece = 0, _PIECE
        while piece == _PIECE:
            piece = await self._run(
                lambda db: opt_outs_sql.forget(db, "main", before, limit=_PIECE), erase=True
            )
            total += piece
        return total

    async def aclose(self) -> None:
        """Close the file once the calls before are done."""

        def close() -> None:
            with self._lock:
                self._closed = True
                file, self._file = self._file, None
                if file is not None:
                    file.close()

        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(close)

    async def _run(
        self, work: Callable[[sqlite3.Connection], T], *, write: bool = True, erase: bool = False
    ) -> T:
        def locked() -> T:
            with self._lock:
                try:
                    return self._work(work, write=write, erase=erase)
                except (OSError, sqlite3.Error) as error:
                    why = reason_of(self.path, error)
                    raise OptOutError(f"the opt-out list {self.path.name} failed: {why}") from error

        return await anyio.to_thread.run_sync(locked)

    def _work(self, work: Callable[[sqlite3.Connection], T], *, write: bool, erase: bool) -> T:
        if self._closed:
            raise OptOutError("the opt-out list is closed")
        if self._file is None:
            self._file = open_opt_outs(self.path, busy_timeout=self.busy_timeout)
        file = self._file
        self._check(file)
        if not write:
            return work(file.connection)
        file.connection.execute("BEGIN IMMEDIATE")
        try:
            done = work(file.connection)
            file.connection.execute("COMMIT")
        except BaseException:
            if file.connection.in_transaction:
                file.connection.execute("ROLLBACK")
            raise
        if erase:
            file.erase_log()
        self._check(file)
        return done

    def _check(self, file: SqliteFile) -> None:
        if (damage := file.damage()) is not None:
            raise OptOutError(
                f"the opt-out list {self.path.name} {damage}: nothing is stored until it is put back, or "
                "the process is started again"
            )


class CampaignOptOutStore:
    """The opt-out list in the file of the campaign, changed by its writer thread."""

    def __init__(self, run: Callable[[Callable[[Work], Any]], Awaitable[Any]]) -> None:
        self._run_in_ledger = run

    async def suppress(self, addresses: Sequence[str], *, reason: str, at: float) -> int:
        """Add addresses."""
        return await self._run(
            lambda work: opt_outs_sql.suppress(work.db, "main", addresses, reason=reason, at=at)
        )

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Take addresses off."""
        return await self._run(lambda work: opt_outs_sql.unsuppress(work.db, "main", addresses))

    async def link(self, people: Sequence[Sequence[str]]) -> None:
        """Note the addresses of each person."""
        await self._run(lambda work: opt_outs_sql.link(work.db, "main", people))

    async def find(self, addresses: Sequence[str]) -> builtins.list[Suppressed]:
        """Return the entries of addresses."""
        return await self._run(lambda work: opt_outs_sql.find(work.db, "main", addresses))

    async def list(self, *, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return a page of the list."""
        return await self._run(lambda work: opt_outs_sql.page(work.db, "main", after=after, limit=limit))

    async def forget(self, before: float) -> int:
        """Erase old history, in pieces."""
        total, piece = 0, _PIECE
        while piece == _PIECE:
            piece = await self._run(lambda work: opt_outs_sql.forget(work.db, "main", before, limit=_PIECE))
            total += piece
        return total

    async def aclose(self) -> None:
        """Do nothing: the file is the ledger's."""

    async def _run(self, operation: Callable[[Work], T]) -> T:
        try:
            result: T = await self._run_in_ledger(operation)
        except LedgerError as error:
            raise OptOutError(str(error)) from error
        return result
