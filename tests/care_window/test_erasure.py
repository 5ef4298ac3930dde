"""The file of the care window: no trace of who was forgotten, and nothing noted in a file that is gone."""

import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nexmo_dispatch_async import CareWindowStoreError
from nexmo_dispatch_async.care_window import sqlite as care_window_sqlite
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def number(n: int) -> str:
    return f"4477009{n * 7919 % 100_000:05}"


def test_nothing_is_left_of_whom_it_forgot(tmp_path: Path) -> None:
    """Neither in the file nor in its log, when the call returns."""
    with SqliteWindowStore(tmp_path / "windows.db") as store:
        for n in range(3000):
            store.record("whatsapp", number(n), NOW + timedelta(hours=n % 3))

        assert store.forget_before(NOW + timedelta(hours=2)) == 2000

        contents = b"".join(found.read_bytes() for found in tmp_path.iterdir())
        found = {match.decode() for match in re.findall(rb"4477009\d{5}", contents)}
        assert found == {number(n) for n in range(3000) if n % 3 == 2}


def test_a_reader_delays_the_end_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is emptied with the next message after the reader has gone, and a warning says so."""
    monkeypatch.setattr(care_window_sqlite, "_PATIENCE", 0.01)
    path = tmp_path / "windows.db"
    with SqliteWindowStore(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as reader:
        store.record("whatsapp", number(1), NOW)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM care_window").fetchone()

        assert store.forget_before(NOW + timedelta(hours=1)) == 1
        assert "another connection to windows.db reads" in caplog.text
        reader.execute("COMMIT")
        store.record("whatsapp", number(2), NOW)

        contents = b"".join(found.read_bytes() for found in tmp_path.iterdir())
        assert number(1).encode() not in contents


@pytest.mark.parametrize("companion", ["", "-wal"])
def test_nothing_is_noted_without_its_file(tmp_path: Path, companion: str) -> None:
    """The receiver answers 500, or its inbox tries again; once the file is back all is well."""
    with SqliteWindowStore(tmp_path / "windows.db") as store:
        lost = tmp_path / f"windows.db{companion}"
        lost.rename(tmp_path / "elsewhere")

        for call in (lambda: store.record("whatsapp", number(1), NOW), lambda: store.forget_before(NOW)):
            with pytest.raises(CareWindowStoreError, match=r"windows.db, .* or renamed: nothing is noted"):
                call()
        (tmp_path / "elsewhere").rename(lost)

        store.record("whatsapp", number(2), NOW)
        assert store.last("whatsapp", number(2)) == NOW


def test_a_failure_of_the_file_is_our_error(tmp_path: Path) -> None:
    """Its words name no customer."""
    with SqliteWindowStore(tmp_path / "windows.db") as store:
        store._connection.execute("DROP TABLE care_window")

        with pytest.raises(CareWindowStoreError, match=r"the care window failed: windows.db: no such table"):
            store.last("whatsapp", number(1))


def test_others_who_may_read_the_file_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It holds phone numbers; the mode is the operator's to change."""
    path = tmp_path / "windows.db"
    path.touch()
    path.chmod(0o644)

    SqliteWindowStore(path).close()

    assert "the file of the care window, windows.db, may be used by others (mode 0644)" in caplog.text
    assert path.stat().st_mode & 0o777 == 0o644
