"""The stores: merged facts survive restarts, and expired workflows are deleted."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from nexmo_dispatch_async.exceptions import TrackingStoreError
from nexmo_dispatch_async.tracking import MemoryTrackingStore, TrackingStore, WorkflowState
from nexmo_dispatch_async.tracking import jetstream as jetstream_module
from nexmo_dispatch_async.tracking import postgres as postgres_module
from nexmo_dispatch_async.tracking import sqlite as sqlite_module
from nexmo_dispatch_async.tracking.conformance import (
    TrackingAgeConformance,
    TrackingStoreConformance,
    add,
    ended,
    followed,
    known,
    unclaimed,
)
from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from tests.support.callbacks import UUID, WHATSAPP_THEN_SMS, state_of, status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is not there yet."""
    return tmp_path / "tracking.db"


class TestStore(TrackingStoreConformance, TrackingAgeConformance):
    """See `TrackingStoreConformance`."""

    @pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.engines)])
    async def store(
        self, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[TrackingStore]:
        store: TrackingStore
        if request.param == "memory":
            store = MemoryTrackingStore()
        elif request.param == "sqlite":
            monkeypatch.setattr(sqlite_module, "_PRUNE_EVERY", 1)
            store = SqliteTrackingStore(tmp_path / "tracking.db")
        else:
            monkeypatch.setattr(postgres_module, "_PRUNE_EVERY", 1)
            store = PostgresTrackingStore(request.getfixturevalue("database"), server_time=False)
        yield store
        await store.aclose()


@pytest.mark.engines
class TestJetStreamStore(TrackingStoreConformance):
    """See `TrackingStoreConformance`; its ages go by the clock of the servers: see test_jetstream."""

    @pytest.fixture
    async def store(self, nats_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TrackingStore]:
        monkeypatch.setattr(jetstream_module, "_PRUNE_EVERY", 1)
        store = JetStreamTrackingStore(nats_url)
        yield store
        await store.aclose()


async def test_memory_tells_how_much_it_holds() -> None:
    store = MemoryTrackingStore()
    await add(store, followed("a"))

    assert (len(store), repr(store)) == (1, "<MemoryTrackingStore of 1>")
    await store.aclose()
    assert len(store) == 0


# ---- SQLite


async def test_a_restart_forgets_nothing(path: Path) -> None:
    state = state_of(status("a", "delivered", 3, price="0.10", code=1300), workflow=WHATSAPP_THEN_SMS)
    first = SqliteTrackingStore(path)
    await add(first, state)
    await first.aclose()

    second = SqliteTrackingStore(path)

    assert await known(second, UUID) == state
    await second.aclose()


async def test_two_stores_on_one_file_lose_nothing(path: Path) -> None:
    """Two processes that receive callbacks of one workflow."""
    stores = [SqliteTrackingStore(path), SqliteTrackingStore(path)]
    states = [state_of(status(f"m{number}", "delivered", number)) for number in range(40)]

    async with anyio.create_task_group() as tasks:
        for number, state in enumerate(states):
            tasks.start_soon(add, stores[number % 2], state)

    assert len((await known(stores[0], UUID)).messages) == 40
    for store in stores:
        await store.aclose()


async def test_it_lives_beside_other_tables(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    store = SqliteTrackingStore(path)

    await add(store, followed("a"))

    assert (await known(store, "a")).followed
    await store.aclose()


async def test_a_file_of_a_newer_release_is_refused(path: Path) -> None:
    store = SqliteTrackingStore(path)
    await add(store, followed("a"))
    await store.aclose()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE tracking_schema SET version = 2")
    connection.close()
    newer = SqliteTrackingStore(path)

    with pytest.raises(TrackingStoreError, match="the file has version 2, this release reads 1"):
        await add(newer, followed("a"))

    assert repr(newer) == "<SqliteTrackingStore not open yet>"
    await newer.aclose()


@pytest.fixture
def nonsense(path: Path) -> Path:
    """A file that is no database."""
    path.write_bytes(b"no database" * 1000)
    return path


async def test_a_file_that_is_no_database_is_our_error(nonsense: Path) -> None:
    store = SqliteTrackingStore(nonsense)

    with pytest.raises(TrackingStoreError, match="not a database"):
        await add(store, followed("a"))

    await store.aclose()


async def test_a_row_that_cannot_be_read_is_our_error(path: Path) -> None:
    store = SqliteTrackingStore(path)
    await add(store, followed("a"))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE tracking_workflow SET state = '{'")
    connection.close()

    with pytest.raises(TrackingStoreError, match="the store of the tracker failed"):
        await add(store, followed("a"))

    await store.aclose()


async def test_a_failed_write_leaves_everything_as_it_was(path: Path) -> None:
    """Another process holds the file for too long: nothing is stored, and the next attempt is fine."""
    store = SqliteTrackingStore(path, busy_timeout=0.01)
    await add(store, followed("a"))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    with pytest.raises(TrackingStoreError, match="locked"):
        await add(store, ended("a"))
    blocker.execute("ROLLBACK")
    blocker.close()

    assert (await add(store, ended("a"))).report is not None
    await store.aclose()


async def test_a_closed_store_says_so() -> None:
    store = SqliteTrackingStore(":memory:")
    await add(store, followed("a"))
    assert repr(store) == "<SqliteTrackingStore open>"
    await store.aclose()
    await store.aclose()

    with pytest.raises(TrackingStoreError, match="closed"):
        await add(store, followed("a"))

    assert repr(store) == "<SqliteTrackingStore closed>"


class Gate:
    """Holds the store's thread in the middle of its work."""

    def __init__(self, read: Callable[[sqlite3.Connection, str], WorkflowState]) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.threads: set[int] = set()
        self._read = read

    def __call__(self, connection: sqlite3.Connection, dispatch_uuid: str) -> WorkflowState:
        self.threads.add(threading.get_ident())
        self.entered.set()
        assert self.opened.wait(10)
        return self._read(connection, dispatch_uuid)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """A gate in front of every read of a store."""
    gate = Gate(sqlite_module._read)
    monkeypatch.setattr(sqlite_module, "_read", gate)
    return gate


async def test_the_loop_goes_on_while_the_disk_is_slow(path: Path, gate: Gate) -> None:
    store = SqliteTrackingStore(path)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(add, store, followed("a"))
        await anyio.to_thread.run_sync(gate.entered.wait)
        # We are here, so the loop is free while the store is held up.
        gate.opened.set()

    assert threading.get_ident() not in gate.threads
    await store.aclose()


async def test_a_cancelled_call_does_not_disturb_the_next(path: Path, gate: Gate) -> None:
    """Cancelled the asyncio way, a call leaves while its thread is at work; the next one waits for that."""
    store = SqliteTrackingStore(path)
    first = asyncio.ensure_future(add(store, followed("a")))
    await anyio.to_thread.run_sync(gate.entered.wait)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    second = asyncio.ensure_future(add(store, unclaimed("a")))
    gate.opened.set()

    assert (await second).messages
    assert (await known(store, "a")).followed
    await store.aclose()


def test_tracking_loads_no_sqlite() -> None:
    """The store that needs it is imported by name."""
    code = "import sys, nexmo_dispatch_async.tracking; sys.exit('sqlite3' in sys.modules)"
    # The measurement of coverage brings sqlite3 into subprocesses.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

    done = subprocess.run([sys.executable, "-c", code], check=False, env=environment)

    assert done.returncode == 0
