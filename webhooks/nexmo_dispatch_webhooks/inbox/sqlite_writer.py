"""What the writer thread does: one transaction for a whole batch, and when that fails, each part by itself.

It holds the only connection to the file, and knows no event loop: `sqlite` hands it batches.
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

from nexmo_dispatch_core.sqlite import SqliteFile
from nexmo_dispatch_webhooks.exceptions import InboxError, InboxLostError, TransactionError
from nexmo_dispatch_webhooks.inbox import sqlite_file as file
from nexmo_dispatch_webhooks.inbox import sqlite_key_values as notes
from nexmo_dispatch_webhooks.inbox import sqlite_statements as sql
from nexmo_dispatch_webhooks.inbox.records import NewRecord
from nexmo_dispatch_webhooks.inbox.sqlite_claim import Claim
from nexmo_dispatch_webhooks.inbox.sqlite_disk_reserve import DiskReserve
from nexmo_dispatch_webhooks.inbox.sqlite_file import Synchronous
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["LONG_LOG", "Batch", "Erasure", "Operation", "Writer"]

Operation = Callable[[sqlite3.Connection], Any]
#: Pages of the write-ahead log, about, after which it is moved to the file. The next commit waits for that,
#: in proportion to the pages (docs/inbox.md).
LONG_LOG = 100
#: Bytes of a body that go into one page, about.
_PAGE = 2048
#: Marks that lie in one page, about.
_MARKS_OF_A_PAGE = 16


@dataclass(slots=True)
class Batch:
    """What one transaction is to do, and what came of it."""

    adds: list[NewRecord]
    add_futures: list[asyncio.Future[int | None]]
    marks: list[int]
    operations: list[Operation]
    futures: list[asyncio.Future[Any]]
    #: About how many pages the operations change.
    pages: int
    # results, by the thread
    #: For each new record its id, None for a duplicate, or why it was not stored.
    ids: list[int | Exception | None] = field(default_factory=list[int | Exception | None])
    results: list[Any] = field(default_factory=list[Any])
    #: Whether the marks are still to be written.
    unmarked: bool = False
    #: Whether it took more than one transaction, so that what an earlier one left is not known for sure.
    in_parts: bool = False
    #: Why none of it was done.
    error: Exception | None = None


@dataclass(slots=True)
class Erasure:
    """Whether the log was emptied."""

    done: bool = False


class _FailedOperation(Exception):  # noqa: N818 - it carries one and never leaves this module
    """The whole transaction has to end because of one operation."""

    def __init__(self, index: int, error: Exception) -> None:
        self.index, self.error = index, error


class Writer:
    """The connection of one writer thread, from its opening to its end."""

    def __init__(
        self,
        path: Path,
        *,
        synchronous: Synchronous,
        busy_timeout: float,
        max_bytes: int,
        schema: str,
        create: bool,
        clock: Callable[[], float],
    ) -> None:
        # settings
        self._path = path
        self._synchronous: Synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._schema = schema
        self._create = create
        self._clock = clock
        # state
        self._room = DiskReserve(path, max_bytes, busy_timeout)
        self._file: SqliteFile | None = None
        self._claim = Claim(path)
        self._trouble: str | None = None
        #: Whether new events came here: then the log is this process's business, too.
        self._stores = False
        # the log is to be emptied, since something was forgotten; and who asked for it
        self._log_due = False
        self._asked: str | None = None
        self._erasures: list[Erasure] = []
        self._version = 0
        self._logged = 0
        self._warned = False

    def commit(self, batch: Batch) -> None:
        """Do what the batch says and note what came of it.

        Raises:
            Exception: nothing of it was done, as far as that is known.
        """
        opened = self._open()
        db = opened.connection
        if self._is_lost(opened):
            self._serve_readers(db, batch)
            return
        self._stores |= bool(batch.adds)
        if batch.adds or self._room.wanted:
            self._room.hold(db)
        try:
            self._transact(db, batch)
        except Exception as error:
            failed = error if isinstance(error, _FailedOperation) else None
            if sql.is_locked(failed.error if failed else error):
                raise  # every part would wait for the lock as long again
            self._commit_in_parts(db, batch, failed)
        if self._is_lost(opened):
            raise self._loss()
        if self._erasures:
            erased = self._empty_log(opened)
            for erasure in self._erasures:
                erasure.done = erased
            self._erasures = []
            self._log_due |= not erased

    def rest(self) -> None:
        """Between two commits: move the log, if it has become long, or empty it, if something was forgotten.

        A process that neither handles nor stores events is a guest, and leaves the log to the others.
        """
        if self._file is None or self._trouble is not None or not (self._claim.held or self._stores):
            return
        if self._log_due and self._empty_log(self._file):
            self._log_due, self._logged = False, 0
            if self._asked is not None:
                notes.erase(self._file.connection, "empty-log", self._asked)
                self._asked = None
        elif self._logged >= LONG_LOG:
            self._logged = 0
            self._room.move_log(self._file.connection)
            self._is_lost(self._file)  # notes how large the file is now

    def _empty_log(self, opened: SqliteFile) -> bool:
        try:
            emptied = self._urgent_erasure(opened)
            self._room.move_log(opened.connection)  # notes how much is in the file now
        except (OSError, sqlite3.Error):  # whoever asked is told that it was not done, and it is tried again
            return False
        return emptied

    def _urgent_erasure(self, opened: SqliteFile) -> bool:
        try:
            return opened.erase_log()
        except sqlite3.Error as error:
            if not sql.is_full(error):
                raise
            self._room.make(opened.connection)
            return opened.erase_log()

    def close(self) -> None:
        """Let go of the file and of the claim; who holds the claim leaves one file behind, without a log."""
        if self._file is not None:
            self._file.close(keep_log=not self._claim.held)
            self._file = None
        self._claim.release()

    # --- operations ---

    def claim(self, db: sqlite3.Connection) -> bool:
        """Whether this is the process that handles events, from now on or still."""
        if self._trouble is not None:
            raise self._loss()
        self._room.wanted = True
        if self._claim.take(db):
            return True
        if not self.is_waiting and not self._warned and file.has_race(sqlite3.sqlite_version_info):
            self._warned = True
            logger.warning(
                "another process handles the events of this inbox: two may, very rarely, spoil the file "
                "with SQLite %s; that is mended in 3.51.3",
                sqlite3.sqlite_version,
            )
        return False

    @property
    def is_waiting(self) -> bool:
        """Whether the claim was left to another process that may be there, for `GRACE` seconds."""
        return self._claim.is_waiting

    def look_for_changes(self, db: sqlite3.Connection) -> bool:
        """Whether another connection has committed since the last look."""
        if self._trouble is not None:
            raise self._loss()
        (version,) = db.execute("PRAGMA data_version").fetchone()
        before, self._version = self._version, version
        if before != version and self._claim.held:
            self._asked = notes.read(db, "empty-log")
            self._log_due |= self._asked is not None
        return bool(before != version)

    def has_room(self, db: sqlite3.Connection) -> bool:
        """Whether another event finds room."""
        if self._trouble is not None:
            raise self._loss()
        return sql.has_room(db, self._room.pages())

    def empty_log_later(self, _: sqlite3.Connection) -> None:
        """The retention has forgotten something: empty the log as soon as no reader is in the way."""
        self._log_due = True

    def empty_log(self, _: sqlite3.Connection) -> Erasure:
        """Empty the log after this batch, and say whether that was done."""
        self._erasures.append(Erasure())
        return self._erasures[-1]

    @staticmethod
    def ask_for_empty_log(db: sqlite3.Connection) -> str:
        """Ask the process that handles events to empty the log; the request is gone when that was done."""
        request = secrets.token_hex(8)
        notes.write(db, "empty-log", request)
        return request

    # --- transactions ---

    def _open(self) -> SqliteFile:
        if self._file is None:
            try:
                opened = self._open_file()
            except (sqlite3.Error, InboxError):
                if not self._room.give_up():
                    raise
                opened = self._open_file()  # a full disk has no room for the companions either
            try:
                self._room.begin(opened.connection)
            except BaseException:
                opened.close()
                raise
            self._file = opened
            self._claim = Claim(opened.path or self._path)
        return self._file

    def _open_file(self) -> SqliteFile:
        return file.open_file(
            self._path,
            synchronous=self._synchronous,
            busy_timeout=self._busy_timeout,
            schema=self._schema,
            create=self._create,
        )

    # --- a file that is no longer there ---

    def _is_lost(self, opened: SqliteFile) -> bool:
        """Whether what is committed would not be found by the next start; said once, in one line."""
        before, self._trouble = self._trouble, opened.trouble()
        if self._trouble is not None and before is None:
            logger.error(
                "the inbox %s %s while it was open: no event is acknowledged until it is put back, or this "
                "process is started again; see «Backups» in docs/inbox.md",
                self._path.name,
                self._trouble,
            )
            if opened.rescue_log():
                logger.warning(
                    "all that was stored in the inbox %s has been moved to the file", self._path.name
                )
        elif self._trouble is None and before is not None:
            logger.warning("the inbox %s is there again", self._path.name)
        return self._trouble is not None

    def _loss(self) -> InboxLostError:
        return InboxLostError(f"the inbox {self._path.name} {self._trouble} while it was open")

    def _serve_readers(self, db: sqlite3.Connection, batch: Batch) -> None:
        """Nothing is written any more; what was acknowledged can be read, so that it is handled."""
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
        except sqlite3.Error:  # it would write, or what it reads is gone
            return self._loss()
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            return error

    def _transact(self, db: sqlite3.Connection, batch: Batch) -> None:
        with self._transaction(db):
            if batch.adds:
                batch.ids = [*sql.insert(db, batch.adds)]
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
        """New records, marks, and each operation: what fails takes nothing else with it."""
        self._room.move_log(db)  # on a full disk that is what makes room
        self._logged = _pages(batch)
        batch.in_parts = True
        batch.ids = self._insert_what_fits(db, batch.adds)
        # What is under way goes on in a full file, since it is what makes room.
        self._room.limit(db, under_way=True)
        try:
            if batch.marks:
                marked = self._urgent(db, lambda _: sql.finish(db, batch.marks, self._clock()))
                batch.unmarked = marked is not None
            batch.results = []
            locked: Exception | None = None
            for index, operation in enumerate(batch.operations):
                result: Any = locked  # one waited for the lock, so the others need not
                if failed is not None and index == failed.index and not sql.is_full(failed.error):
                    result = failed.error  # what it did before it would do again
                elif locked is None:
                    result = self._urgent(db, operation)
                    if isinstance(result, Exception):
                        locked = result if sql.is_locked(result) else None
                        if sql.is_full(result) and self._tried(db, self.has_room) is True:
                            result = TransactionError("what is to be written needs more room than there is")
                batch.results.append(result)
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._room.limit(db)

    def _insert_what_fits(
        self, db: sqlite3.Connection, records: Sequence[NewRecord]
    ) -> list[int | Exception | None]:
        """A large record that finds no room does not keep out the small ones that came with it."""
        tried: list[NewRecord] = list(records)
        refused: dict[int, Exception] = {}
        while tried:
            found = self._tried(db, partial(sql.insert, records=tried))
            if not isinstance(found, Exception):
                ids = iter(found)
                return [refused[id(r)] if id(r) in refused else next(ids) for r in records]
            keep = {id(record) for record in _smaller(tried)} if sql.is_full(found) else set[int]()
            refused |= {id(record): found for record in tried if id(record) not in keep}
            tried = [record for record in tried if id(record) in keep]
        return [refused[id(record)] for record in records]

    def _urgent(self, db: sqlite3.Connection, operation: Operation) -> Any:
        """What an operation gives that may use the reserve, or its exception."""
        result = self._tried(db, operation)
        if isinstance(result, Exception) and sql.is_full(result):
            self._room.make(db)
            result = self._tried(db, operation)
        return result

    def _tried(self, db: sqlite3.Connection, operation: Operation) -> Any:
        """What an operation gives in a transaction of its own, or its exception."""
        try:
            with self._transaction(db):
                return operation(db)
        except Exception as error:  # noqa: BLE001 - whoever waits for it gets it
            return error

    @contextlib.contextmanager
    def _transaction(self, db: sqlite3.Connection) -> Any:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._room.check(db)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _attempt(db: sqlite3.Connection, operation: Operation) -> Any:
    """What an operation gives, or its exception, after which nothing of it is left.

    Raises:
        Exception: it ended the whole transaction, or found no room.
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
    """Without the largest, or the smaller half of those that are much alike."""
    half = max(len(record.body) for record in records) // 2
    small = [record for record in records if len(record.body) <= half]
    return small or sorted(records, key=lambda record: len(record.body))[: len(records) // 2]


def _pages(batch: Batch) -> int:
    """About how many pages of the log a batch took: nearly every event changes one, that of its key."""
    bodies = sum(1 + len(record.body) // _PAGE for record in batch.adds)
    return bodies + batch.pages + -(-len(batch.marks) // _MARKS_OF_A_PAGE)
