"""Places are shared: a slow kind of handler holds up its own events and no others, in order all the same."""

import asyncio
from collections import Counter, deque
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexmo_dispatch_webhooks import FinalReport, MessageStatus, Router
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from nexmo_dispatch_webhooks.inbox.lanes import Lanes
from nexmo_dispatch_webhooks.inbox.records import HandlerGroup, PendingEvent
from tests.webhooks.inbox.support import Make, ManualTime, in_workflow, make_inbox, new_record, put
from tests.webhooks.payloads import encode, report_body


def report(workflow: str) -> bytes:
    return encode(report_body(dispatch_uuid=workflow))


class Scene:
    """Final reports whose handler hangs until it is let go, and statuses that are noted at once."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.hanging = self.most = 0
        self.begun = asyncio.Event()
        self.log: list[str] = []
        self.arrived: dict[str, asyncio.Event] = {}
        self.router = Router()
        self.router.add(self.hang, kind="final-report")
        self.router.add(self.note, kind="message-status")
        self.router.add(self.note_all)

    async def hang(self, event: FinalReport) -> None:
        self.hanging += 1
        self.most = max(self.most, self.hanging)
        self.begun.set()
        await self.let_go.wait()
        self.hanging -= 1
        self.log.append(f"report {event.dispatch_uuid}")

    async def note(self, event: MessageStatus) -> None:
        self.log.append(f"status {event.dispatch_uuid}")
        self.arrived.setdefault(event.dispatch_uuid or "", asyncio.Event()).set()

    async def note_all(self, event: Any) -> None:
        """Handlers that both kinds share, such as a tracker, are held up by neither."""

    async def until_hanging(self, number: int) -> None:
        """Wait until so many final reports hang."""
        async with asyncio.timeout(20):
            while self.hanging < number:
                self.begun.clear()
                await self.begun.wait()

    async def status_of(self, workflow: str) -> None:
        """Wait until the status of a workflow was handled; the time is real and only a bound."""
        async with asyncio.timeout(20):
            await self.arrived.setdefault(workflow, asyncio.Event()).wait()


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_a_hundred_handlers_that_hang_delay_no_other_workflow(
    make: Make, time: ManualTime, scene: Scene
) -> None:
    """Not by a second: the statuses of 50 other workflows are handled while no time passes.

    They waited until the first of the hanging handlers were given up, five minutes later.
    """
    scene.router.freeze()
    inbox = make(concurrency=32, handler_timeout=300.0)
    await inbox.start(scene.router)
    begun = time.now
    for number in range(100):
        await put(inbox, report(f"slow {number}"))
    await scene.until_hanging(16)

    for number in range(50):
        await put(inbox, in_workflow(number, f"other {number}"))
        await scene.status_of(f"other {number}")

    assert time.now == begun
    assert (scene.hanging, scene.most) == (16, 16)
    assert inbox.health().pending in {100, 64}  # a shared store: those that this process holds
    scene.let_go.set()
    await inbox.idle()
    assert Counter(line.split()[0] for line in scene.log) == {"status": 50, "report": 100}
    assert scene.most <= 16


async def test_what_an_earlier_run_left_hides_nothing(tmp_path: Path, time: ManualTime, scene: Scene) -> None:
    """Two thousand slow events stand before a fast one: it is found, and none of them stays in memory."""
    scene.router.freeze()
    async with make_inbox("sqlite", tmp_path, time, max_pending=5000) as before:
        await asyncio.gather(
            *(before.store.add(new_record(report(f"slow {number}"))) for number in range(2000)),
        )
        await before.store.add(new_record(in_workflow(1, "other")))

    async with make_inbox("sqlite", tmp_path, time, concurrency=8) as inbox:
        await inbox.start(scene.router)
        await scene.status_of("other")

        assert scene.most == 4
        assert not [line for line in scene.log if line.startswith("report")]
        assert not [item for item in inbox._scheduler.lanes._pending.values() if item.event is not None]
        scene.let_go.set()
        await inbox.idle()
    assert len(scene.log) == 2001


@pytest.mark.one_process
async def test_handlers_of_one_kind_of_event_share_as_well(make: Make, scene: Scene) -> None:
    """Groups go by handlers, not by kinds: those of one status may hang, and those of another go on.

    A slow event that is stored first and only in the file is read once to sort it, and again in its turn.
    """
    router = Router()

    async def hang(event: MessageStatus) -> None:
        scene.hanging += 1
        await scene.let_go.wait()

    router.add(hang, kind="message-status", status="delivered")
    router.add(scene.note, kind="message-status", status="read")
    router.freeze()
    inbox = make(concurrency=4)
    await inbox.start(router)
    for number in range(40):
        padding = "x" * (5000 if number % 2 else 1)
        await put(inbox, in_workflow(number, f"slow {number}", client_ref=padding, status="delivered"))
    await put(inbox, in_workflow(99, "other", status="read"))

    await scene.status_of("other")

    assert scene.hanging == 2
    scene.let_go.set()
    await inbox.idle()
    assert scene.hanging == 40


async def test_a_workflow_keeps_its_order_behind_an_event_that_waits_for_its_share(
    make: Make, scene: Scene
) -> None:
    """Others overtake it, those of its own workflow do not."""
    scene.router.freeze()
    inbox = make(concurrency=4)
    await inbox.start(scene.router)
    for number in range(10):
        await put(inbox, report(f"{number}"))
        await put(inbox, in_workflow(number, f"{number}"))
    await put(inbox, in_workflow(99, "other"))
    await scene.status_of("other")
    assert scene.log == ["status other"]

    scene.let_go.set()
    await inbox.idle()

    for number in range(10):
        assert scene.log.index(f"report {number}") < scene.log.index(f"status {number}")


async def test_the_retries_of_a_slow_handler_wait_for_its_share_only(
    make: Make, time: ManualTime, scene: Scene
) -> None:
    """When the hanging handlers are given up, their retries come due together; others still go on."""
    scene.router.freeze()
    inbox = make(concurrency=8, handler_timeout=60.0)
    await inbox.start(scene.router)
    for number in range(12):
        await put(inbox, report(f"slow {number}"))
    for number in range(5):
        await time.advance(70)
        await put(inbox, in_workflow(number, f"other {number}"))
        await scene.status_of(f"other {number}")

    scene.let_go.set()
    await time.advance(700)
    await inbox.idle()
    assert len([line for line in scene.log if line.startswith("report")]) == 12


async def test_a_shutdown_handles_what_waits_for_its_share(
    tmp_path: Path, time: ManualTime, scene: Scene
) -> None:
    """Within `drain`: the places that have nothing else to do do not end the inbox."""
    scene.router.freeze()
    inbox = SqliteInbox(tmp_path / "inbox.db", concurrency=4, clock=time, monotonic=time, sleep=time.sleep)
    await inbox.start(scene.router)
    for number in range(10):
        await put(inbox, report(f"slow {number}"))
    await scene.until_hanging(2)
    closing = asyncio.create_task(inbox.aclose())
    await asyncio.sleep(0)
    scene.let_go.set()
    await closing

    assert len(scene.log) == 10


# --- the bookkeeping ---

GROUPS: list[HandlerGroup] = [("a",), ("b",), ("c",), ("c", "d")]


@settings(max_examples=200)
@given(
    places=st.integers(1, 12),
    arrivals=st.lists(st.tuples(st.sampled_from(GROUPS), st.integers(0, 6)), max_size=60),
    # a seed, not `st.randoms()`: every draw of that one is data that hypothesis has to keep
    seed=st.integers(0, 2**32),
)
def test_places_are_shared_whatever_happens(
    places: int, arrivals: list[tuple[HandlerGroup, int]], seed: int
) -> None:
    """A group never takes more than it leaves free, none with an event is shut out, each lane is in order."""
    random = Random(seed)
    lanes = Lanes(places)
    running: dict[int, PendingEvent] = {}
    group_of = {number: group for number, (group, _) in enumerate(arrivals)}
    todo, done, now = deque(enumerate(arrivals)), list[PendingEvent](), 0.0

    def run_what_may() -> None:
        while len(running) < places and (item := lanes.take()) is not None:
            group = group_of[item.id]
            before = Counter(group_of[other] for other in running)[group]
            free = places - len(running)
            if item.group is None and not lanes.admit(item, group):
                assert before >= free or before > 0
                continue
            assert before < free
            assert item.group == group
            assert item.lane not in {other.lane for other in running.values()}
            running[item.id] = item

    while todo or len(lanes):
        for _ in range(random.randrange(1, 6)):
            if todo:
                number, (group, lane) = todo.popleft()
                lanes.add(PendingEvent(number, lane, now, kind=group[0]))
        run_what_may()
        assert running or not lanes.ready
        if running:
            item = running.pop(random.choice(sorted(running)))
            if random.random() < 0.2:
                lanes.postpone(item, now + 1)
            else:
                lanes.finish(item)
                done.append(item)
        now += 1
        lanes.release(now)

    assert len(done) == len(arrivals)
    for lane in {lane for _, lane in arrivals}:
        ids = [item.id for item in done if item.lane == lane]
        assert ids == sorted(ids)


@pytest.mark.parametrize(("slow", "kept"), [(1, [16]), (2, [11, 11]), (3, [8, 8, 8]), (7, [4] * 7)])
def test_how_many_places_slow_groups_keep(slow: int, kept: list[int]) -> None:
    """Of 32: half for one, a third each for two, and so on; the others are free."""
    lanes = Lanes(32)
    for number in range(100 * slow):
        lanes.add(PendingEvent(number, number, 0.0))
    running: Counter[int] = Counter()
    while (item := lanes.take()) is not None:
        if lanes.admit(item, (f"{item.id % slow}",)):
            running[item.id % slow] += 1

    assert [running[number] for number in range(slow)] == kept
    lanes.add(PendingEvent(9999, 9999, 0.0))
    item = lanes.take()
    assert item is not None
    assert lanes.admit(item, ("another",))
