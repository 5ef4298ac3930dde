"""`Tracker`: waiting for an end or a status, whichever comes first, without tasks, polling or leaks."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    DispatchError,
    NotReachedError,
    TrackingError,
    TrackingStoreError,
    WaitTimeoutError,
)
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.tracking import (
    FollowedDispatch,
    MemoryTrackingStore,
    Tracker,
    WorkflowResult,
    WorkflowState,
)
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_webhooks import Router, parse_event
from tests.support.callbacks import NUMBER, UUID, WHATSAPP_THEN_SMS, report, status

SUBMITTED = status("a", "submitted", 0, channel="whatsapp")
DELIVERED = status("a", "delivered", 2, channel="whatsapp")
READ = status("a", "read", 12, channel="whatsapp")
READ_REPORT = report("completed", 12.05, ("a", "whatsapp", "read"), total="0.0645")
SMS_REPORT = report("completed", 605, ("a", "whatsapp", "delivered"), ("b", "sms", "delivered"), total="0.1")


@pytest.fixture
async def tracker() -> AsyncIterator[Tracker]:
    """A tracker in memory."""
    async with Tracker() as tracker:
        yield tracker


@pytest.fixture
def dispatch(tracker: Tracker) -> FollowedDispatch:
    """WhatsApp until read, then SMS."""
    return tracker.follow(UUID, WHATSAPP_THEN_SMS)


class Waiting:
    """A wait in a task of its own."""

    def __init__(self, tasks: TaskGroup, dispatch: Dispatch, *args: Any, **settings: Any) -> None:
        self.result: WorkflowResult | Exception | None = None
        tasks.start_soon(self._run, dispatch, args, settings)

    async def _run(self, dispatch: Dispatch, args: Any, settings: Any) -> None:
        try:
            self.result = await dispatch.wait(*args, **{"timeout": 10, **settings})
        except DispatchError as error:
            self.result = error


# ---- waiting


async def test_wait_returns_at_the_end(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    async with anyio.create_task_group() as tasks:
        waiting = Waiting(tasks, dispatch)
        await wait_all_tasks_blocked()
        for event in (SUBMITTED, DELIVERED, READ):
            await tracker.receive(event)
        await wait_all_tasks_blocked()
        before = waiting.result
        await tracker.receive(READ_REPORT)

    assert before is None
    assert isinstance(waiting.result, WorkflowResult)
    assert str(waiting.result) == "reached on whatsapp after 12 s, EUR 0.0645"


async def test_wait_for_a_status_returns_with_it(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    """The end is still to come; `read` implies `delivered` (contract 3.6)."""
    async with anyio.create_task_group() as tasks:
        delivered, read = Waiting(tasks, dispatch, "delivered"), Waiting(tasks, dispatch, "read")
        await wait_all_tasks_blocked()
        await tracker.receive(DELIVERED)
        await wait_all_tasks_blocked()
        early = (delivered.result, read.result)
        await tracker.receive(READ)

    assert isinstance(early[0], WorkflowResult)
    assert early[1] is None
    assert isinstance(read.result, WorkflowResult)
    assert (read.result.ended, read.result.reached) == (False, True)


async def test_what_has_happened_is_not_waited_for(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    """The callbacks beat the 202 answer: they are kept until the workflow is known."""
    for event in (READ_REPORT, READ, SUBMITTED):
        await tracker.receive(event)

    result = await dispatch.wait(timeout=10)

    assert (result.channel, result.elapsed) == ("whatsapp", timedelta(seconds=12))


async def test_steps_are_stored_with_the_first_callback(tmp_path: Path) -> None:
    """Without a waiting call too; a restart loses neither them nor the end of an unclaimed workflow."""
    now = [0.0]
    async with Tracker(
        SqliteTrackingStore(tmp_path / "t.db"), clock=lambda: 0.0, monotonic=lambda: now[0]
    ) as before:
        before.follow(UUID, WHATSAPP_THEN_SMS)
        before.follow(UUID)
        await before.receive(DELIVERED)
        now[0] += 2 * 3600  # longer than `keep_unclaimed`
        await before.receive(status("other", "submitted", dispatch="another"))
    async with Tracker(
        SqliteTrackingStore(tmp_path / "t.db"), clock=lambda: 0.0, monotonic=lambda: now[0]
    ) as after:
        result = await after.result(UUID)

    assert [(step.channel, step.until, step.status) for step in result.steps] == [
        ("whatsapp", "read", "delivered"),
        ("sms", None, None),
    ]


@pytest.mark.parametrize("kind", [MemoryTrackingStore, SqliteTrackingStore])
async def test_what_is_known_needs_no_time(kind: Any, tmp_path: Path) -> None:
    """A time-out of zero means not to wait, and not: not to look; the same for every store."""
    store = kind() if kind is MemoryTrackingStore else kind(tmp_path / "t.db")
    async with Tracker(store) as tracker:
        await tracker.receive(SMS_REPORT)

        assert (await tracker.follow(UUID).wait(timeout=0)).ended
        with pytest.raises(NotReachedError):
            await tracker.follow(UUID, WHATSAPP_THEN_SMS).wait("read", timeout=0)
        with pytest.raises(WaitTimeoutError):
            await tracker.follow("another").wait(timeout=0)


async def test_an_end_without_the_status_is_an_error(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    """It carries what did happen."""
    await tracker.receive(SMS_REPORT)

    with pytest.raises(
        NotReachedError, match=f"^workflow {UUID} ended with 'completed', and was never read$"
    ) as caught:
        await dispatch.wait("read", timeout=10)

    assert caught.value.result.channel == "sms"


async def test_a_late_status_can_be_waited_for(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    """Contract 3.6: statuses may come after the final report."""
    await tracker.receive(SMS_REPORT)

    async with anyio.create_task_group() as tasks:
        waiting = Waiting(tasks, dispatch, "read", late=True)
        await wait_all_tasks_blocked()
        early = waiting.result
        await tracker.receive(READ)

    assert early is None
    assert isinstance(waiting.result, WorkflowResult)
    assert waiting.result.has("read")


@pytest.mark.parametrize(("status_", "words"), [(None, "had not ended"), ("read", "was not read")])
async def test_a_time_out_tells_what_is_known(
    tracker: Tracker, dispatch: FollowedDispatch, status_: Any, words: str
) -> None:
    """Contract 9.12: a last step that stays `submitted` never ends. It is a TimeoutError as well."""
    await tracker.receive(DELIVERED)

    with pytest.raises(TimeoutError, match=f"^workflow {UUID} {words} after 0.01 s$") as caught:
        await dispatch.wait(status_, timeout=timedelta(milliseconds=10))

    assert isinstance(caught.value, WaitTimeoutError)
    assert caught.value.result.steps[0].status == "delivered"
    assert tracker.waiting == 0


async def test_for_ever_has_to_be_said(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    with pytest.raises(TypeError, match="timeout"):
        await dispatch.wait()  # type: ignore[call-arg]  # the promise is that this fails

    async with anyio.create_task_group() as tasks:
        waiting = Waiting(tasks, dispatch, timeout=None)
        await wait_all_tasks_blocked()
        await tracker.receive(READ_REPORT)
    assert isinstance(waiting.result, WorkflowResult)


@pytest.mark.parametrize(
    ("args", "settings", "words"),
    [
        (("submitted",), {"timeout": 1}, "wait for 'delivered' or 'read', or for the end; got 'submitted'"),
        ((), {"timeout": -1}, "timeout must be a number of seconds, at least 0, not -1"),
        ((), {"timeout": float("nan")}, "timeout must be"),
    ],
)
async def test_a_senseless_wait_is_refused(
    dispatch: FollowedDispatch, args: Any, settings: Any, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        await dispatch.wait(*args, **settings)


async def test_many_wait_for_one_workflow_and_one_for_many(tracker: Tracker) -> None:
    uuids = [f"workflow {number}" for number in range(20)]

    async with anyio.create_task_group() as tasks:
        waits = [Waiting(tasks, tracker.follow(uuid)) for uuid in uuids for _ in range(3)]
        await wait_all_tasks_blocked()
        assert tracker.waiting == 60
        for uuid in reversed(uuids):
            await tracker.receive(report("error", 1, dispatch=uuid))

    assert [wait.result.dispatch_uuid for wait in waits if isinstance(wait.result, WorkflowResult)] == [
        uuid for uuid in uuids for _ in range(3)
    ]
    assert tracker.waiting == 0


@pytest.mark.parametrize("how", ["asyncio", "anyio"])
async def test_a_cancelled_wait_leaves_nothing(
    tracker: Tracker, dispatch: FollowedDispatch, how: str
) -> None:
    if how == "asyncio":
        task = asyncio.ensure_future(dispatch.wait(timeout=None))
        await wait_all_tasks_blocked()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        with anyio.move_on_after(0.01):
            await dispatch.wait(timeout=None)

    assert tracker.waiting == 0
    assert tracker._waiting == {}
    await tracker.receive(READ_REPORT)
    assert (await dispatch.wait(timeout=10)).ended


async def test_no_task_is_left(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    """Following costs no task: `receive` wakes the waiting calls."""
    before = len(asyncio.all_tasks())

    await tracker.receive(SUBMITTED)
    with pytest.raises(WaitTimeoutError):
        await dispatch.wait(timeout=0)

    assert len(asyncio.all_tasks()) == before


class SlowStore(MemoryTrackingStore):
    """Answers the first caller last."""

    def __init__(self) -> None:
        super().__init__()
        self.hold: anyio.Event | None = None

    async def merge(self, state: WorkflowState, **settings: Any) -> WorkflowState:
        merged = await super().merge(state, **settings)
        hold, self.hold = self.hold, None
        if hold is not None:
            await hold.wait()
        return merged


async def test_callbacks_that_overtake_one_another_lose_nothing() -> None:
    """The answer of the store to an older callback comes after that to a newer one."""
    store = SlowStore()
    tracker = Tracker(store)

    async with anyio.create_task_group() as tasks:
        waiting = Waiting(tasks, tracker.follow(UUID))
        await wait_all_tasks_blocked()
        store.hold = hold = anyio.Event()
        tasks.start_soon(tracker.receive, SUBMITTED)
        await wait_all_tasks_blocked()
        await tracker.receive(READ_REPORT)
        hold.set()

    assert isinstance(waiting.result, WorkflowResult)
    assert waiting.result.ended


async def test_an_event_between_asking_and_waiting_is_seen() -> None:
    """First in line, then a look at the store."""
    store = SlowStore()
    tracker = Tracker(store)
    store.hold = hold = anyio.Event()

    async with anyio.create_task_group() as tasks:
        waiting = Waiting(tasks, tracker.follow(UUID))
        await wait_all_tasks_blocked()
        await tracker.receive(READ_REPORT)
        hold.set()

    assert isinstance(waiting.result, WorkflowResult)


# ---- the store


class BrokenStore(MemoryTrackingStore):
    """Fails until it is mended."""

    broken = True

    async def merge(self, state: WorkflowState, **settings: Any) -> WorkflowState:
        await checkpoint()
        if self.broken:
            raise TrackingStoreError("the disk is full")
        return await super().merge(state, **settings)


async def test_a_sent_workflow_is_not_lost_to_a_failing_store(caplog: pytest.LogCaptureFixture) -> None:
    """The message is paid for: its id comes back, and its steps are stored with the first wait."""
    store = BrokenStore()
    tracker = Tracker(store)

    with caplog.at_level(logging.WARNING, "nexmo_dispatch_async"):
        dispatch = await tracker.sent(Dispatch(UUID), WHATSAPP_THEN_SMS)
    store.broken = False
    await tracker.receive(READ)
    result = await dispatch.wait("read", timeout=10)

    assert [record.getMessage() for record in caplog.records] == [
        f"the steps of workflow {UUID} are not stored yet: the disk is full"
    ]
    assert result.steps[0].until == "read"


async def test_a_store_that_is_away_is_one_line_of_log(caplog: pytest.LogCaptureFixture) -> None:
    """However many workflows are sent meanwhile."""
    tracker = Tracker(BrokenStore())

    for number in range(50):
        await tracker.sent(Dispatch(f"{UUID[:-2]}{number:02d}"), WHATSAPP_THEN_SMS)

    assert len(caplog.messages) == 1


async def test_a_callback_that_is_not_stored_is_not_taken() -> None:
    """The receiver answers 500 then, and the service calls again (contract 5.10)."""
    tracker = Tracker(BrokenStore())

    with pytest.raises(TrackingStoreError, match="the disk is full"):
        await tracker.receive(READ)
    with pytest.raises(TrackingStoreError, match="the disk is full"):
        await tracker.follow(UUID).wait(timeout=10)

    assert tracker.waiting == 0


async def test_asking_follows_nothing(tracker: Tracker) -> None:
    await tracker.receive(DELIVERED)

    result = await tracker.result(UUID.upper())

    assert result.steps[0].status == "delivered"
    assert not (await tracker.learn(WorkflowState(UUID))).followed
    assert await tracker.result("never heard of") == WorkflowResult("never heard of")


async def test_what_is_known_now_can_be_asked(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    await tracker.receive(READ)

    assert (await dispatch.result()).channel == "whatsapp"


# ---- settings and closing


@pytest.mark.parametrize(
    "settings",
    [{"keep": -1}, {"keep_open": timedelta(days=-1)}, {"keep_unclaimed": -1}, {"max_unclaimed": -1}],
)
def test_wrong_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        Tracker(**settings)


async def test_closing_ends_every_wait(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    async with anyio.create_task_group() as tasks:
        waits = [Waiting(tasks, dispatch), Waiting(tasks, dispatch, "read", late=True)]
        await wait_all_tasks_blocked()
        await tracker.aclose()

    assert [(type(wait.result), str(wait.result)) for wait in waits] == [
        (TrackingError, "the tracker was closed"),
        (TrackingError, "the tracker was closed"),
    ]
    with pytest.raises(TrackingError, match="the tracker is closed"):
        await dispatch.wait(timeout=1)


async def test_closing_closes_the_store() -> None:
    store = SqliteTrackingStore(":memory:")

    async with Tracker(store) as tracker:
        await tracker.receive(READ)

    assert repr(store) == "<SqliteTrackingStore closed>"


@pytest.mark.parametrize(
    ("store", "what"), [(b"t.db", "a bytes"), ("", "a str"), (SqliteTrackingStore, "the class Sqlite")]
)
def test_a_store_is_one(store: Any, what: str) -> None:
    """What else was given is named by its kind."""
    with pytest.raises(ConfigurationError, match=rf"^store must be the path of a file, .*, not {what}"):
        Tracker(store)


async def test_a_path_makes_a_store(tmp_path: Path) -> None:
    """As it does for the inbox of a receiver."""
    async with Tracker(tmp_path / "tracking.db") as first:
        await first.receive(READ)
    async with Tracker(str(tmp_path / "tracking.db")) as second:
        assert (await second.result(UUID)).has("read")


async def test_a_dispatch_without_a_tracker_says_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"DispatchClient\(tracker="):
        await Dispatch(UUID).wait(timeout=1)


async def test_events_of_no_workflow_are_ignored(tracker: Tracker) -> None:
    """Whatever a router passes on."""
    for event in (parse_event("{}"), status("m", "read", dispatch=None)):
        await tracker.receive(event)

    assert repr(tracker) == "<Tracker open, 0 waiting, <MemoryTrackingStore of 0>>"


async def test_attach_takes_statuses_and_reports_and_nothing_else(tracker: Tracker) -> None:
    router = Router()

    tracker.attach(router)

    assert router.fetch(READ) == router.fetch(READ_REPORT) == (tracker.receive,)
    assert router.fetch(parse_event("{}")) == ()
    assert not (await router.dispatch(READ)).failures


def test_no_personal_data_in_any_repr(tracker: Tracker, dispatch: FollowedDispatch) -> None:
    shown = repr(tracker) + repr(dispatch) + repr(dispatch.state)

    assert repr(dispatch) == f"FollowedDispatch(dispatch_uuid='{UUID}')"
    assert NUMBER not in shown


async def test_a_forgotten_dispatch_is_freed(tracker: Tracker) -> None:
    """The tracker holds facts, not the objects that ask for them."""
    for number in range(100):
        tracker.follow(f"workflow {number}")
    gc.collect()

    kept = [thing for thing in gc.get_objects() if isinstance(thing, FollowedDispatch)]
    assert not [dispatch for dispatch in kept if dispatch.tracker is tracker]
