"""Waits that end in the same moment as something else: what they tell is true and agrees with itself."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import wait_all_tasks_blocked

from nexmo_dispatch_async.exceptions import ConfigurationError, TrackingError, WaitTimeoutError
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.tracking import MemoryTrackingStore, Tracker, TrackingStore, WorkflowState
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from tests.support.callbacks import UUID, WHATSAPP_THEN_SMS, report, status

ENDED = report("completed", 604, ("a", "whatsapp", "submitted"), ("b", "sms", "delivered"))
READ = status("b", "read", 603)


async def test_what_another_process_stored_is_seen_when_the_time_is_over(tmp_path: Path) -> None:
    """Its callbacks wake no call here, and `had not ended` would be false."""
    async with (
        Tracker(SqliteTrackingStore(tmp_path / "t")) as here,
        Tracker(SqliteTrackingStore(tmp_path / "t")) as there,
    ):
        waiting = asyncio.ensure_future(here.follow(UUID, WHATSAPP_THEN_SMS).wait(timeout=0.5))
        while not here.waiting:  # noqa: ASYNC110 - no event announces that the wait began
            await asyncio.sleep(0)
        await there.receive(ENDED)

        assert (await waiting).ended


async def test_a_time_out_of_zero_looks_once() -> None:
    looks = 0

    class Counting(MemoryTrackingStore):
        async def merge(self, state: WorkflowState, **settings: Any) -> WorkflowState:
            nonlocal looks
            looks += 1
            return await super().merge(state, **settings)

    with pytest.raises(WaitTimeoutError):
        await Tracker(Counting()).follow(UUID).wait(timeout=0)

    assert looks == 1


@pytest.mark.parametrize("events", [(ENDED, READ), (READ, ENDED)], ids=["end first", "status first"])
async def test_a_status_in_the_moment_of_the_end_was_reached(events: tuple[Any, Any]) -> None:
    """Both came before the waiting call ran: an error would show a result that contradicts it."""
    tracker = Tracker()
    waiting = asyncio.ensure_future(tracker.follow(UUID, WHATSAPP_THEN_SMS).wait("read", timeout=5))
    await wait_all_tasks_blocked()
    for event in events:
        await tracker.receive(event)

    assert (await waiting).has("read")


async def test_news_after_the_verdict_do_not_change_what_it_was_about() -> None:
    """A later report may take `completed` back: the result is the one for which the wait ended."""
    tracker = Tracker()
    waiting = asyncio.ensure_future(tracker.follow(UUID).wait("delivered", timeout=5))
    await wait_all_tasks_blocked()
    await tracker.receive(report("completed", 1))
    await tracker.receive(report("error", 2))

    assert (await waiting).has("delivered")


async def test_ids_are_found_whatever_blanks_surround_them() -> None:
    """Contract 5.11: trim."""
    tracker = Tracker()
    dispatch = tracker.follow(f" {UUID}\n")
    await tracker.receive(ENDED)

    assert (await dispatch.wait(timeout=0)).ended
    assert dispatch.dispatch_uuid == UUID


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_closed_tracker_takes_no_callbacks(kind: str, tmp_path: Path) -> None:
    """They would be lost: the service has to deliver them again."""
    store: TrackingStore = MemoryTrackingStore() if kind == "memory" else SqliteTrackingStore(tmp_path / "t")
    tracker = Tracker(store)
    await tracker.aclose()

    with pytest.raises(TrackingError, match="closed"):
        await tracker.receive(ENDED)


class Broken:
    """A store of the application that breaks the protocol once: it raises another exception."""

    def __init__(self) -> None:
        self.working = MemoryTrackingStore()
        self.breaks = True

    async def merge(self, state: WorkflowState, **settings: Any) -> WorkflowState:
        if self.breaks:
            raise RuntimeError("private words")
        return await self.working.merge(state, **settings)

    def watch(self, changed: Any) -> None: ...

    async def aclose(self) -> None: ...


async def test_a_store_that_raises_anything_loses_no_following(caplog: pytest.LogCaptureFixture) -> None:
    """The workflow was sent: it is followed from the next callback on, and the log says why not before."""
    store = Broken()
    tracker = Tracker(store)
    with caplog.at_level(logging.WARNING):
        dispatch = await tracker.sent(Dispatch(UUID), WHATSAPP_THEN_SMS)
    store.breaks = False
    await tracker.receive(ENDED)

    assert (await dispatch.result()).ended
    assert [step.until for step in (await dispatch.wait(timeout=0)).steps] == ["read", None]
    assert "not stored yet: RuntimeError" in caplog.text
    assert "private words" not in caplog.text


async def test_a_dispatch_without_a_tracker_has_no_result() -> None:
    """As with `wait()`, the error says what to do."""
    with pytest.raises(ConfigurationError, match="tracker=Tracker"):
        await Dispatch(UUID).result()


async def test_a_close_in_a_cancelled_scope_closes_the_store() -> None:
    """A time limit around the shutdown leaves no connection of a store behind."""
    closed = False

    class Connected(MemoryTrackingStore):
        async def aclose(self) -> None:
            nonlocal closed
            await asyncio.sleep(0)  # as a store that disconnects
            closed = True

    tracker = Tracker(Connected())
    with anyio.CancelScope() as limit:
        limit.cancel()
        await tracker.aclose()

    assert closed
