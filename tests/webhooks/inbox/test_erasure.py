"""What was forgotten is gone when the call returns: from the file, its log, and every companion."""

import asyncio
import random
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_webhooks import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite as sqlite_module
from tests.webhooks.inbox.support import (
    Make,
    ManualTime,
    Open,
    Recorder,
    frozen,
    new_record,
    other_connection,
    put,
    status_bytes,
)

PROGRAM = (sys.executable, "-m", "nexmo_dispatch_async.cli")


def text(number: int) -> str:
    """What a customer wrote; of many lengths, so that some of it fills pages of its own."""
    return f"private-{number:05}-" + "x" * random.Random(number).choice((0, 10, 300, 2000, 5000, 20_000))


def left(folder: Path, numbers: Iterable[int]) -> list[tuple[str, int]]:
    """Which texts are still in which file."""
    wanted, found = set(numbers), set[tuple[str, int]]()
    for path in folder.iterdir():
        there = {int(number) for number in re.findall(rb"private-(\d{5})-", path.read_bytes())}
        found |= {(path.name, number) for number in there & wanted}
    return sorted(found)


async def test_nothing_is_left_of_what_was_purged(make_sqlite: Make, tmp_path: Path) -> None:
    """Of a thousand texts not one, while the inbox is open and its log is full of them."""
    inbox = make_sqlite()
    await inbox.start(frozen(Recorder()))
    await asyncio.gather(*(put(inbox, status_bytes(n, client_ref=text(n))) for n in range(1000)))
    await inbox.idle()
    await inbox.store.count()
    assert len(left(tmp_path, range(1000))) >= 1000

    assert await inbox.purge() == 1000

    assert left(tmp_path, range(1000)) == []


async def test_nothing_is_left_of_single_records(make_sqlite: Make, tmp_path: Path) -> None:
    """Whatever lay around them in the file; the others are untouched."""
    inbox = make_sqlite()
    await inbox.start(frozen(Recorder()))
    for start in range(0, 400, 40):
        part = range(start, start + 40)
        await asyncio.gather(*(put(inbox, status_bytes(n, client_ref=text(n))) for n in part))
    await inbox.idle()
    await inbox.store.count()
    records = {(await inbox.show(number)).id: number for number in range(1, 401)}
    dice = random.Random(7)
    chosen = dice.sample(sorted(records), 60)
    gone: list[int] = []
    for record_id in chosen:
        body = (await inbox.show(record_id)).body or b""
        gone.append(int(body.split(b"private-")[1][:5]))
        await inbox.purge(record_id=record_id)

    assert left(tmp_path, gone) == []
    kept = sorted(set(range(400)) - set(gone))
    assert {number for _, number in left(tmp_path, kept)} == set(kept)


async def test_nothing_is_left_after_the_retention(
    make_sqlite: Make, time: ManualTime, tmp_path: Path
) -> None:
    """An hour after the time at the latest, without a call."""
    inbox = make_sqlite(keep=10.0, poll=60.0)
    await inbox.start(frozen(Recorder()))
    await asyncio.gather(*(put(inbox, status_bytes(n, client_ref=text(n))) for n in range(100)))
    await inbox.idle()

    for _ in range(10):
        await time.advance(600.0)

    assert left(tmp_path, range(100)) == []


@pytest.mark.parametrize("running", [True, False])
async def test_the_command_leaves_nothing_either(make_sqlite: Make, tmp_path: Path, running: bool) -> None:
    """A running receiver empties its log when the command asks; without one the command does it."""
    inbox = make_sqlite(sleep=asyncio.sleep, poll=0.05)
    await inbox.start(frozen(Recorder()))
    await asyncio.gather(*(put(inbox, status_bytes(n, client_ref=text(n))) for n in range(100)))
    await inbox.idle()
    await inbox.store.count()
    log = tmp_path / "inbox.db-wal"
    inode = log.stat().st_ino
    if not running:
        await inbox.aclose()
    command = ["inbox", "purge", str(tmp_path / "inbox.db"), "all"]

    if running:
        done = await asyncio.to_thread(
            subprocess.run, [*PROGRAM, *command], capture_output=True, text=True, check=False
        )
        code, said, errors = done.returncode, done.stdout, done.stderr
    else:
        result = await asyncio.to_thread(CliRunner().invoke, app, command)
        code, said, errors = result.exit_code, result.stdout, result.stderr

    assert (code, said) == (0, "100 records forgotten\n"), errors
    assert left(tmp_path, range(100)) == []
    if running:
        assert log.stat().st_ino == inode
        await put(inbox, status_bytes(1000))
        assert inbox.health().ready


async def test_the_file_of_another_owner_is_purged_as_well(open_store: Open, tmp_path: Path) -> None:
    """Only its events must not be handled by another process."""
    store = await open_store(owner="listen")
    await store.claim()
    await store.add(new_record(status_bytes(1, client_ref=text(1))))
    store.finish(1)
    await store.aclose()
    other = await open_store()

    assert await other.purge("all", states=("handled",), before=None) == 1

    assert left(tmp_path, [1]) == []


async def test_a_reader_in_the_way_is_named(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its snapshot holds the old log: the caller learns of it, and it is emptied when that ends."""
    monkeypatch.setattr(sqlite_module, "_LOOK", 0.001)
    store = await open_store()
    await store.claim()
    await store.add(new_record(status_bytes(1, client_ref=text(1))))
    store.finish(1)
    await store.count()
    with closing(other_connection(tmp_path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        with pytest.raises(InboxError, match=r"forgotten, but the log .-wal. still holds them"):
            await store.purge("all", states=("handled",), before=None)

    for _ in range(2):  # the second waits for what follows the first
        await store.count()
    assert left(tmp_path, [1]) == []
