"""Real processes that handle events of JetStream: one is killed, or suspended for longer than its lease."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks.inbox.conformance import record
from nexmo_dispatch_webhooks.inbox.jetstream import JetStreamInboxStore
from tests.support.paths import ROOT

pytestmark = pytest.mark.engines

PROCESS = ROOT / "tests" / "support" / "jetstream_process.py"
#: What may be handled a second time after a process has lost the lease: what runs at one time, and marks that
#: wait for a batch or its response.
MOST_TWICE = 128
EVENTS = 1500


class Processes:
    """Processes on one space, and what they handled."""

    def __init__(self, url: str, path: Path) -> None:
        self._url = url
        self._path = path
        self._started: list[Process] = []

    async def start(self) -> tuple[Process, str]:
        """Start a process; return it with its state."""
        made = await asyncio.create_subprocess_exec(
            sys.executable, PROCESS, self._url, self._path, stdin=PIPE, stdout=PIPE, cwd=ROOT
        )
        self._started.append(made)
        assert made.stdout is not None
        return made, (await made.stdout.readline()).decode().strip()

    def handled(self) -> Counter[str]:
        return Counter(self._path.read_text("utf-8").split()) if self._path.exists() else Counter()

    async def all_handled(self, number: int) -> Counter[str]:
        async with asyncio.timeout(60):
            while len(found := self.handled()) < number:  # noqa: ASYNC110 - the file of other processes
                await asyncio.sleep(0.05)
        return found

    async def end(self) -> None:
        for process in self._started:
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            await process.communicate()


@pytest.fixture
async def processes(nats_url: str, tmp_path: Path) -> AsyncIterator[Processes]:
    made = Processes(nats_url, tmp_path / "handled")
    yield made
    await made.end()


@pytest.mark.parametrize("fault", ["SIGKILL", "SIGSTOP"])
async def test_another_process_takes_over(processes: Processes, nats_url: str, fault: str) -> None:
    """Each acknowledged event is handled; the one that slept goes on as the one that stands by."""
    first, state = await processes.start()
    _, other = await processes.start()
    assert (state, other) == ("running", "standby")
    store = JetStreamInboxStore(nats_url, clock=time.time, monotonic=time.monotonic)
    await store.open()
    struck = asyncio.Event()

    async def send(lane: int) -> None:
        for number in range(lane, EVENTS, 10):
            assert await store.add(record(number, f"w{lane}")) is not None
            if number >= EVENTS // 3 and not struck.is_set():
                struck.set()
                os.kill(first.pid, signal.Signals[fault])

    await asyncio.gather(*map(send, range(10)))
    found = await processes.all_handled(EVENTS)
    if fault == "SIGSTOP":
        first.send_signal(signal.SIGCONT)
        assert await store.add(record(EVENTS, "w0")) is not None
        found = await processes.all_handled(EVENTS + 1)
        os.kill(first.pid, 0)  # it lives

    # On a busy machine the process that stands by may lose the lease as well.
    assert sum(times > 1 for times in found.values()) <= 2 * MOST_TWICE
    async with asyncio.timeout(20):
        while (await store.list("pending", limit=1, after=0)) != []:  # noqa: ASYNC110 - marks of other processes
            await asyncio.sleep(0.05)
    await store.aclose()
