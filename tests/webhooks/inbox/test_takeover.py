"""Two processes and one claim: a process that reads a backlog, or drains, keeps its claim meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Event
from nexmo_dispatch_webhooks.inbox import StoreInbox
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from nexmo_dispatch_webhooks.inbox.jetstream_rows import OpenState
from tests.webhooks.inbox.rounds import Rounds
from tests.webhooks.inbox.support import frozen, in_workflow, make_inbox, new_record, put

LEASE, POLL = 10.0, 1.0
LANES = 5


class Member:
    """An inbox that notes what it handles, and reads pending events when its gate is open."""

    def __init__(self, url: str, time: Rounds) -> None:
        self.inbox: StoreInbox = make_inbox(url, Path(), time, lease=LEASE, poll=POLL)  # type: ignore[arg-type]
        self.time = time
        self.seen: list[str] = []
        self.reads = 0
        self.gate = asyncio.Event()
        self._changed = asyncio.Event()
        store = self.inbox.store
        assert isinstance(store, JetStreamInboxStore)
        self._read = store._streams.pending
        store._streams.pending = self._gated  # type: ignore[method-assign]  # a backlog that takes long to read

    async def _gated(self, floor: int, last: int) -> dict[int, OpenState]:
        if self.inbox.health().state == "running":  # else it only counts
            self.reads += 1
            if not self.gate.is_set():
                self.time.rest()
                await self.gate.wait()
        return await self._read(floor, last)

    async def start(self) -> None:
        async def handle(event: Event) -> None:
            await asyncio.sleep(0)
            self.seen.append(event.dedup_key[1].partition("/")[0])
            self._changed.set()

        await self.inbox.start(frozen(handle))

    async def handled(self, number: int) -> None:
        """Wait until this process has handled a number of events."""
        async with asyncio.timeout(20):
            while len(self.seen) < number:
                self._changed.clear()
                await self._changed.wait()

    @property
    def state(self) -> str:
        return self.inbox.health().state


def event(number: int) -> bytes:
    return in_workflow(number, f"w{number % LANES}")


def assert_once_in_order(seen: list[str], number: int) -> None:
    """Each event was handled once, and those of a conversation in the order of their arrival."""
    numbers = [int(name.removeprefix("m")) for name in seen]
    assert sorted(numbers) == list(range(number))
    for lane in range(LANES):
        of_lane = [one for one in numbers if one % LANES == lane]
        assert of_lane == sorted(of_lane)


@pytest.fixture
async def join(nats_url: str) -> AsyncIterator[Callable[..., Any]]:
    """Start an inbox of one more process; before the first one a process left 40 events, and died."""
    made: list[Member] = []

    async def begin(time: Rounds) -> Member:
        if not made:
            dead = JetStreamInboxStore(nats_url, clock=time, monotonic=time, lease=LEASE)
            await dead.open()
            assert await dead.claim()
            for number in range(40):
                await dead.add(new_record(event(number)))
            await dead._connection.aclose()
        made.append(Member(nats_url, time))
        await made[-1].start()
        assert made[-1].state == "standby"
        return made[-1]

    yield begin
    for member in made:
        member.gate.set()
        await member.inbox.aclose()


@pytest.mark.engines
async def test_one_process_takes_over_however_long_it_reads(join: Callable[..., Any]) -> None:
    """Its lease is renewed meanwhile, so that the backlog is not handed from one process to the next."""
    time = Rounds()
    members: list[Member] = [await join(time), await join(time)]

    await time.step(POLL, times=int(LEASE) + 2)
    assert sum(member.reads for member in members) == 1
    for number in range(40, 60):  # callbacks come meanwhile, to both
        await put(members[number % 2].inbox, event(number))
    await time.step(POLL, times=3 * int(LEASE))

    assert sorted(member.state for member in members) == ["running", "standby"]
    assert sum(member.reads for member in members) == 1
    one, other = sorted(members, key=lambda member: member.state)
    one.gate.set()
    await one.handled(60)
    await time.step(POLL, times=2)
    assert_once_in_order(one.seen, 60)
    assert other.seen == []


@pytest.mark.engines
@pytest.mark.parametrize("first", ["reading", "renewal"])
async def test_a_process_that_loses_the_claim_while_it_reads_handles_nothing(
    join: Callable[..., Any], first: str
) -> None:
    """It slept for longer than its lease; it stops whether it has read all or notices the loss before."""
    here, there = Rounds(), Rounds()
    slept: Member = await join(here)
    other: Member = await join(there)
    await here.step(POLL, times=int(LEASE) + 2)
    assert (slept.state, slept.reads) == ("running", 1)

    other.gate.set()
    await there.step(POLL, times=2 * int(LEASE))
    await other.handled(40)
    if first == "reading":
        here.now += LEASE + POLL
        slept.gate.set()
        await put(slept.inbox, event(40))
        await there.step(POLL)
        await other.handled(41)
        await slept.inbox.idle()
    await here.step(LEASE + POLL)

    assert (slept.state, slept.seen) == ("standby", [])
    await here.step(POLL, times=2)
    await there.step(POLL, times=2)
    assert (slept.state, other.state) == ("standby", "running")
    assert_once_in_order(other.seen, 41 if first == "reading" else 40)


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("database", marks=pytest.mark.engines),
        pytest.param("nats_url", marks=pytest.mark.engines),
    ],
)
async def test_a_process_that_drains_keeps_its_claim(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A handler that takes longer than the lease ends where it began, and no other process repeats it."""
    place = kind if kind == "sqlite" else str(request.getfixturevalue(kind))
    time, begun, gate, seen = Rounds(), asyncio.Event(), asyncio.Event(), list[str]()
    first, second = (
        make_inbox(place, tmp_path, time, lease=LEASE, poll=POLL, drain=1000.0)  # type: ignore[arg-type]
        for _ in range(2)
    )

    async def slow(event: Event) -> None:
        begun.set()
        await gate.wait()
        seen.append("first")

    async def other(event: Event) -> None:
        seen.append("second")

    await first.start(frozen(handle=slow))
    await put(first, event(1))
    await asyncio.wait_for(begun.wait(), 20)
    await second.start(frozen(handle=other))
    closing = asyncio.create_task(first.aclose())

    await time.step(POLL, times=3 * int(LEASE))
    await second.idle()
    assert seen == []
    gate.set()
    await closing
    await time.step(POLL, times=3)
    await second.idle()
    await second.aclose()

    assert seen == ["first"]
