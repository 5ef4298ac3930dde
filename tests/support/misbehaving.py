"""A raw TCP server that records the bytes of each request and answers whatever a test wants, or nothing.

It parses only as much HTTP as it takes to find the end of a request: what it records is what was sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

TOKEN_PATH = "/oauth/client_credential/accesstoken"


@dataclass
class Received:
    """One request as it came in."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def method(self) -> str:
        return self.line.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Connection:
    """One connection, for answers that need more than bytes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()


Handler = Callable[[Received, Connection], Awaitable[None]]


def reply(
    status: int, body: object = b"", headers: Mapping[str, str] | None = None, *, close: bool = False
) -> bytes:
    """Return the bytes of an answer; a body that is not bytes goes as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
    head = f"HTTP/1.1 {status} Some Reason\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    return head.encode("latin-1") + b"\r\n" + content


def answering(*answers: bytes) -> Handler:
    """Give these answers in turn, the last one for ever."""
    left = list(answers)

    async def handler(_request: Received, connection: Connection) -> None:
        await connection.write(left.pop(0) if len(left) > 1 else left[0])

    return handler


async def close_after_body(_request: Received, connection: Connection) -> None:
    connection.close()


async def reset_after_body(_request: Received, connection: Connection) -> None:
    connection.reset()


async def hang(_request: Received, _connection: Connection) -> None:
    await asyncio.Event().wait()


ACCEPTED = {"dispatch_uuid": "9788c4a0-1222-4a5e-ac72-1674ec726fed"}
accept = answering(reply(202, ACCEPTED))


@dataclass
class RawServer:
    """`async with RawServer(handler) as server`: everything but the token endpoint goes to `handler`."""

    handler: Handler = accept
    token_handler: Handler | None = None
    #: called when the head of a request is there and its body is not read yet
    head_handler: Handler | None = None
    ssl_context: ssl.SSLContext | None = None
    received: list[Received] = field(default_factory=list)
    token_requests: list[Received] = field(default_factory=list)
    connections: int = 0
    #: how many POSTs began, other than for tokens: their heads arrived
    posts: int = 0
    active: int = 0
    most_active: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        scheme = "https" if self.ssl_context else "http"
        host = "localhost" if self.ssl_context else "127.0.0.1"
        return f"{scheme}://{host}:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.url}/communication/nexmo"

    @property
    def token_url(self) -> str:
        return self.url + TOKEN_PATH

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.ssl_context, backlog=2048
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        connection = Connection(reader, writer)
        try:
            while not writer.is_closing():
                request = await self._read(connection)
                if request is None:
                    break
                await self._answer(request, connection)
        except (ConnectionError, asyncio.CancelledError, TimeoutError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, connection: Connection) -> Received | None:
        reader = connection.reader
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (text.partition(":") for text in lines)]
        head_only = Received(line, headers, b"")
        if not head_only.target.startswith(TOKEN_PATH):
            self.posts += head_only.method == "POST"
            if self.head_handler is not None:
                await self.head_handler(head_only, connection)
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        return Received(line, headers, await reader.readexactly(length))

    async def _answer(self, request: Received, connection: Connection) -> None:
        if request.target.startswith(TOKEN_PATH):
            self.token_requests.append(request)
            if self.token_handler is not None:
                await self.token_handler(request, connection)
            else:
                token = f"token{len(self.token_requests)}"
                await connection.write(reply(200, {"access_token": token, "expires_in": "3599"}))
            return
        self.received.append(request)
        self.arrived.set()
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            await self.handler(request, connection)
        finally:
            self.active -= 1
