"""A server in a thread of its own: it answers while the event loop of the test is blocked."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from types import TracebackType
from typing import Self

from tests.support.misbehaving import ACCEPTED, Connection, RawServer, Received, reply

BOUND = 10.0  # seconds that a wait takes at most


class ServerThread:
    """`with ServerThread(64) as thread`: so many requests get their answers when `answer()` is called.

    Args:
        requests: How many; then `arrived` is set.
        ssl_context: Of the server.
        body: Of each answer.
        hold_token: Whether a token request waits as well, and is one of them.
    """

    def __init__(
        self,
        requests: int,
        ssl_context: ssl.SSLContext | None = None,
        *,
        body: object = ACCEPTED,
        hold_token: bool = False,
    ) -> None:
        self._requests = requests
        self._arrived = self._answered = 0
        self._data = reply(202, body)
        token = self._token if hold_token else None
        self.server = RawServer(self._accept, token, ssl_context=ssl_context)
        self.arrived = threading.Event()
        self.answered = threading.Event()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._go: asyncio.Event
        self._end: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(BOUND)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(BOUND)

    def answer(self) -> None:
        """Let every request have its answer, and block until the operating system took all of them."""
        self._loop.call_soon_threadsafe(self._go.set)
        assert self.answered.wait(BOUND)

    def hold(self) -> None:
        """Begin again: the next requests wait."""
        self.arrived.clear()
        self.answered.clear()
        self._arrived = self._answered = 0
        self._go.clear()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._go, self._end = asyncio.Event(), asyncio.Event()
        async with self.server:
            self._ready.set()
            await self._end.wait()

    async def _accept(self, _request: Received, connection: Connection) -> None:
        await self._wait_and_write(connection, self._data)

    async def _token(self, _request: Received, connection: Connection) -> None:
        await self._wait_and_write(connection, reply(200, {"access_token": "token1", "expires_in": "3599"}))

    async def _wait_and_write(self, connection: Connection, data: bytes) -> None:
        self._arrived += 1
        if self._arrived == self._requests:
            self.arrived.set()
        await self._go.wait()
        sock = connection.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        connection.writer.write(data)
        assert connection.writer.transport.get_write_buffer_size() == 0
        self._answered += 1
        if self._answered == self._requests:
            self.answered.set()
