"""Async client for the Dispatch API: say what to send, send it once, follow it."""

import typing

from nexmo_dispatch_async._version import __version__ as __version__
from nexmo_dispatch_async.auth import Auth, BasicAuth, BearerToken, KpnOAuth, VonageJWT
from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.counters import ClientStatistics
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CertificateError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DispatchError,
    InvalidWorkflowError,
    NotFoundError,
    NotReachedError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitError,
    RefusedError,
    TokenUnavailableError,
    TrackingError,
    TrackingStoreError,
    WaitError,
    WaitTimeoutError,
)
from nexmo_dispatch_async.fan_out import NotSent, Refused, SendOutcome, Sent, Unknown
from nexmo_dispatch_async.interruption import Interruption, interruption_of
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.models.problems import Problem
from nexmo_dispatch_async.models.responses import Application, ApplicationPage, Dispatch
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.workflow import Finding, Step, Workflow

if typing.TYPE_CHECKING:
    from nexmo_dispatch_async.client import DispatchClient, new_client_ref
else:

    def __getattr__(name: str) -> object:
        """Import the client on first use: every pytest run imports this package, and few need aiohttp."""
        if name not in ("DispatchClient", "new_client_ref"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from nexmo_dispatch_async import client

        globals().update(DispatchClient=client.DispatchClient, new_client_ref=client.new_client_ref)
        return globals()[name]


__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "Application",
    "ApplicationPage",
    "Attempt",
    "Auth",
    "AuthenticationError",
    "BadRequestError",
    "BasicAuth",
    "BearerToken",
    "CertificateError",
    "ClientClosedError",
    "ClientStatistics",
    "ConfigurationError",
    "ConflictError",
    "Dispatch",
    "DispatchClient",
    "DispatchError",
    "Finding",
    "Interruption",
    "InvalidWorkflowError",
    "KpnOAuth",
    "Middleware",
    "NotFoundError",
    "NotReachedError",
    "NotSent",
    "NotSentError",
    "OutcomeUnknownError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "Problem",
    "ProtocolError",
    "RateLimitError",
    "Refused",
    "RefusedError",
    "Request",
    "Response",
    "RetryPolicy",
    "Rules",
    "SendOutcome",
    "Sent",
    "Step",
    "Timeout",
    "TokenUnavailableError",
    "TrackingError",
    "TrackingStoreError",
    "Unknown",
    "VonageJWT",
    "WaitError",
    "WaitTimeoutError",
    "Workflow",
    "interruption_of",
    "messenger",
    "mms",
    "new_client_ref",
    "sms",
    "viber",
    "whatsapp",
]
