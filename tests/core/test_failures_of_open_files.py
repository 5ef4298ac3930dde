"""A store whose file fails while it is open says which file it is, what that means, and what to do."""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.care_window import sqlite as care_window
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.support.callbacks import report
from tests.webhooks.inbox.support import new_record, status_bytes

PATIENCE_S = 0.01


class Opened(NamedTuple):
    """A store with a file: a call that stores something new each time, and the connection of the store."""

    write: Callable[[int], Awaitable[object]]
    connection: sqlite3.Connection


def connection_of(holder: Any) -> sqlite3.Connection:  # Any: the attributes are private
    """Return the connection of what has opened a file."""
    found: sqlite3.Connection = holder._file.connection
    return found


@asynccontextmanager
async def inbox(path: Path) -> AsyncGenerator[Opened]:
    store = SqliteInboxStore(path, clock=time.time, busy_timeout=PATIENCE_S)
    await store.open()
    try:
        yield Opened(lambda n: store.add(new_record(status_bytes(n))), connection_of(store._writer))
    finally:
        await store.aclose()


@asynccontextmanager
async def ledger(path: Path) -> AsyncGenerator[Opened]:
    async with await SqliteLedger.open(path, busy_timeout=PATIENCE_S) as opened:
        yield Opened(
            lambda n: opened.control(lambda _: Control(reason=str(n))), connection_of(opened._writer)
        )


@asynccontextmanager
async def tracking(path: Path) -> AsyncGenerator[Opened]:
    store = SqliteTrackingStore(path, busy_timeout=PATIENCE_S)
    async with Tracker(store) as tracker:
        await tracker.receive(report("completed", 0))
        yield Opened(lambda n: tracker.receive(report("completed", n)), connection_of(store))


@asynccontextmanager
async def opt_outs(path: Path) -> AsyncGenerator[Opened]:
    async with OptOutList.open(path, busy_timeout=PATIENCE_S) as opened:
        await opened.suppress("447700900000")
        yield Opened(lambda n: opened.suppress(f"44770090{n:04d}"), connection_of(opened.store))


@asynccontextmanager
async def window(path: Path) -> AsyncGenerator[Opened]:
    with care_window.SqliteWindowStore(path) as store:

        async def record(n: int) -> None:
            store.record("whatsapp", f"44770090{n:04d}", datetime.now(UTC))

        yield Opened(record, connection_of(store))


@contextmanager
def read_only(path: Path, connection: sqlite3.Connection) -> Generator[None]:
    """Let SQLite refuse each write of a connection."""
    connection.execute("PRAGMA query_only = ON")
    yield
    connection.execute("PRAGMA query_only = OFF")


@contextmanager
def failing_disk(path: Path, connection: sqlite3.Connection) -> Generator[None]:
    """Let the system refuse each write to a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def locked(path: Path, connection: sqlite3.Connection) -> Generator[None]:
    """Let another connection write for as long as it likes."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


Store = Callable[[Path], AbstractAsyncContextManager[Opened]]
Failure = Callable[[Path, sqlite3.Connection], AbstractContextManager[None]]


@pytest.mark.parametrize("store", [inbox, ledger, tracking, opt_outs, window])
@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (read_only, r"attempt to write a readonly database \(SQLITE_READONLY\): let this process write"),
        (failing_disk, r"disk I/O error \(SQLITE_IOERR\w*\): .* read the log of the kernel \(dmesg\)"),
        (locked, r"database is locked \(SQLITE_BUSY\): another connection kept it locked"),
    ],
)
async def test_a_file_that_fails_while_it_is_open_is_named_with_the_cure(
    store: Store, failure: Failure, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line; and the store goes on once the failure is over."""
    monkeypatch.setattr(care_window, "_BUSY_TIMEOUT", PATIENCE_S)
    path, numbers = tmp_path / "store.db", count(1)

    async with store(path) as opened:
        await opened.write(next(numbers))
        with failure(path, opened.connection), pytest.raises(Exception, match=words) as caught:
            await opened.write(next(numbers))
        await opened.write(next(numbers))

    assert "store.db" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (
            0,
            "file is not a database (SQLITE_NOTADB): the file is another one, or its beginning",
        ),
        (
            4096,
            "database disk image is malformed (SQLITE_CORRUPT): end each process that uses it, keep",
        ),
    ],
)
def test_a_file_that_was_overwritten_needs_a_backup(first: int, words: str, tmp_path: Path) -> None:
    """From its first byte, or from its second page on."""
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE row (text)")
        made.execute("INSERT INTO row VALUES ('x')")
    made.close()
    with path.open("r+b") as file:
        file.seek(first)
        file.write(b"\xff" * 4096)

    opened = sqlite3.connect(path)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        opened.execute("SELECT text FROM row").fetchall()
    opened.close()

    assert reason_of(path, caught.value).startswith(words)
