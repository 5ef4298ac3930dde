"""Opening the SQLite file of a campaign, and that of an opt-out list, in the thread that works with it."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nexmo_dispatch_async.bulk.ledger import opt_outs_sql
from nexmo_dispatch_async.bulk.ledger.sqlite_sql import SCHEMA
from nexmo_dispatch_async.exceptions import LedgerError, LedgerMissingError, OptOutError
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile

__all__ = [
    "APPLICATION_ID",
    "VERSION",
    "is_ledger",
    "make_ledger",
    "open_ledger",
    "open_opt_outs",
    "settings",
]

APPLICATION_ID: Final = 0x4E444C47  # "NDLG": tells `file` and us whose database it is
VERSION: Final = 1
#: Bytes of the file that are kept in memory.
_CACHE: Final = 16 * 1024**2
#: Bytes that a log may keep of the disk when it starts over.
_LONGEST_LOG: Final = 8 * 1024**2

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")


def open_ledger(path: str | os.PathLike[str], *, busy_timeout: float, create: bool) -> SqliteFile:
    """Open a file that is a ledger, or empty; anything else is left as it was.

    Raises:
        LedgerMissingError: There is none and *create* is False.
        LedgerError: It is something else, or another user's.
    """
    name = Path(path).name
    if not create and not Path(path).exists():
        raise LedgerMissingError(f"there is no ledger {name}: give the path of a campaign's file")
    try:
        file = SqliteFile(path, busy_timeout=busy_timeout)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the ledger {name} cannot be opened: {reason_of(path, error)}") from None
    try:
        # In this order: another process may make the ledger between the two, and none makes it empty again.
        if not _is_empty(file.connection):
            if not is_ledger(file.connection):
                raise LedgerError(f"{name} is no ledger of this version: it is left as it is")
        elif not create:
            raise LedgerMissingError(f"there is no ledger in {name}: the file is empty")
        file.keep_log()
    except sqlite3.Error as error:
        file.close()
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            raise LedgerError(f"{name} is no ledger: {error}") from error
        raise LedgerError(f"the ledger {name} cannot be opened: {reason_of(path, error)}") from None
    except BaseException:
        file.close()
        raise
    if file.exposure is not None:
        logger.warning("the ledger %s %s", name, file.exposure)
    return file


def make_ledger(db: sqlite3.Connection, reference: str) -> None:
    """Make the tables of a new ledger: all or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for statement in SCHEMA:
            db.execute(statement)
        opt_outs_sql.make(db, "main")
        db.execute("INSERT INTO meta VALUES ('reference', ?)", (reference.encode(),))
        _sign(db, APPLICATION_ID, VERSION)
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def open_opt_outs(path: str | os.PathLike[str], *, busy_timeout: float) -> SqliteFile:
    """Open an opt-out list, and make one of a file that is missing or empty.

    Raises:
        OptOutError: It is something else, or another user's.
    """
    name = Path(path).name
    try:
        file = SqliteFile(path, busy_timeout=busy_timeout)
    except (OSError, sqlite3.Error) as error:
        raise OptOutError(f"the opt-out list {name} cannot be opened: {reason_of(path, error)}") from None
    try:
        db = file.connection
        if _is_empty(db):
            file.keep_log()
            db.execute("BEGIN IMMEDIATE")
            opt_outs_sql.make(db, "main")
            _sign(db, opt_outs_sql.APPLICATION_ID, opt_outs_sql.VERSION)
            db.execute("COMMIT")
        if _identity(db) != (opt_outs_sql.APPLICATION_ID, opt_outs_sql.VERSION):
            raise OptOutError(f"{name} is no opt-out list of this version: it is left as it is")
        file.keep_log()
        settings(db, "main")
        file.watch()
    except sqlite3.Error as error:
        file.close()
        raise OptOutError(f"the opt-out list {name} cannot be opened: {reason_of(path, error)}") from None
    except BaseException:
        file.close()
        raise
    if file.exposure is not None:
        logger.warning("the opt-out list %s %s", name, file.exposure)
    return file


def settings(db: sqlite3.Connection, schema: str) -> None:
    """What is no choice: a commit reaches the disk, and what is deleted is overwritten."""
    db.execute(f"PRAGMA {schema}.synchronous = FULL")
    db.execute(f"PRAGMA {schema}.secure_delete = ON")
    db.execute(f"PRAGMA {schema}.cache_size = -{_CACHE // 1024}")
    db.execute(f"PRAGMA {schema}.journal_size_limit = {_LONGEST_LOG}")
    db.execute("PRAGMA temp_store = MEMORY")


def is_ledger(db: sqlite3.Connection) -> bool:
    """Whether the file says that it is one of this version."""
    return _identity(db) == (APPLICATION_ID, VERSION)


def _is_empty(db: sqlite3.Connection) -> bool:
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables and _identity(db) == (0, 0)


def _identity(db: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return application_id, version


def _sign(db: sqlite3.Connection, application_id: int, version: int) -> None:
    signed: Sequence[tuple[str, int]] = (("application_id", application_id), ("user_version", version))
    for name, value in signed:
        db.execute(f"PRAGMA {name} = {value}")
