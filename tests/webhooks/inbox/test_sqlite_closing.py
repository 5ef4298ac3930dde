"""Stores that are closed and opened in any order, and that fail."""

import asyncio
import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from nexmo_dispatch_webhooks import InboxError
from nexmo_dispatch_webhooks.inbox import sqlite_statements
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.webhooks.inbox.support import (
    Open,
    new_record,
    other_connection,
    status_bytes,
)


async def test_what_is_put_while_a_store_in_trouble_closes_is_refused(
    open_store: Open, tmp_path: Path
) -> None:
    """It does not wait for ever."""
    store = await open_store(busy_timeout=0.0)
    with contextlib.closing(other_connection(tmp_path)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        closing = asyncio.create_task(store.aclose())
        await asyncio.sleep(0)
        adding = store.add(new_record(status_bytes(1)))
        await asyncio.gather(closing, adding, return_exceptions=True)

    assert isinstance(adding.exception(), InboxError)


async def test_closing_twice_at_once_leaves_a_store_that_can_be_opened(open_store: Open) -> None:
    store = await open_store()
    await asyncio.gather(store.aclose(), store.aclose())
    await store.open()
    assert await store.add(new_record(status_bytes(1))) == 1


async def test_a_cancelled_close_leaves_a_store_that_can_be_opened(open_store: Open) -> None:
    """The thread of the last opening has let go of the file by then."""
    store = await open_store()
    threads = [store._thread]
    closing = asyncio.create_task(store.aclose())
    while store._thread is not None:  # noqa: ASYNC110 - no event announces it
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait({closing})

    await store.open()

    assert threads[0] is not None
    await asyncio.to_thread(threads[0].join, 10)  # it has let go of the file, and ends in a moment
    assert not threads[0].is_alive()
    assert await store.add(new_record(status_bytes(1))) == 1


async def test_marks_that_cannot_be_written_hold_up_no_close(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, say: these events are handled again after the next start."""
    store = await open_store()
    await store.add(new_record(status_bytes(1)))

    def refuse(*args: Any) -> None:
        raise sqlite3.OperationalError

    with monkeypatch.context() as patch:
        patch.setattr(sqlite_statements, "finish", refuse)
        store.finish(1)
        await store.aclose()

    again = await open_store()
    assert [item.id for item in await again.pending()] == [1]


async def test_opening_twice_at_once_after_a_close_is_opening_once(open_store: Open) -> None:
    store = await open_store()
    old = store._thread
    closing = asyncio.create_task(store.aclose())
    while store._thread is not None:  # noqa: ASYNC110 - no event announces it
        await asyncio.sleep(0)

    await asyncio.gather(store.open(), store.open())

    assert old is not None
    assert not old.is_alive()
    assert await store.add(new_record(status_bytes(1))) == 1
    await closing


async def test_what_changed_while_it_was_closed_is_a_change(open_store: Open, tmp_path: Path) -> None:
    """Another process stored an event meanwhile."""
    store = await open_store()
    await store.add(new_record(status_bytes(1)))
    await store.changed()
    assert not await store.changed()
    await store.aclose()
    with contextlib.closing(other_connection(tmp_path)) as other:
        other.execute("UPDATE events SET due = 5")

    await store.open()

    assert await store.changed()


@pytest.mark.parametrize("scope", [False, True], ids=["task", "scope"])
async def test_an_opening_that_is_cancelled_leaves_nothing_open(tmp_path: Path, scope: bool) -> None:
    """Neither the thread nor the file has an owner then, so the store closes itself."""
    store = SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 5.0)
    if scope:
        with anyio.CancelScope() as limit:
            limit.cancel()
            await store.open()
    else:
        opening = asyncio.create_task(store.open())
        while store._thread is None:  # noqa: ASYNC110 - no event announces it
            await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening

    assert "closed" in repr(store)
    assert "inbox-writer" not in {thread.name for thread in threading.enumerate()}
    await store.open()
    assert await store.add(new_record(status_bytes(1))) == 1
    await store.aclose()
