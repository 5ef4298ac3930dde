"""The reason in an exception of the session, and the part of it that may be shown.

It decides nothing: `progress` knows whether bytes of a request were sent.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator

import aiohttp
from yarl import URL

from nexmo_dispatch_async.redaction import mask
from nexmo_dispatch_async.transport.proxies import proxy_name

__all__ = ["certificate_alert", "presentable", "proxy_of", "reason_of"]

# TLS alerts with which one side rejects the certificate of the other (RFC 8446, 6.2), as OpenSSL spells them:
# SSLV3_ALERT_CERTIFICATE_EXPIRED, TLSV13_ALERT_CERTIFICATE_REQUIRED.
_ALERT = re.compile(
    r"ALERT_(BAD_CERTIFICATE|UNSUPPORTED_CERTIFICATE|CERTIFICATE_(?:REVOKED|EXPIRED|UNKNOWN|REQUIRED)"
    r"|UNKNOWN_CA|ACCESS_DENIED)\b"
)
# Before TLS 1.3 a server that misses a certificate sends this alert, during the handshake.
_ALERT_OF_OLD = re.compile(r"ALERT_(HANDSHAKE_FAILURE)\b")

# Failures of a connection that the system explains by a number; those of DNS and TLS have other texts.
_BY_NUMBER = (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError)


def certificate_alert(error: BaseException | None, *, connecting: bool) -> str:
    """Return the alert of a service that rejects the client's certificate, or an empty text.

    Args:
        error: The exception of the session or of a connection.
        connecting: Whether the handshake was still in progress on this side.
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
    """Return the reason of an error, after a colon, for a message.

    The reason contains no received data, which aiohttp quotes and which may echo the request, no URL, which
    may contain an id and parameters, and no object of the event loop.
    """
    text = str(error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        text = "the server disconnected"
    elif isinstance(error, aiohttp.ServerFingerprintMismatch):
        text = "the certificate has another fingerprint"
    elif isinstance(error, aiohttp.ClientResponseError):
        text = error.message
    elif (
        isinstance(error, aiohttp.ClientConnectorError) and type(error) in _BY_NUMBER and error.os_error.errno
    ):
        text = os.strerror(error.os_error.errno)  # aiohttp's own text speaks of its settings and of calls
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
    """Return `error` or its nearest cause whose attributes are only words and numbers.

    An exception of aiohttp may contain the key of its connection, with a proxy password, or the headers of a
    request, with the token; others contain a URL. Their cause, an error of the operating system, contains the
    reason and nothing private.
    """
    for each in _chain(error):
        if isinstance(each, Exception) and all(map(_shows_nothing, _reachable(each))):
            return each
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its causes, each once, as a traceback shows them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _reachable(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all exceptions to which it refers, shown in a traceback or not."""
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
