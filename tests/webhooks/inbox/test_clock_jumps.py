"""A wall clock that jumps, back or ahead: no wait grows, no age vanishes, nothing is forgotten too early."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, StoreInbox
from nexmo_dispatch_webhooks.inbox.monotonic_times import to_monotonic
from nexmo_dispatch_webhooks.inbox.records import PendingEvent
from tests.webhooks.inbox.support import (
    ManualTime,
    Recorder,
    frozen,
    in_workflow,
    make_inbox,
    put,
    status_bytes,
)

HOUR = 3600.0
DAY = 24 * HOUR
JUMPS = [-HOUR, HOUR, -DAY, 4 * DAY, -4 * DAY, -900_000.0]

pytestmark = pytest.mark.one_process


class Wall:
    """A wall clock beside a monotonic one; `jump` sets it, and real time goes on as it did."""

    def __init__(self, monotonic: ManualTime) -> None:
        self._monotonic = monotonic
        self._offset = 700_000_000.0

    def __call__(self) -> float:
        return self._monotonic.now + self._offset

    def jump(self, seconds: float) -> None:
        self._offset += seconds


@pytest.fixture
def wall(time: ManualTime) -> Wall:
    return Wall(time)


@pytest.fixture
def build(kind: str, tmp_path: Path, time: ManualTime, wall: Wall) -> Callable[..., StoreInbox]:
    def run(**settings: Any) -> StoreInbox:
        return make_inbox(kind, tmp_path, time, **{"clock": wall, **settings})

    return run


class Attempts:
    """A handler that always fails and notes when, on the monotonic clock."""

    def __init__(self, time: ManualTime) -> None:
        self.time = time
        self.at: list[float] = []

    async def __call__(self, event: object) -> None:
        self.at.append(self.time.now)
        raise ValueError


@pytest.mark.parametrize("seed", range(6))
async def test_a_retry_is_due_after_the_pause_of_the_policy_however_the_clock_jumps(
    build: Callable[..., StoreInbox], time: ManualTime, wall: Wall, seed: int
) -> None:
    """Set back by an hour, it delayed the event and its whole conversation by an hour."""
    chance = random.Random(seed)
    handler = Attempts(time)
    inbox = build(retry=HandlerRetryPolicy(attempts=4, wait_initial=10, wait_exp_base=2))
    async with inbox:
        await inbox.start(frozen(handler))
        begun = time.now
        await put(inbox, in_workflow(1, "w"))
        await inbox.idle()
        for _ in range(80):
            if chance.random() < 0.2:
                wall.jump(chance.choice(JUMPS))
            await time.advance(1)
            await inbox.idle()

        assert [round(at - begun) for at in handler.at] == [0, 10, 30, 70]
        assert (await inbox.show(1)).state == "quarantined"


@pytest.mark.parametrize("back", [HOUR, 30 * DAY])
async def test_a_restart_waits_no_longer_than_the_policy(
    tmp_path: Path, time: ManualTime, wall: Wall, back: float
) -> None:
    """The due time in the file lies in the future by more than any pause of the policy."""
    policy = HandlerRetryPolicy(attempts=9, wait_initial=10, wait_exp_base=2, wait_max=15, wait_jitter=0)
    for number in range(3):
        handler = Attempts(time)
        async with make_inbox("sqlite", tmp_path, time, clock=wall, retry=policy) as inbox:
            await inbox.start(frozen(handler))
            started = time.now
            if not number:
                await put(inbox, status_bytes(1))
                await inbox.idle()
            else:
                await time.advance(17)
                await inbox.idle()
                assert [round(at - started) for at in handler.at] == [15 if number == 2 else 10]
        wall.jump(-back)


async def test_lag_is_the_time_that_has_passed_however_the_clock_jumps(
    build: Callable[..., StoreInbox], time: ManualTime, wall: Wall
) -> None:
    """A probe that sees 0.0 takes a stalled receiver for a healthy one."""
    handler = Recorder(failing=True)
    async with build(retry=HandlerRetryPolicy(wait_initial=500, wait_max=1e6)) as inbox:
        await inbox.start(frozen(handler))
        await put(inbox, status_bytes(1))
        await inbox.idle()
        for number, jump in enumerate(JUMPS, start=1):
            wall.jump(jump)
            await time.advance(10)
            assert inbox.health().lag == pytest.approx(10.0 * number)


async def test_lag_grows_in_a_process_that_only_stores(tmp_path: Path, time: ManualTime, wall: Wall) -> None:
    """While another process handles, and after the clock was set back beyond the arrival of the oldest."""
    handler = Recorder(failing=True)
    async with (
        make_inbox("sqlite", tmp_path, time, clock=wall, retry=HandlerRetryPolicy(wait_initial=1e6)) as first,
        make_inbox("sqlite", tmp_path, time, clock=wall) as second,
    ):
        await first.start(frozen(handler))
        await second.start(frozen())
        await put(first, status_bytes(1))
        await first.idle()
        await time.advance(5)
        wall.jump(-HOUR)
        for _ in range(40):
            await time.advance(1)

        assert second.health().state == "standby"
        assert second.health().lag >= 35


@given(
    ages=st.lists(st.floats(-1e7, 1e7), max_size=8),
    dues=st.lists(st.floats(-1e7, 1e7), max_size=8),
    attempts=st.integers(0, 9),
)
def test_what_is_read_from_a_store_is_never_younger_than_nothing_and_never_due_too_late(
    ages: list[float], dues: list[float], attempts: int
) -> None:
    """Whatever wall clock wrote the times: in the order of arrival, ages fall and pauses have a limit."""
    policy, epoch, now = HandlerRetryPolicy(), 2e9, 5e5
    items = [
        PendingEvent(number, number, epoch - age, attempts, max(1.0, epoch + due))
        for number, (age, due) in enumerate(zip(ages, dues, strict=False))
    ]
    to_monotonic(items, epoch=epoch, now=now, retry=policy)

    assert all(item.since <= now for item in items)
    assert [item.since for item in items] == sorted(item.since for item in items)
    assert all(now <= item.ready_at <= now + policy.longest(max(1, attempts)) for item in items)


@pytest.mark.parametrize("jump", [4 * DAY, 400 * DAY, -DAY])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_clock_that_jumps_forgets_no_key_and_no_event_in_quarantine(
    tmp_path: Path, time: ManualTime, wall: Wall, jump: float, restart: bool
) -> None:
    """A key that is forgotten early has the repetition handled twice (contract 5.10)."""
    handler = Recorder()
    inbox = make_inbox("sqlite", tmp_path, time, clock=wall, poll=600.0)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await put(inbox, b"no json")
    await inbox.idle()
    for _ in range(2):
        await time.advance(2 * HOUR)
        wall.jump(jump)
        if restart:
            await inbox.aclose()
            inbox = make_inbox("sqlite", tmp_path, time, clock=wall, poll=600.0)
            await inbox.start(frozen(handler))
        await put(inbox, status_bytes(2))
        await time.advance(2 * HOUR)
        wall.jump(-jump)
    await time.advance(2 * HOUR)

    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()
    assert handler.seen == [("m1", 0), ("m2", 0)]
    assert (await inbox.show(2)).state == "quarantined"
    await inbox.aclose()


async def test_events_of_a_clock_that_was_ahead_are_forgotten_in_time(
    build: Callable[..., StoreInbox], time: ManualTime, wall: Wall
) -> None:
    """Times of arrival do not ascend then: what was stamped days ahead keeps nothing, itself included."""
    async with build(keep=2 * HOUR, keep_quarantined=2 * HOUR, remember=24 * HOUR, poll=600.0) as inbox:
        await inbox.start(frozen(Recorder()))
        await put(inbox, status_bytes(1))
        wall.jump(40 * DAY)
        await put(inbox, status_bytes(2))
        await put(inbox, b"no json")
        wall.jump(-40 * DAY)
        await put(inbox, status_bytes(3))
        await inbox.idle()

        await time.advance(1.5 * HOUR)
        assert [record.state for record in await inbox.list()] == [
            "handled", "handled", "quarantined", "handled",
        ]  # fmt: skip
        await time.advance(2.5 * HOUR)
        assert len(await inbox.list("forgotten")) == 4
        await time.advance(23 * HOUR)
        assert await inbox.list("forgotten") == []


async def test_contents_are_forgotten_after_a_long_rest(tmp_path: Path, time: ManualTime, wall: Wall) -> None:
    """What the wall clock tells of the time between two runs counts whole for handled contents."""
    async with make_inbox("sqlite", tmp_path, time, clock=wall, keep=5 * DAY) as inbox:
        await inbox.start(frozen(Recorder()))
        await put(inbox, status_bytes(1))
        await inbox.idle()
        await time.advance(2)
    wall.jump(6 * DAY)
    async with make_inbox("sqlite", tmp_path, time, clock=wall, keep=5 * DAY) as inbox:
        await inbox.start(frozen(Recorder()))
        await time.advance(2)

        assert len(await inbox.list("forgotten")) == 1
