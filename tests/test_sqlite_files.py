"""The files of tracking and care window: opened by many processes, and readable by their owner only."""

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.exceptions import ConfigurationError, TrackingStoreError
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_core.sqlite import SqliteFile
from tests.support.callbacks import report


def make_tracking(path: Path) -> None:
    async def main() -> None:
        async with Tracker(SqliteTrackingStore(path)) as tracker:
            await tracker.receive(report("completed", 1))

    asyncio.run(main())


def make_window(path: Path) -> None:
    SqliteWindowStore(path).close()


BOTH = pytest.mark.parametrize("make", [make_tracking, make_window])


@BOTH
def test_a_new_file_is_for_its_owner_only(make: Callable[[Path], None], tmp_path: Path) -> None:
    """The file and its log hold personal data."""
    before = os.umask(0o022)
    try:
        make(tmp_path / "file")
        companion = SqliteFile(tmp_path / "file", busy_timeout=1)
        companion.connection.execute("CREATE TABLE other (x)")
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        companion.close()
    finally:
        os.umask(before)

    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


@BOTH
def test_a_file_that_exists_keeps_its_mode(make: Callable[[Path], None], tmp_path: Path) -> None:
    """A file shared on purpose keeps its permissions."""
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o640)

    make(path)

    assert path.stat().st_mode & 0o777 == 0o640


@BOTH
def test_opening_waits_for_another_process(make: Callable[[Path], None], tmp_path: Path) -> None:
    """Several processes make one new file in the same moment; the change of the log waits for no lock."""
    path = tmp_path / "file"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(0.2, other.rollback)
    release.start()

    make(path)

    release.join()
    other.close()


def test_it_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "file", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    file = SqliteFile(tmp_path / "file", busy_timeout=0.05)

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        file.keep_log()

    file.close()
    other.close()


def test_a_folder_that_is_missing_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="the file of the care window cannot be used: there is no such folder"
    ):
        make_window(tmp_path / "nowhere" / "file")
    with pytest.raises(TrackingStoreError, match="there is no such folder"):
        make_tracking(tmp_path / "nowhere" / "file")


def test_a_file_that_is_no_database_is_our_error_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"no database" * 100)

    with pytest.raises(ConfigurationError, match="not a database"):
        make_window(path)

    assert path.read_bytes() == b"no database" * 100


def test_memory_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    make_window(Path(":memory:"))

    assert list(tmp_path.iterdir()) == []
