"""The usual path of a request: head and body in one write, on a connection of aiohttp's own connector.

aiohttp resolves names, opens, limits and keeps the connections, implements TLS and CONNECT, and parses the
response. This path saves the request object, the writer task and the response object that
`ClientSession.request` makes for each request, which cost more than half of a send (docs/performance.md).
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Mapping
from types import FunctionType
from typing import Any, NamedTuple

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, istr
from yarl import URL

from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.transport.progress import Phase, Progress
from nexmo_dispatch_async.transport.proxies import Proxies
from nexmo_dispatch_async.transport.session_wire import SessionWire
from nexmo_dispatch_async.transport.wire import NO_TIMEOUT, check_length, merged_headers

__all__ = ["FastWire", "is_supported"]

_PREPARED = Phase.PREPARED

_METHODS = frozenset({"DELETE", "GET", "PATCH", "POST", "PUT"})
# Fields that aiohttp derives from the request, or that delimit it.
_FRAMING = (
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Expect",
    "Host",
    "Transfer-Encoding",
    "Upgrade",
)
_FORBIDDEN_IN_TARGET = re.compile(r"[\x00-\x20\x7f]")
_KEEP_ALIVE = istr("Keep-Alive")
# How many URLs are remembered; a client has one for its sends and one for its tokens.
_REMEMBERED = 64


class _Target(NamedTuple):
    """The destination of requests to one URL.

    Attributes:
        prototype: The request from which the connector reads host, port, TLS and proxy.
        path: Path and query of the request line.
        host: The `Host` header.
    """

    prototype: _Prototype
    path: str
    host: str


class _Head(NamedTuple):
    """The head of a request up to the length of its body, and the parts from which it was made."""

    method: str
    url: str
    headers: Mapping[str, str]
    authorization: str | None
    prototype: _Prototype
    encoded: bytes


class FastWire:
    """Writes requests to connections of the client's own session.

    Args:
        session: The client's own session, with its connector.
        proxies: The proxies of the client, by URL.
        max_response: Maximum length of a response, in bytes.
        otherwise: Sends the requests that this wire does not support.
    """

    __slots__ = (
        "_connect",
        "_head",
        "_max_response",
        "_otherwise",
        "_proxies",
        "_request",
        "_session",
        "_targets",
    )

    def __init__(
        self, session: aiohttp.ClientSession, proxies: Proxies, max_response: int, otherwise: SessionWire
    ) -> None:
        assert session.connector is not None  # noqa: S101 - is_supported() looked
        self._session = session
        self._connect = session.connector.connect
        self._proxies = proxies
        self._max_response = max_response
        self._otherwise = otherwise
        # All requests of a session call it; a mock that replaces it must be called, too
        self._request = aiohttp.ClientSession._request  # noqa: SLF001 - there is no public name
        self._targets: dict[str, _Target | None] = {}
        self._head: _Head | None = None

    async def exchange(self, request: Request, authorization: str | None, progress: Progress) -> Response:
        """Write a request and read its response; see `Wire`."""
        head = self._head_of(request, authorization)
        if head is None:
            return await self._otherwise.exchange(request, authorization, progress)
        progress.phase = _PREPARED
        try:
            connection = await self._connect(head.prototype, _NO_TRACES, NO_TIMEOUT)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError("connection timeout") from error
        transport, protocol = connection.transport, connection.protocol
        try:
            if not progress.reached(transport, protocol):
                await progress.make_ready()
            assert transport is not None and protocol is not None  # noqa: S101, PT018 - it had raised
            progress.report_write()
            protocol.set_response_params(read_until_eof=True, auto_decompress=True)
            body = request.body or b""
            transport.write(b"%b%d\r\n\r\n%b" % (head.encoded, len(body), body))
            progress.check_write()
            message, content = await protocol.read()
            while message.code < 200 and message.code != 101:
                message, content = await protocol.read()
            headers = message.headers
            progress.report_response(headers.get(_KEEP_ALIVE))
            # Nearly always the whole response has arrived.
            data = content.read_nowait() if content.is_eof() else await self._rest_of(content)
            check_length(data, self._max_response)
        except HttpProcessingError as error:
            unusable = error.message
        except BaseException:
            _drop(connection, progress)
            raise
        else:
            if protocol.writing_paused:
                # The service responded before it had read the request.
                connection.close()
            else:
                connection.release()
            return Response(message.code, headers, data)
        _drop(connection, progress)
        # Raised outside of the handler, because the exception of the parser quotes received data.
        raise aiohttp.ClientPayloadError(_without_input(unusable))

    async def _rest_of(self, content: aiohttp.StreamReader) -> bytes:
        """Read the rest of a body, up to the maximum length."""
        data = await content.readany()
        while len(data) <= self._max_response and not content.at_eof():
            data += await content.readany()
        return data

    def _head_of(self, request: Request, authorization: str | None) -> _Head | None:
        """Return the head of a request, made once for dispatches; `None` if the session must send it."""
        if aiohttp.ClientSession._request is not self._request:  # noqa: SLF001
            return None
        head = self._head
        if (
            head is not None
            and head.headers is request.headers
            and head.authorization == authorization
            and head.url == request.url
            and head.method == request.method
        ):
            return head
        target = self._target(request.url)
        headers = merged_headers(self._session.headers, request, authorization)
        if target is None or request.method not in _METHODS or any(name in headers for name in _FRAMING):
            return None
        if request.body is not None:
            headers.setdefault("Content-Type", "application/octet-stream")
        lines = [f"{request.method} {target.path} HTTP/1.1", f"Host: {target.host}"]
        lines += (f"{name}: {value}" for name, value in headers.items())
        encoded = "\r\n".join([*lines, "Content-Length: "]).encode()
        self._head = _Head(
            request.method, request.url, request.headers, authorization, target.prototype, encoded
        )
        return self._head

    def _target(self, text: str) -> _Target | None:
        """Return the destination for a URL; `None` if the session must send its requests."""
        if text not in self._targets:
            if len(self._targets) >= _REMEMBERED:
                self._targets.clear()
            self._targets[text] = self._target_of(URL(text, encoded=True))
        return self._targets[text]

    def _target_of(self, url: URL) -> _Target | None:
        plain, proxy, path = url.scheme == "http", self._proxies.of(url), url.raw_path_qs
        if not (plain or url.scheme == "https") or not url.raw_host or url.raw_user or url.raw_password:
            return None
        if (plain and proxy is not None) or _FORBIDDEN_IN_TARGET.search(path):
            return None
        prototype = _prototype(self._session, url)
        host = prototype.headers["Host"]
        if proxy is not None:
            # With the field that the connector adds at its first use; so the second use finds the connection.
            prototype.update_proxy(proxy, None, CIMultiDict({**self._session.headers, "Host": host}))
        return _Target(prototype, path, host)


def _drop(connection: aiohttp.connector.Connection, progress: Progress) -> None:
    """Close a connection that must not carry another request."""
    transport = connection.transport
    if transport is not None and progress.on_wire:
        # Buffered data would keep the connection open until the peer took it.
        transport.abort()
    connection.close()


# Passed to the connector, which only reads it.
_NO_TRACES: list[Any] = []


def is_supported(session: aiohttp.ClientSession) -> bool:
    """Return whether this version of aiohttp and this session support `FastWire`.

    A session with trace configurations or middlewares, which tracing tools add to every session, has to see
    each request, and so has a session whose `_request` is replaced, for instance by a mock.
    """
    request: object = aiohttp.ClientSession._request  # noqa: SLF001
    if type(request) is not FunctionType or request.__code__.co_filename != _file_of_sessions():
        return False
    if type(session) is not aiohttp.ClientSession or type(session.connector) is not aiohttp.TCPConnector:
        return False
    try:
        if session.trace_configs or session._middlewares:  # noqa: SLF001
            return False
        _check_pieces(session)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def _file_of_sessions() -> str:
    return inspect.getfile(aiohttp.ClientSession)


def _check_pieces(session: aiohttp.ClientSession) -> None:
    """Use each private interface of aiohttp that the fast path needs, without a connection.

    Raises:
        AttributeError, KeyError, TypeError: aiohttp lacks an interface, or changed it.
    """
    prototype = _prototype(session, URL("https://localhost/"))
    _ = prototype.headers["Host"], prototype.connection_key
    prototype.update_proxy(URL("http://localhost:1"), None, CIMultiDict(session.headers))
    inspect.signature(aiohttp.TCPConnector.connect).bind(session.connector, prototype, [], NO_TIMEOUT)
    protocol = ResponseHandler(asyncio.get_running_loop())
    protocol.set_response_params(read_until_eof=True, auto_decompress=True)
    _ = protocol.should_close, protocol.writing_paused, protocol.read, HttpProcessingError.message
    for name in ("protocol", "transport", "close", "release"):
        getattr(aiohttp.connector.Connection, name)


class _Prototype(aiohttp.ClientRequest):
    """The request from which the connector reads the destination; it is never sent."""

    _key: ConnectionKey | None = None

    @property
    def connection_key(self) -> ConnectionKey:
        """The key of connections to one host with one TLS setting and proxy; made once."""
        key = self._key
        if key is None:
            key = self._key = super().connection_key
        return key


def _prototype(session: aiohttp.ClientSession, url: URL) -> _Prototype:
    return _Prototype("GET", url, loop=asyncio.get_running_loop(), session=session)


def _without_input(message: str) -> str:
    """Return the message of the parser without the received bytes that it quotes."""
    return re.split(r"\bb['\"]", message.partition("\n")[0])[0].strip().rstrip(":")
