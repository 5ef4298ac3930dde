"""The file of an inbox is taken away while it is open: nothing more is acknowledged, and nothing is lost."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import Event, InboxLostError
from nexmo_dispatch_webhooks.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.webhooks.inbox.support import (
    Make,
    ManualTime,
    Open,
    Recorder,
    frozen,
    new_record,
    put,
    status_bytes,
)

COMMAND = (sys.executable, "-m", "nexmo_dispatch_async.cli", "inbox")


# Each opens the file and closes it, as the only connection of its process.
THREE_COMMANDS = """
import sys
from nexmo_dispatch_async.cli.app import app

for name, *arguments in (["list"], ["show", "1"], ["retry", "all"]):
    assert not app(["inbox", name, sys.argv[1], *arguments], standalone_mode=False)
"""


def unlink(path: Path) -> None:
    path.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replace(path: Path) -> None:
    path.with_name("copy.db").write_bytes(path.read_bytes())
    path.with_name("copy.db").replace(path)


def truncate(path: Path) -> None:
    assert path.stat().st_size > 4096  # a page
    os.truncate(path, 4096)


def remove_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def replace_log(path: Path) -> None:
    log = path.with_name(path.name + "-wal")
    log.with_name("copy").write_bytes(log.read_bytes())
    log.with_name("copy").replace(log)


def truncate_log(path: Path) -> None:
    os.truncate(path.with_name(path.name + "-wal"), 0)


def remove_all(path: Path) -> None:
    for companion in path.parent.glob("inbox.db*"):
        companion.unlink()


WAYS = [unlink, rename, replace, truncate, remove_log, replace_log, truncate_log, remove_all]
each_way = pytest.mark.parametrize("take_away", WAYS, ids=lambda way: way.__name__)


async def fill(inbox: StoreInbox) -> None:
    """Put something into the file itself, and something into its log."""
    await put(inbox, status_bytes(0))
    await inbox.idle()
    assert isinstance(inbox.store, SqliteInboxStore)
    await inbox.store._run(inbox.store._require_writer().empty_log)
    await put(inbox, status_bytes(1))
    await inbox.idle()


@each_way
async def test_nothing_is_acknowledged_without_its_file(
    make_sqlite: Make,
    time: ManualTime,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    take_away: Callable[[Path], None],
) -> None:
    """503 from the first event on, not ready, one error in the log; the service repeats what was refused."""
    inbox = make_sqlite()
    await inbox.start(frozen(Recorder()))
    await fill(inbox)

    take_away(tmp_path / "inbox.db")

    for number in range(2, 5):
        with pytest.raises(InboxLostError, match="while it was open") as caught:
            await put(inbox, status_bytes(number))
        assert caught.value.status == 503
        await time.advance(1.5)
    assert not inbox.health().ready
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "no event is acknowledged until" in errors[0].getMessage()


@each_way
async def test_a_probe_knows_before_the_next_event(
    make_sqlite: Make, time: ManualTime, tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    """Also when nothing comes, within `poll` seconds."""
    inbox = make_sqlite()
    await inbox.start(frozen())
    await fill(inbox)
    assert inbox.health().ready

    take_away(tmp_path / "inbox.db")
    await time.advance(1.5)

    assert not inbox.health().ready


@each_way
async def test_what_was_acknowledged_is_handled_all_the_same(
    make_sqlite: Make, tmp_path: Path, take_away: Callable[[Path], None]
) -> None:
    """The process still has the file open, so it goes on with what it took."""
    gate, seen = asyncio.Event(), list[str]()

    async def slow(event: Event) -> None:
        await gate.wait()
        seen.append(event.dedup_key[1])

    inbox = make_sqlite(concurrency=2)
    await inbox.start(frozen())
    await fill(inbox)
    await inbox.aclose()
    await inbox.start(frozen(slow))
    for number in range(20, 40):
        await put(inbox, status_bytes(number))

    take_away(tmp_path / "inbox.db")
    gate.set()
    await inbox.idle()

    assert sorted(seen) == sorted(f"m{number}" for number in range(20, 40))


async def test_a_file_that_is_back_is_used_again(
    make_sqlite: Make, time: ManualTime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was refused meanwhile was not stored, or is known when it is repeated."""
    inbox = make_sqlite()
    await inbox.start(frozen(Recorder()))
    path = tmp_path / "inbox.db"
    path.rename(tmp_path / "elsewhere.db")
    with pytest.raises(InboxLostError):
        await put(inbox, status_bytes(1))

    (tmp_path / "elsewhere.db").rename(path)
    await time.advance(1.5)

    assert inbox.health().ready
    assert "inbox.db is back" in caplog.text
    await put(inbox, status_bytes(1))
    await inbox.idle()
    assert [record.state for record in await inbox.list()] == ["handled"]


async def test_a_file_that_is_taken_away_during_the_commit_is_noticed(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before it saw nothing: the look after it is before the answer."""
    store = await open_store()
    assert store._writer is not None
    transact = store._writer._transact

    def and_remove(*arguments: object) -> None:
        transact(*arguments)  # type: ignore[arg-type]  # as they came
        (tmp_path / "inbox.db").unlink()

    monkeypatch.setattr(store._writer, "_transact", and_remove)

    with pytest.raises(InboxLostError, match="was removed or renamed while it was open"):
        await store.add(new_record(status_bytes(1)))


async def test_a_log_that_was_removed_is_moved_to_the_file_in_time(
    make_sqlite: Make, time: ManualTime, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All that was acknowledged was in the log alone; the next start finds it."""
    gate = asyncio.Event()

    async def never(event: Event) -> None:
        await gate.wait()

    inbox = make_sqlite(drain=0.0)
    await inbox.start(frozen(never))
    for number in range(30):
        await put(inbox, status_bytes(number))
    remove_log(tmp_path / "inbox.db")
    await time.advance(1.5)
    assert "all stored events of the inbox inbox.db have been moved to the file" in caplog.text
    await inbox.aclose()
    gate.set()

    handler, again = Recorder(), make_sqlite()
    await again.start(frozen(handler))
    await again.idle()

    assert len(handler.seen) == 30


async def test_the_command_takes_no_log_from_a_receiver(open_store: Open, tmp_path: Path) -> None:
    """A copy made in the process drops its locks, so that the command takes itself for the last one."""
    store = await open_store()
    await store.claim()
    for number in range(50):
        await store.add(new_record(status_bytes(number)))
    log = tmp_path / "inbox.db-wal"
    before = log.stat().st_ino, log.stat().st_size
    shutil.copy(tmp_path / "inbox.db", tmp_path / "copy.db")

    command = [sys.executable, "-c", THREE_COMMANDS, str(tmp_path / "inbox.db")]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    assert (log.stat().st_ino, log.stat().st_size) >= before
    assert await store.add(new_record(status_bytes(100))) == 51
    with closing(sqlite3.connect(tmp_path / "inbox.db")) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (51,)
