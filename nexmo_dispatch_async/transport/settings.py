"""The settings of the transport, checked once when a client is made."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from ssl import SSLContext
from types import MappingProxyType

import aiohttp
import msgspec

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.auth import Auth, header_text
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.middleware import Middleware
from nexmo_dispatch_async.models.several import in_order
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.transport.keep_alive import KEEPALIVE_TIMEOUT
from nexmo_dispatch_core.lenient import kind_in_words

__all__ = ["TlsSetting", "TransportSettings"]

TlsSetting = SSLContext | aiohttp.Fingerprint | bool

# Maximum keep-alive timeout, in seconds: a name that is resolved less than once a day leads to old addresses.
_LONGEST_IDLE = 86_400

_NOTHING: Mapping[str, str] = MappingProxyType({})
_USER_AGENT = f"nexmo-dispatch-async/{__version__}"
_FUNCTIONS = ("clock", "wall_clock", "sleep", "random")


class TransportSettings(AsShown, msgspec.Struct, frozen=True, kw_only=True):
    """The settings of the transport of a client; `DispatchClient` documents each of them.

    Raises:
        ConfigurationError: A setting is invalid, or belongs to the caller's own session.
    """

    auth: Auth
    session: aiohttp.ClientSession | None = None
    retry: RetryPolicy = RetryPolicy()
    timeout: Timeout = Timeout()
    limit: int = 100
    middleware: Sequence[Middleware] = ()
    ssl: TlsSetting = True
    proxy: str | None = None
    trust_env: bool = False
    keepalive_timeout: float = KEEPALIVE_TIMEOUT
    api_version: str | None = None
    max_response: int = 1 << 20
    clock: Callable[[], float] = time.monotonic
    wall_clock: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        _check_auth(self.auth)
        checks.instance("retry", self.retry, RetryPolicy)
        checks.instance("timeout", self.timeout, Timeout)
        checks.count("limit", self.limit)
        checks.count("max_response", self.max_response)
        in_order("middleware", self.middleware)
        for name in _FUNCTIONS:
            checks.function(name, getattr(self, name))
        # The form of the comparison refuses NaN as well.
        if not 0 <= self.keepalive_timeout <= _LONGEST_IDLE:
            raise ConfigurationError(
                f"keepalive_timeout must be from 0 to {_LONGEST_IDLE} seconds, not {self.keepalive_timeout!r}"
            )
        if self.api_version is not None:
            header_text("api_version", self.api_version)
        if self.session is not None:
            self._check_session(self.session)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def _check_session(self, session: aiohttp.ClientSession) -> None:
        """Refuse settings of connections together with a session of the caller's own, which has its own."""
        own = self.proxy is not None or self.trust_env
        if own or self.ssl is not True or self.keepalive_timeout != KEEPALIVE_TIMEOUT:
            raise ConfigurationError(
                "ssl, proxy, trust_env and keepalive_timeout are for the client's own session: "
                "set them on yours"
            )
        if getattr(session, "auth", None) is not None:
            raise ConfigurationError("the client authorizes its requests: make your session without auth")

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every request."""
        headers = {
            "User-Agent": _USER_AGENT,
            "Accept": "application/json",
            # Responses are a few hundred bytes: compressing them would cost more than it saves.
            "Accept-Encoding": "identity",
        }
        if self.api_version is not None:
            headers["api-version"] = header_text("api_version", self.api_version)
        return headers

    @property
    def session_headers(self) -> Mapping[str, str]:
        """The headers that the client's own session adds to every request, which costs less."""
        return self.headers if self.session is None else _NOTHING

    @property
    def request_headers(self) -> Mapping[str, str]:
        """The headers to add to every request on a session of the caller's own, which is not changed."""
        return _NOTHING if self.session is None else self.headers

    @property
    def concurrent_requests(self) -> int:
        """The limit, or the number of connections of the caller's own session if that is less.

        Further requests would wait inside aiohttp, where the wait counts towards the connect timeout.
        """
        connector = None if self.session is None else self.session.connector
        if connector is None:
            return self.limit
        own = (connector.limit, connector.limit_per_host)
        return min([self.limit, *(each for each in own if each > 0)])


def _check_auth(auth: object) -> None:
    """Refuse an object that cannot authorize requests; not every caller uses a type checker."""
    if isinstance(auth, type) or not isinstance(auth, Auth):
        kinds = "KpnOAuth(…), VonageJWT(…), BasicAuth(…), BearerToken(…) or an object like them"
        raise ConfigurationError(f"auth must be {kinds}, not {kind_in_words(auth)}")
