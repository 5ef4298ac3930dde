"""What an exception of the network means for a request, by what left before it."""

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

# What a wire can raise; ValueError and RuntimeError for what aiohttp finds wrong before it connects.
FOREIGN = (aiohttp.ClientError, OSError, EOFError, ValueError, RuntimeError)

# Raised before a connection exists, so before a byte can have left.
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
    """Return what an exception of a wire means.

    Args:
        request: What was sent, or not.
        progress: How far it got.
        error: What the wire raised.
        proxy: Host and port of the proxy, if there is one.
    """
    if progress.phase is Phase.UNSEEN and not isinstance(error, _OF_THE_NETWORK):
        # Found wrong before the request was built. What a mock raises is of the network, and is believed.
        message = f"{request.summary}: nothing was sent, the session refuses it{reason_of(error)}"
        return ConfigurationError(message)
    alert = "" if progress.answering else progress.refused_certificate(error)
    if alert:
        message = f"{request.summary}: no connection: the service does not take the client's certificate"
        return CertificateError(f"{message}: {alert}", request=request.summary, phase="connect")
    connecting = isinstance(error, _BEFORE_CONNECTION + _OF_THE_CERTIFICATE)
    if connecting or progress.phase in (Phase.PREPARED, Phase.STALE):
        return _not_sent(request, progress, error, proxy)
    return _unknown(request, progress, error)


def _not_sent(request: Request, progress: Progress, error: Exception, proxy: str) -> APIError:
    """Return the error of a request of which no byte left."""
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
    """Return the error of a request that left, and of which no usable response came."""
    summary, reason = request.summary, reason_of(error)
    phase: FailurePhase = "read" if progress.answering else "wait"
    if isinstance(error, TimeoutError):
        message = f"{summary}: sent, and no answer in time{reason}"
        return OutcomeUnknownError(message, request=summary, phase=phase)
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        # A head that is no HTTP is the beginning of an answer too.
        message = f"{summary}: sent, and the answer is unusable{reason}"
        return ProtocolError(message, request=summary, phase="read")
    message = f"{summary}: sent, and the connection broke{reason}"
    return OutcomeUnknownError(message, request=summary, phase=phase)


def without_token(error: OutcomeUnknownError) -> TokenUnavailableError:
    """Return what the failure of a token request means for the call that needs the token: it was not sent."""
    unavailable = TokenUnavailableError(
        error.message, request=error.request, status=error.status, details=error.details, phase="token"
    )
    unavailable.__cause__ = error.__cause__
    return unavailable
