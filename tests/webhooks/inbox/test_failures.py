"""Handlers and bodies that fail: retried, then quarantined, without delaying other conversations."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Context, Event, MessageStatus, Router, parse_event
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy
from tests.webhooks.inbox.support import (
    Make,
    ManualTime,
    Recorder,
    Start,
    frozen,
    in_workflow,
    put,
    states,
    status_bytes,
)


async def test_a_failed_handler_is_tried_again_and_a_good_one_is_not(start: Start, time: ManualTime) -> None:
    """Back-off by the policy; the attempt number is in the context; the rest of the workflow waits."""
    good, bad = Recorder(), Recorder(failing=True)
    inbox = await start(good, bad, retry=HandlerRetryPolicy(wait_initial=10, wait_exp_base=2))
    await put(inbox, in_workflow(1, "w"))
    await put(inbox, in_workflow(2, "w"))
    await inbox.idle()
    assert (good.seen, bad.seen) == ([("m1", 0)], [("m1", 0)])
    assert inbox.health().retrying == 1

    await time.advance(9.9)
    assert len(bad.seen) == 1
    await time.advance(0.2)
    await inbox.idle()
    assert bad.seen == [("m1", 0), ("m1", 1)]
    record = await inbox.show(1)
    assert (record.state, record.attempts, len(record.done)) == ("pending", 2, 1)
    assert [failure.error for failure in record.failed] == ["ValueError"]
    assert record.next_attempt_at is not None
    assert record.next_attempt_at.timestamp() == pytest.approx(1_000_030.0, abs=0.5)

    bad.failing = False
    await time.advance(20)
    await inbox.idle()
    assert bad.seen == [("m1", 0), ("m1", 1), ("m1", 2), ("m2", 0)]
    assert good.seen == [("m1", 0), ("m2", 0)]
    assert await states(inbox) == ["handled", "handled"]


async def test_after_the_last_attempt_it_is_set_aside(
    start: Start, time: ManualTime, caplog: pytest.LogCaptureFixture
) -> None:
    """It can be seen, logs name handler and type only, the workflow goes on, and `retry` brings it back."""
    good, bad = Recorder(), Recorder(failing=True)
    inbox = await start(good, bad, retry=HandlerRetryPolicy(attempts=2, wait_initial=5))
    await put(inbox, in_workflow(1, "w"))
    await put(inbox, in_workflow(2, "w"))
    await inbox.idle()
    await time.advance(6)
    await inbox.idle()
    await time.advance(6)
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "quarantined"]
    assert [record.id for record in await inbox.list("quarantined")] == [1, 2]
    assert inbox.health().quarantined == 2
    assert "quarantined: record 1 after 2 attempts" in caplog.text
    assert "447700900000" not in caplog.text

    bad.failing = False
    assert await inbox.retry("all") == 2
    await inbox.idle()

    assert await states(inbox) == ["handled", "handled"]
    assert [key for key, _ in good.seen] == ["m1", "m2"]
    assert await inbox.retry("all") == 0
    assert await inbox.retry(1) == 0


async def test_retry_does_not_wait_for_the_next_attempt(start: Start) -> None:
    """What waits between two attempts may be hurried, by id."""
    bad = Recorder(failing=True)
    inbox = await start(bad, retry=HandlerRetryPolicy(wait_initial=1000))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()
    bad.failing = False

    assert await inbox.retry(2) == 1
    await inbox.idle()

    assert await states(inbox) == ["pending", "handled"]
    assert bad.seen[-1] == ("m2", 0)


async def test_a_body_that_is_no_json_is_quarantined_until_a_parser_reads_it(
    make: Make, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender was authentic, so it is kept; a retry reads it again, with a `parse` of one's own."""
    handler, broken = Recorder(), b"\xff" + status_bytes(1)
    parsers: list[Callable[[bytes], Event]] = [parse_event]
    inbox = make(parse=lambda body: parsers[-1](body))
    await inbox.start(frozen(handler))
    await put(inbox, broken)
    await put(inbox, broken)
    await inbox.idle()
    (record,) = await inbox.list()
    assert (record.state, record.kind, record.size) == ("quarantined", "unparsable", len(broken))
    assert (await inbox.show(1)).body == broken
    assert "quarantined: record 1" in caplog.text

    assert await inbox.retry(1) == 1
    await inbox.idle()
    (record,) = await inbox.list()
    assert (record.state, record.failed[0].handler, record.failed[0].error) == (
        "quarantined",
        "parse",
        "InvalidBodyError",
    )

    parsers.append(lambda body: parse_event(body.lstrip(b"\xff")))
    assert await inbox.retry("all") == 1
    await inbox.idle()
    assert await states(inbox) == ["handled"]
    assert handler.seen == [("m1", 0)]


async def test_a_handler_has_limited_time(start: Start, time: ManualTime) -> None:
    """It has failed then; the others go on, and the next attempt has its own time."""
    begun, other = asyncio.Event(), asyncio.Event()

    async def stuck(event: MessageStatus) -> None:
        if event.message_uuid == "m1":
            begun.set()
            await asyncio.Event().wait()
        other.set()

    inbox = await start(stuck, handler_timeout=60.0, retry=HandlerRetryPolicy(attempts=2, wait_initial=5))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    for _ in range(2):
        await begun.wait()
        begun.clear()
        await other.wait()
        assert inbox.health().pending == 1
        await time.advance(62)
        await inbox.idle()
        await time.advance(6)

    assert (await inbox.show(1)).failed[0].error == "TimeoutError"
    assert await states(inbox) == ["quarantined", "handled"]


async def test_a_handler_that_awaits_something_cancelled_has_failed(start: Start) -> None:
    """It is not the inbox that is cancelled, so the other events go on."""

    async def handler(event: MessageStatus) -> None:
        if event.message_uuid == "m1":
            raise asyncio.CancelledError

    inbox = await start(handler, retry=HandlerRetryPolicy(attempts=1))

    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "handled"]
    assert (await inbox.show(1)).failed[0].error == "CancelledError"


async def test_a_filter_that_raises_is_a_failure_of_its_handler(make: Make) -> None:
    async def handler(event: Event) -> None: ...

    def broken(event: Any) -> bool:
        raise KeyError

    router = Router()
    router.add(handler, when=broken, name="filtered")
    router.freeze()
    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(router)

    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert [(f.handler, f.error) for f in (await inbox.show(1)).failed] == [("filtered", "KeyError")]


async def test_two_handlers_of_one_name_are_told_apart(make: Make) -> None:
    """Otherwise the second would count as done when the first is."""
    good, bad = Recorder(), Recorder(failing=True)
    router = Router()
    router.add(good, name="same")
    router.add(bad, name="same")
    router.freeze()
    inbox = make()
    await inbox.start(router)
    await put(inbox, status_bytes(1))
    await inbox.idle()
    bad.failing = False

    await inbox.retry("all")
    await inbox.idle()

    assert (len(good.seen), len(bad.seen)) == (1, 2)
    assert (await inbox.show(1)).done == ("same",)


@pytest.mark.parametrize("ending", ["returns", "awaits", "raises"])
async def test_a_handler_that_cancels_its_own_task_stops_nothing(make: Make, ending: str) -> None:
    """It fails, or is done if it returned; every other event goes on, then and after the next start."""

    async def handler(event: MessageStatus) -> None:
        if event.message_uuid == "m1":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if ending == "awaits":
                await asyncio.sleep(0)
            if ending == "raises":
                raise ValueError

    inbox = make(retry=HandlerRetryPolicy(attempts=1), concurrency=1)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await states(inbox) == ["handled" if ending == "returns" else "quarantined", "handled"]
    assert inbox.health().state == "running"
    if ending != "returns":
        kind = "CancelledError" if ending == "awaits" else "ValueError"
        assert (await inbox.show(1)).failed[0].error == kind


@pytest.mark.parametrize("ending", ["raises", "swallows", "takes back"])
async def test_a_handler_out_of_time_has_failed_however_it_ends(
    make: Make, time: ManualTime, ending: str
) -> None:
    """And the next one in the same worker has its own time."""
    begun: list[str] = []
    started = asyncio.Event()

    async def handler(event: MessageStatus, context: Context) -> None:
        begun.append(event.message_uuid)
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if event.message_uuid == "m1" and ending == "raises":
                raise OSError from None
            if event.message_uuid == "m1":
                if ending == "takes back" and (task := asyncio.current_task()) is not None:
                    task.uncancel()
                return
            raise

    inbox = make(retry=HandlerRetryPolicy(attempts=1), concurrency=1, handler_timeout=60.0)
    await inbox.start(frozen(handler))
    for number in (1, 2):
        await put(inbox, status_bytes(number))
    for _ in range(2):
        await asyncio.wait_for(started.wait(), 20)
        started.clear()
        await time.advance(62)
    await asyncio.wait_for(inbox.idle(), 20)

    assert begun == ["m1", "m2"]
    assert [(await inbox.show(number)).failed[0].error for number in (1, 2)] == ["TimeoutError"] * 2


@pytest.mark.one_process
async def test_the_time_of_a_handler_does_not_depend_on_the_clock(make: Make, time: ManualTime) -> None:
    """A clock that is set forward by an hour ends no handler."""
    gate, still = asyncio.Event(), ManualTime()

    async def handler(event: Event) -> None:
        await gate.wait()

    inbox = make(monotonic=still, handler_timeout=60.0, poll=20.0)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await time.advance(3600)
    gate.set()
    await inbox.idle()

    assert await states(inbox) == ["handled"]


@pytest.mark.one_process
async def test_a_reading_of_ones_own_that_gives_no_event_is_a_failure(make: Make) -> None:
    """It goes back to quarantine, and the others go on."""
    inbox = make(parse=lambda body: None)
    await inbox.start(frozen())
    await put(inbox, b"no json")
    assert await inbox.retry("all") == 1
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "handled"]
    assert (await inbox.show(1)).failed[0].error == "TypeError"


async def test_whatever_breaks_inside_is_one_event_that_failed(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the end of the inbox."""
    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen())
    assert inbox._runner is not None
    attempt = inbox._runner.attempt

    async def broken(*args: Any, **settings: Any) -> Any:
        monkeypatch.setattr(inbox._runner, "attempt", attempt)
        raise KeyError

    monkeypatch.setattr(inbox._runner, "attempt", broken)
    await put(inbox, status_bytes(1))
    await put(inbox, status_bytes(2))
    await inbox.idle()

    assert await states(inbox) == ["quarantined", "handled"]


@pytest.mark.one_process
async def test_large_events_wait_in_the_store_only(make: Make) -> None:
    """So a thousand of them do not fill the memory."""
    gate = asyncio.Event()

    async def handler(event: Event) -> None:
        await gate.wait()

    inbox = make(concurrency=1)
    await inbox.start(frozen(handler))
    for number in range(3):
        await put(inbox, status_bytes(number, client_ref="x" * (5000 if number == 2 else 1)))

    assert [item.event is not None for item in inbox._scheduler.lanes._pending.values()] == [
        True,
        True,
        False,
    ]
    gate.set()
    await inbox.idle()
    assert await states(inbox) == ["handled"] * 3


# --- what a handler leaves behind ---


@pytest.mark.parametrize("concurrency", [1, 32])
async def test_a_cancellation_that_comes_after_the_handler_stops_nothing(
    make: Make, concurrency: int
) -> None:
    """Where each request has a task of its own it does no harm; here the task is that of a worker."""
    seen: list[str] = []
    tasks: list[Any] = []

    async def handler(event: MessageStatus) -> None:
        seen.append(event.message_uuid)
        tasks.append(asyncio.current_task())

    inbox = make(concurrency=concurrency)
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await inbox.idle()
    for number in (2, 3):
        tasks[0].cancel()
        await put(inbox, status_bytes(number))
        await inbox.idle()

    assert seen == ["m1", "m2", "m3"]
    assert inbox.health().state == "running"


async def test_a_cancellation_while_a_result_is_written_loses_no_event(
    make: Make, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is handled again after a while."""
    tasks: list[Any] = []
    seen: list[int] = []

    async def handler(event: Event, context: Context) -> None:
        seen.append(context.attempt)
        tasks.append(asyncio.current_task())
        if len(seen) == 1:
            raise ValueError

    inbox = make()
    await inbox.start(frozen(handler))
    postpone = inbox.store.postpone

    async def cancelled(*args: Any, **settings: Any) -> None:
        monkeypatch.setattr(inbox.store, "postpone", postpone)
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        await asyncio.Event().wait()

    monkeypatch.setattr(inbox.store, "postpone", cancelled)
    await put(inbox, status_bytes(1))
    await inbox.idle()
    await time.advance(2)
    await inbox.idle()

    assert len(seen) == 2
    assert await states(inbox) == ["handled"]


class Panic(BaseException):
    """No Exception."""


async def test_an_exception_of_any_kind_is_a_failed_attempt(make: Make) -> None:
    """Those of some extension modules are no `Exception`; uncounted, a restart would repeat it for ever."""

    async def handler(event: Event) -> None:
        raise Panic

    inbox = make(retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(handler))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert (await inbox.show(1)).failed[0].error == "Panic"
    assert inbox.health().state == "running"
