"""Ten thousand workflows in flight over a day of virtual time, by HTTP on both ends; run by `make soak`."""

import asyncio
import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from nexmo_dispatch_async.simulator import Person, Settings, Simulator
from nexmo_dispatch_async.simulator.world.people import Outcome
from tests.simulator.model import Told, expected_report
from tests.simulator.support import step, workflow

WORKFLOWS = 10_000
DAY = 86_400
OUTCOMES: tuple[Outcome, ...] = ("delivered", "delivered", "delivered", "rejected", "undeliverable", "silent")
CHANNELS = ("whatsapp", "viber_service_msg", "messenger", "sms")


def receive(to_parent: Connection) -> None:
    """Answer 200 to everything, and hand back what final reports said when asked: a process of its own."""
    reports: dict[str, tuple[str, list[str]]] = {}
    count = 0

    class Receiver(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.buffer = b""
            self.transport: Any = transport

        def data_received(self, data: bytes) -> None:
            nonlocal count
            self.buffer += data
            while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
                head = self.buffer[:end].lower()
                length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
                if len(self.buffer) < end + 4 + length:
                    return
                body = self.buffer[end + 4 : end + 4 + length]
                self.buffer = self.buffer[end + 4 + length :]
                count += 1
                if b'"template":"failover"' in body:
                    report = json.loads(body)
                    statuses = [message["status"] for message in report["_links"]["messages"]]
                    assert report["dispatch_uuid"] not in reports
                    reports[report["dispatch_uuid"]] = report["status"], statuses
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Receiver, "127.0.0.1", 0)
        to_parent.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, to_parent.recv)
        to_parent.send((count, reports))

    asyncio.run(main())


@contextmanager
def receiver() -> Iterator[tuple[int, Connection]]:
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receive, args=(there,))
    process.start()
    try:
        yield here.recv(), here
    finally:
        process.join(10)
        process.terminate()


def draw(number: int, dice: random.Random) -> tuple[list[dict[str, Any]], list[Person]]:
    """Return a workflow of one to four steps and the people that it goes to, their times up to a day."""
    steps: list[dict[str, Any]] = []
    people: list[Person] = []
    last = dice.randint(0, 3)
    for place in range(last + 1):
        seconds = dice.choice([30, 600, 3600, 40_000])
        people.append(
            Person(
                submitted_after=0,
                outcome=dice.choice(OUTCOMES),
                outcome_after=dice.randint(1, seconds),
                read_after=dice.choice([None, dice.randint(1, seconds)]),
            )
        )
        within = None if place == last else dice.choice([15, 600, 3600, 20_000])
        address = f"4479{number:07}{place}"
        until = dice.choice(["delivered", "read"])
        steps.append(step(dice.choice(CHANNELS), address, within=within, until=until))
    return steps, people


@pytest.mark.timeout(300)
async def test_ten_thousand_workflows_and_a_day() -> None:
    """In under 500 MB, and every final report is what the brute-force model says; the time is printed."""
    dice = random.Random(7)
    drawn = [draw(number, dice) for number in range(WORKFLOWS)]
    expected: dict[str, Told] = {}
    with receiver() as (port, pipe):
        started, cpu = time.perf_counter(), time.process_time()
        async with Simulator(seed=7, settings=Settings(care_window=False)) as sim:
            application = sim.create_application(status_url=f"http://127.0.0.1:{port}/status")
            for steps, people in drawn:
                for raw, person in zip(steps, people, strict=True):
                    to = raw["to"]
                    sim.people[to.get("number") or to["id"]] = person
            accepted = await send_all(sim, application.id, [steps for steps, _ in drawn])
            for uuid, (steps, people) in zip(accepted, drawn, strict=True):
                expected[uuid] = expected_report(steps, people)
            sent_in = time.perf_counter() - started
            assert sim.in_flight == WORKFLOWS

            await sim.advance(DAY)

            took, cpu = time.perf_counter() - started, time.process_time() - cpu
        pipe.send("done")
        count, reports = pipe.recv()

    memory = resident_peak_mb()
    print(
        f"{WORKFLOWS} workflows, {DAY // 3600} h: {took:.1f} s of real time ({sent_in:.1f} s to send), "
        f"{cpu:.1f} s of processor time here, {count} callbacks, {memory:.0f} MB at most"
    )
    wanted = {uuid: (told.status, told.messages) for uuid, told in expected.items() if told.status}
    assert reports == wanted
    assert len(wanted) > WORKFLOWS * 0.8
    assert memory < 500


async def send_all(sim: Simulator, application_id: str, workflows: list[list[dict[str, Any]]]) -> list[str]:
    """Send over 16 connections, as any client would; return the ids in the order of the workflows."""
    uuids = [""] * len(workflows)
    work = iter(enumerate(workflows))
    async with aiohttp.ClientSession() as session:
        form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
        async with session.post(sim.token_url + "?grant_type=client_credentials", data=form) as response:
            token = (await response.json())["access_token"]
        headers = {
            "Authorization": f"Bearer {token}",
            "ApplicationId": application_id,
            "Content-Type": "application/json",
        }

        async def worker() -> None:
            for number, steps in work:
                body = json.dumps(workflow(*steps)).encode()
                async with session.post(sim.base_url + "/dispatch", data=body, headers=headers) as response:
                    assert response.status == 202
                    uuids[number] = (await response.json())["dispatch_uuid"]

        async with anyio.create_task_group() as workers:
            for _ in range(16):
                workers.start_soon(worker)
    return uuids


def resident_peak_mb() -> float:
    """Return the most memory that this process has held, in MB."""
    if Path("/proc/self/status").exists():
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1024)
