"""Both adapters behind one face: a receiver served on a real loopback port, by aiohttp or by uvicorn."""

import asyncio
import contextlib
import functools
import gzip
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn
from aiohttp import ClientSession, web

from nexmo_dispatch_webhooks import Context, Event, Receiver, Router, sign
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.asgi import ASGIReceiver
from tests.webhooks.payloads import encode, status_body

SECRET = "example-signature-secret-for-tests-0123456789"
BODY = encode(status_body())
JSON = {"Content-Type": "application/json"}
#: Compresses without the time, so that a test whose name holds it has one name in every process.
packed = functools.partial(gzip.compress, mtime=0)
#: Ends what was started.
Stop = Callable[[], Awaitable[object]]


class Served:
    """A running receiver, and what its handlers saw."""

    def __init__(
        self,
        port: int,
        session: ClientSession,
        receiver: Receiver,
        seen: list[tuple[Event, Context]],
        stop: Stop,
    ) -> None:
        self.port, self.session, self.receiver, self.seen = port, session, receiver, seen
        self._stop: Stop | None = stop
        self.url = f"http://127.0.0.1:{port}"

    async def stop(self) -> None:
        """End the server; again without effect."""
        stop, self._stop = self._stop, None
        if stop is not None:
            await stop()

    async def post(self, body: Any = BODY, path: str = "/webhooks", **headers: str) -> int:
        sent = {name.replace("_", "-").title(): value for name, value in headers.items()}
        async with self.session.post(self.url + path, data=body, headers=JSON | sent) as answer:
            await answer.read()
            return answer.status

    async def signed(self, body: bytes = BODY, path: str = "/webhooks", **headers: str) -> int:
        return await self.post(
            body, path, authorization=sign(body, secret=SECRET, api_key="k", jti="j"), **headers
        )

    async def raw(self, data: bytes, *, half_close: bool = False) -> bytes:
        """Send bytes as they are; return everything until the server hangs up."""
        return await send_raw(self.port, data, half_close=half_close)


async def send_raw(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes as they are to a loopback port; return everything until the server hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    if half_close:
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


class _Uvicorn(uvicorn.Server):
    """Leaves the signal handlers alone, tells when it listens, and ends at once instead of by polling."""

    def __init__(self, app: Any) -> None:
        config = uvicorn.Config(app, log_config=None, lifespan="on", http="h11", ws="none", access_log=False)
        super().__init__(config)
        self.listening = asyncio.Event()
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        await self.on_tick(0)
        await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self.lifespan.shutdown()


async def serve_asgi(app: Any) -> tuple[int, Stop]:
    """Serve any ASGI application on a free loopback port."""
    # with the protocol said, asyncio sets TCP_NODELAY, without which two small writes take 40 ms
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    server = _Uvicorn(app)
    task = asyncio.create_task(server.serve([listener]))
    await server.listening.wait()

    async def stop() -> None:
        server.ending.set()
        await task
        listener.close()

    return listener.getsockname()[1], stop


async def serve_aiohttp(app: web.Application) -> tuple[int, Stop]:
    """Serve an aiohttp application on a free loopback port."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner.addresses[0][1], runner.cleanup


async def serve(
    adapter: str,
    session: ClientSession,
    *,
    router: Router | None = None,
    path: str = "/webhooks",
    **settings: Any,
) -> Served:
    """Serve a receiver, with a last handler that keeps what it saw; settings go to the adapter."""
    router = router or Router()
    seen: list[tuple[Event, Context]] = []

    @router.register()
    async def keep(event: Event, context: Context) -> None:
        seen.append((event, context))

    settings = {"secrets": {"k": SECRET}, **settings}
    if adapter == "aiohttp":
        app = web.Application()
        receiver = setup(app, router, path, **settings)
        port, stop = await serve_aiohttp(app)
    else:
        asgi = ASGIReceiver(router, path=path, **settings)
        receiver = asgi.receiver
        port, stop = await serve_asgi(asgi)
    return Served(port, session, receiver, seen, stop)
