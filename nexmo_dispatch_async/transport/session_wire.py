"""Requests by `ClientSession.request`: on the caller's own sessions, on mocks, and as the fallback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from multidict import CIMultiDict
from yarl import URL

from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.transport.progress import UNASKED, Phase, Progress
from nexmo_dispatch_async.transport.proxies import Proxies
from nexmo_dispatch_async.transport.wire import NO_TIMEOUT, check_length, merged_headers

__all__ = ["Body", "SessionWire"]

_UNSEEN, _PREPARED, _STALE, _LEFT = Phase

_NO_CONTENT_TYPE = ("Content-Type",)
_GIVEN_UP = "the request was given up before anything was written"
# Up to this size, in bytes, aiohttp writes a body in one step.
_ONE_WRITE = 0x8000


class SessionWire:
    """Sends requests with an aiohttp session.

    Args:
        session: The caller's session, or the client's own.
        headers: Common headers of all requests that the session does not add.
        proxies: The proxies of the client, by URL.
        max_response: Maximum length of a response, in bytes.
    """

    __slots__ = ("_headers", "_max_response", "_merged", "_parsed", "_proxies", "_session")

    def __init__(
        self, session: aiohttp.ClientSession, headers: Mapping[str, str], proxies: Proxies, max_response: int
    ) -> None:
        self._session = session
        self._headers = headers
        self._proxies = proxies
        self._max_response = max_response
        # The headers of the last request, its authorization, and the two merged
        self._merged: tuple[Mapping[str, str], str | None, CIMultiDict[str]] = ({}, "", CIMultiDict())
        # The URL of the last request, as text and as a URL object, and its proxy
        self._parsed: tuple[str, URL, URL | None] = ("", URL(), None)

    async def exchange(self, request: Request, authorization: str | None, progress: Progress) -> Response:
        """Write a request and read its response; see `Wire`."""
        headers = self._merge(request, authorization)
        if self._parsed[0] != request.url:
            url = URL(request.url, encoded=True)
            self._parsed = request.url, url, self._proxies.of(url)
        _, url, proxy = self._parsed
        # Even an empty body is passed, because only a body reports which bytes were sent.
        body = Body(request.body or b"", progress)
        reply: aiohttp.ClientResponse | None = None
        try:
            reply = await self._session.request(
                request.method,
                url,
                data=body,
                headers=headers,
                skip_auto_headers=_NO_CONTENT_TYPE if request.body is None else None,
                proxy=proxy,
                timeout=NO_TIMEOUT,
                # No redirects, since a POST must not be repeated elsewhere; and no exception for a status.
                allow_redirects=False,
                raise_for_status=False,
            )
            return Response(reply.status, reply.headers, await self._read(reply, progress))
        except BaseException:
            # After the last byte of a response the connection may carry another request.
            body.abandon(released=reply is not None and reply.connection is None)
            if reply is not None:
                reply.close()
            raise

    async def _read(self, reply: aiohttp.ClientResponse, progress: Progress) -> bytes:
        if progress.phase is not _LEFT and progress.phase is not _UNSEEN:
            # The response arrived before the request, so it belongs to another request or to none.
            progress.phase = _STALE
            raise aiohttp.ClientConnectionError(UNASKED)
        progress.report_response(reply.headers.get("Keep-Alive"))
        content = reply.content
        # Nearly always the whole response has arrived, and the connection is free again.
        if content.is_eof():
            data = content.read_nowait()
        else:
            data = await content.readany()
            while len(data) <= self._max_response and not content.at_eof():
                data += await content.readany()
        check_length(data, self._max_response)
        reply.release()
        return data

    def _merge(self, request: Request, authorization: str | None) -> CIMultiDict[str]:
        """Return the header fields; those of dispatches are one object, merged once per token."""
        headers, authorized, merged = self._merged
        if headers is not request.headers or authorized != authorization:
            merged = merged_headers(self._headers, request, authorization)
            self._merged = request.headers, authorization, merged
        return merged


class Body(Payload):
    """The bytes of one request, which report to its `Progress` when aiohttp writes them.

    Class attributes replace the attributes that `Payload.__init__` would set to the same values for each.
    """

    _autoclose = True
    _encoding = None
    _filename = None
    # aiohttp uses it as the header if there is none; a request with a body has one.
    _headers = CIMultiDict({"Content-Type": "application/octet-stream"})
    _abandoned = False
    _transport: asyncio.WriteTransport | None = None
    _protocol: Any = None
    _parser: object = None

    def __init__(self, data: bytes, progress: Progress) -> None:
        self._value = self._data = data
        self._progress = progress

    def abandon(self, *, released: bool = False) -> None:
        """Write nothing from now on, and discard the data in the buffer of the connection.

        aiohttp writes in a separate task. Once the caller knows that no byte was sent, that task must not
        write, even if its cancellation has not been delivered yet. Buffered data would keep the connection
        open until the peer took it.

        Args:
            released: Whether the connection may carry another request by now; then it is not touched.
        """
        self._abandoned = True
        if self._transport is not None and not released and _parser_of(self._protocol) is self._parser:
            self._transport.abort()

    @property
    def size(self) -> int:
        """The length; aiohttp asks for it when it builds the request."""
        if self._progress.phase is _UNSEEN:
            self._progress.phase = _PREPARED
        return len(self._data)

    @property
    def consumed(self) -> bool:
        """Whether the bytes were sent; aiohttp does not send a consumed body again."""
        return self._progress.on_wire

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as text."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write everything."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write everything, unless the connection turns out to be unusable.

        Raises:
            ConnectionResetError: Nothing was written.
        """
        progress = self._progress
        if self._abandoned:
            raise ConnectionResetError(_GIVEN_UP)
        if progress.on_wire:
            # When a connection breaks, aiohttp repeats requests that HTTP calls idempotent; here `decision`
            # decides about repetitions.
            raise ConnectionResetError("the connection broke after the request had been sent")
        # aiohttp holds the headers back until the body comes and writes both at once.
        transport = writer.transport
        protocol = getattr(writer, "protocol", None) if transport is None else transport.get_protocol()
        if not progress.reached(transport, protocol):
            await progress.make_ready()
            if self._abandoned:
                raise ConnectionResetError(_GIVEN_UP)
        assert transport is not None  # noqa: S101 - or make_ready() had raised
        progress.report_write()
        self._transport, self._protocol, self._parser = transport, protocol, _parser_of(protocol)
        await writer.write(self._data)
        # asyncio writes at once, unless aiohttp writes in steps.
        if len(self._data) < _ONE_WRITE:
            progress.check_write()


def _parser_of(protocol: object) -> object:
    """Return the parser of the response on a connection; aiohttp makes a new one for each request."""
    return getattr(protocol, "_parser", None)
