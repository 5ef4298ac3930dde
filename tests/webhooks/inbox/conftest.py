"""Inboxes over both stores, on a clock that is moved by hand; those left open are closed in the end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from tests.webhooks.inbox.support import Make, ManualTime, Open, Start, frozen, make_inbox


@pytest.fixture
async def time() -> ManualTime:
    return ManualTime()


@pytest.fixture(
    params=[
        "memory",
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.engines),
        pytest.param("nats", marks=pytest.mark.engines),
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    """The store of a test: `memory`, `sqlite`, or the URL of an empty database or space."""
    if request.param == "nats":
        return str(request.getfixturevalue("nats_url"))
    if request.param == "postgres" and request.node.get_closest_marker("one_process") is not None:
        pytest.skip("a promise of an inbox whose events one process holds in memory")
    return str(request.getfixturevalue("database") if request.param == "postgres" else request.param)


@asynccontextmanager
async def maker(kind: str, folder: Path, time: ManualTime) -> AsyncIterator[Make]:
    made: list[StoreInbox] = []

    def build(**settings: Any) -> StoreInbox:
        made.append(make_inbox(kind, folder, time, **settings))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()


@pytest.fixture
async def make(kind: str, tmp_path: Path, time: ManualTime) -> AsyncIterator[Make]:
    """Make an inbox, once over each store."""
    async with maker(kind, tmp_path, time) as build:
        yield build


@pytest.fixture
async def make_sqlite(tmp_path: Path, time: ManualTime) -> AsyncIterator[Make]:
    """Make an inbox over an SQLite file; all of a test share it."""
    async with maker("sqlite", tmp_path, time) as build:
        yield build


@pytest.fixture
async def start(make: Make) -> Start:
    """Make an inbox with handlers and start it."""

    async def run(*handlers: Any, **settings: Any) -> StoreInbox:
        inbox = make(**settings)
        await inbox.start(frozen(*handlers))
        return inbox

    return run


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteInboxStore]:
    """An open SQLite store without an inbox."""
    made = SqliteInboxStore(tmp_path / "inbox.db", clock=lambda: 5.0)
    await made.open()
    yield made
    await made.aclose()


@pytest.fixture
async def open_store(tmp_path: Path) -> AsyncIterator[Open]:
    """Open stores on one file; they are closed in the end."""
    made: list[SqliteInboxStore] = []

    async def build(**settings: Any) -> SqliteInboxStore:
        made.append(SqliteInboxStore(tmp_path / "inbox.db", **{"clock": lambda: 5.0, **settings}))
        await made[-1].open()
        return made[-1]

    yield build
    for store in made:
        await store.aclose()
