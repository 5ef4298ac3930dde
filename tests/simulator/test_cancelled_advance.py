"""An advance of time that is cancelled, wherever it waits: the next one makes up for it."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulator.conftest import Caller, Receiver
from tests.simulator.support import step, workflow
from tests.support.walker import cancelled_everywhere

DEFAULT = "999000000001"
STATUSES = [("sms", "submitted"), ("sms", "delivered"), ("report", "completed")]


@pytest.mark.parametrize("until_idle", [False, True])
async def test_no_callback_is_lost(caller: Caller, receiver: Receiver, *, until_idle: bool) -> None:
    """Each comes in its order; the one that was under way may come again, as those of the service do."""

    async def advance() -> None:
        await (caller.sim.advance_until_idle() if until_idle else caller.sim.advance(60))

    await caller.send(workflow(step("sms", DEFAULT)))
    async for _ in cancelled_everywhere(advance):
        async with asyncio.timeout(10):
            await advance()
        assert list(dict.fromkeys(receiver.statuses())) == STATUSES
        receiver.callbacks.clear()
        await caller.send(workflow(step("sms", DEFAULT)))
