"""The fast path of the server: handles ordinary sends without a web framework; aiohttp handles the rest.

It reads only `POST /dispatch` with plain headers and a complete body. Any other request hands its connection
over to aiohttp for good, with the bytes received so far.

With aiohttp alone, a load test would measure the simulator instead of the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, cast

from nexmo_dispatch_async.simulator.api.answers import Reply
from nexmo_dispatch_async.simulator.api.service import DISPATCH_PATH

__all__ = ["FastPathProtocol", "read_request"]

_REQUEST_LINE: Final = f"POST {DISPATCH_PATH} HTTP/1.1".encode()
_START: Final = _REQUEST_LINE + b"\r\n"
_MOST_HEAD: Final = 8190  # aiohttp's own limit for a line
_MOST_BODY: Final = 1 << 20
# Requests with these headers are left to aiohttp.
_UNUSUAL: Final = frozenset(
    {"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer", "te", "connection"}
)


class _Headers(dict[str, str]):
    """Headers by lower-case name, with a case-insensitive `get`."""

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]  # text only
        return super().get(name.lower(), default)


class Unusual(Exception):  # noqa: N818 - not an error: aiohttp handles the request
    """The bytes do not begin with an ordinary send."""


def read_request(data: bytes | bytearray) -> tuple[Mapping[str, str], bytes, int] | None:
    """Parse one send at the beginning of `data`.

    Returns:
        Headers, body, and the number of bytes consumed; None while the request is incomplete.

    Raises:
        Unusual: The request is not an ordinary send.
    """
    if not data.startswith(_START):
        if _START.startswith(data):
            return None
        raise Unusual
    end = data.find(b"\r\n\r\n", len(_REQUEST_LINE))
    if end < 0:
        if len(data) > _MOST_HEAD:
            raise Unusual
        return None
    headers = _Headers()
    for line in data[len(_START) : end].decode("latin-1").split("\r\n") if end > len(_START) else ():
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in headers or name in _UNUSUAL or not name.replace("-", "").isalnum():
            raise Unusual
        headers[name] = value.strip(" \t")
    length = headers.get("content-length") or ""
    if not (length.isascii() and length.isdigit() and len(length) <= 7 and int(length) <= _MOST_BODY):
        raise Unusual
    if "host" not in headers or end > _MOST_HEAD or not headers_are_plain(data, end):
        raise Unusual
    finish = end + 4 + int(length)
    if len(data) < finish:
        return None
    return cast("Mapping[str, str]", headers), bytes(data[end + 4 : finish]), finish


def headers_are_plain(data: bytes | bytearray, end: int) -> bool:
    """Return whether the head is free of control characters and bare line ends, which aiohttp refuses."""
    head = data[:end].replace(b"\r\n", b"").replace(b"\t", b"")
    return head.isascii() and head.decode("ascii").isprintable()


class FastPathProtocol(asyncio.Protocol):
    """One connection.

    Args:
        answer: Returns the response to a send, given headers and body; None leaves the send to aiohttp.
        date: Returns the `Date` of a response.
        fallback: Creates aiohttp's protocol for a connection.
        connections: The open connections on the fast path, which the server closes.
    """

    def __init__(
        self,
        answer: Callable[[Mapping[str, str], bytes], Reply | None],
        date: Callable[[], str],
        fallback: Callable[[], asyncio.Protocol],
        connections: set[asyncio.Transport],
    ) -> None:
        self._answer = answer
        self._date = date
        self._fallback = fallback
        self._connections = connections
        self._buffer = bytearray()
        self._paused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._transport is not None:
            self._connections.discard(self._transport)
            self._transport = None

    def pause_writing(self) -> None:
        """Stop reading while the client does not read its responses."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Handle the requests already received, then read more."""
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()
            self._handle_buffer()

    def data_received(self, data: bytes) -> None:
        """Handle the complete sends."""
        self._buffer += data
        self._handle_buffer()

    def _handle_buffer(self) -> None:
        while self._buffer and not self._paused and self._transport is not None:
            try:
                request = read_request(self._buffer)
            except Unusual:
                self._hand_over(self._transport)
                return
            if request is None:
                return
            headers, body, consumed = request
            reply = self._answer(headers, body)
            if reply is None:
                self._hand_over(self._transport)
                return
            del self._buffer[:consumed]
            self._transport.write(_encoded(reply, self._date()))

    def _hand_over(self, transport: asyncio.Transport) -> None:
        self._connections.discard(transport)
        self._transport = None
        protocol = self._fallback()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(bytes(self._buffer))
        self._buffer.clear()


def _encoded(reply: Reply, date: str) -> bytes:
    fields = "".join([f"{name}: {value}\r\n" for name, value in reply.headers.items()])
    fields += f"Content-Length: {len(reply.body)}\r\nDate: {date}\r\nServer: dispatch-simulator\r\n\r\n"
    return f"HTTP/1.1 {reply.status} {_PHRASES[reply.status]}\r\n{fields}".encode("latin-1") + reply.body


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
