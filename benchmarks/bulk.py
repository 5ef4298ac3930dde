"""What a campaign costs in CPU time: template, ledger and governor, next to workers that post ready bytes.

Both send to one server in a process of its own, in one run; rounds alternate, so that a change of the
machine's mood hits both. The campaign's ledger is a file on this machine's disk with `synchronous=FULL`.

    make bench-bulk          or          python benchmarks/bulk.py --rounds 9
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
from aiohttp import BytesPayload
from multidict import CIMultiDict
from yarl import URL

from nexmo_dispatch_async import BearerToken, DispatchClient, sms, whatsapp
from nexmo_dispatch_async.bulk import Campaign, Governor, WorkflowTemplate

IN_FLIGHT = 64
TOKEN = "benchmark-token" * 40
APPLICATION = "7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11"
CPU_TARGET, SPEED_TARGET, MEMORY_TARGET = 1.1, 0.9, 30.0
TEXT = "Your parcel is here, {name}"
TEMPLATE = WorkflowTemplate(
    whatsapp.text("Your parcel is here, {name}", from_="447418342140", to="{phone}").until(
        "read", within=600
    ),
    sms.text("Your parcel is here, {name}", from_="31647356950", to="{phone}"),
)


def people(count: int, start: int = 0) -> Iterator[dict[str, str]]:
    return ({"phone": f"999{number:09}", "name": "Ada"} for number in range(start, start + count))


async def by_hand(url: str, count: int) -> Callable[[], Awaitable[None]]:
    """Return workers that post ready bytes and read the answers, and nothing else."""
    rendered = [TEMPLATE.render(_Row(fields)).body for fields in people(IN_FLIGHT)]
    bodies = [BytesPayload(body, content_type="application/json") for body in rendered]
    target = URL(f"{url}/dispatch", encoded=True)
    authorization = CIMultiDict({"Authorization": f"Bearer {TOKEN}"})
    headers = CIMultiDict(
        {
            "ApplicationId": APPLICATION,
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "benchmark",
        }
    )

    async def run() -> None:
        timeout = aiohttp.ClientTimeout(total=30, connect=10)
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        numbers = iter(range(count))
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout, headers=headers
        ) as session:

            async def worker() -> None:
                for number in numbers:
                    body = bodies[number % IN_FLIGHT]
                    reply = await session.post(
                        target, data=body, headers=authorization, allow_redirects=False
                    )
                    assert reply.status == 202
                    await reply.read()

            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    return run


class _Row:
    """What a renderer reads of a row."""

    channels: tuple[str, ...] = ()
    language = variant = ""

    def __init__(self, fields: dict[str, str]) -> None:
        self.fields = fields


async def race(url: str, folder: Path, count: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the ratios of CPU time per recipient, and of throughput, campaign to workers, of each round."""
    hand = await by_hand(url, count)
    cpu: list[float] = []
    speed: list[float] = []
    for number in range(rounds + 1):
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(
                DispatchClient(auth=BearerToken(TOKEN), application_id=APPLICATION, base_url=url)
            )
            campaign = await stack.enter_async_context(
                Campaign.open(
                    folder / f"{number}.db",
                    client=client,
                    template=TEMPLATE,
                    limit=IN_FLIGHT,
                    governor=Governor(),
                )
            )
            await campaign.add(people(count))
            ours = await measured(campaign.run)
            assert (await campaign.ledger.counts()).states == {"sent": count}
        theirs = await measured(hand)
        if number:  # the first one warms up
            cpu.append(ours[0] / theirs[0])
            speed.append(theirs[1] / ours[1])
            print(
                f"  round {number}: {ours[0] / count * 1e6:.0f} and {theirs[0] / count * 1e6:.0f} us of CPU, "
                f"{count / ours[1]:.0f} and {count / theirs[1]:.0f} recipients/s"
            )
    return cpu, speed


async def measured(run: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Return the seconds of CPU, of all threads, and of the clock."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    await run()
    return time.process_time() - cpu, time.perf_counter() - wall


async def memory(url: str, file: str, count: int, sends: int) -> None:
    """Add rows, or send some of those that are there, and print the peak of the memory in MB."""
    async with (
        DispatchClient(auth=BearerToken(TOKEN), application_id=APPLICATION, base_url=url) as client,
        Campaign.open(file, client=client, template=TEMPLATE, limit=IN_FLIGHT) as campaign,
    ):
        began = time.perf_counter()
        if not sends:
            await campaign.add(people(count))
        added = time.perf_counter() - began
        if sends:
            running = asyncio.ensure_future(campaign.run())
            while (await campaign.ledger.counts()).states.get("sent", 0) < sends:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.1)
            await campaign.stop()
            await running
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "added": count / added}))


def peak_of(url: str, folder: Path, count: int, sends: int) -> float:
    """Return the peak of a process that sends; the rows were added by another."""
    file = folder / f"memory-{count}.db"
    command = [sys.executable, __file__, "--url", url, "--file", str(file), "--count", str(count)]
    adding, sending = (
        json.loads(subprocess.run([*command, "--sends", str(n)], check=True, stdout=subprocess.PIPE).stdout)
        for n in (0, sends)
    )
    print(
        f"  {count} recipients: {sending['peak']:.1f} MB at most while it sends, "
        f"{adding['peak']:.1f} MB while rows are added, {adding['added']:.0f}/s through the template, "
        f"a file of {file.stat().st_size / 1e6:.0f} MB"
    )
    return float(sending["peak"])


def main() -> int:
    """Run the race and the measurement of memory, and say which targets hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=2000, help="recipients of a round")
    parser.add_argument(
        "--many", type=int, default=1_000_000, help="recipients of the large campaign; 0: none"
    )
    parser.add_argument("--sends", type=int, default=5000, help="how many of them are sent to")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.url:
        asyncio.run(memory(arguments.url, arguments.file, arguments.count, arguments.sends))
        return 0

    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        folder, url = Path(name), f"http://127.0.0.1:{server.stdout.readline().split()[0]}"
        print(f"Python {sys.version.split()[0]}, aiohttp {aiohttp.__version__}, {os.cpu_count()} CPUs")
        cpu, speed = asyncio.run(race(url, folder, arguments.count, arguments.rounds))
        more = 0.0
        if arguments.many:
            few = peak_of(url, folder, 10_000, arguments.sends)
            more = peak_of(url, folder, arguments.many, arguments.sends) - few
        server.stdin.close()
    results = [
        ("CPU per recipient, campaign / workers", statistics.median(cpu), CPU_TARGET, True),
        ("recipients per second, campaign / workers", statistics.median(speed), SPEED_TARGET, False),
        ("MB more for the large campaign", more, MEMORY_TARGET, True),
    ]
    missed = 0
    for what, figure, target, at_most in results:
        holds = figure <= target if at_most else figure >= target
        missed += not holds
        bound = "at most" if at_most else "at least"
        print(f"{what}: {figure:.2f}, {bound} {target}: {'holds' if holds else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
