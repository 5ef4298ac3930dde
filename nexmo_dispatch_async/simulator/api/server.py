"""The HTTP server of the service: aiohttp, with a fast path for ordinary sends.

It adds nothing to the responses: every path goes to `Service.handle`, except the routes that `mount` added.
Faults of connections are carried out here.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, cast

import anyio
from aiohttp import web

from nexmo_dispatch_async.simulator.api import origin_check
from nexmo_dispatch_async.simulator.api.answers import Reply
from nexmo_dispatch_async.simulator.api.server_fast_path import FastPathProtocol
from nexmo_dispatch_async.simulator.api.service import DISPATCH_PATH, Service

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

__all__ = ["SHUTDOWN_S", "Server", "called_address"]

_BACKLOG: Final = 1024
#: Seconds that connections in use may take to end when the server closes.
SHUTDOWN_S = 1.0
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Server:
    """The listening end of a simulator.

    Args:
        service: Handles the requests.
        host: Address to bind; loopback by default.
        port: Port to bind; 0 takes a free one.
        hosts: Host names that requests may use besides loopback and the bound address.
        before: Called before each request; brings the clock up to date.
        after: Called after each request; wakes the delivery of callbacks.
        mount: Adds routes, which take precedence over those of the service.
    """

    def __init__(
        self,
        service: Service,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        hosts: frozenset[str] = frozenset(),
        before: Callable[[], None] = lambda: None,
        after: Callable[[], None] = lambda: None,
        mount: Callable[[web.Application], None] = lambda _: None,
    ) -> None:
        self._service = service
        self._host = host
        self._port = port
        self._hosts = hosts
        self._before = before
        self._after = after
        self._mount = mount
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._fast: set[asyncio.Transport] = set()
        self._closing = anyio.Event()
        #: current and maximum number of concurrent requests
        self.active: int = 0
        self.peak: int = 0
        self.url: str = ""
        #: whether the server is bound to a non-loopback address
        self.open_to_others: bool = False

    async def __aenter__(self) -> Self:
        self._closing = anyio.Event()
        app = web.Application(client_max_size=1 << 20)
        self._mount(app)
        app.router.add_route("*", DISPATCH_PATH, self._handle)  # first, because most requests match it
        app.router.add_route("*", r"/{path:[\s\S]*}", self._handle)  # a path may contain a line end
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S)
        await runner.setup()
        fallback = cast("web.Server", runner.server)  # created by `setup`
        try:
            self._listener = await asyncio.get_running_loop().create_server(
                lambda: FastPathProtocol(self._answer, self._service.gateway.date, fallback, self._fast),
                self._host,
                self._port,
                backlog=_BACKLOG,
                start_serving=False,  # a cancellation after that would leave the socket to no owner
            )
            await self._listener.start_serving()
        except BaseException:
            if self._listener is not None:
                self._listener.close()
                self._listener = None
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = self._listener.sockets[0].getsockname()[:2]
        self.open_to_others = not origin_check.is_loopback(host)
        if self.open_to_others:
            logger.warning(
                "the simulator listens on %s: any client that reaches this address can drive it without "
                "credentials, and make it post to any address that this machine can reach",
                host,
            )
        if host in origin_check.ANY_ADDRESS:  # clients cannot connect to the wildcard address
            host = "::1" if ":" in host else "127.0.0.1"
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.set()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for transport in tuple(self._fast):
            transport.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _answer(self, headers: Mapping[str, str], body: bytes) -> Reply | None:
        """Handle an ordinary send synchronously; None if the response may be delayed or faulty."""
        if self._service.settings.latency or self._service.faults.on_requests:
            return None
        if origin_check.refusal("POST", headers, hosts=self._hosts, only_json=False) is not None:
            return None  # the host may still be the bound address, which only aiohttp's request knows
        self.peak = max(self.peak, self.active + 1)
        return self._reply("POST", DISPATCH_PATH, "", headers, body)

    def _reply(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Reply:
        self._before()
        reply = self._service.handle(method, path, query, headers, body)
        self._after()
        return reply

    def _dated(self, reply: Reply) -> Reply:
        """Return a reply with the `Date` of the simulator's clock, which aiohttp would take from its own."""
        return reply._replace(headers={**reply.headers, "Date": self._service.gateway.date()})

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            refused = origin_check.refusal(
                request.method,
                request.headers,
                hosts=self._hosts | called_address(request),
                only_json=False,
            )
            if refused is not None:
                turned = self._dated(self._service.turned_away(refused[1]))
                return web.Response(status=turned.status, body=turned.body, headers=turned.headers)
            body = await request.read()
            # the raw query: the service decodes it, and decoding it twice would lose a %26
            query = request.rel_url.raw_query_string
            reply = self._dated(self._reply(request.method, request.path, query, request.headers, body))
            # handled at once and delayed afterwards: the order of events must not depend on real time
            latency = self._service.settings.latency + reply.latency
            if latency:
                with anyio.move_on_after(latency):
                    await self._closing.wait()
            if reply.cut is not None:
                return await _cut_off(request, reply)
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        finally:
            self.active -= 1


def called_address(request: web.Request) -> frozenset[str]:
    """Return the local address of a request's connection, also on a server bound to every address."""
    own = None if request.transport is None else request.transport.get_extra_info("sockname")
    return frozenset({str(own[0]).lower()}) if own else frozenset()


async def _cut_off(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Cut the connection: instead of the response, or halfway through its body."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    transport = request.transport
    if transport is None:  # the client has disconnected
        return response
    if reply.cut == "half":
        response.content_length = len(reply.body)
        with suppress(ConnectionError):  # the client has disconnected just now
            await response.prepare(request)
            await response.write(reply.body[: len(reply.body) // 2])
        transport.close()
        return response
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
    return response
