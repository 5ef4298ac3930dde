"""Refuses requests that another web site may have made in the user's browser, by their headers.

The endpoints of the service are protected like the page and the control API: a token does not protect them,
because a page could request one, and an application is a URL to which the simulator posts.

A browser lets any page post to this port, and DNS rebinding can even make a foreign page "same origin" with
it. So the name in `Host` must be one that no other site can own, and the request must not come from another
origin. Changes through the control API must also be JSON: a browser sends a preflight request for it, which
fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.several import several

__all__ = ["ANY_ADDRESS", "HEADERS", "is_loopback", "own_hosts", "refusal"]

#: bind addresses that stand for every address; no client can use them as a name
ANY_ADDRESS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - named here to be told apart

#: headers of every response of the page and of the control API
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

_OWN_SITES: Final = frozenset({"same-origin", "none"})


def own_hosts(host: str, allowed: Iterable[str] = ()) -> frozenset[str]:
    """Return the names and addresses, besides loopback, that requests to a server may use.

    Args:
        host: The bind address.
        allowed: Further names, such as the name of a container.

    Raises:
        ConfigurationError: A further name is not a bare host name or address.
    """
    names = several("allowed_hosts", allowed)
    for name in names:
        if "*" in name or not name or _host_name("//" + _bracketed(name)) != name.lower():
            raise ConfigurationError(
                f"an allowed host must be a name or an address without scheme, port or wildcard; got {name!r}"
            )
    return frozenset(name.lower() for name in (host, *names)) - ANY_ADDRESS


def is_loopback(host: str) -> bool:
    """Return whether a bind address is reachable from this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def refusal(
    method: str,
    headers: Mapping[str, str],
    *,
    hosts: frozenset[str] = frozenset(),
    page: bool = False,
    only_json: bool = True,
) -> tuple[int, str] | None:
    """Return status and reason of a refusal, None to accept the request.

    Args:
        method: The method in upper case.
        headers: A mapping with case-insensitive names.
        hosts: Names and addresses besides loopback that requests may use.
        page: Whether the request is for the page itself, to which other sites may link.
        only_json: Whether changes must be JSON; the service accepts forms as well.
    """
    host = headers.get("Host") or ""
    if not _is_own(host, hosts):
        return 403, (
            "the Host header is neither a loopback address, the address of this server nor an allowed host"
        )
    reads = method in {"GET", "HEAD"}
    site = headers.get("Sec-Fetch-Site") or "none"
    if not (page and reads) and site.strip().lower() not in _OWN_SITES:
        return 403, "the request comes from another web site"
    origin = headers.get("Origin")
    if origin is not None and not _same_origin(origin, host):
        return 403, "the request comes from another origin"
    if only_json and not reads:
        kind = headers.get("Content-Type") or ""
        if kind.partition(";")[0].strip().lower() != "application/json":
            return 415, "send the body as application/json"
    return None


@lru_cache(maxsize=64)
def _is_own(host: str, hosts: frozenset[str]) -> bool:
    name = _host_name("//" + host)
    if not name or "@" in host or "/" in host:
        return False
    if name == "localhost" or name in hosts:
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _host_name(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises unless it is a number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".")


def _same_origin(origin: str, host: str) -> bool:
    """Compare `Origin` with `Host`: browsers send scheme, host and port in lower case and no path."""
    return origin.strip().lower() == f"http://{host.strip().lower()}"
