"""Clients of a server of the tests, whose waits take no time."""

from typing import Any

from nexmo_dispatch_async.auth import BearerToken, KpnOAuth
from nexmo_dispatch_async.client import DispatchClient
from tests.support.clock import Time
from tests.support.misbehaving import RawServer

APPLICATION = "7d1c2f6a-0b0e-4b57-9a2e-3f1f0a9f6c11"


def client_of(server: RawServer, time: Time | None = None, **settings: Any) -> DispatchClient:
    """A client that has its token."""
    time = time or Time()
    defaults: dict[str, Any] = {
        "auth": BearerToken("secret-token"),
        "application_id": APPLICATION,
        "base_url": server.base_url,
        "clock": time,
        "sleep": time.sleep,
        "random": lambda: 0.0,
    }
    return DispatchClient(**defaults | settings)


def kpn_client_of(server: RawServer, time: Time | None = None, **settings: Any) -> DispatchClient:
    """A client that asks the server for its tokens."""
    return client_of(server, time, **{"auth": KpnOAuth("id", "client-secret", server.token_url), **settings})
