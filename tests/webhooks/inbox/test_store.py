"""The store protocol over every store of the package; `conformance` says what a store promises."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import InboxError
from nexmo_dispatch_webhooks.inbox import InboxStore
from nexmo_dispatch_webhooks.inbox.conformance import (
    InboxStoreConformance,
    SharedInboxStoreConformance,
    record,
)
from nexmo_dispatch_webhooks.inbox.conformance_order import SharedInboxOrderConformance
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from nexmo_dispatch_webhooks.inbox.memory import MemoryInboxStore
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore


class LocalStores:
    """Stores in memory, or in one file."""

    def __init__(self, path: Path | None) -> None:
        self.now = 5.0
        self._path = path
        self.made: list[InboxStore] = []

    async def new(self) -> InboxStore:
        clock = lambda: self.now  # noqa: E731 - read at each call
        store: InboxStore = (
            MemoryInboxStore(clock=clock) if self._path is None else SqliteInboxStore(self._path, clock=clock)
        )
        self.made.append(store)
        await store.open()
        return store


class PostgresStores:
    """Stores in one database."""

    def __init__(self, url: str) -> None:
        self.now = 5.0
        self._url = url
        self.made: list[PostgresInboxStore] = []

    async def new(self) -> PostgresInboxStore:
        clock = lambda: self.now  # noqa: E731 - read at each call
        self.made.append(PostgresInboxStore(self._url, clock=clock, lease_clock=clock))
        await self.made[-1].open()
        return self.made[-1]

    async def crash(self, store: PostgresInboxStore) -> None:
        self.made.remove(store)
        await store._notices.aclose()
        await store._lent.aclose()
        await store._database.aclose()


class JetStreamStores:
    """Stores in one space."""

    def __init__(self, url: str) -> None:
        self.now = 5.0
        self._url = url
        self.made: list[JetStreamInboxStore] = []

    async def new(self) -> JetStreamInboxStore:
        clock = lambda: self.now  # noqa: E731 - read at each call
        self.made.append(JetStreamInboxStore(self._url, clock=clock, monotonic=clock, lease=10.0))
        await self.made[-1].open()
        return self.made[-1]

    async def crash(self, store: JetStreamInboxStore) -> None:
        self.made.remove(store)
        await store._connection.aclose()


@pytest.fixture
async def jetstream_stores(nats_url: str) -> AsyncIterator[JetStreamStores]:
    stores = JetStreamStores(nats_url)
    yield stores
    for store in stores.made:
        await store.aclose()


@pytest.fixture
async def postgres_stores(database: str) -> AsyncIterator[PostgresStores]:
    stores = PostgresStores(database)
    yield stores
    for store in stores.made:
        await store.aclose()


class TestMemory(InboxStoreConformance):
    @pytest.fixture
    async def stores(self) -> LocalStores:
        return LocalStores(None)


class TestSqlite(InboxStoreConformance):
    @pytest.fixture
    async def stores(self, tmp_path: Path) -> AsyncIterator[LocalStores]:
        stores = LocalStores(tmp_path / "inbox.db")
        yield stores
        for store in stores.made:
            await store.aclose()


@pytest.mark.engines
class TestJetStream(InboxStoreConformance):
    @pytest.fixture
    async def stores(self, jetstream_stores: JetStreamStores) -> JetStreamStores:
        return jetstream_stores


@pytest.mark.engines
class TestPostgres(InboxStoreConformance):
    @pytest.fixture
    async def stores(self, postgres_stores: PostgresStores) -> PostgresStores:
        return postgres_stores


@pytest.mark.engines
class TestSharedPostgres(SharedInboxStoreConformance):
    @pytest.fixture
    async def stores(self, postgres_stores: PostgresStores) -> PostgresStores:
        return postgres_stores


@pytest.mark.engines
class TestOrderOnPostgres(SharedInboxOrderConformance):
    @pytest.fixture
    async def stores(self, postgres_stores: PostgresStores) -> PostgresStores:
        return postgres_stores


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.engines)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[InboxStore]:
    stores = (
        PostgresStores(request.getfixturevalue("database"))
        if request.param == "postgres"
        else LocalStores(None if request.param == "memory" else tmp_path / "inbox.db")
    )
    made = await stores.new()
    yield made
    await made.aclose()


async def test_the_listener_hears_of_new_records_in_order(store: InboxStore) -> None:
    """Before `add` returns; quarantined records are not for it."""
    heard: list[int] = []
    store.on_added = lambda record_id, _: heard.append(record_id)

    for number in (1, 2, 1):
        await store.add(record(number))
    await store.add(record(0, body=b"no json"))

    assert heard == [1, 2]


async def test_a_store_without_transactions_says_so() -> None:
    with pytest.raises(InboxError, match="no transactions"):
        await MemoryInboxStore(clock=lambda: 0.0).commit(1, "h", [], finish=False)
