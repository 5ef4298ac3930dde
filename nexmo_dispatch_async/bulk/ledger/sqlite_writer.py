"""What the writer thread of a ledger does: one transaction for all calls that came together.

It holds the only connection that writes, and knows no event loop: `sqlite` hands it batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nexmo_dispatch_async.bulk.ledger import sqlite_file, sqlite_sql
from nexmo_dispatch_async.bulk.ledger.memory import new_reference
from nexmo_dispatch_async.bulk.ledger.owner import Owner
from nexmo_dispatch_async.bulk.ledger.sqlite_results import reap
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import Book, Work
from nexmo_dispatch_async.exceptions import CampaignError, LedgerError
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile

__all__ = ["Batch", "Operation", "Writer"]

Operation = Callable[[Work], Any]
#: Pages of the log after which it is moved to the file, usually and while rows are added.
_LOG: Final = 1000
_LONG_LOG: Final = 16_000
#: Bytes of a page, and what the log adds to each.
_PAGE, _FRAME = 4096, 24


@dataclass(slots=True)
class Batch:
    """What one transaction is to do, and what came of each call: a value, or an exception."""

    operations: list[Operation]
    futures: list[asyncio.Future[Any]]
    #: Whether an observer writes, and whether it needs the numbers.
    writes: bool = False
    counts: bool = False
    #: Called before the commit, from which on the thread waits for the disk.
    committing: Callable[[], None] | None = None
    #: Whether it is in the file, although its callers may get an error.
    committed: bool = False
    results: list[Any] = field(default_factory=list[Any])


class Writer:
    """The connection of one writer thread, from its opening to its end.

    Args:
        path: The file.
        opt_outs: The file of a shared opt-out list, or `None`.
        observer: Work beside the owner: count anew for every call, and claim nothing.
        restored: Whether the caller says that a copied or restored file is the one to go on with.
        create: Whether a missing file is made.
        busy_timeout: How many seconds to wait for a lock.
        clock: Gives epoch seconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        opt_outs: Path | None,
        observer: bool,
        restored: bool,
        create: bool,
        sends: bool,
        busy_timeout: float,
        clock: Callable[[], float],
    ) -> None:
        # settings
        self._path = path
        self._opt_outs_path = opt_outs
        self._observer = observer
        self._restored = restored
        self._create = create
        self._sends = sends
        self._busy_timeout = busy_timeout
        self._clock = clock
        # state
        self._file: SqliteFile | None = None
        self._opt_outs: SqliteFile | None = None
        self._owner: Owner | None = None
        self._uncertain = False
        self._adding = False
        self._extended = False
        self.book: Book = Book()
        self.reference: str = ""
        #: Rows that the opening made `unknown`.
        self.reaped: int = 0

    # --- opening and closing ---

    def open(self) -> None:
        """Open the file, take it, and turn what a dead process was sending into `unknown`.

        Raises:
            LedgerError: It cannot be used; `LedgerInUseError` and `LedgerCopiedError` say more.
            OptOutError: The shared opt-out list cannot be used.
        """
        self._file = sqlite_file.open_ledger(
            self._path, busy_timeout=self._busy_timeout, create=self._create and not self._observer
        )
        db = self._file.connection
        if not self._observer:
            self._owner = Owner(self._file)
            if not sqlite_file.is_ledger(db):
                sqlite_file.make_ledger(db, new_reference())
        sqlite_file.settings(db, "main")
        self._file.watch()
        if self._opt_outs_path is not None:
            self._opt_outs = sqlite_file.open_opt_outs(self._opt_outs_path, busy_timeout=self._busy_timeout)
            db.execute("ATTACH DATABASE ? AS people", (str(self._opt_outs.path),))
            sqlite_file.settings(db, "people")
        (reference,) = db.execute("SELECT value FROM meta WHERE name = 'reference'").fetchone()
        self.reference = bytes(reference).decode()
        self.book = sqlite_sql.load(db)
        if self._owner is not None:
            self._owner.verify(self.book.claims, restored=self._restored, sends=self._sends)
            self.reaped = self._alone(lambda work: reap(work, None, self._clock()))

    def close(self) -> None:
        """Let go of the files, and of the claim on them last."""
        for opened in (self._file, self._opt_outs):
            if opened is not None:
                opened.close()
        self._file = self._opt_outs = None
        if self._owner is not None:
            self._owner.release()
            self._owner = None

    # --- transactions ---

    def commit(self, batch: Batch) -> None:
        """Do what the calls want in one transaction; when one fails, each in a transaction of its own."""
        try:
            batch.results = self._transact(batch.operations, batch)
        except Exception as error:  # noqa: BLE001 - whatever it is, its caller gets it
            if len(batch.operations) == 1 or batch.committed:  # what was committed is not done again
                batch.results = [_own_error(self._path, error)] * len(batch.operations)
                return
            batch.results = []
            for operation in batch.operations:
                try:
                    batch.results += self._transact(
                        [operation], Batch([operation], [], batch.writes, batch.counts)
                    )
                except Exception as failed:  # noqa: BLE001 - whatever it is, its caller gets it
                    batch.results.append(_own_error(self._path, failed))

    def erase(self) -> None:
        """Move the log to the file, in which what was erased is overwritten.

        Raises:
            LedgerError: Another process reads the file, for longer than the busy timeout.
        """
        file = self._require_file()
        if not file.erase_log(wait=True):
            raise LedgerError(
                f"the rows are erased in the ledger {self._path.name}, but not in its log, since another "
                "process reads it: call forget() again"
            )

    def _alone(self, operation: Operation) -> Any:
        (result,) = self._transact([operation], Batch([operation], []))
        return result

    def _begin(self, db: sqlite3.Connection, batch: Batch) -> None:
        """Begin a transaction in which the book is true: an observer holds up no one to read."""
        db.execute("BEGIN" if self._observer and not batch.writes else "BEGIN IMMEDIATE")
        if self._owner is not None:
            self._owner.check(db)
        if self._observer:
            self.book = sqlite_sql.load(db) if batch.counts else sqlite_sql.load_names(db)
        elif self._uncertain:
            self.book = sqlite_sql.load(db)
            self._uncertain = False

    def _transact(self, operations: list[Operation], batch: Batch) -> list[Any]:
        db = self._require_file().connection
        self._check_files()
        try:
            self._begin(db, batch)
            work = Work(
                db,
                self.book,
                opt_outs="main" if self._opt_outs is None else "people",
                shared=self._opt_outs is not None,
                reference=self.reference,
            )
            try:
                results = [operation(work) for operation in operations]
                self._uncertain = True  # until the commit said what it did
                if batch.committing is not None:
                    batch.committing()
                db.execute("COMMIT")
                batch.committed, self._uncertain = True, False
            except BaseException:
                work.undo()
                raise
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        work.commit()
        self._expect(adding=work.added > 0)
        if work.claims and not self._extended:
            self._extend()
        if self._owner is not None and work.claims:
            self._owner.note(
                self.book.claims
            )  # before a row is sent: an older state of the file is behind it
        try:
            self._check_files()  # before anything is promised
        except LedgerError:
            self._uncertain = True
            raise
        return results

    def _expect(self, *, adding: bool) -> None:
        """While rows are added, let more of them share the move of the log: each batch touches most pages."""
        if adding != self._adding:
            self._adding = adding
            pages = _LONG_LOG if adding else _LOG
            self._require_file().connection.execute(f"PRAGMA wal_autocheckpoint = {pages}")

    def _extend(self) -> None:
        """Make room in the log for the waves to come, since each of them waits for its sync."""
        self._extended = True
        with contextlib.suppress(OSError, sqlite3.OperationalError):  # then they are slower
            self._require_file().extend_log(_LOG * (_PAGE + _FRAME))

    def _check_files(self) -> None:
        for file in (self._file, self._opt_outs):
            if file is not None and (damage := file.damage()) is not None:
                name = self._path.name if file is self._file else "with its opt-out list"
                raise LedgerError(
                    f"the ledger {name} {damage}: nothing is stored until it is put back, or the process is "
                    "started again"
                )

    def _require_file(self) -> SqliteFile:
        if self._file is None:
            raise LedgerError("the ledger is closed")
        return self._file


def _own_error(path: Path, error: Exception) -> Exception:
    if isinstance(error, CampaignError):
        return error
    if isinstance(error, sqlite3.Error | OSError):
        why = reason_of(path, error)
        own = LedgerError(f"the ledger {path.name} failed, and nothing of the call was stored: {why}")
        own.__cause__ = error
        return own
    return error
