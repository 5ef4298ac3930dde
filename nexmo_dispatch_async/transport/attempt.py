"""One request and its answer over the network: the connection pool, and what left when something breaks.

It repeats nothing that left, and what an answer means is for `sansio` to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from ssl import SSLContext

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from nexmo_dispatch_async.event_loop import running_loop
from nexmo_dispatch_async.exceptions import ClientClosedError, ConfigurationError
from nexmo_dispatch_async.interruption import interrupt
from nexmo_dispatch_async.retry import Timeout
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.transport.body import FOREIGN, UNASKED, Body, Phase, failure_of
from nexmo_dispatch_async.transport.causes import presentable, proxy_of
from nexmo_dispatch_async.transport.deadlines import Deadlines
from nexmo_dispatch_async.transport.keep_alive import KEEPALIVE_TIMEOUT, KeptConnections
from nexmo_dispatch_async.transport.proxies import NO_PROXY, Proxies, proxy_name

__all__ = ["Exchange", "TlsSetting", "connections_of"]

TlsSetting = SSLContext | aiohttp.Fingerprint | bool


class Exchange:
    """The connections of a client, in the event loop of their first use.

    Args:
        session: The caller's own, which is not closed here; `None` to make one.
        limit: How many connections a session of our own may have.
        ssl: The TLS settings of a session of our own.
        proxies: Those of a session of our own.
        keepalive_timeout: How long a session of our own keeps an idle connection, in seconds.
        headers: What every request carries.
        max_response: Longest answer that is read, in bytes.
        clock: Seconds that only go forward.

    Raises:
        ConfigurationError: A setting is wrong, or is for the caller's own session to make.
    """

    __slots__ = (
        "_closed",
        "_deadlines",
        "_headers",
        "_keepalive_timeout",
        "_kept",
        "_limit",
        "_loop",
        "_max_response",
        "_merged",
        "_owns_session",
        "_parsed",
        "_proxies",
        "_session",
        "_session_headers",
        "_ssl",
    )

    def __init__(
        self,
        *,
        session: aiohttp.ClientSession | None,
        limit: int,
        ssl: TlsSetting,
        proxies: Proxies,
        keepalive_timeout: float,
        headers: Mapping[str, str],
        max_response: int,
        clock: Callable[[], float],
    ) -> None:
        if session is not None and (
            ssl is not True or proxies is not NO_PROXY or keepalive_timeout != KEEPALIVE_TIMEOUT
        ):
            raise ConfigurationError(
                "ssl, proxy, trust_env and keepalive_timeout are for the client's own session: "
                "set them on yours"
            )
        # Written so that NaN is refused as well.
        if not 0 <= keepalive_timeout <= _LONGEST_IDLE:
            raise ConfigurationError(
                f"keepalive_timeout must be from 0 to {_LONGEST_IDLE} seconds, not {keepalive_timeout!r}"
            )
        if getattr(session, "auth", None) is not None:
            raise ConfigurationError("the client authorizes its requests: make your session without auth")
        # Settings
        self._limit = limit
        self._ssl = ssl
        self._proxies = proxies
        self._keepalive_timeout = keepalive_timeout
        self._max_response = max_response
        # What every request carries: a session of our own adds it at less cost than we do
        nothing: Mapping[str, str] = {}
        self._session_headers, self._headers = (headers, nothing) if session is None else (nothing, headers)
        # The connection pool, and the loop it belongs to once it is open
        self._session, self._owns_session = session, session is None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._deadlines = Deadlines()
        self._kept = KeptConnections(clock)
        # The headers of the last request, its authorization, and what they were merged to
        self._merged: tuple[Mapping[str, str], str | None, CIMultiDict[str]] = ({}, "", CIMultiDict())
        # The address of the last request, as text and as aiohttp takes it, and the proxy on the way
        self._parsed: tuple[str, URL, URL | None] = ("", URL(), None)

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        return "closed" if self._closed else "open" if self._loop is not None else "not open yet"

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def open(self) -> aiohttp.ClientSession:
        """Return the session, opened at the first use.

        Raises:
            ClientClosedError: It is closed, or belongs to another event loop.
        """
        loop = running_loop()
        if self._closed:
            raise ClientClosedError("the client is closed")
        if self._loop is not None and self._loop is not loop:
            raise ClientClosedError("the client belongs to another event loop: make one client per loop")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._limit, ssl=self._ssl, keepalive_timeout=self._keepalive_timeout
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._session_headers,
            )
        elif self._session.closed:
            raise ClientClosedError("the session that the client was given is closed")
        elif getattr(self._session, "_loop", loop) is not loop:
            raise ClientClosedError("the session that the client was given belongs to another event loop")
        self._loop = loop
        return self._session

    async def aclose(self) -> None:
        """Close the connections, unless the session is the caller's."""
        self._closed = True
        self._deadlines.close()
        if self._owns_session and self._session is not None:
            await self._session.close()
            # Connections that broke are closed by the loop in its next round: do not end before that.
            await asyncio.sleep(0)

    async def send(  # noqa: PLR0912, PLR0915 - every way in which one exchange can end
        self, request: Request, authorization: str | None, limits: Timeout
    ) -> Response:
        """Send one request and read its answer.

        Raises:
            APIConnectionError: Nothing left.
            OutcomeUnknownError: Something may have left.
            ClientClosedError: It is closed, or belongs to another event loop; nothing left.
        """
        session = self._session
        if session is None or self._closed or self._loop is not running_loop():
            session = self.open()
        headers = self._merge(request, authorization)
        if self._parsed[0] != request.url:
            url = URL(request.url, encoded=True)
            self._parsed = request.url, url, self._proxies.of(url)
        _, url, proxy = self._parsed
        stale = 0
        task = asyncio.current_task()
        asked = 0 if task is None else task.cancelling()
        total, connect = limits.total, limits.connect
        timed = total is not None or connect is not None
        deadline = self._deadlines.start(total, connect=connect) if timed else None
        try:
            while True:
                # There is a body even if it is empty, because only a body knows what left.
                body = Body(request.body or b"", self._kept)
                if deadline is not None:
                    deadline.progress = body
                reply: aiohttp.ClientResponse | None = None
                try:
                    reply = await session.request(
                        request.method,
                        url,
                        data=body,
                        headers=headers,
                        skip_auto_headers=_NO_CONTENT_TYPE if request.body is None else None,
                        proxy=proxy,
                        timeout=_NO_TIMEOUT,
                        # A POST must not be repeated elsewhere, and a status is not an exception here.
                        allow_redirects=False,
                        raise_for_status=False,
                    )
                    try:
                        if body.phase is not _LEFT and body.phase is not _UNSEEN:
                            # It was there before the request, and answers something else or nothing.
                            body.abandon()
                            body.phase = Phase.STALE
                            raise aiohttp.ClientConnectionError(UNASKED)
                        body.answered(reply.headers.get("Keep-Alive"))
                        content = reply.content
                        # Nearly always all of it is there at once, and the connection is free again.
                        data = content.read_nowait() if content.is_eof() else await self._read(reply)
                        if len(data) > self._max_response:
                            raise _too_long(self._max_response)
                    except BaseException:
                        if reply.connection is None:
                            body.let_go()
                        reply.close()
                        raise
                    return Response(reply.status, reply.headers, data)
                except FOREIGN as error:
                    foreign = error
                except BaseException as error:
                    cancelled = isinstance(error, asyncio.CancelledError)
                    if cancelled and session.closed and task is not None and task.cancelling() == asked:
                        # Nobody cancelled the task: a session that is closed cancels what it waits for
                        # itself, a name or room for a connection.
                        foreign = aiohttp.ClientConnectionError("the session was closed")
                    elif not cancelled or deadline is None or not deadline.take_back():
                        # A GET may be made again, whatever left of it.
                        left = body.abandon() and request.method != "GET"
                        interrupt(error, "unknown" if left else "not_sent", request.summary, anyway=True)
                        raise
                    else:
                        foreign = TimeoutError()
                    stale = _STALE_RETRIES  # there is no time for another, or no session
                refused = reply is None and body.refused_certificate(foreign)
                if body.phase is Phase.STALE and not refused and stale < _STALE_RETRIES:
                    # A kept connection that was of no use any more: not a failure of the service, so no wait.
                    # Of those that were idle for too long there may be many, and each is closed now.
                    stale += not body.expired
                    continue
                body.abandon()
                if session.closed and body.phase is not Phase.LEFT:
                    whose = "client" if self._closed else "session that the client was given"
                    message = f"the {whose} was closed before the request was sent"
                    raise ClientClosedError(message) from presentable(foreign)
                name = proxy_of(foreign) if proxy is None else proxy_name(proxy)
                failure = failure_of(request, body, foreign, answering=reply is not None, proxy=name)
                raise failure from presentable(foreign)
        finally:
            if deadline is not None:
                self._deadlines.stop(deadline)

    async def _read(self, reply: aiohttp.ClientResponse) -> bytes:
        content = reply.content
        data = await content.readany()
        while len(data) <= self._max_response and not content.at_eof():
            data += await content.readany()
        if len(data) <= self._max_response:
            reply.release()
        return data

    def _merge(self, request: Request, authorization: str | None) -> CIMultiDict[str]:
        """Return the header fields; those of dispatches are one object, merged once per token."""
        headers, authorized, merged = self._merged
        if headers is not request.headers or authorized != authorization:
            merged = CIMultiDict({**self._headers, **request.headers})
            if authorization is not None:
                merged["Authorization"] = authorization
            self._merged = request.headers, authorization, merged
        return merged


def _too_long(limit: int) -> aiohttp.ClientPayloadError:
    return aiohttp.ClientPayloadError(f"the answer is longer than {limit} bytes")


# A longer time in seconds is no limit, and a name that is resolved only once a day points to old addresses.
_LONGEST_IDLE = 86_400

_NO_CONTENT_TYPE = ("Content-Type",)

# Time is ours to see to: aiohttp would not read what has arrived before it says that nothing did.
_NO_TIMEOUT = aiohttp.ClientTimeout()

# An answer in another phase was there already: a mock asks for no body. By name, an enum costs more.
_LEFT, _UNSEEN = Phase.LEFT, Phase.UNSEEN

# How often a request moves on to another connection because a kept one turns out to be of no use.
_STALE_RETRIES = 3


def connections_of(session: aiohttp.ClientSession | None, limit: int) -> int:
    """Return how many requests may be under way at once: no more than a caller's own session has connections.

    The rest would wait inside of aiohttp, where waiting counts as connecting.
    """
    connector = session.connector if session is not None else None
    if connector is None:
        return limit
    return min([limit, *(each for each in (connector.limit, connector.limit_per_host) if each > 0)])
