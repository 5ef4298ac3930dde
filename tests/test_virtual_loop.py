"""The virtual clock of tests: it jumps over waits, and never over work."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio.to_thread
import pytest

from tests.support.virtual_loop import run_virtually


@pytest.mark.parametrize("call", [anyio.to_thread.run_sync, asyncio.to_thread], ids=["anyio", "asyncio"])
def test_virtual_time_stands_still_while_a_thread_works(call: Callable[..., Awaitable[Any]]) -> None:
    """Timers of other tasks do not fire meanwhile: on a busy machine they overtook the thread."""

    async def main() -> None:
        loop, fired = asyncio.get_running_loop(), threading.Event()
        timer = loop.call_later(1, fired.set)

        assert await call(fired.wait, 0.05) is False
        assert loop.time() < timer.when()
        await asyncio.sleep(2)
        assert fired.is_set()

    run_virtually(main())
