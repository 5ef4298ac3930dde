"""The claims of one process on a store that several processes share, when something goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Context, MessageStatus
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, PendingEvent, PostgresInbox, StoreInbox
from nexmo_dispatch_webhooks.inbox.postgres import PostgresInboxStore
from tests.webhooks.inbox.support import frozen, in_workflow, put

pytestmark = pytest.mark.engines

Open = Callable[..., PostgresInbox]


@pytest.fixture
async def make(database: str) -> AsyncIterator[Open]:
    """Make inboxes of one database, which are closed in the end."""
    made: list[PostgresInbox] = []

    def build(**settings: Any) -> PostgresInbox:
        made.append(PostgresInbox(database, poll=0.2, **settings))
        return made[-1]

    yield build
    for inbox in made:
        await inbox.aclose()


async def handled(inbox: StoreInbox, number: int) -> None:
    """Wait until the store has a number of handled events."""
    async with asyncio.timeout(20):
        while len(await inbox.list("handled")) < number:  # noqa: ASYNC110 - the server announces nothing
            await asyncio.sleep(0.05)


async def test_a_cancellation_while_claims_are_given_up_repeats_and_holds_nothing(
    make: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer of a handler cancels its task after its end; its event and those behind are any process's."""
    tasks: list[Any] = []
    seen: list[tuple[str, int]] = []

    async def handler(event: MessageStatus, context: Context) -> None:
        seen.append((event.message_uuid, context.attempt))
        if len(seen) == 1:
            tasks.append(asyncio.current_task())
            raise ValueError

    inbox = make(concurrency=1, retry=HandlerRetryPolicy(wait_initial=1.0, wait_jitter=0.0))
    for number in (1, 2):
        await inbox.store.open()
        await put(inbox, in_workflow(number, "w"))
    store = inbox.store
    assert isinstance(store, PostgresInboxStore)
    release = store.release

    async def cancelled(record_ids: Sequence[int], token: int) -> None:
        monkeypatch.setattr(store, "release", release)
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        await asyncio.Event().wait()

    monkeypatch.setattr(store, "release", cancelled)
    await inbox.start(frozen(handler))
    await handled(inbox, 2)

    assert seen == [("m1", 0), ("m1", 1), ("m2", 0)]
    assert inbox.health().state == "running"


async def test_events_are_taken_after_any_failure(
    make: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure that is no error of the store is logged, and does not end the inbox."""

    async def handler(event: MessageStatus) -> None:
        pass

    inbox = make()
    await inbox.start(frozen(handler))

    async def broken(*args: object, **settings: object) -> list[PendingEvent]:
        monkeypatch.undo()
        raise ValueError

    monkeypatch.setattr(inbox.store, "take", broken)
    await put(inbox, in_workflow(1, "w"))
    await handled(inbox, 1)

    assert "taking events failed: ValueError" in caplog.text
    assert inbox.health().state == "running"
