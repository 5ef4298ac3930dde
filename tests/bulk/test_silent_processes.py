"""Rows in flight of a process that was killed, and a campaign without a process: what is told of them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nexmo_dispatch_async import DispatchClient, sms
from nexmo_dispatch_async.bulk import Campaign, WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.places import join_url
from nexmo_dispatch_async.bulk.ledger.records import Life
from nexmo_dispatch_async.bulk.progress import silence
from nexmo_dispatch_async.cli.bulk_words import wait_in_words
from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.service import run

LEASE = 120.0
# Three rows are in flight when the process is killed.
KILLED = """
import asyncio, os, signal, sys
from nexmo_dispatch_async.bulk.ledger.places import open_ledger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient
async def main():
    ledger = await open_ledger(sys.argv[1], accept_loss=True)
    await ledger.add([
        Recipient(key=str(n), address=f"99900000{n:04d}", fields={}, bucket="sms") for n in range(3)
    ])
    await ledger.claim(ClaimRequest(limit=3, now=4e9))
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""


@pytest.fixture(params=["database", "nats_url"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of a campaign in an empty store, on each engine."""
    return join_url(str(request.getfixturevalue(request.param)), "spring")


def kill(store: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, store], check=False, timeout=60)


def status_that_is_no_longer(state: str, store: str) -> dict[str, object]:
    """The status once it is another, which takes the seconds after which a process counts as silent."""
    deadline = time.monotonic() + 30
    while (found := json.loads(run("status", store, "--json")[1]))["state"] == state:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return dict(found)


@pytest.mark.engines
def test_status_tells_of_rows_in_flight_of_a_killed_process(store: str) -> None:
    """First when it showed life last, then that none sends and what becomes of its rows; so does `stop`."""
    kill(store)
    code, out, err = run("status", store)
    assert code == 4, err
    if "running" in out:  # on a machine that took no longer than some seconds
        assert ", last sign of life " in out

    found = status_that_is_no_longer("running", store)
    code, out, _ = run("status", store)

    assert (found["state"], code) == ("idle", 4)
    first, second = out.splitlines()
    assert "spring: idle, waiting for 3 rows of a process that ended or is cut off, last " in first
    assert second == "no process sends it: nexmo-dispatch bulk run FILE goes on"
    if store.startswith("postgresql"):  # elsewhere the lease begins when the next run sees the last sign
        assert ", unknown from " in first
    assert run("stop", store)[1] == "spring is stopped: no process sends it\n"


@pytest.mark.engines
async def test_a_run_says_why_it_waits_for_a_killed_process(store: str, service: Simulator) -> None:
    """And until when: its rows are unknown when its lease is over."""
    await asyncio.to_thread(kill, store)
    template = WorkflowTemplate(sms.text("Hi", from_="31647356950", to="{phone}"))
    async with (
        DispatchClient.from_env() as client,
        Campaign.open(store, client=client, template=template, accept_loss=True) as campaign,
        asyncio.timeout(60),
    ):
        running = asyncio.create_task(campaign.run())
        status = await campaign.status()
        while status.wait is None or status.wait.reason != "silent":
            await asyncio.sleep(0.1)
            status = await campaign.status()
        campaign.stop_here()
        await running

    wait = status.wait
    assert (status.state, status.eta) == ("waiting", None)
    assert wait.until is not None
    assert 0 < wait.until - status.at <= LEASE + 1
    assert wait.words == "3 rows of a process that ended or is cut off"


def test_the_words_of_the_wait() -> None:
    """Why, since when, and until when."""
    wait = silence(Life(silent=1, silent_for=12.0, remaining=108.0), 1000.0)

    assert wait is not None
    assert wait_in_words(wait, 1000.0) == (
        "waiting for 1 row of a process that ended or is cut off, last sign of life 12 s ago, "
        "unknown from 1970-01-01 00:18:28 UTC (in 1 min 48 s)"
    )
    assert silence(Life(senders=1, seen=0.5), 1000.0) is None


def test_a_word_of_an_operator_says_that_no_process_runs(tmp_path: Path) -> None:
    """On a file: a process that ended is told from one that may live; and what the next run does."""
    path = tmp_path / "c.db"
    program = (
        "import asyncio, sys\n"
        "from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger\n"
        "async def main():\n"
        "    async with await SqliteLedger.open(sys.argv[1]):\n"
        "        print('open', flush=True)\n"
        "        await asyncio.to_thread(sys.stdin.readline)\n"
        "asyncio.run(main())\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert run("stop", path)[1] == "c stops once what is in flight is answered\n"
        assert run("pause", path)[1] == "c pauses\n"
        assert run("resume", path)[1] == "c may run\n"
        process.communicate(b"\n", timeout=20)

    assert run("stop", path)[1] == "c is stopped: no process sends it\n"
    idle = "no process sends it, and the next run waits for nexmo-dispatch bulk resume FILE"
    assert run("pause", path)[1] == f"c is paused: {idle}\n"
    idle = "no process sends it, nexmo-dispatch bulk run FILE goes on"
    assert run("resume", path)[1] == f"c may run: {idle}\n"
