"""The writer thread's side of the SQLite store: one transaction for a batch, or one for each of its parts.

It holds the only connection to the file, and knows no event loop: `sqlite` hands batches to it. When the
transaction of a batch fails, every part is written in a transaction of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nexmo_dispatch_core.documentation import read_on
from nexmo_dispatch_core.sqlite import SqliteFile
from nexmo_dispatch_webhooks.exceptions import InboxError, InboxFullError, InboxLostError, TransactionError
from nexmo_dispatch_webhooks.inbox import sqlite_file as file
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.inbox import sqlite_statements as sql
from nexmo_dispatch_webhooks.inbox.records import NewRecord
from nexmo_dispatch_webhooks.inbox.sqlite_claim import Claim
from nexmo_dispatch_webhooks.inbox.sqlite_disk_reserve import DiskReserve
from nexmo_dispatch_webhooks.inbox.sqlite_recent_keys import PIECE, RecentKeys
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteSettings
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["LONG_LOG", "Batch", "Erasure", "Operation", "Writer"]

Operation = Callable[[sqlite3.Connection], Any]
#: Approximate number of pages of the write-ahead log after which the log is moved to the file. The next
#: commit waits for the move, in proportion to the pages (docs/inbox.md).
LONG_LOG = 300
#: Bytes of a page; approximate bytes of a record beside its body; pages that each commit changes.
_PAGE = 4096
_ROW = 300
_TAILS = 4
#: Approximate number of marks in one page.
_MARKS_OF_A_PAGE = 16


@dataclass(slots=True)
class Batch:
    """The work of one transaction, and its results."""

    adds: list[NewRecord]
    add_futures: list[asyncio.Future[int | None]]
    marks: list[int]
    operations: list[Operation]
    futures: list[asyncio.Future[Any]]
    #: Approximate number of pages that the operations change.
    pages: int
    # results, set by the thread
    #: For each new record its id, None for a duplicate, or the error.
    ids: list[int | Exception | None] = field(default_factory=list[int | Exception | None])
    results: list[Any] = field(default_factory=list[Any])
    #: Whether the marks were not written.
    unmarked: bool = False
    #: Whether there was more than one transaction, so that the content of the file is uncertain.
    in_parts: bool = False
    #: The error of the whole batch.
    error: Exception | None = None

    def explain(self, path: Path) -> None:
        """Put errors of ours, which name the file and no value, in the place of others; it looks at the file.

        Args:
            path: The file.
        """
        known: dict[int, InboxError] = {}

        def own(value: Any) -> Any:
            if not isinstance(value, Exception) or isinstance(value, InboxError):
                return value
            if id(value) not in known:
                kind = InboxFullError if sql.is_full(value) else InboxError
                why = sql.reason(path, value)
                known[id(value)] = kind(f"the inbox {path.name} cannot be read or written: {why}")
                known[id(value)].__cause__ = value
            return known[id(value)]

        self.error = own(self.error)
        self.results = [own(result) for result in self.results]
        if self.in_parts:
            self.ids = [own(record_id) for record_id in self.ids]


@dataclass(slots=True)
class Erasure:
    """Whether the log was emptied."""

    done: bool = False


class _FailedOperation(Exception):  # noqa: N818 - it carries an error and never leaves this module
    """One operation failed so that the whole transaction has to end."""

    def __init__(self, index: int, error: Exception) -> None:
        self.index, self.error = index, error


class Writer:
    """The connection of one writer thread, from its opening to its end."""

    def __init__(
        self,
        path: Path,
        settings: SqliteSettings,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        # state
        self._reserve = DiskReserve(path, settings)
        self._file: SqliteFile | None = None
        self._claim = Claim(path)
        self._recent = RecentKeys()
        self._damage: str | None = None
        #: Whether this process has stored events: then it maintains the log too.
        self._stores = False
        # the log is to be emptied after a deletion; and the request of another process
        self._log_due = False
        self._request: str | None = None
        self._erasures: list[Erasure] = []
        self._version = 0
        self._logged = 0
        self._warned = False

    def commit(self, batch: Batch) -> None:
        """Write a batch, and set its results.

        Raises:
            Exception: The batch failed as a whole; as far as the process can tell, nothing was written.
        """
        opened = self._open()
        db = opened.connection
        if self._is_lost(opened):
            self._serve_readers(db, batch)
            return
        self._stores |= bool(batch.adds)
        if batch.adds or self._reserve.is_keeper:
            self._reserve.hold(db)
        try:
            self._transact(db, batch)
        except Exception as error:
            failed = error if isinstance(error, _FailedOperation) else None
            if sql.is_locked(failed.error if failed else error):
                raise  # every part would wait for the lock again
            self._commit_in_parts(db, batch, failed)
        if self._is_lost(opened):
            raise self._loss()
        if self._erasures:
            erased = self._empty_log(opened)
            for erasure in self._erasures:
                erasure.done = erased
            self._erasures = []
            self._log_due |= not erased

    def maintain(self) -> None:
        """Between two commits: move keys to their index, and a long log to the file, or empty the log.

        A process that neither handles nor stores events leaves that to the other processes.
        """
        if self._file is None or self._damage is not None or not (self._claim.held or self._stores):
            return
        if self._recent.wants_move(holder=self._claim.held):
            self._move_keys(self._file.connection)
        if self._log_due and self._empty_log(self._file):
            self._log_due, self._logged = False, 0
            if self._request is not None:
                notes.erase(self._file.connection, "empty-log", self._request)
                self._request = None
        elif self._logged >= LONG_LOG:
            self._logged = 0
            self._reserve.move_log(self._file.connection)
            self._is_lost(self._file)  # notes the size of the file

    def _move_keys(self, db: sqlite3.Connection) -> None:
        # on a full disk the keys are still known, and the next call tries again
        with contextlib.suppress(sqlite3.Error), self._transaction(db):
            self._recent.move(db)
            self._logged += PIECE // 16

    def _empty_log(self, opened: SqliteFile) -> bool:
        try:
            emptied = self._erase_log(opened)
            self._reserve.move_log(opened.connection)  # notes the size of the file
        except (OSError, sqlite3.Error):  # the caller learns that it failed, and it is tried again
            return False
        return emptied

    def _erase_log(self, opened: SqliteFile) -> bool:
        try:
            return opened.erase_log()
        except sqlite3.Error as error:
            if not sql.is_full(error):
                raise
            self._reserve.make_room(opened.connection)
            return opened.erase_log()

    def close(self) -> None:
        """Close the file and release the claim; the holder of the claim leaves one file, without a log."""
        if self._file is not None:
            self._file.close(keep_log=not self._claim.held)
            self._file = None
        self._claim.release()

    # --- operations ---

    def claim(self, db: sqlite3.Connection, *, stays: bool = True) -> bool:
        """Return whether this process handles events, from now on or still.

        Args:
            db: The connection.
            stays: Whether a race with the process that does is worth a warning. A command that commits a few
                times and ends hardly meets it, and moves no log beside that process.
        """
        if self._damage is not None:
            raise self._loss()
        self._reserve.is_keeper = True
        held = self._claim.held
        if self._claim.take(db):
            if not held:
                self._recent.forget()  # another process may have deleted keys
            return True
        warns = stays and not self.is_waiting and not self._warned
        if warns and file.has_race(sqlite3.sqlite_version_info):
            self._warned = True
            logger.warning(
                "another process handles the events of this inbox: two processes may, very rarely, corrupt "
                "the file with SQLite %s; this is fixed in 3.51.3",
                sqlite3.sqlite_version,
            )
        return False

    @property
    def is_waiting(self) -> bool:
        """Whether the claim was left to a process that may be alive, for up to `GRACE` seconds."""
        return self._claim.is_waiting

    def look_for_changes(self, db: sqlite3.Connection) -> bool:
        """Return whether another connection has committed since the last call."""
        if self._damage is not None:
            raise self._loss()
        (version,) = db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        if before != version and self._claim.held:
            self._request = notes.read(db, "empty-log")
            self._log_due |= self._request is not None
        return bool(before != version)

    def has_room(self, db: sqlite3.Connection) -> bool:
        """Return whether there is room for another event."""
        if self._damage is not None:
            raise self._loss()
        return sql.has_room(db, self._reserve.pages() - self._reserve.spare_pages)

    def prune(
        self,
        db: sqlite3.Connection,
        start: int,
        *,
        piece: int,
        handled: float,
        quarantined: float,
        keys: float,
    ) -> tuple[bool, int]:
        """Do one piece of the retention, see `sqlite_statements.prune`; deleted keys are new again."""
        self._recent.forget()
        return sql.prune(db, start, handled=handled, quarantined=quarantined, keys=keys, piece=piece)

    def empty_log_later(self, _: sqlite3.Connection) -> None:
        """Empty the log as soon as no reader prevents it; called after a deletion."""
        self._log_due = True

    def empty_log(self, _: sqlite3.Connection) -> Erasure:
        """Empty the log after this batch; the result says whether that succeeded."""
        self._erasures.append(Erasure())
        return self._erasures[-1]

    @staticmethod
    def ask_for_empty_log(db: sqlite3.Connection) -> str:
        """Store a request to the process that handles events to empty the log and to delete the request."""
        request = secrets.token_hex(8)
        notes.write(db, "empty-log", request)
        return request

    # --- transactions ---

    def _open(self) -> SqliteFile:
        if self._file is None:
            try:
                opened = self._open_file()
            except (sqlite3.Error, InboxError):
                if not self._reserve.give_up():
                    raise
                opened = self._open_file()  # a full disk has no room for the companions of SQLite
            try:
                self._reserve.begin(opened.connection)
            except BaseException:
                opened.close()
                raise
            self._file = opened
            self._claim = Claim(opened.path or self._path)
        return self._file

    def _open_file(self) -> SqliteFile:
        return file.open_file(self._path, self._settings)

    # --- a file that was removed or replaced ---

    def _is_lost(self, opened: SqliteFile) -> bool:
        """Return whether a commit would be lost with the process; logged once, in one line."""
        before, self._damage = self._damage, opened.damage()
        if self._damage is not None and before is None:
            logger.error(
                "the inbox %s %s while it was open: no event is acknowledged until the file is put back, or "
                "this process is started again; see «Backups» in %s",
                self._path.name,
                self._damage,
                read_on("inbox"),
            )
            if opened.rescue_log():
                logger.warning(
                    "all stored events of the inbox %s have been moved to the file", self._path.name
                )
        elif self._damage is None and before is not None:
            self._recent.forget()
            logger.warning("the file of the inbox %s is back", self._path.name)
        return self._damage is not None

    def _loss(self) -> InboxLostError:
        return InboxLostError(f"the inbox {self._path.name} {self._damage} while it was open")

    def _serve_readers(self, db: sqlite3.Connection, batch: Batch) -> None:
        """Write nothing, but read acknowledged events, so that they are handled."""
        batch.ids = [self._loss() for _ in batch.adds]
        batch.unmarked = bool(batch.marks)
        db.execute("PRAGMA query_only = ON")
        try:
            batch.results = [self._read(db, operation) for operation in batch.operations]
        finally:
            db.execute("PRAGMA query_only = OFF")

    def _read(self, db: sqlite3.Connection, operation: Operation) -> Any:
        try:
            db.execute("BEGIN")
            try:
                return operation(db)
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
        except sqlite3.Error:  # a write, or a read of lost content
            return self._loss()
        except Exception as error:  # noqa: BLE001 - the waiting caller gets it
            return error

    def _transact(self, db: sqlite3.Connection, batch: Batch) -> None:
        with self._transaction(db):
            if batch.adds:
                batch.ids = [*sql.insert(db, batch.adds, self._recent)]
            if batch.marks:
                sql.finish(db, batch.marks, self._clock())
            batch.results = []
            for index, operation in enumerate(batch.operations):
                try:
                    batch.results.append(_attempt(db, operation))
                except Exception as error:
                    raise _FailedOperation(index, error) from error
        self._logged += _pages(batch)

    def _commit_in_parts(self, db: sqlite3.Connection, batch: Batch, failed: _FailedOperation | None) -> None:
        """Write new records, marks and each operation in a transaction of its own."""
        self._reserve.move_log(db)  # that makes room on a full disk
        self._logged = _pages(batch)
        batch.in_parts = True
        batch.ids = self._insert_what_fits(db, batch.adds)
        # Work on stored events goes on in a full file, since it makes room.
        self._reserve.limit(db, stored=True)
        try:
            if batch.marks:
                marked = self._urgent(db, lambda _: sql.finish(db, batch.marks, self._clock()))
                batch.unmarked = marked is not None
            batch.results = []
            locked: Exception | None = None
            for index, operation in enumerate(batch.operations):
                result: Any = locked  # one operation waited for the lock, so the others need not
                if failed is not None and index == failed.index and not sql.is_full(failed.error):
                    result = failed.error  # it would fail again
                elif locked is None:
                    result = self._urgent(db, operation)
                    if isinstance(result, Exception):
                        locked = result if sql.is_locked(result) else None
                        if sql.is_full(result) and self._tried(db, self.has_room) is True:
                            result = TransactionError("the statements need more room than there is")
                batch.results.append(result)
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._reserve.limit(db)

    def _insert_what_fits(
        self, db: sqlite3.Connection, records: Sequence[NewRecord]
    ) -> list[int | Exception | None]:
        """Insert the records; without room for all of them, insert the smaller ones."""
        tried: list[NewRecord] = list(records)
        refused: dict[int, Exception] = {}
        while tried:
            found = self._tried(db, partial(sql.insert, records=tried, recent=self._recent))
            if not isinstance(found, Exception):
                ids = iter(found)
                return [refused[id(r)] if id(r) in refused else next(ids) for r in records]
            keep, why = set[int](), ""
            if sql.is_full(found):
                keep, why = {id(record) for record in _smaller(tried)}, self._reserve.why_full(db)
            for record in tried:
                if id(record) not in keep:
                    refused[id(record)] = InboxFullError(why) if why else found
            tried = [record for record in tried if id(record) in keep]
        return [refused[id(record)] for record in records]

    def _urgent(self, db: sqlite3.Connection, operation: Operation) -> Any:
        """Return the result of an operation that may use the reserve, or the exception that it raised."""
        result = self._tried(db, operation)
        if isinstance(result, Exception) and sql.is_full(result):
            self._reserve.make_room(db)
            result = self._tried(db, operation)
        return result

    def _tried(self, db: sqlite3.Connection, operation: Operation) -> Any:
        """Return the result of an operation in a transaction of its own, or its exception."""
        try:
            with self._transaction(db):
                return operation(db)
        except Exception as error:  # noqa: BLE001 - the waiting caller gets it
            return error

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Any:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._reserve.check(db)
            db.execute("COMMIT")
        except BaseException:
            self._recent.forget()
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _attempt(db: sqlite3.Connection, operation: Operation) -> Any:
    """Return the result of an operation, or its exception after a rollback of the operation.

    Raises:
        Exception: The operation ended the whole transaction, or had no room.
    """
    db.execute("SAVEPOINT operation")
    try:
        result = operation(db)
    except Exception as error:  # statements of the application may raise anything
        if not db.in_transaction or sql.is_full(error):
            raise
        db.execute("ROLLBACK TO operation")
        result = error
    db.execute("RELEASE operation")
    return result


def _smaller(records: Sequence[NewRecord]) -> Sequence[NewRecord]:
    """Return the records without the largest ones, or the smaller half of records of similar size."""
    half = max(len(record.body) for record in records) // 2
    small = [record for record in records if len(record.body) <= half]
    return small or sorted(records, key=lambda record: len(record.body))[: len(records) // 2]


def _pages(batch: Batch) -> int:
    """Return the approximate number of log pages of a batch: contents, marks, and the ends of the tables."""
    contents = sum(len(record.body) + _ROW for record in batch.adds) // _PAGE
    pages = contents + batch.pages + -(-len(batch.marks) // _MARKS_OF_A_PAGE)
    return pages + _TAILS if pages or batch.adds else 0
