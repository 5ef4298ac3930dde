"""Opens the SQLite file of an inbox, creates its tables, and moves its write-ahead log.

It knows no event and no thread: `sqlite_writer` calls it, with its own connection.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile, is_locked
from nexmo_dispatch_webhooks.exceptions import InboxError, InboxFullError
from nexmo_dispatch_webhooks.inbox import sqlite_statements as sql
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteSettings
from nexmo_dispatch_webhooks.logs import logger

__all__ = [
    "APPLICATION_ID",
    "has_race",
    "move_log",
    "open_file",
]

APPLICATION_ID = 0x4E445731  # "NDW1": identifies the file for `file` and for `open_file`
#: Bytes of the page cache: it holds the index of half a million keys, so that no key is read from the disk.
_CACHE = 16 * 1024**2
#: Pages of the log after which other processes have to wait for its move.
_VERY_LONG_LOG = 1000
#: Bytes of the log file that remain when the log starts over.
_LONGEST_LOG = 8 * 1024**2


def open_file(path: Path, settings: SqliteSettings) -> SqliteFile:
    """Open an inbox; create it when the file is missing or empty.

    Raises:
        InboxError: The file is missing and *create* is False, or the file is no inbox or belongs to another
            user. It is not changed.
    """
    if not settings.create and not path.exists():
        raise InboxError(f"there is no inbox at {path.name}")
    try:
        # 256 hold the compiled INSERT for every number of rows
        file = SqliteFile(path, busy_timeout=settings.busy_timeout, statements=256)
    except (OSError, sqlite3.Error) as error:
        verb = "created" if isinstance(error, FileNotFoundError) else "opened"
        raise InboxError(f"the inbox {path} cannot be {verb}: {reason_of(path, error)}") from None
    db = file.connection
    try:
        if _is_empty(db):
            if not settings.create:
                raise InboxError(f"there is no inbox in {path.name}: the file is empty")
            _create(file)
        if _identity(db) != (APPLICATION_ID, sql.SCHEMA_VERSION):
            raise InboxError(f"{path.name} is no inbox of this version")
        db.execute(f"PRAGMA cache_size = -{_CACHE // 1024}")
        db.execute(f"PRAGMA synchronous = {settings.synchronous}")
        # texts of customers go to no temporary folder, which may be on another disk
        db.execute("PRAGMA temp_store = MEMORY")
        # deleted content is overwritten; only a deletion writes more for that
        db.execute("PRAGMA secure_delete = ON")
        # `move_log` moves the log after the responses; SQLite would move it before
        db.execute("PRAGMA wal_autocheckpoint = 0")
        db.execute(f"PRAGMA journal_size_limit = {_LONGEST_LOG}")
        if settings.schema:
            _run_schema(db, settings.schema)
        file.watch()
    except BaseException as error:
        file.close()
        code = getattr(error, "sqlite_errorcode", None)
        if code == sqlite3.SQLITE_NOTADB:
            raise InboxError(f"{path.name} is no SQLite database, so it is no inbox") from error
        if isinstance(error, OSError | sqlite3.Error) and not is_locked(error):
            kind = InboxFullError if code == sqlite3.SQLITE_FULL else InboxError
            raise kind(f"the inbox {path} cannot be opened: {reason_of(path, error)}") from None
        raise
    if file.exposure is not None:
        logger.warning("the inbox %s %s", path.name, file.exposure)
    return file


def _run_schema(db: sqlite3.Connection, schema: str) -> None:
    try:
        db.executescript(schema)
    except sqlite3.Error as error:
        # the message quotes a statement of the application, which contains no personal data
        raise InboxError(f"the schema of the inbox cannot be run: {error}") from error


def _is_empty(db: sqlite3.Connection) -> bool:
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not tables and _identity(db) == (0, 0)


def _identity(db: sqlite3.Connection) -> tuple[int, int]:
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return application_id, version


def _create(file: SqliteFile) -> None:
    """Create all tables or none: several processes may start at once, and each may die."""
    file.keep_log()  # readers beside a writer, and one write to the disk for each commit
    db = file.connection
    db.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(db):  # no other process was quicker
            for statement in sql.SCHEMA:
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {sql.SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def has_race(version: tuple[int, int, int]) -> bool:
    """Whether this SQLite can lose commits when one connection moves the log while another one commits.

    See <https://sqlite.org/wal.html>, "WAL-reset bug".
    """
    mended = {(3, 44): 6, (3, 50): 7, (3, 51): 3}
    return version[:2] < (3, 52) and version[2] < mended.get(version[:2], 1000)


def move_log(db: sqlite3.Connection, busy_timeout: float) -> None:
    """Move the log to the file, between two commits, so that the next commit starts it over.

    It waits for no other process. A process that commits meanwhile keeps the log from starting over; once the
    log is very long, that process has to wait.
    """
    with contextlib.suppress(sqlite3.Error):  # commits are safe in the log, and the next call tries again
        _, pages, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if pages > _VERY_LONG_LOG:
            db.execute("PRAGMA busy_timeout = 0")
            try:
                db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            finally:
                db.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
