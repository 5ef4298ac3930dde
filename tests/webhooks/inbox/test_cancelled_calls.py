"""Calls of an inbox whose task is cancelled, wherever they wait: no event is lost, stalls, or goes twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Context, Event
from nexmo_dispatch_webhooks.exceptions import LostClaimError
from nexmo_dispatch_webhooks.inbox import (
    HandlerRetryPolicy,
    JetStreamInbox,
    MemoryInbox,
    PostgresInbox,
    SqliteInbox,
    StoreInbox,
)
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from tests.support.leftovers import assert_left, held, needs_descriptors
from tests.support.walker import Walker, cancelled_everywhere
from tests.webhooks.inbox.support import Make, frozen, put, status_bytes

#: Seconds in which everything is right again, and between two polls.
BOUND, POLL = 10.0, 0.05

pytestmark = needs_descriptors


def real_inbox(kind: str, folder: Path, **settings: Any) -> StoreInbox:
    """Return an inbox whose waits are real; its pools have one connection each, and none to lose."""
    values: dict[str, Any] = {"poll": POLL, **settings}
    if kind.startswith("postgresql:"):
        return PostgresInbox(kind, connections=1, handler_connections=1, **values)
    if kind.startswith("nats:"):
        return JetStreamInbox(kind, **values)
    return MemoryInbox(**values) if kind == "memory" else SqliteInbox(folder / "inbox.db", **values)


@pytest.fixture
async def make_real(kind: str, tmp_path: Path) -> AsyncIterator[Make]:
    """Make inboxes over each store; their closes leave nothing."""
    warm = real_inbox(kind, tmp_path)
    await warm.start(frozen())
    await warm.aclose()
    before = held()
    made: list[StoreInbox] = []

    def build(**settings: Any) -> StoreInbox:
        made.append(real_inbox(kind, tmp_path, **settings))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()
    await assert_left(before)


def files_of(folder: Path) -> list[Path]:
    return list(folder.iterdir())


class Seen:
    """A handler that notes events, and fails as long as it is told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.failing = False

    async def __call__(self, event: Event) -> None:
        if self.failing:
            raise ValueError
        self.names.append(event.dedup_key[1].partition("/")[0])


async def until(true: Callable[[], bool]) -> None:
    """Wait until a condition is true."""
    async with asyncio.timeout(BOUND):
        while not true():  # noqa: ASYNC110 - what a task of the inbox does is awaited
            await asyncio.sleep(0.001)


async def until_none_is_pending(inbox: StoreInbox) -> None:
    """Wait until the store has no pending event."""
    async with asyncio.timeout(BOUND):
        while await inbox.list("pending"):  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.001)


async def test_a_cancelled_request_loses_no_event(make_real: Make) -> None:
    """The service repeats it, and the event is handled once."""
    seen = Seen()
    inbox = make_real()
    await inbox.start(frozen(seen))
    numbers = count()
    number = next(numbers)

    async def request() -> None:
        await put(inbox, status_bytes(number))

    async for _ in cancelled_everywhere(request, with_tasks=True):
        await request()
        await until(lambda: f"m{number}" in seen.names)  # noqa: B023 - called at once
        number = next(numbers)
    await inbox.idle()
    assert sorted(seen.names) == sorted(f"m{n}" for n in range(number))


async def test_what_a_cancelled_request_stored_is_handled(make_real: Make) -> None:
    """Without a repetition: it is not in the store, or it ends."""
    seen = Seen()
    inbox = make_real()
    await inbox.start(frozen(seen))
    numbers = count()

    async def request() -> None:
        await put(inbox, status_bytes(next(numbers)))

    async for _ in cancelled_everywhere(request, with_tasks=True):
        pass
    await until_none_is_pending(inbox)
    assert len(seen.names) == len(set(seen.names)) == len(await inbox.list())


async def test_a_cancelled_retry_leaves_no_event_that_waits_for_ever(make_real: Make) -> None:
    """The event is quarantined still, or it is handled."""
    seen = Seen()
    inbox = make_real(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(seen))
    numbers = count()

    async def quarantine() -> int:
        seen.failing = True
        number = next(numbers)
        await put(inbox, status_bytes(number))
        await until(lambda: inbox.health().quarantined == 1)
        seen.failing = False
        return number

    number = await quarantine()
    async for _ in cancelled_everywhere(inbox.retry):
        async with asyncio.timeout(BOUND):
            # the store is asked again and again, until one of the two is true
            while seen.names.count(f"m{number}") + len(await inbox.list("quarantined")) != 1:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await inbox.retry()
        await until(lambda: f"m{number}" in seen.names and not inbox.health().quarantined)  # noqa: B023
        number = await quarantine()


async def test_a_cancelled_purge_is_finished_by_the_next_one(make_real: Make, tmp_path: Path) -> None:
    """Nothing of the content is left, and the numbers are true."""
    seen = Seen()
    seen.failing = True
    inbox = make_real(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(seen))
    numbers = count()

    async def quarantine() -> str:
        number = next(numbers)
        await put(inbox, status_bytes(number, client_ref=f"secret {number}"))
        await until(lambda: inbox.health().quarantined == 1)
        return f"secret {number}"

    text = await quarantine()
    async for _ in cancelled_everywhere(lambda: inbox.purge("quarantined")):
        async with asyncio.timeout(BOUND):
            await inbox.purge("quarantined")
            assert all(record.body is None for record in await inbox.list())
            assert not any(text.encode() in file.read_bytes() for file in files_of(tmp_path))
        await until(lambda: not inbox.health().quarantined)
        text = await quarantine()


async def test_a_cancelled_wait_misses_no_event_of_another_process(make_real: Make, kind: str) -> None:
    """`idle` with a timeout around it, as tests have it, while the next poll is far away."""
    if kind == "memory":  # of one process
        return
    seen = Seen()
    inbox, other = make_real(poll=600.0), make_real(poll=600.0)
    await inbox.start(frozen(seen))
    async with other:
        numbers = count()
        number = next(numbers)
        await put(other, status_bytes(number))
        async for _ in cancelled_everywhere(inbox.idle):
            async with asyncio.timeout(BOUND):
                await inbox.idle()
            assert seen.names[-1] == f"m{number}"
            number = next(numbers)
            await put(other, status_bytes(number))


INSERT = "INSERT INTO greeted VALUES (?)"
SCHEMA = "CREATE TABLE IF NOT EXISTS greeted (name TEXT PRIMARY KEY)"


@pytest.mark.engines
async def test_a_cancelled_commit_is_stored_whole_or_not_at_all(database: str, tmp_path: Path) -> None:
    """What a handler wrote and its mark; the one connection of handlers is there for the next one."""
    inbox = real_inbox(database, tmp_path, schema=SCHEMA)
    store = inbox.store
    assert isinstance(store, PostgresInboxStore)
    async with inbox:
        for number in count(1):
            await put(inbox, status_bytes(number))

            async def commit(number: int = number) -> None:
                transaction = store.begin(number, 0)
                transaction.execute(INSERT, (f"m{number}",))
                await transaction.commit("greet", finish=True)

            walker = Walker(cancel_at=number)
            await walker.run(commit())
            async with asyncio.timeout(BOUND):
                record = await store.load(number)
                if record.state == "pending":
                    await commit()
                else:
                    with pytest.raises(LostClaimError):
                        await commit()
                assert (await store.load(number)).done == ("greet",)
            if not walker.arrived:
                break


@pytest.mark.engines
async def test_an_end_of_the_inbox_gives_back_the_connection_of_a_handler(
    database: str, tmp_path: Path
) -> None:
    """The event is free for the next start, and no connection is left open."""
    entered, stays = asyncio.Event(), True

    async def greet(event: Event, context: Context) -> None:
        connection = await context.transaction.connection()
        await connection.execute("INSERT INTO greeted VALUES (%s)", (event.dedup_key[1],))
        entered.set()
        if stays:
            await asyncio.Event().wait()

    before = held()
    inbox = real_inbox(database, tmp_path, schema=SCHEMA, drain=0.0)
    await inbox.start(frozen(greet))
    await put(inbox, status_bytes(1))
    await entered.wait()
    await inbox.aclose()
    await assert_left(before)

    stays = False
    entered.clear()
    async with asyncio.timeout(BOUND):
        await inbox.start(frozen(greet))
        await entered.wait()
        await inbox.idle()
        assert [record.state for record in await inbox.list()] == ["handled"]
        await inbox.aclose()
