"""The CPU time of a send: `DispatchClient.send()`, aiohttp by hand, httpx and the official SDK.

All of them send the same failover workflow from one process, in one run, to one server in a process of its
own. In each round every contestant runs twice, in one order and then in the reverse order, so that a machine
that becomes slower or faster meanwhile does so for all of them. Slow contestants have a race of their own,
with fewer rounds. It says nothing of latency over a real network.

    make bench-client          or          python benchmarks/client.py --seconds 45
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import ipaddress
import os
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexmo_dispatch_async import DispatchClient, Workflow

IN_FLIGHT = 64
# Requests of one worker in one half of a round: rounds are short, so that there are many.
PER_WORKER = 2
PER_WORKER_SLOW = 1
# Shares of the time: plain HTTP, TLS, and the slow contestants over TLS
SHARES = (0.4, 0.4, 0.2)
# Targets of CPU time, relative to aiohttp tuned by hand
TARGETS = {"plain HTTP": 0.65, "TLS": 0.75}
REFERENCE = "aiohttp, tuned by hand"

# One function that sends the message number `i`, once.
Send = Callable[[int], Awaitable[object]]
Maker = Callable[[str], AbstractAsyncContextManager[Send]]


@dataclass
class Contestant:
    """A contestant and its figures, one per round."""

    name: str
    send: Send
    per_worker: int
    cpu: list[float] = field(default_factory=list)  # seconds per request
    wall: list[float] = field(default_factory=list)  # the same

    @property
    def requests(self) -> int:
        """The number of requests in a round."""
        return 2 * IN_FLIGHT * self.per_worker

    async def half(self) -> tuple[float, float]:
        """Send with `IN_FLIGHT` workers; return the seconds of CPU and of the clock on the wall."""

        async def worker(number: int) -> None:
            for turn in range(self.per_worker):
                await self.send(number + turn)

        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*map(worker, range(IN_FLIGHT)))
        return time.process_time() - cpu, time.perf_counter() - wall

    def note(self, first: tuple[float, float], second: tuple[float, float]) -> None:
        """Record the cost of both halves of a round."""
        self.cpu.append((first[0] + second[0]) / self.requests)
        self.wall.append((first[1] + second[1]) / self.requests)


# --- the contestants ---------------------------------------------------------------------------------


def client_of(url: str) -> DispatchClient:
    from nexmo_dispatch_async import BearerToken, DispatchClient

    return DispatchClient(auth=BearerToken(TOKEN), application_id=APPLICATION, base_url=url)


def workflow_to(number: int) -> Workflow:
    from nexmo_dispatch_async import Workflow, sms, whatsapp

    to = f"31600{number:06}"
    return Workflow.failover(
        whatsapp.text(TEXT, from_=SENDER, to=to).until("read", within=600),
        sms.text(TEXT, from_=SENDER, to=to),
    )


@asynccontextmanager
async def ours(url: str) -> AsyncGenerator[Send]:
    """Everything on: rules, encoding, phases, retries, typed result. As many workflows as slots."""
    workflows = [workflow_to(number) for number in range(IN_FLIGHT)]
    async with client_of(url) as client:
        yield lambda i: client.send(workflows[i % IN_FLIGHT])


@asynccontextmanager
async def ours_with_building(url: str) -> AsyncGenerator[Send]:
    """The same, including the construction of a workflow for each send, as in a user's program."""
    async with client_of(url) as client:
        yield lambda i: client.send(workflow_to(i))


@asynccontextmanager
async def tuned_aiohttp(url: str) -> AsyncGenerator[Send]:
    """The minimum of aiohttp: ready bodies and headers, a check of the status, reading the response.

    It does not check, encode, decode or retry anything. It has the time-outs that we have, and names the
    token with each request, since tokens change.
    """
    import aiohttp
    from aiohttp import BytesPayload
    from multidict import CIMultiDict
    from yarl import URL

    target = URL(f"{url}/dispatch", encoded=True)
    # Every header that aiohttp would add is there already: skip_auto_headers would cost more.
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
    bodies = [
        BytesPayload(ready_body(number), content_type="application/json") for number in range(IN_FLIGHT)
    ]
    timeout = aiohttp.ClientTimeout(total=30, connect=10)
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)

    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout, headers=headers
    ) as session:

        async def send(number: int) -> bytes:
            body = bodies[number % IN_FLIGHT]
            reply = await session.post(target, data=body, headers=authorization, allow_redirects=False)
            assert reply.status == 202
            return await reply.read()

        yield send


@asynccontextmanager
async def raw_httpx(url: str) -> AsyncGenerator[Send]:
    """Httpx by hand: ready body and headers, HTTP/1.1, one pool."""
    import httpx

    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "ApplicationId": APPLICATION,
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    bodies = [ready_body(number) for number in range(IN_FLIGHT)]
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=30) as session:

        async def send(number: int) -> bytes:
            reply = await session.post(f"{url}/dispatch", content=bodies[number % IN_FLIGHT])
            assert reply.status_code == 202
            return reply.content

        yield send


@asynccontextmanager
async def official_sdk(url: str) -> AsyncGenerator[Send]:
    """The `vonage` package, synchronous, in as many threads.

    It has no Dispatch API; the nearest is a message with a failover in its Messages API, the same job in
    about the same bytes. With Basic authentication, because it would sign a new token for every send.
    """
    from vonage import Auth, HttpClientOptions, Vonage
    from vonage_messages import Sms, WhatsappText

    options = HttpClientOptions(
        api_host=url.removeprefix("https://"), pool_maxsize=IN_FLIGHT, pool_connections=IN_FLIGHT, timeout=30
    )
    client = Vonage(Auth(api_key="key", api_secret="secret"), options)

    def send(number: int) -> object:
        to = f"31600{number:06}"
        return client.messages.send(
            WhatsappText(text=TEXT, from_=SENDER, to=to), failover=[Sms(text=TEXT, from_=SENDER, to=to)]
        )

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        loop = asyncio.get_running_loop()
        yield lambda i: loop.run_in_executor(threads, send, i)


TOKEN = "A" * 28
APPLICATION = "01234567-89ab-cdef-0123-456789abcdef"
SENDER = "31201234567"
TEXT = "Your parcel is here. It waits for you at the desk until Friday, six o'clock."


def ready_body(number: int) -> bytes:
    """The bytes that `ours` sends."""
    return workflow_to(number).to_json()


# --- the race ----------------------------------------------------------------------------------------


async def race(
    makers: dict[str, Maker], url: str, seconds: float, rounds: int, per_worker: int
) -> list[Contestant]:
    """Run the contestants in turns until the time is over; each of them is first in its turn."""
    async with AsyncExitStack() as stack:
        contestants = [
            Contestant(name, await stack.enter_async_context(make(url)), per_worker)
            for name, make in makers.items()
        ]
        for contestant in [*contestants, *contestants, *contestants]:  # connections, caches
            await contestant.half()
        gc.freeze()  # the garbage of the imports must not count for any contestant
        end = time.perf_counter() + seconds
        while time.perf_counter() < end and len(contestants[0].cpu) < rounds:
            forth = [await contestant.half() for contestant in contestants]
            back = [await contestant.half() for contestant in reversed(contestants)]
            for contestant, first, second in zip(contestants, forth, reversed(back), strict=True):
                contestant.note(first, second)
            contestants.append(contestants.pop(0))
        gc.unfreeze()
    return sorted(contestants, key=lambda contestant: list(makers).index(contestant.name))


def report(title: str, contestants: list[Contestant]) -> float:
    """Print the table; return the ratio of the first contestant to aiohttp."""
    reference = next(contestant for contestant in contestants if contestant.name == REFERENCE)
    rounds, requests = len(reference.cpu), reference.requests
    print(f"\n{title}: {rounds} rounds of {requests} requests, {IN_FLIGHT} in flight")
    print(f"  {'':24} {'CPU us/request':>20} {'requests/s':>12}   CPU ratio, by round")
    print(f"  {'':24} {'median (best tenth)':>20} {'median':>12}   median (quartiles)")
    first = 0.0
    for contestant in contestants:
        # By round: the load of the machine was the same for both.
        ratios = [mine / other for mine, other in zip(contestant.cpu, reference.cpu, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        first = first or middle
        best = statistics.quantiles(contestant.cpu, n=10)[0] * 1e6
        print(
            f"  {contestant.name:24} {statistics.median(contestant.cpu) * 1e6:11.1f} ({best:6.1f})"
            f" {1 / statistics.median(contestant.wall):12.0f}   {middle:.3f} ({low:.3f} to {high:.3f})"
        )
    return first


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that is valid for an hour."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def main() -> int:
    """Run both races and print whether the targets hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=45, help="for all races together")
    parser.add_argument("--rounds", type=int, default=1000, help="at most so many per race")
    parser.add_argument("--plain", action="store_true", help="only the race over plain HTTP")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        trusted, key = certificate(Path(folder))
        # The libraries read these when they are imported, so they are imported later.
        os.environ["SSL_CERT_FILE"] = os.environ["REQUESTS_CA_BUNDLE"] = str(trusted)
        for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            os.environ.pop(proxy, None)
            os.environ.pop(proxy.lower(), None)
        command = [sys.executable, str(Path(__file__).with_name("server.py")), str(trusted), str(key)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            plain, secure = server.stdout.readline().split()
            libraries = ", ".join(f"{name} {version(name)}" for name in ("aiohttp", "httpx", "vonage"))
            print(
                f"Python {sys.version.split()[0]}, {libraries}, {ssl.OPENSSL_VERSION}, {os.cpu_count()} CPUs"
            )
            http, tls = f"http://127.0.0.1:{plain}", f"https://localhost:{secure}"
            shares = (1.0, 0.0, 0.0) if arguments.plain else SHARES
            pair: dict[str, Maker] = {"DispatchClient.send()": ours, REFERENCE: tuned_aiohttp}
            slow: dict[str, Maker] = {"httpx": raw_httpx, "vonage SDK, threads": official_sdk}
            races: list[tuple[str, str, dict[str, Maker], int]] = [
                ("plain HTTP", http, pair | {"built and sent": ours_with_building}, PER_WORKER),
                ("TLS", tls, pair, PER_WORKER),
                ("TLS, the slow ones", tls, {REFERENCE: tuned_aiohttp} | slow, PER_WORKER_SLOW),
            ]
            ratios: dict[str, float] = {}
            for (title, url, makers, per_worker), share in zip(races, shares, strict=True):
                if share:
                    seconds = arguments.seconds * share
                    contestants = asyncio.run(race(makers, url, seconds, arguments.rounds, per_worker))
                    ratios[title] = report(title, contestants)
            server.stdin.close()
    print()
    missed = False
    for wire, target in TARGETS.items():
        if (ratio := ratios.get(wire)) is not None:
            missed = missed or ratio > target
            verdict = "MISSED" if ratio > target else "holds"
            print(f"ours / tuned aiohttp over {wire}: {ratio:.3f}, target at most {target}: {verdict}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
