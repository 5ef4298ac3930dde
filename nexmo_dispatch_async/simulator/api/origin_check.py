"""Decides whether a request may be one of another web site's making, wherever on this port it goes.

It looks at headers and nothing else. The service's endpoints are guarded like the page and the control API: a
token is no protection where a page can ask for one, and an application is a URL that the simulator posts to.

A browser lends its user's reach to every page: a page elsewhere can post to this port, and by DNS rebinding
the page can even become "same origin" with it. So the name in `Host` must be one that no other site can own,
and the request must not come from another origin. What changes something by the control API must be JSON,
too, which makes a browser ask first, and the answer is no.
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

#: what a server binds that listens on every address; no name to call it by
ANY_ADDRESS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - named here to be told apart

#: what every answer of the page and of the control API carries
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
    """Return the names and addresses besides loopback that a server is known by.

    Args:
        host: What it binds.
        allowed: Further names, such as that of its container.

    Raises:
        ConfigurationError: A further name is no bare host name or address.
    """
    names = several("allowed_hosts", allowed)
    for name in names:
        if "*" in name or not name or _host_name("//" + _bracketed(name)) != name.lower():
            raise ConfigurationError(
                f"an allowed host is a name or an address without scheme, port or wildcard; got {name!r}"
            )
    return frozenset(name.lower() for name in (host, *names)) - ANY_ADDRESS


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that binds this name or address."""
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
    """Return the status and the reason of a refusal, None to let the request through.

    Args:
        method: In upper case.
        headers: A mapping that ignores the case of names.
        hosts: Names and addresses besides loopback that this server is known by.
        page: It is the page itself, which a link on another site may lead to.
        only_json: What changes something has to be JSON; the service takes forms as well.
    """
    host = headers.get("Host") or ""
    if not _is_own(host, hosts):
        return 403, (
            "the Host header names neither a loopback address nor the one this server is bound to, nor an "
            "allowed host"
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
        _ = parts.port  # raises where it is no number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".")


def _same_origin(origin: str, host: str) -> bool:
    """Compare the text that a browser sends: scheme, host and port, lower case, no path."""
    return origin.strip().lower() == f"http://{host.strip().lower()}"
