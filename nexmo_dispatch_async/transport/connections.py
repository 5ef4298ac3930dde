"""The connections of a client: opened at the first use, in one event loop, and the wire that uses them."""

from __future__ import annotations

import asyncio

import aiohttp

from nexmo_dispatch_async.event_loop import running_loop
from nexmo_dispatch_async.exceptions import ClientClosedError
from nexmo_dispatch_async.transport.proxies import Proxies
from nexmo_dispatch_async.transport.session_wire import SessionWire
from nexmo_dispatch_async.transport.settings import TransportSettings
from nexmo_dispatch_async.transport.wire import Wire

__all__ = ["Connections"]


class Connections:
    """The aiohttp session of a client, its own or the caller's.

    Args:
        settings: The settings of the transport.
        proxies: The proxies of the client, by URL.
    """

    __slots__ = ("_owns_session", "_proxies", "_settings", "_wire", "closed", "loop", "session")

    def __init__(self, settings: TransportSettings, proxies: Proxies) -> None:
        self._settings = settings
        self._proxies = proxies
        self.session: aiohttp.ClientSession | None = settings.session
        self._owns_session = settings.session is None
        #: Whether the client was closed.
        self.closed: bool = False
        # uses the session, once it is open
        self._wire: Wire | None = None
        #: The event loop of the session, once it is open.
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def state(self) -> str:
        """The state: `closed`, `not open yet` or `open`."""
        return "closed" if self.closed else "not open yet" if self.loop is None else "open"

    @property
    def unusable(self) -> bool:
        """Whether the session was closed, by the client or by the caller who owns it."""
        return self.session is not None and self.session.closed

    def open(self) -> Wire:
        """Return the wire; open the session at the first use.

        Raises:
            ClientClosedError: The client is closed, or belongs to another event loop.
        """
        loop = running_loop()
        if self.loop is loop and self._wire is not None and not self.closed:
            return self._wire
        if self.closed:
            raise ClientClosedError("the client is closed")
        if self.loop is not None and self.loop is not loop:
            raise ClientClosedError("the client belongs to another event loop: make one client per loop")
        session = self._open_session(loop)
        self.loop = loop
        self._wire = self._wire_of(session)
        return self._wire

    async def aclose(self) -> None:
        """Close the connections, unless the session is the caller's."""
        self.closed = True
        if self._owns_session and self.session is not None:
            await self.session.close()
            # The loop closes broken connections in its next round: wait for it.
            await asyncio.sleep(0)

    def _open_session(self, loop: asyncio.AbstractEventLoop) -> aiohttp.ClientSession:
        if self.session is None:
            settings = self._settings
            self.session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=settings.limit, ssl=settings.ssl, keepalive_timeout=settings.keepalive_timeout
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=settings.session_headers,
            )
        elif self.session.closed:
            raise ClientClosedError("the session that the client was given is closed")
        elif getattr(self.session, "_loop", loop) is not loop:
            raise ClientClosedError("the session that the client was given belongs to another event loop")
        return self.session

    def _wire_of(self, session: aiohttp.ClientSession) -> Wire:
        """Return the fast path if it supports this session and this version of aiohttp."""
        settings = self._settings
        proxies, longest = self._proxies, settings.max_response
        usual = SessionWire(session, settings.request_headers, proxies, longest)
        if not self._owns_session:
            return usual
        try:
            from nexmo_dispatch_async.transport.wire_fast_path import FastWire, is_supported
        except ImportError:
            return usual
        return FastWire(session, proxies, longest, usual) if is_supported(session) else usual
