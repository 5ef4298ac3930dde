"""The end of an inbox and its next start: what is drained, and what is left over."""

import asyncio
import errno
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

from nexmo_dispatch_webhooks import ConfigurationError, Context, Event, MessageStatus
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


@pytest.mark.one_process
async def test_closing_goes_on_with_what_is_there(make: Make) -> None:
    """What is ready is handled within the deadline; nothing is taken any more."""
    handler = Recorder()
    inbox = make()
    await inbox.start(frozen(handler))
    for number in range(50):
        await put(inbox, status_bytes(number))

    await inbox.aclose()

    assert len(handler.seen) == 50
    assert inbox.health().state == "closed"
    assert not inbox.health().ready


@pytest.mark.one_process
async def test_what_is_left_at_the_deadline_is_handled_after_the_next_start(
    make: Make, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In order, and without the handlers that had succeeded."""
    first, second, gate = Recorder(), Recorder(), asyncio.Event()

    async def stuck(event: Event) -> None:
        await gate.wait()
        await second(event, Context())

    begun = make(drain=0.0)
    await begun.start(frozen(first=first, second=stuck))
    for number in range(3):
        await put(begun, in_workflow(number, "w"))
    await begun.aclose()
    assert "3 pending events" in caplog.text

    gate.set()
    inbox = begun if kind == "memory" else make()
    await inbox.start(frozen(first=first, second=stuck))
    await inbox.idle()

    assert [key for key, _ in second.seen] == ["m0", "m1", "m2"]
    assert await states(inbox) == ["handled"] * 3


async def test_a_retry_that_is_due_later_stays_due_over_a_restart(
    make: Make, kind: str, time: ManualTime
) -> None:
    good, bad = Recorder(), Recorder(failing=True)
    policy = HandlerRetryPolicy(wait_initial=100)
    begun = make(retry=policy)
    await begun.start(frozen(good=good, bad=bad))
    await put(begun, status_bytes(1))
    await begun.idle()
    await begun.aclose()

    inbox = begun if kind == "memory" else make(retry=policy)
    await inbox.start(frozen(good=good, bad=bad))
    await inbox.idle()
    assert (inbox.health().retrying, inbox.health().lag) == (1, 0.0)
    bad.failing = False
    await time.advance(101)
    await inbox.idle()

    assert (good.seen, bad.seen) == ([("m1", 0)], [("m1", 0), ("m1", 1)])


async def test_an_inbox_belongs_to_one_receiver(start: Start) -> None:
    inbox = await start()

    with pytest.raises(ConfigurationError, match="started already"):
        await inbox.start(frozen())


@pytest.mark.one_process
async def test_lag_and_state_are_visible(start: Start, time: ManualTime) -> None:
    """For probes: how long the oldest event waits, without personal data."""
    gate = asyncio.Event()

    async def slow(event: Event) -> None:
        await gate.wait()

    inbox = await start(slow)
    await put(inbox, status_bytes(1))
    time.now += 7

    health = inbox.health()
    closing = asyncio.create_task(inbox.aclose())
    await asyncio.sleep(0)
    draining = inbox.health()
    gate.set()
    await closing

    assert (health.pending, health.lag) == (1, 7.0)
    assert (draining.state, draining.ready) == ("draining", False)
    assert "closed" in repr(inbox)
    assert "4477" not in repr(inbox)


async def test_a_bug_in_the_inbox_is_visible(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, and the probe says that nothing is handled any more."""
    inbox = make()
    await inbox.start(frozen(Recorder()))
    failed = asyncio.Event()

    def broken() -> None:
        failed.set()
        raise RuntimeError

    inbox._scheduler.lanes.take = broken  # type: ignore[method-assign]  # the bug
    await put(inbox, status_bytes(1))
    await failed.wait()
    task = inbox._task
    assert task is not None
    await asyncio.wait({task})

    assert inbox.health().state == "failed"
    await inbox.aclose()
    assert "the inbox failed: " in caplog.text


@pytest.mark.one_process
async def test_a_cancelled_close_cancels_the_handlers(make: Make) -> None:
    """No task continues after a cancelled shutdown."""
    ended = asyncio.Event()

    async def stuck(event: Event) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    inbox = make(drain=1000.0)
    await inbox.start(frozen(stuck))
    await put(inbox, status_bytes(1))
    closing = asyncio.create_task(inbox.aclose())
    await asyncio.sleep(0)
    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing

    assert ended.is_set()


async def test_a_close_in_a_cancelled_scope_ends_all(make: Make) -> None:
    """A time limit around the shutdown cuts the drain, and leaves no handler, task or thread behind."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def stuck(event: Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    inbox = make(drain=1000.0)
    await inbox.start(frozen(stuck))
    await put(inbox, status_bytes(1))
    await begun.wait()
    with anyio.CancelScope() as limit:
        limit.cancel()
        await inbox.aclose()

    assert ended.is_set()
    assert inbox.health().state == "closed"
    assert "inbox-writer" not in {thread.name for thread in threading.enumerate()}


async def test_handlers_that_fill_the_threads_hold_up_nothing(make_sqlite: Make, time: ManualTime) -> None:
    """Retries, the writer of the file and the shutdown need none of those that `asyncio.to_thread` has."""
    release, handled = threading.Event(), asyncio.Event()
    with ThreadPoolExecutor(1) as threads:
        asyncio.get_running_loop().set_default_executor(threads)

        async def handler(event: MessageStatus, context: Context) -> None:
            if event.message_uuid == "m1":
                await asyncio.to_thread(release.wait)
            elif not context.attempt:
                raise ValueError
            else:
                handled.set()

        inbox = make_sqlite(drain=0.0)
        await inbox.start(frozen(handler))
        await put(inbox, status_bytes(1))
        await put(inbox, status_bytes(2))
        for _ in range(3):
            await time.advance(1.5)
        await handled.wait()
        await inbox.aclose()
        release.set()


async def test_a_shutdown_that_cancels_every_task_closes_the_file(make_sqlite: Make) -> None:
    """As `asyncio.run` does in the end."""
    inbox = make_sqlite()
    await inbox.start(frozen())
    assert inbox._task is not None
    inbox._task.cancel()
    await asyncio.wait({inbox._task})
    await inbox.aclose()

    assert inbox.health().state == "closed"
    assert "closed" in repr(inbox.store)


async def test_housekeeping_goes_on_after_any_failure(
    make: Make, time: ManualTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry that is due is not forgotten for it."""
    seen: list[int] = []

    async def handler(event: Event, context: Context) -> None:
        seen.append(context.attempt)
        if not context.attempt:
            raise ValueError

    inbox = make()
    await inbox.start(frozen(handler))

    async def broken() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    await put(inbox, status_bytes(1))
    await inbox.idle()
    with monkeypatch.context() as patch:
        patch.setattr(inbox.store, "changed", broken)
        await time.advance(3)
    await inbox.idle()

    assert seen == [0, 1]
