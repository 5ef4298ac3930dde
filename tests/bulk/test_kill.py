"""Real processes that are killed, stopped and started again: no one is messaged twice, no one is left out."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from pathlib import Path
from random import Random

import pytest

from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerInUseError
from nexmo_dispatch_async.simulator import Fault
from tests.bulk.killing import Process, kill_and_resume, reached, sends, simulator
from tests.support.campaign_process import TEMPLATE, person

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(("people", "kills"), [(90, 1), pytest.param(400, 3, marks=pytest.mark.long)])
async def test_kill_9_at_random_points_skips_no_one_and_sends_to_no_one_twice(
    tmp_path: Path, people: int, kills: int
) -> None:
    """Complaint 1: state per row and no cursor."""
    async with simulator() as sim:
        await kill_and_resume(tmp_path / "c.db", sim, people, kills, Random(7), report=print)


@pytest.mark.long
async def test_a_provider_that_hangs_up_costs_no_more_than_what_was_in_flight(tmp_path: Path) -> None:
    """Complaint 2: each resume reads the rows that are left, and never starts from the top."""
    resumes = 5
    people = 80 * resumes
    async with simulator() as sim:
        for number in range(resumes):
            sim.faults.add(Fault(kind="reset", route="POST /dispatch", skip=60 * number + 40, count=4))
        for _ in range(resumes):
            process = Process(tmp_path / "c.db", sim, people)
            await process.start()
            seen = sim.counts["POST /dispatch"]
            target = min(seen + 60, people - 10)
            await reached(lambda target=target: sim.counts["POST /dispatch"] >= target)  # type: ignore[misc]
            await process.end_by(signal.SIGTERM)
        process = Process(tmp_path / "c.db", sim, people)
        await process.start()
        states = await process.finish()

        assert states == {"sent": people - 4 * resumes, "unknown": 4 * resumes}
        assert max(sends(sim).values()) == 1
        assert len(sends(sim)) == people


@pytest.mark.long
async def test_sigterm_in_a_wait_for_a_quota_does_not_finish_the_campaign(tmp_path: Path) -> None:
    """Complaint 3: finished means that no row is pending, whatever stopped the process."""
    async with simulator() as sim:
        sim.settings.quota_limit = 50
        process = Process(tmp_path / "c.db", sim, 200)
        await process.start()
        await reached(lambda: sim.accepted >= 50)
        await asyncio.sleep(0.3)
        await process.end_by(signal.SIGTERM)
        async with Campaign.open(tmp_path / "c.db") as campaign:
            counts = await campaign.ledger.counts(verify=True)
            assert counts.states == {"sent": 50, "pending": 150}
            assert (await campaign.status()).state == "idle"

        sim.settings.quota_limit = 10_000
        process = Process(tmp_path / "c.db", sim, 200)
        await process.start()
        assert await process.finish() == {"sent": 200}
        assert max(sends(sim).values()) == 1


@pytest.mark.long
async def test_a_second_process_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    """Complaint 16: who sees nothing and starts a second sender is told who sends."""
    async with simulator() as sim:
        process = Process(tmp_path / "c.db", sim, 100, rate=5)
        await process.start()
        with pytest.raises(LedgerInUseError) as caught:
            async with Campaign.open(tmp_path / "c.db"):
                raise AssertionError("it was opened")
        assert caught.value.pid == process.pid

        async with Campaign.open(tmp_path / "c.db", observer=True) as campaign:
            assert (await campaign.status()).counts.total == 100
            await campaign.stop("enough")
        states = await process.finish()

        assert states["pending"] > 50


@pytest.mark.long
async def test_a_copied_file_does_not_resume(tmp_path: Path) -> None:
    """Complaint 13: a snapshot of the machine that comes back sends nothing without being told to."""
    async with simulator() as sim:
        process = Process(tmp_path / "c.db", sim, 50)
        await process.start()
        await process.finish()
    await asyncio.to_thread(shutil.copytree, tmp_path, tmp_path / "restored")

    with pytest.raises(LedgerCopiedError):
        async with Campaign.open(tmp_path / "restored" / "c.db"):
            raise AssertionError("it was opened")


async def test_the_same_file_added_twice_is_one_campaign(tmp_path: Path) -> None:
    """Complaints 6 and 8: fields are frozen at the first add; the source may change later."""
    async with simulator() as sim, sim.client() as client:
        rows = [person(number) for number in range(20)]
        async with Campaign.open(tmp_path / "c.db", client=client, template=TEMPLATE) as campaign:
            await campaign.add(rows)
            for row in rows:
                row["name"] = "another name"
            taken = await campaign.add(rows)
            assert (taken.added, taken.already) == (0, 20)
            await campaign.run()

        requests = [request for request in sim.requests if request.path.endswith("/dispatch")]
        steps = [json.loads(request.body)["workflow"][0] for request in requests]
        texts = {step["message"]["content"]["text"] for step in steps}
        assert texts == {f"Hello Person {number}" for number in range(20)}
