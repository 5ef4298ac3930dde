"""A wall clock that jumps, back or ahead: tokens, tracking and the care window go by what was measured."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from nexmo_dispatch_async import VonageJWT
from nexmo_dispatch_async.care_window import CareWindow, MemoryWindowStore, WindowStore
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.tracking import MemoryTrackingStore, Tracker
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_async.tracking.store import TrackingStore
from nexmo_dispatch_webhooks import parse_event
from tests.support.keys import rsa_key
from tests.webhooks.payloads import encode, report_body, status_body

HOUR = 3600.0
DAY = 24 * HOUR
JUMPS = [-HOUR, HOUR, -DAY, 4 * DAY, 400 * DAY]
CUSTOMER, OTHER = "447700900001", "447700900002"


class Clocks:
    """A monotonic clock and a wall clock beside it, which can be set."""

    def __init__(self) -> None:
        self.now = 5_000.0
        self.offset = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def epoch(self) -> float:
        return self.now + self.offset

    def wall(self) -> datetime:
        return datetime.fromtimestamp(self.epoch(), UTC)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


# --- tokens ---


@pytest.mark.parametrize("jump", [-HOUR, -500.0, -60.0, HOUR])
def test_a_signed_token_is_used_no_longer_than_it_lives(clocks: Clocks, jump: float) -> None:
    """Set back by less than the age of a token, the clock had it used after its end."""
    key = rsa_key()
    auth = VonageJWT("app", key, lifetime=900, clock=clocks.epoch)
    made: dict[str, float] = {}
    clocks.now += 600
    made[auth.authorization(clocks.now)] = clocks.now
    clocks.now += 600
    clocks.offset += jump

    for _ in range(30):
        token = auth.authorization(clocks.now)
        assert clocks.now - made.setdefault(token, clocks.now) < 900
        claims = jwt.decode(token.removeprefix("Bearer "), options={"verify_signature": False})
        assert claims["iat"] <= clocks.epoch() < claims["exp"]
        clocks.now += 60
    assert len(made) <= 4


# --- tracking ---


@pytest.fixture(params=["memory", "sqlite"])
def tracking_store(request: pytest.FixtureRequest, tmp_path: Path) -> TrackingStore:
    return (
        MemoryTrackingStore() if request.param == "memory" else SqliteTrackingStore(tmp_path / "tracking.db")
    )


def report(workflow: str) -> Any:
    return parse_event(encode(report_body(dispatch_uuid=workflow)))


def status(workflow: str) -> Any:
    return parse_event(encode(status_body(_links={"dispatch": {"dispatch_uuid": workflow}})))


async def knows(tracker: Tracker, workflow: str) -> bool:
    return (await tracker.result(workflow)).ended


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_tracker_forgets_nothing_early_and_nothing_late(
    tracking_store: TrackingStore, clocks: Clocks, jump: float
) -> None:
    """What came while the clock was ahead neither drives out what is young nor stays longer."""
    async with Tracker(
        tracking_store, clock=clocks.epoch, monotonic=clocks.monotonic, keep=2 * DAY
    ) as tracker:

        async def end(workflow: str) -> None:
            tracker.follow(workflow)
            await tracker.receive(report(workflow))

        async def clean() -> None:
            for number in range(64):
                await tracker.receive(status(f"other {clocks.now} {number}"))

        await end("before")
        clocks.offset += jump
        await end("meanwhile")
        await clean()
        clocks.offset -= jump
        clocks.now += DAY
        await clean()
        assert await knows(tracker, "before")
        assert await knows(tracker, "meanwhile")

        clocks.now += 1.1 * DAY
        await clean()
        assert not await knows(tracker, "before")
        assert not await knows(tracker, "meanwhile")


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_restart_while_the_clock_is_wrong_forgets_no_workflow(
    tmp_path: Path, clocks: Clocks, jump: float
) -> None:
    """A rest counts with a day at most, since only the clock tells of it."""

    def tracker() -> Tracker:
        store = SqliteTrackingStore(tmp_path / "tracking.db")
        return Tracker(store, clock=clocks.epoch, monotonic=clocks.monotonic, keep=2 * DAY)

    async with tracker() as before:
        before.follow("workflow")
        await before.receive(report("workflow"))
    clocks.offset += jump
    async with tracker() as meanwhile:
        await meanwhile.receive(status("another"))
        assert await knows(meanwhile, "workflow")
    clocks.offset -= jump
    async with tracker() as after:
        await after.receive(status("a third"))
        assert await knows(after, "workflow")
        clocks.now += 2.1 * DAY
        for number in range(64):
            await after.receive(status(f"other {number}"))
        assert not await knows(after, "workflow")


# --- the care window ---


class Peer(NamedTuple):
    number: str | None = None
    id: str | None = None


class Received(NamedTuple):
    timestamp: datetime
    channel: str = "whatsapp"
    from_: Peer = Peer(CUSTOMER)


@pytest.fixture(params=["memory", "sqlite"])
def window_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WindowStore]:
    if request.param == "memory":
        yield MemoryWindowStore()
        return
    with SqliteWindowStore(tmp_path / "windows.db") as opened:
        yield opened


@pytest.fixture
def window(window_store: WindowStore, clocks: Clocks) -> CareWindow:
    return CareWindow(window_store, clock=clocks.wall, monotonic=clocks.monotonic)


@pytest.mark.parametrize("jump", [-HOUR, -DAY, -400 * DAY])
def test_a_clock_that_is_set_back_holds_no_window_open(
    window: CareWindow, clocks: Clocks, jump: float
) -> None:
    """A customer who wrote to this process 24 hours ago wrote 24 hours ago."""
    window.observe(Received(clocks.wall()))
    clocks.now += HOUR
    clocks.offset += jump

    assert window.status(CUSTOMER).open
    clocks.now += DAY - HOUR
    assert not window.status(CUSTOMER).open


def test_a_message_that_came_late_is_as_old_as_it_was_when_it_came(
    window: CareWindow, clocks: Clocks
) -> None:
    """A redelivery tells of 23 hours ago (contract 5.10), and then the clock is set back."""
    window.observe(Received(clocks.wall() - timedelta(hours=23)))
    clocks.offset -= 5 * HOUR

    assert window.status(CUSTOMER).open
    clocks.now += HOUR
    assert not window.status(CUSTOMER).open


def test_a_moment_that_was_noted_by_a_clock_ahead_holds_no_window_open(
    window: CareWindow, clocks: Clocks
) -> None:
    """The window closes a day after the message, not a day after what the clock said."""
    clocks.offset += 4 * DAY
    window.record(CUSTOMER)
    clocks.offset -= 4 * DAY

    assert window.status(CUSTOMER).open
    clocks.now += DAY
    assert not window.status(CUSTOMER).open


def test_another_process_does_not_trust_a_moment_in_the_future(clocks: Clocks) -> None:
    """Nothing was measured there: a template is sent rather than free text that may be refused."""
    store = MemoryWindowStore()
    store.record("whatsapp", CUSTOMER, clocks.wall() + timedelta(days=4))
    store.record("whatsapp", OTHER, clocks.wall() + timedelta(seconds=2))
    window = CareWindow(store, clock=clocks.wall, monotonic=clocks.monotonic)

    assert not window.status(CUSTOMER).open
    assert window.status(OTHER).open


@pytest.mark.parametrize("told", [True, False])
def test_a_clock_that_is_ahead_forgets_no_customer(window: CareWindow, clocks: Clocks, *, told: bool) -> None:
    """Whether messages name their moment or not."""
    window.observe(Received(clocks.wall(), from_=Peer(OTHER)))
    right = clocks.wall()
    clocks.offset += 4 * DAY
    for number in range(1100):
        window.record(f"4477009{number:05}", at=right if told else None)
    clocks.offset -= 4 * DAY

    assert window.status(OTHER).open


def test_what_is_measured_is_bounded(window: CareWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only of the customers who wrote last; of the others the stored moment tells."""
    monkeypatch.setattr("nexmo_dispatch_async.care_window.window._MEASURED", 10)
    for number in range(30):
        window.record(f"4477009{number:05}")

    assert len(window._measured) == 10
    assert window.status("447700900000").open
