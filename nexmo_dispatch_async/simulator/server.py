"""Puts the gateway on a TCP port with aiohttp.

It adds nothing to the answers: every path goes to `Gateway.handle`, except where `mount` added routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from nexmo_dispatch_async.simulator.gateway import DISPATCH_PATH, Gateway

__all__ = ["Server"]


class Server:
    """The listening end of a simulator.

    Args:
        gateway: Answers the requests.
        host: Address to bind, loopback unless told otherwise.
        port: Port to bind; 0 takes a free one.
        before: Called before each request is handled; brings the clock up to date.
        after: Called after each request; there may be something new to do.
        mount: Adds routes of its own, which come before the gateway's.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] | None = None,
        mount: Callable[[web.Application], None] | None = None,
    ) -> None:
        self._gateway = gateway
        self._host = host
        self._port = port
        self._before = before
        self._after = after
        self._mount = mount
        self._runner: web.AppRunner | None = None
        #: requests being answered now, and the most at once so far
        self.active = 0
        self.peak = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 20)
        if self._mount is not None:
            self._mount(app)
        app.router.add_route("*", DISPATCH_PATH, self._handle)  # found first: it is what comes in thousands
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _handle(self, request: web.Request) -> web.Response:
        self.active += 1
        self.peak = max(self.peak, self.active)
        try:
            body = await request.read()
            latency = self._gateway.settings.latency
            if latency:
                await asyncio.sleep(latency)
            if self._before is not None:
                self._before()
            # the raw query: decoding it here and once more in the gateway would lose a %26
            query = request.rel_url.raw_query_string
            reply = self._gateway.handle(request.method, request.path, query, request.headers, body)
            if self._after is not None:
                self._after()
            return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
        finally:
            self.active -= 1
