"""The cost of the receiver: CPU time of the server process per request, in pairs, under the same load.

    make bench-receiver            all variants, thirty short rounds, then the latency at half of the load
    python benchmarks/receiver.py --rounds 3 --requests 4000

Each variant is a process of its own that lives through the whole run. A load generator, in another process,
keeps 32 connections busy with one variant after the other, round by round, so that a busy machine disturbs
all of them alike. Bodies are documented statuses with ids of their own, signed in advance. The ratio is the
CPU of the bare handler divided by that of the variant; figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECRET = "a-signature-secret-for-the-benchmark-0123456789"
API_KEY = "a1b2c3d4"
CONNECTIONS = 32
SPARE_CONNECTIONS = 400
WINDOWS = 7
VARIANTS = {
    "bare": "bare aiohttp handler: reads the body",
    "parse": "parse and route, unsigned, no inbox",
    "signed": "signed, no inbox",
    "inbox": "signed, durable SQLite inbox",
    "jwt": "by hand: jwt.decode and json.loads",
}
WANTED = {"parse": 0.85, "signed": 0.75, "inbox": 0.5}


# --- the servers --------------------------------------------------------------------------------------


async def serve(variant: str, folder: str) -> None:
    from aiohttp import web

    app = web.Application()
    handled = 0
    receiver = None

    if variant == "bare":

        async def bare(request: web.Request) -> web.Response:
            await request.read()
            return web.Response()

        app.router.add_post("/webhooks/status", bare)
    elif variant == "jwt":
        import jwt

        async def by_hand(request: web.Request) -> web.Response:
            nonlocal handled
            body = await request.read()
            token = request.headers["Authorization"].removeprefix("Bearer ")
            claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer="Vonage")
            if claims["payload_hash"] != hashlib.sha256(body).hexdigest():
                return web.Response(status=401)
            event = json.loads(body)
            if event["status"] == "delivered":
                handled += 1
            return web.Response()

        app.router.add_post("/webhooks/status", by_hand)
    else:
        from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, Router
        from nexmo_dispatch_webhooks.aiohttp import setup

        router = Router()

        @router.message_status(status="delivered")
        async def on_delivered(event: MessageStatus) -> None:
            nonlocal handled
            handled += 1

        @router.inbound_message()
        async def on_inbound(event: InboundMessage) -> None: ...

        @router.final_report()
        async def on_report(event: FinalReport) -> None: ...

        settings: dict[str, Any] = {"verification": None}
        if variant != "parse":
            settings = {"secrets": {API_KEY: SECRET}}
        if variant == "inbox":
            settings["inbox"] = str(Path(folder) / "inbox.db")
        receiver = setup(app, router, path="/webhooks", **settings)

    async def cpu(_: web.Request) -> web.Response:
        """Return the CPU seconds of this process, as soon as all acknowledged events are handled."""
        # Polls a number, whose changes trigger no event.
        while receiver is not None and receiver.health().get("inbox", {"pending": 0})["pending"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return web.json_response({"cpu": time.process_time(), "handled": handled})

    app.router.add_get("/cpu", cpu)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)  # the end of the input is the end of the server
    await runner.cleanup()


# --- the load -----------------------------------------------------------------------------------------


def make_requests(count: int) -> list[bytes]:
    """Complete requests, each with ids of its own: four statuses for each workflow."""
    from nexmo_dispatch_webhooks import sign

    requests: list[bytes] = []
    workflow = ""
    for number in range(count):
        if number % 4 == 0:
            workflow = str(uuid.uuid4())
        body = json.dumps(
            {
                "message_uuid": str(uuid.uuid4()),
                "to": {"type": "whatsapp", "number": "447700900000"},
                "from": {"type": "whatsapp", "number": "447700900001"},
                "timestamp": "2025-01-01T14:00:00.000Z",
                "status": "delivered",
                "usage": {"price": "0.0333", "currency": "EUR"},
                "_links": {"dispatch": {"href": f"v0.1/dispatch/{workflow}", "dispatch_uuid": workflow}},
            }
        ).encode()
        token = sign(body, secret=SECRET, api_key=API_KEY, jti=str(uuid.uuid4()))
        head = (
            "POST /webhooks/status HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Authorization: {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


class Line(asyncio.Protocol):
    """A connection with one request at a time; callbacks instead of tasks, to use little CPU time."""

    def __init__(self, answered: Callable[[Line, int], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self.planned = 0.0

    @classmethod
    async def open(cls, port: int, answered: Callable[[Line, int], None]) -> Line:
        loop = asyncio.get_running_loop()
        _, line = await loop.create_connection(lambda: cls(answered), "127.0.0.1", port)
        return line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        found = self._buffer.lower().find(b"content-length:", 0, end)
        length = int(self._buffer[found + 15 : self._buffer.index(b"\r\n", found)]) if found >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        status = int(self._buffer[9:12])
        self._buffer = b""
        self._answered(self, status)

    def connection_lost(self, error: Exception | None) -> None:
        if self.planned:  # it waits for a response
            self.planned = 0.0
            self._answered(self, 0)


async def closed_load(port: int, requests: list[bytes]) -> dict[str, float]:
    """On every connection, send the next request after the response to the last one."""
    todo = iter(requests)
    open_lines, bad = CONNECTIONS, 0
    ended = asyncio.Event()

    def next_one(line: Line, status: int) -> None:
        nonlocal bad, open_lines
        bad += status != 200
        request = next(todo, None)
        if request is None or not status:
            line.planned = 0.0
            line.transport.close()
            open_lines -= 1
            if not open_lines:
                ended.set()
        else:
            line.transport.write(request)

    lines = [await Line.open(port, next_one) for _ in range(CONNECTIONS)]
    start = time.perf_counter()
    for line in lines:
        line.planned = start
        next_one(line, 200)
    await ended.wait()
    return {"seconds": time.perf_counter() - start, "bad": bad}


async def open_load(port: int, requests: list[bytes], rate: float) -> dict[str, float]:
    """Send requests at fixed times, whether earlier ones got a response or not; time them from then."""
    latencies: list[float] = []
    late: list[float] = []
    bad = 0
    ended = asyncio.Event()

    def note(line: Line, status: int) -> None:
        nonlocal bad
        bad += status != 200
        latencies.append(time.perf_counter() - line.planned)
        line.planned = 0.0
        free.append(line)
        if len(latencies) == len(requests):
            ended.set()

    # opened in advance, because the cost of connections is not measured here
    free = [await Line.open(port, note) for _ in range(SPARE_CONNECTIONS)]
    start = time.perf_counter()
    for number, request in enumerate(requests):
        planned = start + number / rate
        if (wait := planned - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        late.append(time.perf_counter() - planned)
        line = free.pop() if free else await Line.open(port, note)
        line.planned = planned
        line.transport.write(request)
    await ended.wait()
    latencies.sort()
    late.sort()
    for line in free:
        line.transport.close()
    return {
        "p50": statistics.median(latencies),
        "p99": latencies[int(len(latencies) * 0.99)],
        "max": latencies[-1],
        "generator_late_p99": late[int(len(late) * 0.99)],
        "bad": bad,
    }


async def ask_cpu(port: int) -> dict[str, float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /cpu HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    found: dict[str, float] = json.loads(answer.rpartition(b"\r\n\r\n")[2])
    return found


async def load() -> None:
    """Generate load: one order per line on standard input, one result per line on standard output."""
    for line in sys.stdin:
        order = json.loads(line)
        requests = make_requests(order["requests"])
        before = await ask_cpu(order["port"])
        if order.get("rate"):
            result = await open_load(order["port"], requests, order["rate"])
        else:
            result = await closed_load(order["port"], requests)
        after = await ask_cpu(order["port"])
        result["cpu"] = after["cpu"] - before["cpu"]
        print(json.dumps(result), flush=True)


# --- the run ------------------------------------------------------------------------------------------


class Child:
    """A server or the load generator, as a process that ends with its standard input."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def order(self, **values: Any) -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(values) + "\n")
        self.process.stdin.flush()
        answer: dict[str, float] = json.loads(self.line())
        return answer

    def close(self) -> None:
        self.process.communicate(timeout=30)


def run(rounds: int, requests: int, seconds: float, only: list[str]) -> None:
    names = [name for name in VARIANTS if name in only]
    with tempfile.TemporaryDirectory() as folder:
        servers = {name: Child("--serve", name, "--folder", folder) for name in names}
        ports = {name: int(server.line()) for name, server in servers.items()}
        generator = Child("--load")
        cpu: dict[str, list[float]] = {name: [] for name in names}
        rate: dict[str, list[float]] = {name: [] for name in names}
        for number in range(rounds + 1):
            for name in names:
                result = generator.order(port=ports[name], requests=requests)
                assert result["bad"] == 0, f"{name}: {result['bad']} refused"
                if number:  # the first round warms up
                    cpu[name].append(result["cpu"] / requests * 1e6)
                    rate[name].append(requests / result["seconds"])
        print(f"{requests} requests a round, {rounds} rounds, {CONNECTIONS} connections; medians\n")
        print("| receiver | CPU per request | ratio | target | requests/s |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name in names:
            pairs = [bare / own for bare, own in zip(cpu[names[0]], cpu[name], strict=True)]
            own, target = statistics.median(cpu[name]), f"{WANTED[name]:.2f}" if name in WANTED else ""
            print(
                f"| {VARIANTS[name]} | {own:.0f} µs | {statistics.median(pairs):.2f} "
                f"| {target} | {statistics.median(rate[name]):.0f} |"
            )
        if "inbox" in names and seconds:
            half = statistics.median(rate["inbox"]) / 2
            print(
                f"\nacknowledgement at {half:.0f} requests/s, half of the maximum of the inbox: "
                f"median of {WINDOWS} windows of {seconds:g} s (least to most)"
            )
            measured: dict[str, list[dict[str, float]]] = {names[0]: [], "inbox": []}
            for _ in range(WINDOWS):
                for name, windows in measured.items():
                    windows.append(generator.order(port=ports[name], requests=int(half * seconds), rate=half))
            for name, windows in measured.items():
                print(
                    f"{VARIANTS[name]}: p50 {middle(windows, 'p50')} ms, p99 {middle(windows, 'p99')} ms, "
                    f"the generator's own delay p99 {middle(windows, 'generator_late_p99')} ms, "
                    f"{sum(window['bad'] for window in windows):.0f} refused"
                )
            disk = sync_times(Path(folder))
            print(f"one small write and fsync on this disk: p50 {disk[0]:.1f} ms, p99 {disk[1]:.1f} ms")
        for child in (generator, *servers.values()):
            child.close()
    print()
    compare_verification()


def middle(windows: list[dict[str, float]], name: str) -> str:
    """The median over the windows and their range, in ms: a busy machine or disk spoils some of them."""
    values = sorted(window[name] * 1e3 for window in windows)
    return f"{statistics.median(values):.1f} ({values[0]:.1f} to {values[-1]:.1f})"


def sync_times(folder: Path) -> tuple[float, float]:
    """Return the minimum cost of durability: median and 99th percentile of a write and its sync, in ms."""
    times: list[float] = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(500):
            start = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1e3)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.99)]


def compare_verification() -> None:
    """Compare verifying and parsing a typical status with `jwt.decode` alone; best of many."""
    import jwt

    from nexmo_dispatch_webhooks import parse_event, verify

    head, _, body = make_requests(1)[0].partition(b"\r\n\r\n")
    authorization = head.partition(b"Authorization: ")[2].partition(b"\r\n")[0].decode()
    token = authorization.removeprefix("Bearer ")
    secrets, now = {API_KEY: SECRET}, time.time()

    def ours() -> None:
        verify(body, authorization, secrets=secrets, now=now)
        parse_event(body)

    def theirs() -> None:
        jwt.decode(token, SECRET, algorithms=["HS256"])

    def cost(function: Any) -> float:
        start = time.process_time()
        for _ in range(2000):
            function()
        return (time.process_time() - start) / 2000 * 1e6

    pairs = [(cost(ours), cost(theirs)) for _ in range(15)]
    own, other = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    print(f"verify and parse {own:.1f} µs; jwt.decode alone {other:.1f} µs; ratio {other / own:.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="CPU of the receiver for each request, in pairs.")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--requests", type=int, default=400, help="requests of a round")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a window at half load")
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--serve", choices=list(VARIANTS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", default=str(Path.cwd()), help=argparse.SUPPRESS)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(options.serve, options.folder))
    elif options.load:
        asyncio.run(load())
    else:
        run(options.rounds, options.requests, options.seconds, options.only)
