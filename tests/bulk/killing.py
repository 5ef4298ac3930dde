"""A campaign in a process of its own, killed and resumed, against a simulator that counts per person."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.simulator import Settings, Simulator
from tests.support.campaign_process import LIMIT

BOUND = 120.0  # seconds that one process takes at most


def simulator() -> Simulator:
    return Simulator(settings=Settings(quota_limit=10_000_000), history=200_000)


def sends(sim: Simulator) -> Counter[str]:
    """Return how many workflows reached the service for each person, answered or not, 429s apart."""
    return Counter(
        json.loads(request.body)["workflow"][0]["to"]["number"]
        for request in sim.requests
        if request.path.endswith("/dispatch") and request.status in {0, 202}
    )


class Process:
    """The campaign's process."""

    def __init__(self, file: Path, sim: Simulator, count: int, rate: float | None = None) -> None:
        application = sim.applications[0] if sim.applications else sim.create_application()
        service = [sim.base_url, sim.token_url, sim.client_id, sim.client_secret, application.id]
        program = [sys.executable, "-m", "tests.support.campaign_process"]
        self._command = [*program, str(file), *service, str(count)]
        if rate is not None:
            self._command.append(str(rate))
        self._process: asyncio.subprocess.Process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.returncode is not None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), BOUND)
        if line != b"running\n":
            _, errors = await self._process.communicate()
            raise AssertionError(errors.decode()[-3000:])

    async def finish(self) -> dict[str, int]:
        output, errors = await asyncio.wait_for(self._process.communicate(), BOUND)
        assert self._process.returncode == 0, errors.decode()[-3000:]
        states: dict[str, int] = json.loads(output)
        return states

    async def end_by(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            self._process.send_signal(number)
        await asyncio.wait_for(self._process.communicate(), BOUND)


async def kill_and_resume(
    file: Path, sim: Simulator, count: int, kills: int, random: Random, *, report: Callable[[str], None]
) -> None:
    """Kill the process at random points, resume it, and check that each recipient has one outcome.

    Args:
        file: Of the ledger.
        sim: The service.
        count: Recipients.
        kills: How often the process is killed.
        random: Says when.
        report: Takes a line for each kill.
    """
    unknown_before = 0
    for number in range(kills):
        process = Process(file, sim, count)
        await process.start()
        seen = sim.accepted
        target = seen + random.randrange(1, max(2, 2 * (count - seen) // (kills - number + 1)))
        # Requests that an earlier kill cut off are never accepted: the run may end before the target.
        await reached(lambda process=process, target=target: process.ended or sim.accepted >= target)  # type: ignore[misc]
        await asyncio.sleep(random.random() / 100)
        await process.end_by(signal.SIGKILL)
        ledger = await SqliteLedger.open(file)
        counts = await ledger.counts(verify=True)
        assert counts == await ledger.counts()
        await ledger.aclose()
        unknown = counts.states.get("unknown", 0)
        more = unknown - unknown_before
        report(f"kill {number + 1}: {sim.accepted} accepted, {more} unknown, {counts.open} left")
        assert more <= LIMIT
        unknown_before = unknown
    process = Process(file, sim, count)
    await process.start()
    states = await process.finish()
    people = sends(sim)
    report(f"end: {states}, {len(people)} people were sent to, at most {max(people.values())} times")
    assert sum(states.values()) == count
    assert set(states) <= {"sent", "unknown"}
    assert max(people.values()) == 1
    # Those who were not sent to are among the unknown: no one is skipped in silence.
    assert count - len(people) <= states.get("unknown", 0)


async def reached(condition: Callable[[], bool]) -> None:
    """Wait until the service has seen so much, at most `BOUND` seconds."""
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 - the simulator has no event for it
            await asyncio.sleep(0.005)
