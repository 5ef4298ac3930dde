"""`nexmo-dispatch worker`: processes that send for the campaigns of one store, and that come and go."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import parse, template_of
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.killing import reached, sends, simulator
from tests.support.postgres_server import PostgresServer

BOUND = 60.0
LIMIT = 8
CAMPAIGN = f"""
[campaign]
name = "spring"
ledger = "${STORE}"
[rows]
file = "customers.csv"
[pace]
rate = "RATE"
limit = {LIMIT}
[template]
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{{phone}}"
text = "Hello {{name}}"
"""


class Worker:
    """The command in a process of its own."""

    def __init__(self, store: str, sim: Simulator, *options: str) -> None:
        application = sim.applications[0] if sim.applications else sim.create_application()
        service = {
            "CLIENT_ID": sim.client_id,
            "CLIENT_SECRET": sim.client_secret,
            "BASE_URL": sim.base_url,
            "TOKEN_URL": sim.token_url,
            "APPLICATION_ID": application.id,
        }
        variables = {f"NEXMO_DISPATCH_{name}": value for name, value in service.items()}
        self._environment = {**os.environ, **variables, STORE: store}
        self._options = options
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Return when it sends for the campaign."""
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nexmo_dispatch_async.cli", "worker", *self._options),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
        )
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), BOUND)
        assert b"joined" in line, line

    async def end(self) -> tuple[int | None, str]:
        """Wait for its end; return the exit code and the output."""
        output, _ = await asyncio.wait_for(self.process.communicate(), BOUND)
        return self.process.returncode, output.decode()


Workers = Callable[..., Awaitable[Worker]]


@pytest.fixture(params=["database", "nats_url"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, on each engine."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
async def workers(store: str, sim: Simulator) -> AsyncIterator[Workers]:
    """Start workers; those that a test leaves are killed."""
    started: list[Worker] = []

    async def start(*options: str) -> Worker:
        worker = Worker(store, sim, *options)
        started.append(worker)
        await worker.start()
        return worker

    yield start
    for worker in started:
        if worker.process.returncode is None:
            worker.process.kill()
            await worker.process.communicate()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with simulator() as running:
        yield running


async def fill(store: str, people: int, rate: str) -> None:
    """Add rows, with the campaign file that workers read; nothing is sent until `resume`."""
    settings = parse(CAMPAIGN.replace("RATE", rate), environ={STORE: store})
    async with await open_ledger(settings.ledger, accept_loss=True) as ledger:
        campaign = Campaign(ledger, template=template_of(settings), settings=settings)
        await campaign.add([{"phone": f"+99900{n:07d}", "name": f"Name {n}"} for n in range(people)])
        await campaign.pause("until all workers have joined")


async def resume(store: str) -> None:
    """Let the workers that have joined send."""
    async with Campaign.open(join_url(store, "spring"), observer=True) as campaign:
        await campaign.resume()


async def counts_in(store: str) -> Counts:
    async with await open_ledger(join_url(store, "spring"), observer=True) as ledger:
        return await ledger.counts(verify=True)


@pytest.mark.engines
async def test_two_workers_send_each_row_once_at_one_rate(
    store: str, sim: Simulator, workers: Workers
) -> None:
    """The rate is that of the campaign, and not that of each worker."""
    await fill(store, 400, "100/s")
    both = await asyncio.gather(*(workers("--once", "--every", "0.5") for _ in range(2)))
    await resume(store)
    await reached(lambda: sim.accepted >= 100)
    begun, before = time.monotonic(), sim.accepted
    await reached(lambda: sim.accepted >= 380)
    rate = (sim.accepted - before) / (time.monotonic() - begun)
    ends = await asyncio.gather(*(worker.end() for worker in both))

    assert [code for code, _ in ends] == [0, 0], ends
    assert all("spring" in output and "/s" in output for _, output in ends)
    found = sends(sim)
    assert len(found) == 400
    assert set(found.values()) == {1}
    assert (await counts_in(store)).states == {"sent": 400}
    print(*(output for _, output in ends), sep="\n")
    print(f"{rate:.1f} sends a second of 100, by two workers")
    assert rate < 115


@pytest.mark.engines
async def test_a_killed_worker_loses_no_more_than_was_in_flight(
    store: str, sim: Simulator, workers: Workers
) -> None:
    """What it had in flight becomes unknown, and the other worker sends the remainder."""
    await fill(store, 300, "100/s")
    lost = await workers("--lease", "3")
    other = await workers("--once", "--lease", "3")
    await resume(store)
    await reached(lambda: sum(sends(sim).values()) >= 60)

    lost.process.kill()
    await lost.end()
    code, output = await other.end()

    counts = await counts_in(store)
    unknown = counts.states.get("unknown", 0)
    print(f"{unknown} rows unknown of {LIMIT} that may be in flight")
    assert code == (3 if unknown else 0), output
    assert unknown <= LIMIT
    assert counts.states["sent"] == 300 - unknown
    assert set(sends(sim).values()) == {1}


@pytest.mark.engines
async def test_a_worker_that_was_suspended_sends_nothing_twice(
    store: str, sim: Simulator, workers: Workers
) -> None:
    """It sleeps past its lease, another one gives its rows up and goes on, and then it wakes up."""
    await fill(store, 400, "60/s")
    sleeper = await workers("--lease", "2", "--once")
    other = await workers("--lease", "2", "--once")
    await resume(store)
    await reached(lambda: sum(sends(sim).values()) >= 60)

    sleeper.process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(4)  # the fault is that it sleeps for so long
    sleeper.process.send_signal(signal.SIGCONT)
    ends = [await worker.end() for worker in (sleeper, other)]

    counts = await counts_in(store)
    unknown = counts.states.get("unknown", 0)
    print(f"{unknown} rows unknown of {LIMIT} that may be in flight")
    assert {code for code, _ in ends} <= {0, 3}, ends
    assert unknown <= LIMIT
    assert counts.states["sent"] == 400 - unknown
    assert set(sends(sim).values()) == {1}
    assert len(sends(sim)) >= 400 - unknown


@pytest.mark.engines
async def test_a_worker_that_is_told_to_leave_drains(store: str, sim: Simulator, workers: Workers) -> None:
    """After SIGTERM it claims nothing more, no row is unknown, and the exit code says that rows are left."""
    await fill(store, 500, "50/s")
    worker = await workers()
    await resume(store)
    await reached(lambda: sum(sends(sim).values()) >= 20)

    worker.process.send_signal(signal.SIGTERM)
    code, output = await worker.end()

    assert code == 4, output
    assert "left, " in output
    states = (await counts_in(store)).states
    assert states["sent"] == sum(sends(sim).values())
    assert set(states) == {"sent", "pending"}


@pytest.mark.engines
def test_a_worker_does_not_send_from_a_copy(database: str, postgres: PostgresServer) -> None:
    """It says so once, leaves the campaign to an operator, and does not wait for that."""
    asyncio.run(fill(database, 5, "100/s"))
    name = database.partition("?")[0].rpartition("/")[2]
    postgres.sql(f"CREATE DATABASE {name}_copy TEMPLATE {name}")
    account = {f"NEXMO_DISPATCH_{key}": "x" for key in ("CLIENT_ID", "CLIENT_SECRET", "APPLICATION_ID")}
    try:
        store = postgres.dsn(f"{name}_copy")
        done = CliRunner().invoke(app, ["worker", "--once"], env={**account, STORE: store})
    finally:
        postgres.sql(f"DROP DATABASE {name}_copy WITH (FORCE)")

    assert done.exit_code == 1
    assert done.stderr.count("spring: the campaign was restored from a backup, or copied") == 1


def test_workers_need_a_database(tmp_path: Path) -> None:
    """A file has one process, and a server that cannot be reached ends the command."""
    for store in (
        str(tmp_path / "spring.db"),
        "nats://app:open-sesame@127.0.0.1:1/x?open-sesame=1",
        "postgresql://a:open-sesame@127.0.0.1:1/x",
    ):
        done = CliRunner().invoke(app, ["worker"], env={STORE: store})
        assert done.exit_code == 1, done.output
        assert done.stderr
        assert "open-sesame" not in done.output
