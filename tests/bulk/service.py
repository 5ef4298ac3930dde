"""`bulk` in the process of a test, and a simulator beside it that its environment names."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Generator
from functools import partial

import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.support import commands

__all__ = ["run", "running_service"]

#: Run a command of `bulk`; the result is that of `commands.run`.
run = partial(commands.run, "bulk")


@contextlib.contextmanager
def running_service(
    monkeypatch: pytest.MonkeyPatch, *, speed: float = 60.0, callbacks: str = ""
) -> Generator[Simulator]:
    """Run a simulator in a thread of its own, and name it in the environment, as `simulate` prints it.

    Args:
        monkeypatch: Takes the environment back.
        speed: Simulated seconds a second.
        callbacks: URL of the receiver.
    """
    ready, done = threading.Event(), threading.Event()
    found: list[Simulator] = []

    async def serve() -> None:
        async with Simulator(seed=1, speed=speed, signing_clock=time.time) as sim:
            found.append(sim)
            application = sim.create_application(status_url=callbacks, inbound_url=callbacks)
            variables = {"CLIENT_ID": sim.client_id, "CLIENT_SECRET": sim.client_secret}
            variables |= {"BASE_URL": sim.base_url, "TOKEN_URL": sim.token_url}
            variables |= {"APPLICATION_ID": application.id}
            variables |= {"SIGNATURE_SECRETS": f"{sim.api_key}={sim.signature_secret}"}
            for name, value in variables.items():
                monkeypatch.setenv(f"NEXMO_DISPATCH_{name}", value)
            ready.set()
            while not done.is_set():
                await asyncio.to_thread(done.wait, 0.05)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield found[0]
    finally:
        done.set()
        thread.join(20)
