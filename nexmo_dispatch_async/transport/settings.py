"""The settings of the transport, checked once when a client is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from ssl import SSLContext
from types import MappingProxyType

import aiohttp
import msgspec

from nexmo_dispatch_async.auth import Auth
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.middleware import Middleware
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.transport.keep_alive import KEEPALIVE_TIMEOUT
from nexmo_dispatch_async.transport.proxies import NO_PROXY, Proxies

__all__ = ["TlsSetting", "TransportSettings"]

TlsSetting = SSLContext | aiohttp.Fingerprint | bool

# A longer time in seconds is no limit, and a name that is resolved only once a day points to old addresses.
_LONGEST_IDLE = 86_400

_NOTHING: Mapping[str, str] = MappingProxyType({})


class TransportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a client reaches the service.

    Attributes:
        auth: The credentials.
        headers: What every request carries.
        session: The caller's own, which is not closed here; `None` to make one.
        ssl: The TLS settings of the client's own session.
        proxies: The proxies of the client's own session.
        keepalive_timeout: How long the client's own session keeps an idle connection, in seconds from 0 to
            86,400.
        limit: Maximum number of concurrent requests, at least 1.
        max_response: Longest response that is read, in bytes.
        retry: When a call is repeated, unless the call says otherwise.
        timeout: How long an attempt may take, unless the call says otherwise.
        middleware: What stands around calls and attempts, the outermost first.
        clock: Monotonic seconds.
        wall_clock: Epoch seconds.
        sleep: How to wait between attempts.
        random: A number from [0, 1), for the jitter.

    Raises:
        ConfigurationError: A setting is wrong, or is for the caller's own session to make.
    """

    auth: Auth
    headers: Mapping[str, str]
    session: aiohttp.ClientSession | None
    ssl: TlsSetting
    proxies: Proxies
    keepalive_timeout: float
    limit: int
    max_response: int
    retry: RetryPolicy
    timeout: Timeout
    middleware: Sequence[Middleware]
    clock: Callable[[], float]
    wall_clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[object]]
    random: Callable[[], float]

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ConfigurationError(f"limit must be at least 1, not {self.limit!r}")
        # Written so that NaN is refused as well.
        if not 0 <= self.keepalive_timeout <= _LONGEST_IDLE:
            raise ConfigurationError(
                f"keepalive_timeout must be from 0 to {_LONGEST_IDLE} seconds, not {self.keepalive_timeout!r}"
            )
        if self.session is None:
            return
        if (
            self.ssl is not True
            or self.proxies is not NO_PROXY
            or self.keepalive_timeout != KEEPALIVE_TIMEOUT
        ):
            raise ConfigurationError(
                "ssl, proxy, trust_env and keepalive_timeout are for the client's own session: "
                "set them on yours"
            )
        if getattr(self.session, "auth", None) is not None:
            raise ConfigurationError("the client authorizes its requests: make your session without auth")

    @property
    def session_headers(self) -> Mapping[str, str]:
        """What the client's own session adds to every request, at less cost than we do."""
        return self.headers if self.session is None else _NOTHING

    @property
    def request_headers(self) -> Mapping[str, str]:
        """What is added to every request on a session of the caller's own, which is not changed."""
        return _NOTHING if self.session is None else self.headers

    @property
    def concurrent_requests(self) -> int:
        """The limit, or the number of connections of the caller's own session if that is less.

        The rest would wait inside of aiohttp, where waiting counts as connecting.
        """
        connector = None if self.session is None else self.session.connector
        if connector is None:
            return self.limit
        own = (connector.limit, connector.limit_per_host)
        return min([self.limit, *(each for each in own if each > 0)])
