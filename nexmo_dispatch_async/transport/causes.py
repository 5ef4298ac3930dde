"""What an exception of the session says, and what of it may be shown.

It decides nothing: whether a request left is for `phase` to know.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import aiohttp
from yarl import URL

from nexmo_dispatch_async.redaction import mask
from nexmo_dispatch_async.transport.proxies import proxy_name

__all__ = ["certificate_alert", "presentable", "proxy_of", "reason_of"]

# The alerts by which one side of a TLS handshake says that it does not take the certificate of the other
# (RFC 8446, 6.2), as OpenSSL spells them: SSLV3_ALERT_CERTIFICATE_EXPIRED, TLSV13_ALERT_CERTIFICATE_REQUIRED.
_ALERT = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(?:REVOKED|EXPIRED|UNKNOWN|REQUIRED)"
    r"|UNKNOWN_CA|ACCESS_DENIED)\b"
)
# Before TLS 1.3 this is what a server says that misses a certificate, and it says so before the end.
_ALERT_OF_OLD = re.compile(r"ALERT_(HANDSHAKE_FAILURE)\b")


def certificate_alert(error: BaseException | None, *, connecting: bool) -> str:
    """Return the alert of a service that does not take the client's certificate, or an empty text.

    Args:
        error: What the session raised, or found on a connection.
        connecting: Whether the handshake had not ended here.
    """
    for each in _chain(error):
        if isinstance(each, ssl.SSLError | aiohttp.ClientOSError):
            alert = re.sub(r"\W", "_", _openssl_reason(each)).upper()
            found = _ALERT.search(alert) or (connecting and _ALERT_OF_OLD.search(alert))
            if found:
                return found[1].lower().replace("_", " ")
    return ""


def _openssl_reason(error: OSError) -> str:
    """Return the reason of an error of OpenSSL.

    With no reader waiting, aiohttp keeps only its text, such as `[SSL: TLSV1_ALERT_UNKNOWN_CA] …`.
    """
    if reason := getattr(error, "reason", None):
        return str(reason)
    found = re.search(r"\[SSL: ([^]]+)\]", str(error))
    return found[1] if found else ""


def reason_of(error: Exception) -> str:
    """Return why, after a colon.

    Not what was received: aiohttp shows that, and it may be what was sent. Neither an address, which may hold
    an id and parameters, nor an object of the event loop.
    """
    text = str(error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        text = "the server disconnected"
    elif isinstance(error, aiohttp.ServerFingerprintMismatch):
        text = "the certificate has another fingerprint"
    elif isinstance(error, aiohttp.ClientResponseError):
        text = error.message
    elif "://" in text:
        text = "" if error.__cause__ is None else str(error.__cause__)
    if "://" in text or (isinstance(error, RuntimeError) and "<" in text):
        text = ""
    text = " ".join(text.partition("\n")[0].partition("b'")[0].split()).rstrip(":")
    if not text and not isinstance(error, TimeoutError):
        text = type(error).__name__
    return f": {mask(text)[:300]}" if text else ""


def proxy_of(error: Exception) -> str:
    """Return host and port of the proxy that an exception of aiohttp names, or an empty text."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"{error.host}:{error.port}"
    proxy = getattr(getattr(error, "_conn_key", None), "proxy", None)
    return proxy_name(proxy) if isinstance(proxy, URL) else ""


def presentable(error: BaseException | None) -> Exception | None:
    """Return the nearest cause of `error`, or `error` itself, that shows nothing but words and numbers.

    An exception of aiohttp may hold the key of its connection, with the password of a proxy, or the headers
    of a request, with the token; others hold an address. What is behind them is the operating system's, and
    says why.
    """
    for each in _chain(error):
        if isinstance(each, Exception) and all(map(_shows_nothing, _reachable(each))):
            return each
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it was raised from, each once, as a traceback shows them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _reachable(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and whatever it refers to, also what no traceback shows."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        each = queue.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            queue += each.__cause__, each.__context__


def _shows_nothing(error: BaseException) -> bool:
    held = [*error.args, *vars(error).values()]
    return all(
        item is None or isinstance(item, int | float) or (isinstance(item, str) and "://" not in item)
        for item in held
    )
