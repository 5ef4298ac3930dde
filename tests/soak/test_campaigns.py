"""Campaigns for minutes: 20 kills of 10,000 recipients, a provider that hangs up, the pace on the real clock.

Figures are printed; on a machine under load the pace is off by more than it is on a quiet one, so it is not
asserted.
"""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from random import Random

import pytest

from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.sending.governor import Governor
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.simulator import Fault, Simulator
from tests.bulk.killing import Process, kill_and_resume, reached, sends, simulator
from tests.support.campaign_process import LIMIT

pytestmark = pytest.mark.timeout(1800)

RECIPIENTS = 10_000


async def test_kill_9_at_20_random_points(tmp_path: Path) -> None:
    """Each recipient has one outcome, and a kill leaves at most the sends in flight unknown."""
    async with simulator() as sim:
        await kill_and_resume(tmp_path / "c.db", sim, RECIPIENTS, 20, Random(20), report=print)


async def test_a_provider_that_hangs_up_every_2500_sends_and_five_resumes(tmp_path: Path) -> None:
    """Each time all that are in flight are lost: they are unknown, and all others are sent once.

    On a busy machine fewer are in flight, so the rest of a fault meets the sends that are tried after it, one
    at a time, with longer and longer pauses.
    """
    file = tmp_path / "c.db"
    async with simulator() as sim, asyncio.TaskGroup() as group:
        for number in range(1, 4):
            skip = 2500 * number - LIMIT * (number - 1)
            sim.faults.add(Fault(kind="reset", route="POST /dispatch", skip=skip, count=LIMIT))
        operator: asyncio.Task[None] | None = None
        for number in range(1, 6):
            process = Process(file, sim, RECIPIENTS)
            await process.start()
            operator = operator or group.create_task(resume_what_stands(file, sim))
            await reached(lambda number=number: sim.counts["POST /dispatch"] >= 1800 * number)  # type: ignore[misc]
            await process.end_by(signal.SIGTERM)
            print(f"stop {number}: {sim.counts['POST /dispatch']} requests")
        process = Process(file, sim, RECIPIENTS)
        await process.start()
        states = await process.finish()
        assert operator is not None
        operator.cancel()
        people = sends(sim)
        print(f"end: {states}, {len(people)} people were sent to, at most {max(people.values())} times")

        assert sum(states.values()) == RECIPIENTS
        assert set(states) == {"sent", "unknown"}
        assert states["unknown"] <= 3 * LIMIT
        assert len(people) == RECIPIENTS
        assert max(people.values()) == 1


async def resume_what_stands(file: Path, sim: Simulator) -> None:
    """Resume a campaign that sent nothing for a second, as an operator would, until it is cancelled."""
    async with Campaign.open(file, observer=True) as campaign:
        before = -1
        while True:
            seen = sim.counts["POST /dispatch"]
            if seen == before:
                await campaign.resume()
            before = seen
            await asyncio.sleep(1)


@pytest.mark.parametrize("rate", [1, 10, 100, 500, 1000, 2000])
async def test_the_pace_on_the_real_clock(rate: int) -> None:
    """Ten seconds of a lane on the clock of the loop: printed, within 2 % on a quiet machine."""
    lane = Governor().lane("app", "bucket", [Meter("rate", rate)])
    loop = asyncio.get_running_loop()
    begin = time.monotonic()
    sent = 0
    while (now := loop.time()) < begin + 10:
        n = lane.ask(now, 1000)
        sent += n
        for _ in range(n):
            lane.accepted(now)
        await asyncio.sleep(max(lane.held(loop.time()).until - loop.time(), 0))
    took = loop.time() - begin
    print(f"{rate}/s: {sent / took:.2f}/s, {100 * (sent / took / rate - 1):+.2f} %")

    assert sent <= rate * took + 1
