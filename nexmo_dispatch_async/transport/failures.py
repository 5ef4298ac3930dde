"""From an exception of the network to our error, by the bytes of the request that were sent before it."""

from __future__ import annotations

import ssl

import aiohttp

from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    CertificateError,
    ConfigurationError,
    FailurePhase,
    OutcomeUnknownError,
    ProtocolError,
    ProxyError,
    TokenUnavailableError,
)
from nexmo_dispatch_async.sansio import Request
from nexmo_dispatch_async.transport.causes import reason_of
from nexmo_dispatch_async.transport.progress import Phase, Progress

__all__ = ["FOREIGN", "failure_of", "without_token"]

# The exceptions of a wire; aiohttp raises ValueError and RuntimeError for requests that it refuses to build.
FOREIGN = (aiohttp.ClientError, OSError, EOFError, ValueError, RuntimeError)

# Raised before a connection exists, so before a byte can have been sent.
_BEFORE_CONNECTION = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ServerFingerprintMismatch,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
    aiohttp.NonHttpUrlClientError,
)
_OF_THE_CERTIFICATE = (ssl.SSLCertVerificationError, aiohttp.ServerFingerprintMismatch)
_OF_THE_NETWORK = (aiohttp.ClientError, OSError, EOFError)


def failure_of(
    request: Request, progress: Progress, error: Exception, *, proxy: str = ""
) -> APIError | ConfigurationError:
    """Return the error for an exception of a wire.

    Args:
        request: The request.
        progress: The progress of the request.
        error: The exception of the wire.
        proxy: Host and port of the proxy, if there is one.
    """
    if progress.phase is Phase.UNSEEN and not isinstance(error, _OF_THE_NETWORK):
        # aiohttp refused to build the request. An exception of a mock counts as one of the network instead.
        message = f"{request.summary}: nothing was sent, the session refuses it{reason_of(error)}"
        return ConfigurationError(message)
    alert = "" if progress.answering else progress.refused_certificate(error)
    if alert:
        message = f"{request.summary}: no connection: the service does not take the client's certificate"
        return CertificateError(f"{message}: {alert}", request=request.summary, phase="connect")
    # A middleware of the caller's session may try again, and find no connection: the first attempt has left.
    connecting = not progress.on_wire and isinstance(error, _BEFORE_CONNECTION + _OF_THE_CERTIFICATE)
    if connecting or progress.phase in (Phase.PREPARED, Phase.STALE):
        return _not_sent(request, progress, error, proxy)
    return _unknown(request, progress, error)


def _not_sent(request: Request, progress: Progress, error: Exception, proxy: str) -> APIError:
    """Return the error of a request of which no byte was sent."""
    summary, reason = request.summary, reason_of(error)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        named = f"the proxy {proxy}".rstrip()
        message = f"{summary}: {named} refuses the tunnel with {error.status}{reason}"
        return ProxyError(message, request=summary, status=error.status, phase="connect")
    connection = f"no connection by way of the proxy {proxy}" if proxy else "no connection"
    if isinstance(error, _OF_THE_CERTIFICATE):
        return CertificateError(f"{summary}: {connection}{reason}", request=summary, phase="connect")
    phase: FailurePhase = "write" if progress.phase is Phase.STALE else "connect"
    if isinstance(error, TimeoutError):
        return APITimeoutError(f"{summary}: {connection} in time{reason}", request=summary, phase=phase)
    return APIConnectionError(f"{summary}: {connection}{reason}", request=summary, phase=phase)


def _unknown(request: Request, progress: Progress, error: Exception) -> APIError:
    """Return the error of a request that was sent and got no usable response."""
    summary, reason = request.summary, reason_of(error)
    phase: FailurePhase = "read" if progress.answering else "wait"
    if isinstance(error, TimeoutError):
        message = f"{summary}: sent, and no response in time{reason}"
        return OutcomeUnknownError(message, request=summary, phase=phase)
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        # A head that is not HTTP counts as the beginning of a response, too.
        message = f"{summary}: sent, and the response is unusable{reason}"
        return ProtocolError(message, request=summary, phase="read")
    message = f"{summary}: sent, and the connection broke{reason}"
    return OutcomeUnknownError(message, request=summary, phase=phase)


def without_token(error: OutcomeUnknownError) -> TokenUnavailableError:
    """Return the error of a call whose token request failed, so that the call was not sent."""
    unavailable = TokenUnavailableError(
        error.message, request=error.request, status=error.status, details=error.details, phase="token"
    )
    unavailable.__cause__ = error.__cause__
    return unavailable
