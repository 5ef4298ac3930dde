"""What a campaign costs in CPU time: template, ledger and governor, next to workers that post ready bytes.

All send to one server in a process of its own, in one run; rounds alternate, so that a change of the
machine's mood hits all of them. The ledger is a file on this machine's disk with `synchronous=FULL`.
httpx and the official SDK send ready workflows beside it, and no figure of theirs is a target.

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
from itertools import islice
from pathlib import Path

import aiohttp
from aiohttp import BytesPayload
from multidict import CIMultiDict
from yarl import URL

from nexmo_dispatch_async import BearerToken, DispatchClient, sms, whatsapp
from nexmo_dispatch_async.bulk import Campaign, Governor, WorkflowTemplate
from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

IN_FLIGHT = 64
TOKEN = "benchmark-token" * 40
APPLICATION = "7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11"
CPU_TARGET, SPEED_TARGET, MEMORY_TARGET = 1.1, 0.9, 30.0
IMPORT_TARGET, FILE_TARGET = 30_000.0, 150.0
BATCH = 10_000
PEER_ROUNDS, PEER_SENDS = 5, 256
HTTPX, SDK = "httpx, by hand", "official SDK, threads, TLS"
# A prime, so that each number comes once, in no order.
PEOPLE, STRIDE = 999_999_937, 387_420_489
TEXT = "Your parcel is here, {name}"
TEMPLATE = WorkflowTemplate(
    whatsapp.text("Your parcel is here, {name}", from_="447418342140", to="{phone}").until(
        "read", within=600
    ),
    sms.text("Your parcel is here, {name}", from_="31647356950", to="{phone}"),
)


def people(count: int, start: int = 0) -> Iterator[dict[str, str]]:
    """Yield rows whose numbers, all different, come in no order, as in the files of customers."""
    numbers = range(start, start + count)
    return ({"phone": f"999{number * STRIDE % PEOPLE:09}", "name": "Ada"} for number in numbers)


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


Run = Callable[[], Awaitable[object]]
# CPU time and time per recipient, in units of those of the workers
Ratio = tuple[float, float]


async def race(url: str, folder: Path, count: int, rounds: int) -> list[Ratio]:
    """Return the campaign's ratio of each round."""
    hand = await by_hand(url, count)
    ratios: list[Ratio] = []
    gc.freeze()  # the garbage of the imports must not count
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
            if number % 2:
                ours, theirs = await measured(campaign.run), await measured(hand)
            else:
                theirs, ours = await measured(hand), await measured(campaign.run)
            assert (await campaign.ledger.counts()).states == {"sent": count}
        if number:  # the first one warms up
            ratios.append((ours[0] / theirs[0], ours[1] / theirs[1]))
            print(
                f"  round {number}: {ours[0] / count * 1e6:.0f} and {theirs[0] / count * 1e6:.0f} us of CPU, "
                f"{count / ours[1]:.0f} and {count / theirs[1]:.0f} recipients/s"
            )
    gc.unfreeze()
    return ratios


async def beside(http: str, tls: str) -> dict[str, list[Ratio]]:
    """Return the ratios of httpx and of the official SDK, which send ready workflows and keep no ledger."""
    import client as senders  # here, since libraries of it read the environment when they are imported

    def of(send: Callable[[int], Awaitable[object]]) -> Run:
        async def run() -> None:
            numbers = iter(range(PEER_SENDS))

            async def worker() -> None:
                for number in numbers:
                    await send(number)

            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

        return run

    hand = await by_hand(http, PEER_SENDS)
    ratios: dict[str, list[Ratio]] = {HTTPX: [], SDK: []}
    async with senders.raw_httpx(http) as httpx, senders.official_sdk(tls) as sdk:
        for number in range(PEER_ROUNDS + 1):
            theirs = await measured(hand)
            for name, send in ((HTTPX, httpx), (SDK, sdk)):
                cpu, wall = await measured(of(send))
                if number:
                    ratios[name].append((cpu / theirs[0], wall / theirs[1]))
    return ratios


async def measured(run: Run) -> tuple[float, float]:
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
        began, cpu = time.perf_counter(), time.process_time()
        if not sends:
            await campaign.add(people(count))
        added, cpu = time.perf_counter() - began, time.process_time() - cpu
        if sends:
            running = asyncio.ensure_future(campaign.run())
            while (await campaign.ledger.counts()).states.get("sent", 0) < sends:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.1)
            await campaign.stop()
            await running
    print(json.dumps({"peak": peak(), "added": count / added, "cpu": cpu / count * 1e6}))


def peak() -> float:
    """Return the most MB that this process had in memory; `ru_maxrss` includes those of its parent."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def fill(file: str, count: int) -> None:
    """Add rows that are made before the clock runs, batch by batch, and print how many per second."""
    ledger = await SqliteLedger.open(file)
    spent = 0.0
    source = people(count)
    for first in range(1, count + 1, BATCH):
        rows = [
            Recipient(
                key=fields["phone"],
                address=fields["phone"],
                fields=fields,
                bucket="whatsapp|447418342140",
                line=first + number,
            )
            for number, fields in enumerate(islice(source, BATCH))
        ]
        began = time.perf_counter()
        await ledger.add(rows)
        spent += time.perf_counter() - began
    await ledger.aclose()
    print(json.dumps({"added": count / spent}))


def alone(url: str, file: Path, count: int, sends: int) -> dict[str, float]:
    """Return what a process of its own prints."""
    command = [sys.executable, __file__, "--url", url, "--file", str(file), "--count", str(count)]
    done = subprocess.run([*command, "--sends", str(sends)], check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def sizes(url: str, folder: Path, count: int, sends: int) -> tuple[float, float, float]:
    """Return the peak of a process that sends, rows per second as another added them, and MB of the file."""
    file = folder / f"memory-{count}.db"
    adding = alone(url, file, count, 0)
    size = file.stat().st_size / 1e6
    sending = alone(url, file, count, sends)
    print(
        f"  {count} recipients: {sending['peak']:.1f} MB at most while it sends, "
        f"{adding['peak']:.1f} MB while rows are added, {adding['added']:.0f}/s, "
        f"{adding['cpu']:.0f} us of CPU each, a file of {size:.0f} MB"
    )
    return sending["peak"], adding["added"], size


def shown(who: str, ratios: list[Ratio]) -> Ratio:
    """Print the medians, and return them: CPU time and throughput in units of those of the workers."""
    low, cpu, high = statistics.quantiles([cpu for cpu, _ in ratios], n=4)
    speed = statistics.median(1 / wall for _, wall in ratios)
    print(f"  {who}: {cpu:.2f} ({low:.2f} to {high:.2f}) of the workers' CPU time, {speed:.2f} of their rate")
    return cpu, speed


def main() -> int:
    """Run the race and the measurements of memory and import, and say which targets hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--count", type=int, default=2000, help="recipients of a round")
    parser.add_argument(
        "--many", type=int, default=1_000_000, help="recipients of the large campaign; 0: none"
    )
    parser.add_argument("--sends", type=int, default=5000, help="how many of them are sent to")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.url:
        if arguments.sends < 0:
            asyncio.run(fill(arguments.file, arguments.count))
        else:
            asyncio.run(memory(arguments.url, arguments.file, arguments.count, arguments.sends))
        return 0

    from client import certificate

    results: list[tuple[str, float, float, bool]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trusted, key = certificate(folder)
        os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = str(trusted)
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            os.environ.pop(proxy, None)
            os.environ.pop(proxy.lower(), None)
        command = [sys.executable, str(Path(__file__).with_name("server.py")), str(trusted), str(key)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            plain, secure = server.stdout.readline().split()
            http, tls = f"http://127.0.0.1:{plain}", f"https://localhost:{secure}"
            print(f"Python {sys.version.split()[0]}, aiohttp {aiohttp.__version__}, {os.cpu_count()} CPUs")
            print(f"load of the machine: {os.getloadavg()[0]:.1f}")
            ratios = asyncio.run(race(http, folder, arguments.count, arguments.rounds))
            cpu, speed = shown("campaign", ratios)
            for who, each in asyncio.run(beside(http, tls)).items():
                shown(who, each)
            results += [
                ("CPU per recipient, campaign / workers", cpu, CPU_TARGET, True),
                ("recipients per second, campaign / workers", speed, SPEED_TARGET, False),
            ]
            if arguments.many:
                few, _, _ = sizes(http, folder, 10_000, arguments.sends)
                many, added, size = sizes(http, folder, arguments.many, arguments.sends)
                filled = alone(http, folder / "filled.db", arguments.many, -1)["added"]
                results += [
                    ("MB more for the large campaign", many - few, MEMORY_TARGET, True),
                    ("rows per second into the ledger, keys in no order", filled, IMPORT_TARGET, False),
                    ("the same through the template", added, IMPORT_TARGET, False),
                    ("MB of the file", size, FILE_TARGET, True),
                ]
            print(f"load of the machine: {os.getloadavg()[0]:.1f}")
            server.stdin.close()
    missed = 0
    for what, figure, target, at_most in results:
        holds = figure <= target if at_most else figure >= target
        missed += not holds
        bound = "at most" if at_most else "at least"
        print(f"{what}: {figure:.2f}, {bound} {target:g}: {'holds' if holds else 'MISSED'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
