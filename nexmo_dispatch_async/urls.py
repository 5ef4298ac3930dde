"""What the URL of a setting says: whether it is well formed, stays on this machine, or would show secrets.

It changes no URL, and looks up no name.
"""

from __future__ import annotations

import inspect
import warnings
from ipaddress import ip_address
from urllib.parse import urlsplit

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["PlainHTTPWarning", "check_plain_http", "is_loopback", "is_of_the_service", "plain_host"]

_PACKAGE = __name__.partition(".")[0]


class PlainHTTPWarning(UserWarning):
    """Credentials, messages or callbacks travel over `http://` to another machine, readable on the way.

    Python shows it once for each line of your code that asks for such an address. In a network of your own,
    `warnings.filterwarnings("ignore", category=PlainHTTPWarning)` turns it off.
    """


def plain_host(url: str) -> str:
    """Return the host that `url` reaches unencrypted over a network, or an empty text."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        # Whether it is an address at all is for others to say.
        return ""
    return host if parts.scheme == "http" and not is_loopback(host) else ""


def check_plain_http(name: str, url: str, what: str = "credentials and messages") -> None:
    """Warn, at the line outside of this package that asked for it, if `url` is `http://` to another machine.

    Args:
        name: The setting, for the message.
        url: Its value, of which the host is shown.
        what: What travels.

    Raises:
        ConfigurationError: The host is KPN's or Vonage's own, which speak TLS only: the scheme is a slip, and
            the first request would show the secret on the way to its refusal.
    """
    host = plain_host(url)
    if not host:
        return
    if is_of_the_service(host):
        raise ConfigurationError(f"{name} must be https: {what} would travel unencrypted to {host}")
    text = f"{name} is http: {what} travel unencrypted to {host}; use https, or an address of this machine"
    warnings.warn(text, PlainHTTPWarning, stacklevel=_level())


def _level() -> int:
    """Return how far up the stack, from the caller of this function, the code of the user is."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        frame, level = frame.f_back, level + 1
    return level


# Contract 1.1.
_OF_THE_SERVICE = ("kpn.com", "nexmo.com", "vonage.com")


def is_loopback(host: str) -> bool:
    """Return whether what is sent to `host` stays on this machine, by its name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    # Before Python 3.13 an IPv4 address written as IPv6 is not looked into.
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_of_the_service(host: str) -> bool:
    """Return whether `host` is KPN's or Vonage's own."""
    name = host.lower().rstrip(".")
    return any(name == domain or name.endswith(f".{domain}") for domain in _OF_THE_SERVICE)
