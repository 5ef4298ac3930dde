"""An attempt: one request over one connection, within its time.

A request that provably did not leave moves on to another connection; nothing else is repeated here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from nexmo_dispatch_async.exceptions import ClientClosedError, DispatchError
from nexmo_dispatch_async.interruption import interrupt
from nexmo_dispatch_async.retry import Timeout
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.transport.causes import presentable, proxy_of
from nexmo_dispatch_async.transport.connections import Connections
from nexmo_dispatch_async.transport.deadlines import Deadline, Deadlines
from nexmo_dispatch_async.transport.failures import FOREIGN, failure_of
from nexmo_dispatch_async.transport.keep_alive import KeptConnections
from nexmo_dispatch_async.transport.progress import Phase, Progress
from nexmo_dispatch_async.transport.proxies import Proxies, proxy_name
from nexmo_dispatch_async.transport.settings import TransportSettings

__all__ = ["Attempts"]

_STALE = Phase.STALE

# How often a request moves on to another connection because a kept connection turns out to be unusable.
_MOST_MOVES = 3


class Attempts:
    """Makes the attempts of a client.

    Args:
        settings: The settings of the transport.
        connections: The connections of the client.
        proxies: The proxies of the client, by URL.
    """

    __slots__ = ("_connections", "_deadlines", "_kept", "_proxies")

    def __init__(self, settings: TransportSettings, connections: Connections, proxies: Proxies) -> None:
        self._connections = connections
        self._proxies = proxies
        self._deadlines = Deadlines()
        self._kept = KeptConnections(settings.clock)

    async def aclose(self) -> None:
        """Cancel the attempts that wait for a connection; the others end when their connections close."""
        await self._deadlines.end_unconnected()
        self._deadlines.close()

    async def send(
        self,
        request: Request,
        authorization: str | None,
        limits: Timeout,
        before_write: Callable[[], object] | None = None,
    ) -> Response:
        """Send one request and read its response.

        Args:
            request: The request.
            authorization: Value of its `Authorization` header.
            limits: Its timeouts.
            before_write: Called just before each write.

        Raises:
            Exception: That of `before_write`; no byte was sent.
            APIConnectionError: No byte was sent.
            OutcomeUnknownError: Bytes may have been sent.
            ClientClosedError: The client is closed, or belongs to another event loop; no byte was sent.
        """
        connections = self._connections
        wire = connections.open()
        deadline = self._deadlines.start(limits.total, connect=limits.connect, loop=connections.loop)
        moves = 0
        try:
            while True:
                progress = deadline.progress = Progress(self._kept, before_write)
                try:
                    return await wire.exchange(request, authorization, progress)
                except FOREIGN as error:
                    foreign: Exception = error
                except BaseException as error:  # noqa: BLE001 - raised again unless the time is over
                    foreign = self._reason_of_end(error, request, progress, deadline)
                    moves = _MOST_MOVES  # there is no time for another connection, or no session
                if before_write is not None and not progress.on_wire:
                    before_write()  # its exception in a write of aiohttp's looks like a broken connection
                if moves == _MOST_MOVES or connections.unusable or not _may_move(progress, foreign):
                    raise self._failure(request, progress, foreign) from presentable(foreign)
                # Many connections may have been idle for too long; each of them is closed now.
                moves += not progress.expired
        finally:
            self._deadlines.stop(deadline)

    def _reason_of_end(
        self, error: BaseException, request: Request, progress: Progress, deadline: Deadline
    ) -> Exception:
        """Return the exception that ended a request, unless the caller cancelled its task.

        Raises:
            BaseException: `error`, because the caller caused it or no wire should raise it.
        """
        if isinstance(error, asyncio.CancelledError):
            if self._connections.unusable and deadline.task.cancelling() == deadline.cancellations:
                # A session that is closed cancels its own waits, for a name or for room for a connection.
                return aiohttp.ClientConnectionError("the session was closed")
            if deadline.take_back():
                return TimeoutError()
        unknown = progress.on_wire and request.method != "GET"
        interrupt(error, "unknown" if unknown else "not_sent", request.summary, anyway=True)
        raise error

    def _failure(self, request: Request, progress: Progress, foreign: Exception) -> DispatchError:
        """Return the error of this package for an exception of a wire."""
        closed = self._connections.closed
        if (closed or self._connections.unusable) and not progress.on_wire:
            owner = "client" if closed else "session that the client was given"
            return ClientClosedError(f"the {owner} was closed before the request was sent")
        proxy = self._proxies.of_text(request.url)
        name = proxy_of(foreign) if proxy is None else proxy_name(proxy)
        return failure_of(request, progress, foreign, proxy=name)


def _may_move(progress: Progress, error: Exception) -> bool:
    """Return whether a kept connection was unusable, which is no failure of the service: repeat at once."""
    refused = not progress.answering and progress.refused_certificate(error)
    return progress.phase is _STALE and not refused
