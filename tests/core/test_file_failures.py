"""A store whose file cannot be used says why, in one sentence, and what to do: SQLite tells neither."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_webhooks import Event
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from tests.support.callbacks import report
from tests.webhooks.inbox.support import frozen
from tests.webhooks.inbox.test_full_disk import on_a_volume, way_to_mount

#: A user who is neither root nor the user of the tests.
STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


async def open_inbox(path: Path) -> None:
    async def handle(event: Event) -> None: ...

    inbox = SqliteInbox(path)
    await inbox.start(frozen(handle))
    await inbox.aclose()


async def open_ledger(path: Path) -> None:
    async with await SqliteLedger.open(path):
        pass


async def open_tracking(path: Path) -> None:
    async with Tracker(SqliteTrackingStore(path)) as tracker:
        await tracker.receive(report("completed", 1))


async def open_opt_outs(path: Path) -> None:
    async with OptOutList.open(path) as opt_outs:
        await opt_outs.suppress("447700900123")


async def open_window(path: Path) -> None:
    SqliteWindowStore(path).close()


Store = Callable[[Path], Coroutine[None, None, None]]
STORES: tuple[Store, ...] = (open_inbox, open_ledger, open_tracking, open_opt_outs, open_window)
each_store = pytest.mark.parametrize("store", STORES)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root that every user may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def as_stranger() -> Iterator[Callable[[], None]]:
    """Give up the rights of root when called, until the end of the test."""
    yield lambda: os.seteuid(STRANGER)
    os.seteuid(0)


@as_root
@each_store
async def test_a_folder_of_another_user_is_named(
    store: Store, folder: Path, tmp_path: Path, as_stranger: Callable[[], None]
) -> None:
    """A missing file cannot be made there: whose folder it is, who this process is, and the cure."""
    await store(tmp_path / "store.db")  # it imports modules that only root may read
    as_stranger()

    with pytest.raises(Exception, match="permission denied: the folder") as caught:
        await store(folder / "store.db")

    assert f"belongs to uid 0 (mode 0755) and this process runs as uid {STRANGER}" in str(caught.value)
    assert "chown" in str(caught.value)
    assert "\n" not in str(caught.value)


def leave_a_log_of_root(folder: Path) -> None:
    """Give the files of a folder to the stranger, all but a log."""
    folder.chmod(0o777)
    for file in folder.iterdir():
        os.chown(file, STRANGER, -1)
    (folder / "store.db-wal").touch(0o600)


@as_root
@each_store
async def test_a_companion_of_another_user_is_named(
    store: Store, folder: Path, as_stranger: Callable[[], None]
) -> None:
    """A command that root ran beside a service leaves a log that the service may not write."""
    await store(folder / "store.db")
    leave_a_log_of_root(folder)
    as_stranger()

    with pytest.raises(Exception, match=r"permission denied: store\.db-wal belongs to uid 0 \(mode 0600\)"):
        await store(folder / "store.db")


@each_store
async def test_a_folder_that_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    """With the name of the folder, and not of its path, which may be private."""
    with pytest.raises(Exception, match=r"there is no such folder \(nowhere\): create it"):
        await store(tmp_path / "nowhere" / "store.db")


@each_store
@pytest.mark.parametrize("path", [".", "/"])
async def test_a_folder_is_named_as_one(
    store: Store, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the current one and the root, which have no name beside which a companion could stand."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(Exception, match="it is a folder: name a file"):
        await store(Path(path))


@each_store
async def test_a_name_of_any_bytes_is_a_name(store: Store, tmp_path: Path) -> None:
    """A file system takes bytes that are no UTF-8, which Python reads as lone surrogates."""
    await store(tmp_path / os.fsdecode(b"store\xff.db"))


@each_store
async def test_a_name_that_is_too_long_is_named(store: Store, tmp_path: Path) -> None:
    """The look at the file fails as its opening does."""
    with pytest.raises(Exception, match="File name too long: correct the path"):
        await store(tmp_path / ("x" * 300))


_LOOK = '"$PYTHON" -m tests.core.test_file_failures "$VOLUME"; '
_READ_ONLY = 'mount -o remount,ro "$VOLUME"; '


def lines_of(volume: Path, script: str) -> list[str]:
    """Run a script on a small volume; return what it printed."""
    volume.mkdir()
    way = way_to_mount(volume)
    if way is None:
        pytest.skip("needs a volume, and this system lets this user mount none")
    return on_a_volume(way, volume, "3m", script).stdout.splitlines()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (_LOOK + _READ_ONLY + _LOOK, "the file system is read-only: mount it for writing"),
        (
            _LOOK + 'rm "$VOLUME"/*; cat /dev/zero >"$VOLUME/x" 2>/dev/null; ' + _LOOK,
            "make room on the disk (df -h",
        ),
    ],
    ids=["read-only", "full"],
)
def test_a_volume_that_takes_no_write_is_named(tmp_path: Path, script: str, words: str) -> None:
    """By every store, in one line each."""
    lines = lines_of(tmp_path / "volume", script)

    assert lines[: len(STORES)] == ["opened"] * len(STORES)
    assert [line for line in lines[len(STORES) :] if words not in line] == []
    assert len(lines) == 2 * len(STORES)
    kind = "InboxFullError" if "make room" in words else "InboxError"
    assert lines[len(STORES)].startswith(f"{kind}: the inbox ")


def test_a_command_says_so_in_one_line(tmp_path: Path) -> None:
    """`inbox summary` of a log that cannot be read on a read-only volume: no traceback."""
    script = (
        '"$PYTHON" -m tests.support.full_disk killed "$VOLUME" >/dev/null; '
        f'rm "$VOLUME/inbox.db-shm"; {_READ_ONLY}'
        '"$PYTHON" -m nexmo_dispatch_async.cli inbox summary "$VOLUME/inbox.db" 2>&1'
    )

    (line,) = lines_of(tmp_path / "volume", script)

    assert "cannot be opened: the file system is read-only: mount it for writing" in line


def test_a_service_that_was_killed_names_the_read_only_volume(tmp_path: Path) -> None:
    """Its files are all there, so the inbox opens, and only the claim has to write."""
    script = (
        '"$PYTHON" -m tests.support.full_disk killed "$VOLUME" >/dev/null; '
        f'{_READ_ONLY} "$PYTHON" -m tests.support.full_disk after "$VOLUME" 2>&1 | tail -n 1'
    )

    (line,) = lines_of(tmp_path / "volume", script)

    assert "InboxError: " in line
    assert "the file system is read-only: mount it for writing" in line


def test_what_is_no_failure_of_the_system_keeps_its_words(tmp_path: Path) -> None:
    """A statement that is wrong, or another failure: nothing about the folder would help."""
    wrong = sqlite3.OperationalError("no such table: rows")
    wrong.sqlite_errorcode = sqlite3.SQLITE_ERROR

    assert reason_of(tmp_path / "store.db", wrong) == "no such table: rows"
    assert reason_of(tmp_path / "store.db", OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert reason_of(tmp_path, OSError(errno.EISDIR, "Is a directory")) == "it is a folder: name a file"


def main(volume: Path) -> None:
    """Open each store on a volume; print a line for each."""
    import asyncio

    for store in STORES:
        try:
            asyncio.run(store(volume / f"{store.__name__}.db"))
        except Exception as error:  # noqa: BLE001 - the line says what it was
            print(f"{type(error).__name__}: {error}")
        else:
            print("opened")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
