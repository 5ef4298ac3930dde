"""The rate of sends of the simulator, compared with an aiohttp server that does nothing.

Both run in processes of their own and are given the same bytes by this one, in turns, over the same number of
connections. It prints the medians of throughput and of the server's processor time a request, and the ratio.

    python benchmarks/simulator.py [--rounds 7] [--requests 4000] [--connections 16]

The processor time is the better figure: on a machine with other work the throughput is that of the scheduler.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

BODY = json.dumps(
    {
        "template": "failover",
        "workflow": [
            {
                "from": {"type": "viber_service_msg", "id": "VSM-ID-40817"},
                "to": {"type": "viber_service_msg", "number": "447700900123"},
                "message": {"content": {"type": "text", "text": "Your parcel arrives today, 14:00-16:00"}},
                "failover": {"expiry_time": 600, "condition_status": "read"},
            },
            {
                "from": {"type": "sms", "number": "31647356950"},
                "to": {"type": "sms", "number": "447700900123"},
                "message": {"content": {"type": "text", "text": "Your parcel arrives today, 14:00-16:00"}},
            },
        ],
    }
).encode()


class Round(NamedTuple):
    """One round against one server."""

    sends_per_second: float
    cpu_us: float


# ---- the servers, each in its own process


async def serve_nothing() -> None:
    """Read a request, respond with 202."""
    from aiohttp import web

    answer = b'{"dispatch_uuid":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}'

    async def dispatch(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(status=202, body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_post("/communication/nexmo/dispatch", dispatch)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await _tell_cpu(runner.addresses[0][1], "nothing", "nothing")


async def serve_simulator() -> None:
    """Run a simulator whose clock stands still."""
    import aiohttp

    from nexmo_dispatch_async.simulator import Simulator

    async with Simulator() as sim:
        application = sim.create_application(status_url="http://127.0.0.1:9/status")
        async with aiohttp.ClientSession() as session:
            form = {"client_id": sim.client_id, "client_secret": sim.client_secret}
            async with session.post(sim.token_url + "?grant_type=client_credentials", data=form) as response:
                token = (await response.json())["access_token"]
        await _tell_cpu(int(sim.url.rsplit(":", 1)[1]), token, application.id)
        print(f"{sim.accepted} workflows in memory", file=sys.stderr)


async def _tell_cpu(port: int, token: str, application_id: str) -> None:
    """Print the port, then, for each line of input, the CPU time so far."""
    print(port, token, application_id, flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(time.process_time(), flush=True)


# ---- the load


class Server:
    """A server in a process of its own."""

    def __init__(self, kind: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        port, token, application_id = self._line().split()
        self.port = int(port)
        head = (
            "POST /communication/nexmo/dispatch HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nApplicationId: {application_id}\r\n"
            "Accept: application/json\r\nAccept-Encoding: gzip, deflate\r\nUser-Agent: benchmark\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
        )
        self.request = head.encode() + BODY

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def cpu(self) -> float:
        """Return the processor time that the process has used, in seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)


class Caller(asyncio.Protocol):
    """One connection that sends its next request as soon as it has a response."""

    def __init__(self, request: bytes, requests: int) -> None:
        self._request = request
        self._left = requests
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        assert head.startswith(b"http/1.1 202"), self._buffer
        self._buffer = b""
        self._left -= 1
        if self._left:
            self._transport.write(self._request)
        else:
            self._transport.close()
            self.done.set_result(None)


async def one_round(server: Server, requests: int, connections: int) -> Round:
    """Send `requests` over `connections`."""
    loop = asyncio.get_running_loop()
    each = requests // connections
    cpu, started = server.cpu(), time.perf_counter()
    callers = [
        (await loop.create_connection(lambda: Caller(server.request, each), "127.0.0.1", server.port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.done for caller in callers))
    took, sent = time.perf_counter() - started, each * connections
    return Round(sent / took, (server.cpu() - cpu) / sent * 1e6)


async def measure(rounds: int, requests: int, connections: int) -> None:
    """Measure both servers in turns; print the medians and the ratios."""
    servers = {kind: Server(kind) for kind in ("nothing", "simulator")}
    measured: dict[str, list[Round]] = {kind: [] for kind in servers}
    for number in range(-1, rounds):
        for kind, server in servers.items():
            result = await one_round(server, requests, connections)
            if number >= 0:  # the first round warms up
                measured[kind].append(result)
    for server in servers.values():
        server.close()
    rate = {k: statistics.median(r.sends_per_second for r in found) for k, found in measured.items()}
    cpu = {k: statistics.median(r.cpu_us for r in found) for k, found in measured.items()}
    for kind in servers:
        print(f"{kind:<10} {rate[kind]:>8.0f} sends/s  {cpu[kind]:>6.0f} µs of processor time a request")
    throughput, work = rate["simulator"] / rate["nothing"], cpu["nothing"] / cpu["simulator"]
    print(f"ratio      {throughput:>8.2f}          {work:>6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", choices=["nothing", "simulator"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve == "nothing":
        asyncio.run(serve_nothing())
    elif options.serve == "simulator":
        asyncio.run(serve_simulator())
    else:
        asyncio.run(measure(options.rounds, options.requests, options.connections))


if __name__ == "__main__":
    main()
