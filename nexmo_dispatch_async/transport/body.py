"""Did any byte of a request leave? The body that knows, and what an exception means because of it.

It opens nothing and waits for nothing but the transport it is given.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NoReturn

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload
from multidict import CIMultiDict

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CertificateError,
    ConfigurationError,
    FailurePhase,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    ProxyError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.retry import RetryPolicy
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport.causes import certificate_alert, reason_of
from nexmo_dispatch_async.transport.keep_alive import KeptConnections

__all__ = ["FOREIGN", "UNASKED", "Body", "Phase", "failure_of", "is_setting", "may_repeat", "without_token"]

# What an aiohttp session can raise; ValueError and RuntimeError for what it finds wrong before it connects.
FOREIGN = (aiohttp.ClientError, OSError, EOFError, ValueError, RuntimeError)

# Raised before a connection exists, so before a byte can have left.
_BEFORE_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_OF_THE_CERTIFICATE = (ssl.SSLCertVerificationError, aiohttp.ServerFingerprintMismatch)
_OF_THE_NETWORK = (aiohttp.ClientError, OSError, EOFError)


class Phase(IntEnum):
    """How far the bytes of a request got."""

    #: Nobody asked for the body yet: before the request was built, or a mock that will never ask.
    UNSEEN = 0
    #: The request was built around it; there is no connection yet, or nothing was written to it.
    PREPARED = 1
    #: The connection was found closed or had something to say already, or broke without taking a byte.
    STALE = 2
    #: The operating system took at least one byte.
    LEFT = 3


# An attribute of an enum costs more than everything else that a body does with it.
_UNSEEN, _PREPARED, _STALE, _LEFT = Phase


class Body(Payload):
    """The bytes of a request, and how far they got. One per attempt.

    What `Payload.__init__` would set for each is the same for all, so it stands here.
    """

    _autoclose = True
    _encoding = None
    _filename = None
    # Read by aiohttp, which takes it for the header if there is none; the client always sets one.
    _headers = CIMultiDict({"Content-Type": "application/octet-stream"})
    _abandoned = False
    _transport: asyncio.WriteTransport | None = None
    _protocol: Any = None
    _reader: object = None
    #: Whether the connection was left alone because the service may be about to close it.
    expired = False
    #: When it was written.
    sent = 0.0
    #: Whether the connection had not answered before.
    fresh = True
    #: What the connection was found to have ended with.
    _end: BaseException | None = None

    def __init__(self, data: bytes, kept: KeptConnections | None = None) -> None:
        self._value = self._data = data
        self._kept = kept
        self.phase: Phase = _UNSEEN

    def abandon(self) -> bool:
        """Write nothing from now on; return whether something may have left before.

        aiohttp writes in a task of its own: one that was cancelled and does not know yet must not write after
        somebody was told that nothing left. What waits in a buffer is dropped with the connection; it would
        otherwise stay open until the other side took it. A connection that serves another request by now, as
        it may after the answer, is left alone.
        """
        self._abandoned = True
        if self._transport is not None and _reader_of(self._protocol) is self._reader:
            self._transport.abort()
        return self.phase is _LEFT

    def answered(self, keep_alive: str | None) -> None:
        """Take note of an answer on the connection, with its `Keep-Alive` header."""
        if self._kept is not None and self._protocol is not None:
            self._kept.answered(self._protocol, keep_alive, self.sent)

    def let_go(self) -> None:
        """Forget the connection, which may be somebody else's by now."""
        self._transport = None

    @property
    def connecting(self) -> bool:
        """Return whether it waits for a connection."""
        return self.phase is _PREPARED

    @property
    def left(self) -> bool:
        """Return whether bytes may have left."""
        return self.phase is _LEFT

    @property
    def size(self) -> int:
        """Return the length; aiohttp asks for it when it builds the request."""
        if self.phase is _UNSEEN:
            self.phase = _PREPARED
        return len(self._data)

    @property
    def consumed(self) -> bool:
        """Return whether the bytes left; aiohttp does not send a consumed body again."""
        return self.phase is _LEFT

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the bytes as text."""
        return self._data.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write everything."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write everything, unless the connection is found closed, or says something unasked.

        Raises:
            ConnectionResetError: Nothing was written.
        """
        if self._abandoned:
            raise ConnectionResetError(_GIVEN_UP)
        if self.phase is _LEFT:
            # aiohttp repeats what HTTP calls idempotent when a connection breaks; here it is not for aiohttp
            # to decide.
            raise ConnectionResetError("the connection broke after the request had been sent")
        # aiohttp holds the headers back until the body comes and writes both at once.
        transport = writer.transport
        if transport is None or _is_closing(transport):
            await self._is_closed(getattr(writer, "protocol", None))
        if heard := _heard(transport):
            closed = heard != _POLL_READABLE
            # What was said before anything was asked would be taken for the answer to this request.
            if transport.get_extra_info("ssl_object") is None:
                self._is_stale(_CLOSED if closed else UNASKED)
            # Encrypted: it may be a session ticket, or why the connection was closed. The loop reads it in
            # its next round, after what is scheduled already, and then the protocol knows.
            self.phase = _STALE
            protocol = transport.get_protocol()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self._abandoned:
                raise ConnectionResetError(_GIVEN_UP)
            if closed or _is_closing(transport):
                await self._is_closed(protocol)
        protocol = transport.get_protocol()
        if getattr(protocol, "should_close", False):
            self._is_stale(UNASKED)
        kept = self._kept
        if kept is not None:
            self.fresh = kept.is_fresh(protocol)
            if kept.is_over(protocol):
                self.expired = True
                self._is_stale(_IDLE)
            self.sent = kept.clock()
        self.phase = _LEFT
        self._transport, self._protocol = transport, protocol
        self._reader = _reader_of(protocol)
        await writer.write(self._data)
        # asyncio writes at once; if the operating system refuses, it closes the transport there and then. Up
        # to this size aiohttp does not wait in between, so it was this write that was refused, as a whole.
        if len(self._data) < _ONE_WRITE and _is_closing(transport):
            self.phase = _STALE
            raise ConnectionResetError("the connection broke before anything was written")

    def refused_certificate(self, error: BaseException) -> str:
        """Return the alert by which the service ended the handshake, or an empty text.

        In TLS 1.3 the handshake ends here before the service has looked at the client's certificate: its
        alert comes when the request may have left. No service reads requests before it takes the certificate;
        so on a connection that never answered the alert proves that the request was not read.
        """
        if not self.fresh:
            return ""
        connecting = self.phase is _PREPARED
        alert = certificate_alert(error, connecting=connecting)
        return alert or certificate_alert(self._end, connecting=connecting)

    async def _is_closed(self, protocol: object) -> NoReturn:
        """Learn what the connection ended with, and give it up."""
        self.phase = _STALE
        ended: Callable[[], BaseException | None] | None = getattr(protocol, "exception", None)
        for _ in range(0 if ended is None else _ROUNDS_TO_THE_END):
            self._end = None if ended is None else ended()
            if self._end is not None:
                break
            await asyncio.sleep(0)
        self._is_stale(_CLOSED)

    def _is_stale(self, why: str) -> NoReturn:
        self.phase = _STALE
        raise ConnectionResetError(why)


# How many rounds of the loop it takes at most from the end of a connection to the protocol's knowledge of it.
_ROUNDS_TO_THE_END = 4
# Why nothing was written
UNASKED = "an answer was there before anything was written"
_CLOSED = "the connection was closed before anything was written"
_IDLE = "the connection was idle for as long as the service keeps one"
_GIVEN_UP = "the request was given up before anything was written"
_ONE_WRITE = 0x8000
_POLL_READABLE = getattr(select, "POLLIN", 0)
# The end of what the other side says: where there is no word for it, it is readable all the same.
_POLL_CLOSED = getattr(select, "POLLRDHUP", 0)
# One for each descriptor, whichever socket has it at the time: a poll object knows the number only.
_POLLS: dict[int, Any] = {}


def _is_closing(transport: asyncio.BaseTransport) -> bool:
    """Return whether the connection is being closed.

    asyncio's TLS transport knows only whether it was closed from here; whether the operating system refused a
    write stands on the transport below it.
    """
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    return transport.is_closing() or (isinstance(below, asyncio.BaseTransport) and below.is_closing())


def _reader_of(protocol: object) -> object:
    """Return what reads the answer on a connection: aiohttp makes a new one for each request."""
    return getattr(protocol, "_parser", None)


def _heard(transport: asyncio.BaseTransport) -> int:
    """Return what the event loop did not notice yet: that there is something to read, or a close.

    Without a way to ask (Windows) the answer is nothing, and the loop has to notice by itself.
    """
    sock = transport.get_extra_info("socket")
    if not _POLL_READABLE or sock is None:
        return 0
    descriptor = sock.fileno()
    poll = _POLLS.get(descriptor)
    if poll is None:
        poll = _POLLS[descriptor] = select.poll()
        poll.register(descriptor, _POLL_READABLE | _POLL_CLOSED)
    events: list[tuple[int, int]] = poll.poll(0)
    return events[0][1] if events else 0


def failure_of(
    request: Request, body: Body, error: Exception, *, answering: bool = False, proxy: str = ""
) -> APIError | ConfigurationError:
    """Return what an exception of the session means, by what left before it.

    Args:
        request: What was sent, or not.
        body: What knows how far it got.
        error: What the session raised.
        answering: Whether an answer had begun.
        proxy: Host and port of the proxy, if there is one.
    """
    summary = request.summary
    reason = reason_of(error)
    if body.phase is Phase.UNSEEN and not isinstance(error, _OF_THE_NETWORK):
        # Found wrong before the request was built. What a mock raises is of the network, and is believed.
        return ConfigurationError(f"{summary}: nothing was sent, the session refuses it{reason}")
    if not answering and (alert := body.refused_certificate(error)):
        message = f"{summary}: no connection: the service does not take the client's certificate: {alert}"
        return CertificateError(message, request=summary, phase="connect")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        named = f"the proxy {proxy}".rstrip()
        message = f"{summary}: {named} refuses the tunnel with {error.status}{reason}"
        return ProxyError(message, request=summary, status=error.status, phase="connect")
    connection = f"no connection by way of the proxy {proxy}" if proxy else "no connection"
    if isinstance(error, _OF_THE_CERTIFICATE):
        return CertificateError(f"{summary}: {connection}{reason}", request=summary, phase="connect")
    connecting = isinstance(error, _BEFORE_CONNECTION)
    if connecting or body.phase in (Phase.PREPARED, Phase.STALE):
        phase: FailurePhase = "write" if body.phase is Phase.STALE else "connect"
        if isinstance(error, TimeoutError):
            message = f"{summary}: {connection} in time{reason}"
            return APITimeoutError(message, request=summary, phase=phase)
        return APIConnectionError(f"{summary}: {connection}{reason}", request=summary, phase=phase)
    phase = "read" if answering else "wait"
    if isinstance(error, TimeoutError):
        message = f"{summary}: sent, and no answer in time{reason}"
        return OutcomeUnknownError(message, request=summary, phase=phase)
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        # A head that is no HTTP is the beginning of an answer too.
        return ProtocolError(
            f"{summary}: sent, and the answer is unusable{reason}", request=summary, phase="read"
        )
    message = f"{summary}: sent, and the connection broke{reason}"
    return OutcomeUnknownError(message, request=summary, phase=phase)


def may_repeat(error: APIError, request: Request, policy: RetryPolicy) -> bool:
    """Return whether a failed call may be made again without doing anything twice (contract 3.8)."""
    if isinstance(error, NotSentError):
        return not is_setting(error)
    if not isinstance(error, OutcomeUnknownError):
        return False
    if request.method == "GET":
        # Reading twice does no harm; a whole answer that makes no sense would make none again.
        return not isinstance(error, ProtocolError) or error.status is None
    return policy.unavailable and error.status == 503


def is_setting(error: APIError) -> bool:
    """Return whether the next try would fail in the same way, until a setting is changed."""
    if isinstance(error, ProxyError):
        return error.error_class == "configuration"
    return isinstance(error, CertificateError)


def without_token(error: OutcomeUnknownError) -> TokenUnavailableError:
    """Return what the failure of a token request means for the call that needs the token: it was not sent."""
    renamed = TokenUnavailableError(
        error.message, request=error.request, status=error.status, details=error.details, phase="token"
    )
    renamed.__cause__ = error.__cause__
    return renamed
