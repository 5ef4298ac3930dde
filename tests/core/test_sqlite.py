"""SQLite files that both packages open: at their real place, with a log, and with an eye on both."""

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nexmo_dispatch_core.sqlite import SqliteFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of a test is."""
    return tmp_path / "kept.db"


@pytest.fixture
def file(path: Path) -> Iterator[SqliteFile]:
    """A file with a table of a hundred notes, a log, and a watch."""
    opened = SqliteFile(path, busy_timeout=1.0)
    opened.keep_log()
    opened.watch()
    opened.connection.execute("CREATE TABLE notes (n INTEGER)")
    for number in range(100):
        opened.connection.execute("INSERT INTO notes VALUES (?)", (number,))
    assert opened.damage() is None
    yield opened
    opened.close()


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def notes(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM notes").fetchone()[0])


def test_a_file_that_was_removed_is_noticed(file: SqliteFile, path: Path) -> None:
    path.unlink()

    assert file.damage() == "was removed or renamed"


def test_a_file_that_was_renamed_is_noticed_until_it_is_back(file: SqliteFile, path: Path) -> None:
    """Nothing was lost then, so all is well again."""
    path.rename(path.with_name("elsewhere"))
    assert file.damage() == "was removed or renamed"

    path.with_name("elsewhere").rename(path)

    assert file.damage() is None


def test_a_file_that_was_replaced_is_noticed(file: SqliteFile, path: Path, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(path.read_bytes())

    (tmp_path / "other.db").replace(path)

    assert file.damage() == "was replaced by another file"


def test_a_file_that_was_truncated_is_noticed(file: SqliteFile, path: Path) -> None:
    """However little is missing, and also after the next commit."""
    assert file.erase_log()
    assert file.damage() is None

    os.truncate(path, path.stat().st_size - 1)

    assert file.damage() == "was truncated"


def test_a_folder_that_was_removed_is_noticed(file: SqliteFile, path: Path) -> None:
    for companion in path.parent.iterdir():
        companion.unlink()
    path.parent.rmdir()

    assert file.damage() == "was removed or renamed"
    path.parent.mkdir()


@pytest.mark.parametrize("way", ["removed", "renamed", "replaced", "truncated"])
def test_a_log_that_is_lost_is_noticed(file: SqliteFile, path: Path, way: str) -> None:
    """What was committed since it was moved to the file is in the log alone."""
    log = log_of(path)
    if way == "removed":
        log.unlink()
    elif way == "renamed":
        log.rename(log.with_name("elsewhere"))
    elif way == "replaced":
        log.with_name("other").write_bytes(log.read_bytes())
        log.with_name("other").replace(log)
    else:
        os.truncate(log, log.stat().st_size // 2)

    damage = file.damage()

    assert damage is not None
    assert damage.startswith("has lost its log: the -wal file was ")


def test_what_others_may_do_is_no_damage(file: SqliteFile, path: Path) -> None:
    """VACUUM makes a file smaller, and a log that was moved may be emptied."""
    file.connection.execute("CREATE TABLE large AS SELECT randomblob(1000000) AS x")
    file.erase_log()
    assert file.damage() is None
    size = path.stat().st_size
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TABLE large")
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size < size
    assert log_of(path).stat().st_size == 0

    assert file.damage() is None
    file.connection.execute("INSERT INTO notes VALUES (1)")
    assert file.damage() is None


def test_memory_has_no_damage() -> None:
    """Nothing can be taken from a database without a file."""
    file = SqliteFile(":memory:", busy_timeout=1.0)
    file.keep_log()
    file.watch()

    assert (file.path, file.exposure, file.damage()) == (None, None, None)
    file.close()


def test_the_last_one_tidies_up(file: SqliteFile, path: Path) -> None:
    """A closed database is a single file, which can be copied."""
    file.close()

    assert [found.name for found in path.parent.iterdir()] == [path.name]
    assert notes(path) == 100


def test_the_log_can_be_left_alone(file: SqliteFile, path: Path) -> None:
    """For those who only look: they cannot know whether others use it."""
    size = log_of(path).stat().st_size

    file.close(keep_log=True)

    assert log_of(path).stat().st_size == size > 0
    assert notes(path) == 100


def test_closing_takes_no_log_of_a_file_that_came_after(file: SqliteFile, path: Path, tmp_path: Path) -> None:
    """SQLite removes a log by its name, whosever it is."""
    path.rename(tmp_path / "gone.db")
    log_of(path).rename(tmp_path / "gone.db-wal")
    path.with_name(path.name + "-shm").unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE notes (n INTEGER)")
        other.execute("INSERT INTO notes VALUES (7)")

        file.close()

        assert log_of(path).stat().st_size > 0
        with closing(sqlite3.connect(path)) as third:
            assert third.execute("SELECT n FROM notes").fetchall() == [(7,)]


def test_a_log_is_emptied_when_no_reader_is_in_the_way(file: SqliteFile, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notes").fetchone()

        assert not file.erase_log()
        reader.execute("COMMIT")

    assert file.erase_log()
    assert set(log_of(path).read_bytes()) == {0}
    assert file.damage() is None
    file.connection.execute("INSERT INTO notes VALUES (1)")
    assert notes(path) == 101


def test_keeping_a_log_waits_for_others(path: Path) -> None:
    """Several processes make one file in the same moment."""
    blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN EXCLUSIVE")
    file = SqliteFile(path, busy_timeout=5.0)
    release = threading.Timer(0.1, blocker.rollback)
    release.start()

    file.keep_log()

    release.join()
    blocker.close()
    file.close()


def test_a_log_is_made_longer_while_others_use_the_file(file: SqliteFile, path: Path) -> None:
    """Zeros behind the content change nothing, for readers, writers and those who open the file later."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM notes").fetchone() == (100,)

        file.extend_log(800_000)
        file.extend_log(100_000)

        assert log_of(path).stat().st_size == 800_000
        assert file.damage() is None
        file.connection.execute("INSERT INTO notes VALUES (1)")
        other.execute("COMMIT")
        other.execute("INSERT INTO notes VALUES (2)")
        assert log_of(path).stat().st_size == 800_000
        assert file.connection.execute("SELECT count(*) FROM notes").fetchone() == (102,)
    copy = path.with_name("copy.db")
    copy.write_bytes(path.read_bytes())
    log_of(copy).write_bytes(log_of(path).read_bytes())
    assert notes(copy) == 102


def test_a_log_is_not_made_longer_beside_another_writer(path: Path) -> None:
    """Its pages would be overwritten."""
    file = SqliteFile(path, busy_timeout=0.05)
    file.keep_log()
    file.watch()
    with closing(file), closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE notes (n INTEGER)")
        other.execute("BEGIN IMMEDIATE")
        size = log_of(path).stat().st_size

        with pytest.raises(sqlite3.OperationalError, match="locked"):
            file.extend_log(300_000)

        assert log_of(path).stat().st_size == size


def test_a_log_that_cannot_be_made_longer_is_as_before(
    file: SqliteFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: what was written of the room is given back."""
    size = log_of(path).stat().st_size

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="space"):
            file.extend_log(300_000)

    assert log_of(path).stat().st_size == size
    file.connection.execute("INSERT INTO notes VALUES (1)")
    assert notes(path) == 101
