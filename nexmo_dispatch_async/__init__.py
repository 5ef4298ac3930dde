"""Async client for the Dispatch API: say what to send, send it once, follow it."""

import typing

from nexmo_dispatch_async._version import __version__ as __version__
from nexmo_dispatch_async.auth import Auth, BasicAuth, BearerToken, KpnOAuth, VonageJWT
from nexmo_dispatch_async.channels import messenger, mms, reply, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    CampaignError,
    CareWindowStoreError,
    CertificateError,
    ClientClosedError,
    ConfigurationError,
    ConflictError,
    DispatchError,
    InvalidWorkflowError,
    LedgerCopiedError,
    LedgerError,
    LedgerInUseError,
    LedgerMissingError,
    NotAcceptedError,
    NotFoundError,
    NotReachedError,
    NotSentError,
    OptOutError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    PlanChangedError,
    ProtocolError,
    ProxyError,
    RateLimitError,
    RefusedError,
    SendingStoppedError,
    TokenUnavailableError,
    TrackingError,
    TrackingStoreError,
    UnacceptableError,
    WaitError,
    WaitTimeoutError,
)
from nexmo_dispatch_async.fan_out import NotSent, Refused, SendOutcome, Sent, Unknown
from nexmo_dispatch_async.fan_out.brake import Brake
from nexmo_dispatch_async.interruption import Interruption, interruption_of
from nexmo_dispatch_async.middleware import Attempt, Middleware
from nexmo_dispatch_async.models.problems import Problem
from nexmo_dispatch_async.models.responses import Application, ApplicationPage, Dispatch
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_async.rules import Rules, lint_application
from nexmo_dispatch_async.sansio import Request, Response
from nexmo_dispatch_async.sms_segments import count_segments
from nexmo_dispatch_async.templates import render
from nexmo_dispatch_async.transport.statistics import ClientStatistics
from nexmo_dispatch_async.urls import PlainHTTPWarning
from nexmo_dispatch_async.workflow import Finding, Step, Workflow

if typing.TYPE_CHECKING:
    from nexmo_dispatch_async.care_window import CareWindow
    from nexmo_dispatch_async.client import DispatchClient, new_client_ref
    from nexmo_dispatch_async.phone_numbers import NumberNormalizer, PhoneNumberError
    from nexmo_dispatch_async.tariff import Tariff
else:
    # Every pytest run imports this package, and few need aiohttp; nor does every user need the others.
    _LAZY = {
        "CareWindow": "care_window",
        "DispatchClient": "client",
        "NumberNormalizer": "phone_numbers",
        "PhoneNumberError": "phone_numbers",
        "Tariff": "tariff",
        "new_client_ref": "client",
    }

    def __getattr__(name: str) -> object:
        """Import a name on first use."""
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import importlib

        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
        return globals().setdefault(name, getattr(module, name))


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
    "Brake",
    "CampaignError",
    "CareWindow",
    "CareWindowStoreError",
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
    "LedgerCopiedError",
    "LedgerError",
    "LedgerInUseError",
    "LedgerMissingError",
    "Middleware",
    "NotAcceptedError",
    "NotFoundError",
    "NotReachedError",
    "NotSent",
    "NotSentError",
    "NumberNormalizer",
    "OptOutError",
    "OutcomeUnknownError",
    "PaymentRequiredError",
    "PermissionDeniedError",
    "PhoneNumberError",
    "PlainHTTPWarning",
    "PlanChangedError",
    "Problem",
    "ProtocolError",
    "ProxyError",
    "RateLimitError",
    "Refused",
    "RefusedError",
    "Request",
    "Response",
    "RetryPolicy",
    "Rules",
    "SendOutcome",
    "SendingStoppedError",
    "Sent",
    "Step",
    "Tariff",
    "Timeout",
    "TokenUnavailableError",
    "TrackingError",
    "TrackingStoreError",
    "UnacceptableError",
    "Unknown",
    "VonageJWT",
    "WaitError",
    "WaitTimeoutError",
    "Workflow",
    "count_segments",
    "interruption_of",
    "lint_application",
    "messenger",
    "mms",
    "new_client_ref",
    "render",
    "reply",
    "sms",
    "viber",
    "whatsapp",
]
