"""An attempt: one request over one connection, within its time.

A request that provably did not leave moves on to another connection; nothing else is repeated here.
"""

from __future__ import annotations

import asyncio

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
from nexmo_dispatch_async.transport.proxies import proxy_name
from nexmo_dispatch_async.transport.settings import TransportSettings
from nexmo_dispatch_async.transport.wire import Wire

__all__ = ["Attempts"]

_STALE = Phase.STALE

# How often a request moves on to another connection because a kept one turns out to be of no use.
_MOST_MOVES = 3


class Attempts:
    """Makes the attempts of a client.

    Args:
        settings: Those of the transport.
        connections: Where they go.
    """

    __slots__ = ("_connections", "_deadlines", "_kept", "_proxies")

    def __init__(self, settings: TransportSettings, connections: Connections) -> None:
        self._connections = connections
        self._proxies = settings.proxies
        self._deadlines = Deadlines()
        self._kept = KeptConnections(settings.clock)

    def close(self) -> None:
        """Stop the timer of the deadlines when nothing is under way any more."""
        self._deadlines.close()

    async def send(self, request: Request, authorization: str | None, limits: Timeout) -> Response:
        """Send one request and read its response.

        Raises:
            APIConnectionError: Nothing left.
            OutcomeUnknownError: Something may have left.
            ClientClosedError: The client is closed, or belongs to another event loop; nothing left.
        """
        wire = self._connections.open()
        if limits.total is None and limits.connect is None:
            return await self._sent(wire, request, authorization, None)
        deadline = self._deadlines.start(limits.total, connect=limits.connect)
        try:
            return await self._sent(wire, request, authorization, deadline)
        finally:
            self._deadlines.stop(deadline)

    async def _sent(
        self, wire: Wire, request: Request, authorization: str | None, deadline: Deadline | None
    ) -> Response:
        """Send a request over the first connection that takes it."""
        task = asyncio.current_task()
        cancellations = 0 if task is None else task.cancelling()
        moves = 0
        foreign: Exception | None
        while True:
            progress = Progress(self._kept)
            if deadline is not None:
                deadline.progress = progress
            try:
                return await wire.exchange(request, authorization, progress)
            except FOREIGN as error:
                foreign = error
            except BaseException as error:
                foreign = self._reason_of_end(error, deadline, cancellations)
                if foreign is None:
                    # A GET may be made again, whatever left of it.
                    unknown = progress.left and request.method != "GET"
                    interrupt(error, "unknown" if unknown else "not_sent", request.summary, anyway=True)
                    raise
                moves = _MOST_MOVES  # there is no time for another connection, or no session
            if moves == _MOST_MOVES or self._connections.unusable or not _may_move(progress, foreign):
                raise self._failure(request, progress, foreign) from presentable(foreign)
            # Of connections that were idle for too long there may be many, and each is closed now.
            moves += not progress.expired

    def _reason_of_end(
        self, error: BaseException, deadline: Deadline | None, cancellations: int
    ) -> Exception | None:
        """Return what ended the request other than its task's cancellation by the caller, or `None`."""
        if not isinstance(error, asyncio.CancelledError):
            return None
        task = asyncio.current_task()
        if self._connections.unusable and task is not None and task.cancelling() == cancellations:
            # A session that is closed cancels what it waits for itself: a name, or room for a connection.
            return aiohttp.ClientConnectionError("the session was closed")
        return TimeoutError() if deadline is not None and deadline.take_back() else None

    def _failure(self, request: Request, progress: Progress, foreign: Exception) -> DispatchError:
        """Return our error for what a wire raised."""
        if self._connections.unusable and not progress.left:
            owner = "client" if self._connections.closed else "session that the client was given"
            return ClientClosedError(f"the {owner} was closed before the request was sent")
        proxy = self._proxies.of_text(request.url)
        name = proxy_of(foreign) if proxy is None else proxy_name(proxy)
        return failure_of(request, progress, foreign, proxy=name)


def _may_move(progress: Progress, error: Exception) -> bool:
    """Return whether a kept connection was of no use: not a failure of the service, so no wait."""
    refused = not progress.answering and progress.refused_certificate(error)
    return progress.phase is _STALE and not refused
