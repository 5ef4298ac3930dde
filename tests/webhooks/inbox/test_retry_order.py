"""A quarantined event that is retried beside later events of its conversation, over each store."""

from __future__ import annotations

import asyncio

from nexmo_dispatch_webhooks import MessageStatus
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy
from tests.webhooks.inbox.support import Start, in_workflow, put


async def test_a_retried_event_overlaps_no_later_one(start: Start) -> None:
    """It runs after the event that is being handled, while other conversations go on."""
    calls: list[str] = []
    active: set[str] = set()
    most = 0
    begun, elsewhere, go = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(event: MessageStatus) -> None:
        nonlocal most
        name = event.message_uuid or ""
        calls.append(name)
        if name == "m3":
            elsewhere.set()
            return
        active.add(name)
        most = max(most, len(active))
        try:
            if calls.count("m1") == 1 and name == "m1":
                raise ValueError
            if name == "m2":
                begun.set()
                await go.wait()
        finally:
            active.discard(name)

    inbox = await start(handler, retry=HandlerRetryPolicy(attempts=1))
    await put(inbox, in_workflow(1, "w"))
    await put(inbox, in_workflow(2, "w"))
    async with asyncio.timeout(20):
        await begun.wait()
        assert await inbox.retry(1) == 1
        await put(inbox, in_workflow(3, "another"))
        await elsewhere.wait()
        assert calls == ["m1", "m2", "m3"]
        go.set()
        while calls != ["m1", "m2", "m3", "m1"]:
            await inbox.idle()
            await asyncio.sleep(0)

    assert most == 1
