"""`idle` over every store: true to its word, and no event waits for a poll, whatever a clock does."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Event
from nexmo_dispatch_webhooks.inbox import (
    HandlerRetryPolicy,
    JetStreamInbox,
    MemoryInbox,
    PostgresInbox,
    SqliteInbox,
    StoreInbox,
)
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from tests.webhooks.inbox.support import Make, frozen, in_workflow, new_record, put, states, status_bytes

#: Seconds; each test ends long before, so that whatever waits for a poll fails it.
POLL = 60.0


class WallClock:
    """The clock of a simulator: it jumps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def make_real(kind: str, tmp_path: Path) -> AsyncIterator[Make]:
    """Make inboxes over each store whose waits are real; they are closed in the end."""
    made: list[StoreInbox] = []

    def build(**settings: Any) -> StoreInbox:
        values: dict[str, Any] = {"poll": POLL, **settings}
        if kind.startswith("postgresql:"):
            made.append(PostgresInbox(kind, **values))
        elif kind.startswith("nats:"):
            made.append(JetStreamInbox(kind, **values))
        else:
            path = tmp_path / "inbox.db"
            made.append(MemoryInbox(**values) if kind == "memory" else SqliteInbox(path, **values))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()


class Seen:
    """A handler that notes events, and lets a test wait for a number of them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._changed = asyncio.Event()

    async def __call__(self, event: Event) -> None:
        await asyncio.sleep(0.005)  # a handler that does something: its lane is busy meanwhile
        self.names.append(event.dedup_key[1].partition("/")[0])
        self._changed.set()

    async def until(self, number: int) -> None:
        """Wait until so many events were handled, for a fraction of a poll."""
        async with asyncio.timeout(POLL / 4):
            while len(self.names) < number:
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.parametrize("lane", ["one", "many"])
async def test_idle_is_true_when_the_clock_of_the_receiver_jumps(make_real: Make, lane: str) -> None:
    """As in a test on the simulator: an advance by hours ends no lease, and no event waits for a poll."""
    clock, seen = WallClock(), Seen()
    inbox = make_real(clock=clock)
    await inbox.start(frozen(seen))

    for number in range(12):
        await put(inbox, in_workflow(number, "w" if lane == "one" else f"w{number}"))
        if number % 3 == 0:
            clock.now += 605.0
        if number % 4 == 3:
            async with asyncio.timeout(POLL / 4):
                await inbox.idle()
            assert len(seen.names) == number + 1

    assert sorted(seen.names) == sorted({f"m{number}" for number in range(12)})
    assert set(await states(inbox)) == {"handled"}


async def test_an_event_is_handled_at_once_however_busy_its_lane(make_real: Make) -> None:
    """Without `idle`: each of many bursts over busy and new conversations is handled before a poll."""
    seen, number = Seen(), 0
    inbox = make_real(concurrency=4)
    await inbox.start(frozen(seen))

    for burst in range(40):
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                lane = f"w{number % 3}" if number % 2 else f"new{number}"
                group.create_task(put(inbox, in_workflow(number, lane)))
                number += 1
                await asyncio.sleep(0.001 * (burst % 5))
        await seen.until(number - 3)  # some are still being handled when the next ones come

    await seen.until(number)
    await inbox.idle()
    assert len(seen.names) == len(set(seen.names)) == number


async def test_idle_finds_what_another_process_stored(make_real: Make, kind: str) -> None:
    """An event that another process stored is ready as well, and `idle` waits until it is handled."""
    if kind == "memory":
        pytest.skip("no other process has its memory")
    seen = Seen()
    inbox, other = make_real(), make_real()
    await inbox.start(frozen(seen))
    await other.store.open()

    assert await other.store.add(new_record(status_bytes(1))) is not None
    async with asyncio.timeout(POLL / 4):
        await inbox.idle()

    assert seen.names == ["m1"]


async def test_events_between_two_attempts_do_not_count(make_real: Make) -> None:
    """Neither the event that failed nor those behind it keep `idle` from its end."""

    async def fail(event: Event) -> None:
        raise ValueError

    inbox = make_real(retry=HandlerRetryPolicy(wait_initial=1000.0))
    await inbox.start(frozen(fail))
    for number in range(3):
        await put(inbox, in_workflow(number, "w"))

    async with asyncio.timeout(POLL / 4):
        await inbox.idle()
    assert inbox.health().pending == 3


@pytest.mark.engines
async def test_idle_is_true_after_the_lease_of_the_process_ended(database: str) -> None:
    """A process that was suspended takes nothing under its old claim: it makes a new one at once."""
    lived, seen = WallClock(), Seen()
    store = PostgresInboxStore(database, lease_clock=lived)
    async with StoreInbox(store, poll=POLL) as inbox:
        await inbox.start(frozen(seen))
        await put(inbox, status_bytes(1))
        await inbox.idle()
        assert await states(inbox) == ["handled"]  # the mark is stored: an event without one is handled again

        assert inbox._claims is not None
        async with inbox._claims._lock:  # no statement that takes events is under way, with the old time
            lived.now += 1e6
            await put(inbox, status_bytes(2))
        async with asyncio.timeout(POLL / 4):
            await inbox.idle()

        assert seen.names == ["m1", "m2"]
        assert await states(inbox) == ["handled", "handled"]
