"""The claim to be the only one who handles events: held by one, whatever becomes of its file."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_claim
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.support.paths import ROOT
from tests.webhooks.inbox.support import Make, ManualTime, Open, Recorder, frozen, put, status_bytes

STRANGER = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder, in a process that has not the rights of root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o777)
        if os.geteuid() == 0:
            os.seteuid(STRANGER)
            yield Path(name)
            os.seteuid(0)
        else:
            yield Path(name)


async def test_a_companion_that_cannot_be_locked_is_an_error(folder: Path) -> None:
    """One that is read-only could be locked by many, each of whom would handle all events."""
    (folder / "inbox.db-worker").touch(0o400)
    store = SqliteInboxStore(folder / "inbox.db", clock=lambda: 0.0)
    await store.open()

    with pytest.raises(
        InboxError,
        match=r"inbox.db-worker cannot be locked, .*: permission denied: inbox.db-worker belongs to .*chown",
    ):
        await store.claim()

    await store.aclose()


async def test_two_names_of_a_file_are_one_claim(tmp_path: Path) -> None:
    """A link is another way to the same events."""
    (tmp_path / "link.db").symlink_to(tmp_path / "inbox.db")
    first = SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 0.0)
    second = SqliteInboxStore(tmp_path / "link.db", clock=lambda: 0.0)
    await first.open()
    await second.open()

    assert await first.claim()
    assert not await second.claim()

    await second.aclose()
    await first.aclose()


@pytest.mark.parametrize("races", [5, pytest.param(20, marks=pytest.mark.long)])
def test_two_processes_at_the_same_instant(tmp_path: Path, races: int) -> None:
    """One of them handles the events of an inbox that neither has seen before, the other stands by."""
    command = [sys.executable, "-m", "tests.support.fork_races", str(tmp_path), str(races)]

    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=60)

    assert done.stdout.splitlines() == ["claimed stands-by"] * races


async def test_a_process_that_only_looks_at_the_claim_takes_it_from_no_other(
    open_store: Open, tmp_path: Path
) -> None:
    """As another process does at the instant before it stands by itself."""
    (tmp_path / "inbox.db-worker").touch(mode=0o600)
    with closing(sqlite3.connect(tmp_path / "inbox.db-worker", isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT * FROM sqlite_master").fetchall()
        store = await open_store()

        assert await store.claim()


@pytest.mark.parametrize("way", ["removed", "replaced"])
async def test_a_holder_keeps_its_claim_when_the_file_loses_its_name(
    open_store: Open, tmp_path: Path, way: str
) -> None:
    """Another process gets the lock of a new file, and leaves the holder time to lock that, too."""
    first, second = await open_store(), await open_store()
    assert await first.claim()
    worker = tmp_path / "inbox.db-worker"
    if way == "removed":
        worker.unlink()
    else:
        (tmp_path / "new").touch(0o600)
        (tmp_path / "new").replace(worker)

    assert not await second.claim()  # it comes first
    assert await first.claim()
    assert not await second.claim()
    assert await first.claim()


async def test_a_dead_holder_is_followed_by_another(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time in which a living one would have come; so is it with a restored copy."""
    first, second = await open_store(), await open_store()
    assert await first.claim()
    await first.aclose()
    (tmp_path / "inbox.db-worker").rename(tmp_path / "elsewhere")

    assert not await second.claim()
    monkeypatch.setattr(sqlite_claim, "GRACE", 0.0)
    assert await second.claim()


async def test_who_was_overtaken_starts_no_more_handlers(
    make_sqlite: Make,
    time: ManualTime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A process that slept for long finds that another one handles the events, and stands by."""
    monkeypatch.setattr(sqlite_claim, "GRACE", 0.0)
    here, there, then = Recorder(), Recorder(), ManualTime()
    first, second = make_sqlite(), make_sqlite(clock=then, monotonic=then, sleep=then.sleep)
    await first.start(frozen(here))
    (tmp_path / "inbox.db-worker").unlink()
    await second.start(frozen(there))
    assert (first.health().state, second.health().state) == ("running", "running")

    await time.advance(1.5)

    assert (first.health().state, second.health().state) == ("standby", "running")
    assert caplog.text.count("inbox.db-worker was removed or replaced, and another process handles") == 1
    await put(first, status_bytes(1))
    await then.advance(1.5)
    await second.idle()
    assert (here.seen, len(there.seen)) == ([], 1)
    await second.aclose()
    await time.advance(1.5)
    assert first.health().state == "running"
