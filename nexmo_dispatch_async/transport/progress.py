"""Whether any byte of a request was sent: the progress of one request on its connection.

The module opens no connection and writes nothing: each wire reports to it before and after its write.
"""

from __future__ import annotations

import asyncio
import math
import select
from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import NoReturn

from nexmo_dispatch_async.transport.causes import certificate_alert
from nexmo_dispatch_async.transport.keep_alive import KeptConnections

__all__ = ["UNASKED", "Phase", "Progress", "Socket", "pending_input"]


class Phase(IntEnum):
    """The phases of a request, by its bytes."""

    #: The request was not built yet. A mock of the session never gets further.
    UNSEEN = 0
    #: The request was built; there is no connection yet, or nothing was written to it.
    PREPARED = 1
    #: The connection was closed, had input before the request, or broke without taking a byte.
    STALE = 2
    #: The operating system may have taken at least one byte.
    LEFT = 3


# Constants, because reading an attribute of an enum costs more than all other work on a phase.
_UNSEEN, _PREPARED, _STALE, _LEFT = Phase


class Progress:
    """The progress of one request on one connection.

    Args:
        kept: The known facts of the connections of the client, if it keeps them.
        before_write: Called just before the request is written; its exception prevents that.
    """

    # Class attributes are the initial values: most requests change two of them.
    phase: Phase = _UNSEEN
    #: Whether the connection was not used because the service may be about to close it.
    expired: bool = False
    #: Whether the head of the response arrived.
    answering: bool = False
    # When the request was written, by the clock of `kept`
    _sent = 0.0
    # Until when the connection was usable before this request; None if it never carried a response
    _until: float | None = None
    # The exception with which the connection ended
    _end: BaseException | None = None
    # The aiohttp protocol of the connection, and its socket
    _protocol: object = None
    _socket: Socket | None = None

    def __init__(
        self, kept: KeptConnections | None = None, before_write: Callable[[], object] | None = None
    ) -> None:
        self._kept = kept
        self._before_write = before_write

    @property
    def connecting(self) -> bool:
        """Whether the request waits for a connection."""
        return self.phase is _PREPARED

    @property
    def on_wire(self) -> bool:
        """Whether bytes of the request may have been sent."""
        return self.phase is _LEFT

    def reached(self, transport: asyncio.BaseTransport | None, protocol: object) -> bool:
        """Record the connection; return whether the request can be written to it at once."""
        self._protocol = protocol
        known = None if self._kept is None or protocol is None else self._kept.of(protocol)
        socket = None if known is None else known.socket
        if known is not None:
            self._until = known.until
        if not isinstance(socket, Socket) or socket.transport is not transport:
            socket = None if transport is None else Socket(transport)
            if known is not None:
                known.socket = socket
        self._socket = socket
        if socket is None or socket.is_closing() or pending_input(socket):
            return False
        # On a new TLS connection the alert that refuses the client's certificate may be on its way.
        return self._until is not None or not socket.is_encrypted

    async def make_ready(self) -> None:
        """Find out why the request cannot be written at once.

        Over plain TCP any input makes a connection stale, since it would be read as the response. Encrypted
        input may be a session ticket, or the alert that ended the connection; the loop reads it in its next
        round.

        Raises:
            ConnectionResetError: The connection is unusable; nothing was written.
        """
        socket = self._socket
        if socket is None or socket.is_closing():
            await self._report_closed()
            return
        events = pending_input(socket)
        closed = bool(events) and events != _POLL_READABLE
        if events and not socket.is_encrypted:
            self.report_stale(_CLOSED if closed else UNASKED)
        self.phase = _STALE
        for _ in range(_ROUNDS_OF_INPUT):
            # The loop schedules its reads after the callbacks that are already due.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if closed or socket.is_closing():
                await self._report_closed()
            if not (events := pending_input(socket)):
                break
            closed = events != _POLL_READABLE

    def report_write(self) -> None:
        """Record that the request is written now: from here on bytes may have been sent.

        Raises:
            ConnectionResetError: The connection must not be used; nothing may be written.
            Exception: That of `before_write`; nothing may be written.
        """
        if getattr(self._protocol, "should_close", False):
            self.report_stale(UNASKED)
        if (kept := self._kept) is not None:
            now = kept.clock()
            if self._until is not None and now > self._until:
                self.expired = True
                self.report_stale(_IDLE)
            self._sent = now
        if self._before_write is not None:
            self._before_write()
        self.phase = _LEFT

    def check_write(self) -> None:
        """Check that the operating system took the request: if it refused, the transport closed at once.

        Raises:
            ConnectionResetError: The operating system took no byte.
        """
        if self._socket is not None and self._socket.is_closing():
            self.report_stale("the connection broke before anything was written")

    def report_response(self, keep_alive: str | None) -> None:
        """Record the head of the response, with its `Keep-Alive` header."""
        self.answering = True
        # Usually a connection stays open without a limit, so there is nothing to record.
        changed = keep_alive is not None or self._until != math.inf
        if changed and self._kept is not None and self._protocol is not None:
            self._kept.answered(self._protocol, keep_alive, self._sent)

    def report_stale(self, reason: str) -> NoReturn:
        """Record that the connection was unusable and that nothing was written to it.

        Raises:
            ConnectionResetError: Always, with the reason.
        """
        self.phase = _STALE
        raise ConnectionResetError(reason)

    def refused_certificate(self, error: BaseException) -> str:
        """Return the alert by which the service ended the handshake, or an empty text.

        In TLS 1.3 the handshake ends on this side before the service has checked the client's certificate:
        its alert may come after the request was sent. No service reads requests before it accepts the
        certificate; so on a connection without an earlier response the alert proves that the request was not
        read.
        """
        if self._until is not None:
            return ""
        alert = certificate_alert(error, connecting=self.connecting)
        return alert or certificate_alert(self._end, connecting=self.connecting)

    async def _report_closed(self) -> NoReturn:
        """Record the exception with which the connection ended, and release the connection."""
        self.phase = _STALE
        exception: Callable[[], BaseException | None] | None = getattr(self._protocol, "exception", None)
        for _ in range(0 if exception is None else _ROUNDS_TO_THE_END):
            self._end = None if exception is None else exception()
            if self._end is not None:
                break
            await asyncio.sleep(0)
        self.report_stale(_CLOSED)


# Number of rounds in which the loop may read the input of a TLS connection before the request is written.
_ROUNDS_OF_INPUT = 4
# Maximum number of rounds of the loop from the end of a connection until its protocol knows.
_ROUNDS_TO_THE_END = 4
# Reasons why nothing was written
UNASKED = "a response was there before anything was written"
_CLOSED = "the connection was closed before anything was written"
_IDLE = "the connection was idle for as long as the service keeps one"
_POLL_READABLE = getattr(select, "POLLIN", 0)
# Peer half-close; platforms without POLLRDHUP report it as readable.
_POLL_CLOSED = getattr(select, "POLLRDHUP", 0)


class Socket:
    """The facts of a connection that are needed before and after each write, looked up once.

    asyncio's TLS transport knows only whether this side closed it; the transport below it knows whether the
    operating system refused a write.

    Args:
        transport: The transport of the connection.
    """

    __slots__ = ("is_closing", "is_encrypted", "poll", "transport")

    def __init__(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.BaseTransport = transport
        #: Whether the connection uses TLS.
        self.is_encrypted: bool = transport.get_extra_info("ssl_object") is not None
        below: object = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        #: Returns whether the connection is being closed.
        self.is_closing: Callable[[], bool] = transport.is_closing
        if isinstance(below, asyncio.BaseTransport):
            self.is_closing = partial(_is_closing, transport, below)
        #: Returns the pending poll events; `None` without `poll` (Windows), where the loop finds them later.
        self.poll: Callable[[int], list[tuple[int, int]]] | None = _poll_of(transport)


def _is_closing(transport: asyncio.BaseTransport, below: asyncio.BaseTransport) -> bool:
    return transport.is_closing() or below.is_closing()


def _poll_of(transport: asyncio.BaseTransport) -> Callable[[int], list[tuple[int, int]]] | None:
    sock = transport.get_extra_info("socket")
    if not _POLL_READABLE or sock is None:
        return None
    poll = select.poll()
    poll.register(sock.fileno(), _POLL_READABLE | _POLL_CLOSED)
    return poll.poll


def pending_input(socket: Socket) -> int:
    """Return the poll events that the event loop has not seen yet: input, or a close; 0 for none.

    The socket must be open: once the transport is closing, another socket may have its number.
    """
    events = socket.poll(0) if socket.poll is not None else ()
    return events[0][1] if events else 0
