"""Decides whether a request to the page or to the control API may be one of another web site's making.

It looks at headers and nothing else; the service's own endpoints ask for a token and need no such check.

A browser lends its user's reach to every page: a page elsewhere can post to this port, and by DNS rebinding
it can even become "same origin" with it. So the name in `Host` must be one that no other site can own, and
what changes something must be JSON (which makes a browser ask first, and nobody says yes) and must not come
from another origin.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

__all__ = ["HEADERS", "refusal"]

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


def refusal(
    method: str, headers: Mapping[str, str], *, hosts: frozenset[str] = frozenset(), page: bool = False
) -> tuple[int, str] | None:
    """Return the status and the reason of a refusal, None to let the request through.

    Args:
        method: In upper case.
        headers: A mapping that ignores the case of names.
        hosts: Names and addresses besides loopback that this server is known by.
        page: It is the page itself, which a link on another site may lead to.
    """
    host = headers.get("Host", "")
    if not _is_own(host, hosts):
        return 403, "the Host header names neither a loopback address nor the one this server is bound to"
    reads = method in {"GET", "HEAD"}
    if not (page and reads) and headers.get("Sec-Fetch-Site", "none").strip().lower() not in _OWN_SITES:
        return 403, "the request comes from another web site"
    origin = headers.get("Origin")
    if origin is not None and not _same_origin(origin, host):
        return 403, "the request comes from another origin"
    if not reads and headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        return 415, "send the body as application/json"
    return None


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
