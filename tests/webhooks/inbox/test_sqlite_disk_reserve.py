"""The reserve beside the file of an inbox: who makes it, when it is given up, what no commit may outgrow."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import InboxFullError, TransactionError
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from nexmo_dispatch_webhooks.inbox.sqlite_disk_reserve import DiskReserve
from nexmo_dispatch_webhooks.inbox.sqlite_settings import SqliteSettings
from tests.webhooks.inbox.support import Open, new_record, status_bytes

MEBIBYTE = 1024**2
BLOBS = "CREATE TABLE IF NOT EXISTS blobs (b)"
Free = Callable[[int], None]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Free:
    """Say how many bytes of the disk are free; the real ones are left alone."""
    real = shutil.disk_usage("/")

    def say(number: int) -> None:
        usage = real._replace(free=number)

        def disk_usage(_: object) -> object:
            return usage

        monkeypatch.setattr(shutil, "disk_usage", disk_usage)

    return say


def reserve(folder: Path) -> Path:
    return folder / "inbox.db-reserve"


async def fill(store: SqliteInboxStore) -> int:
    """Add records until there is no room; return the number of the last one tried."""
    for number in range(10_000):
        try:
            await store.add(new_record(status_bytes(number, client_ref="x" * 3000)))
        except InboxFullError:
            return number
    raise AssertionError("the inbox is not full")


async def test_who_stores_or_handles_makes_the_reserve(open_store: Open, tmp_path: Path) -> None:
    """One that only looks, as the command does, leaves no file behind."""
    store = await open_store()
    await store.count()
    assert not reserve(tmp_path).exists()

    await store.add(new_record(status_bytes(1)))

    assert reserve(tmp_path).stat().st_size == 2 * MEBIBYTE
    assert reserve(tmp_path).stat().st_blocks * 512 >= 2 * MEBIBYTE
    assert reserve(tmp_path).stat().st_mode & 0o777 == 0o600


async def test_the_reserve_of_a_small_inbox_is_small(open_store: Open, tmp_path: Path) -> None:
    """At most a quarter of `max_bytes`."""
    store = await open_store(max_bytes=512 * 1024)

    await store.add(new_record(status_bytes(1)))

    assert reserve(tmp_path).stat().st_size == 128 * 1024


def test_the_line_about_a_full_disk_fits_a_small_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No small disk ever has 4 MiB free; also before the file could be opened."""
    usage = shutil.disk_usage("/")._replace(total=3 * MEBIBYTE, free=0)

    def disk_usage(_: object) -> object:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    reserve(tmp_path).touch()

    assert DiskReserve(tmp_path / "inbox.db", SqliteSettings()).give_up()

    assert f"does not grow until {2 * 3 * MEBIBYTE // 8} bytes are free" in caplog.text


async def test_a_file_without_a_reserve_grows_no_further_until_the_disk_has_room(
    open_store: Open, tmp_path: Path, free: Free
) -> None:
    """What is there may be forgotten, and its room is used; with room on the disk all goes on as before."""
    free(MEBIBYTE)
    store = await open_store()
    tried = await fill(store)
    assert not reserve(tmp_path).exists()
    assert not await store.writable()

    free(100 * MEBIBYTE)
    await store.add(new_record(status_bytes(tried)))

    assert reserve(tmp_path).exists()
    assert await store.writable()


async def test_a_commit_that_the_disk_could_not_take_from_the_log_is_refused(
    open_store: Open, tmp_path: Path, free: Free
) -> None:
    """Before it is written: a log that cannot be moved would fill the disk for good."""
    store = await open_store(schema=BLOBS)
    await store.add(new_record(status_bytes(1)))
    free(4 * MEBIBYTE)

    with pytest.raises(TransactionError, match="more room than there is"):
        await store.commit(1, "h", [("INSERT INTO blobs VALUES (zeroblob(5000000))", ())], finish=True)
    assert await store.add(new_record(status_bytes(2))) == 2
    free(100 * MEBIBYTE)
    await store.commit(1, "h", [("INSERT INTO blobs VALUES (zeroblob(5000000))", ())], finish=True)

    assert [item.id for item in await store.pending()] == [2]


async def test_what_makes_room_is_given_the_reserve(
    open_store: Open, tmp_path: Path, free: Free, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says once what that means; new events never get it."""
    store = await open_store(max_bytes=MEBIBYTE)
    await fill(store)
    free(0)
    await asyncio.gather(
        store.add(new_record(status_bytes(20_000, client_ref="x" * 3000))), return_exceptions=True
    )
    assert reserve(tmp_path).exists()

    large = [("CREATE TABLE large AS SELECT zeroblob(3000000)", ())]
    with pytest.raises(InboxFullError):
        await store.commit(1, "h", large, finish=False)

    assert not reserve(tmp_path).exists()
    assert caplog.text.count("the disk of the inbox is full: its file does not grow") == 1


def free_pages(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(f"file:{folder}/inbox.db?mode=ro", uri=True)) as db:
        (pages,) = db.execute("PRAGMA freelist_count").fetchone()
        return int(pages)


async def test_new_events_leave_pages_to_marks_and_deletions(
    open_store: Open, tmp_path: Path, free: Free
) -> None:
    """On a full disk the file cannot grow for them: events would be handled again after the next start."""
    store = await open_store(max_bytes=MEBIBYTE)
    filled = await fill(store)
    free(0)
    with pytest.raises(InboxFullError):
        await store.commit(1, "h", [("CREATE TABLE large AS SELECT zeroblob(3000000)", ())], finish=False)
    assert free_pages(tmp_path) >= 16  # a quarter of the reserve, which is a quarter of the file

    await store.purge("all", states=["pending"], before=None)
    refused = await fill(store)

    assert refused > filled
    assert free_pages(tmp_path) >= 16
    for item in await store.pending():
        store.finish(item.id)
    assert (await store.count()).pending == 0


async def test_a_reserve_that_another_process_gave_up_is_missed(
    open_store: Open, tmp_path: Path, free: Free
) -> None:
    """With the next move of the log, at the latest a hundred pages later."""
    store = await open_store()
    await store.add(new_record(status_bytes(1)))
    free(0)
    reserve(tmp_path).unlink()

    assert await fill(store) < 500


async def test_a_half_made_reserve_is_made_anew(
    open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process had begun; and a disk that refuses it leaves nothing behind."""
    reserve(tmp_path).write_bytes(b"x")
    store = await open_store()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        await store.add(new_record(status_bytes(1)))
        assert not reserve(tmp_path).exists()

    await store.add(new_record(status_bytes(2)))

    assert reserve(tmp_path).stat().st_size == 2 * MEBIBYTE
