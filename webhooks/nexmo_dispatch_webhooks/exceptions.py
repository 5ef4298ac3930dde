"""All exceptions of the receiver. They never contain a body, a number or a secret.

    WebhookError                          base of all others
    ├── RequestRefusedError               a request is refused: `.status` is the HTTP status
    │   ├── InvalidBodyError              400: the body is not a JSON object, or breaks a strict check
    │   ├── SignatureVerificationError    401, or `wrong_signature`: the token or signature is wrong
    │   │   ├── MissingSignatureError     503: no signature; the service repeats the request with one
    │   │   └── TokenTimeError            503: correctly signed, but outside its time by this clock
    │   ├── CrossSiteRequestError         403: a web page made the request, and there is no verification
    │   ├── RequestTimeoutError           408: the body did not arrive in time
    │   ├── BodyTooLargeError             413: the body is over the limit
    │   └── UnsupportedMediaTypeError     415: wrong encoding, or without verification wrong content type
    ├── ConfigurationError                a setting is missing or wrong; also a ValueError
    ├── RouterError                       a registration that cannot work; also a TypeError
    │   └── RouterFrozenError             a registration after the start
    ├── HandlerError                      one or more handlers failed: `.failures`
    └── InboxError                        503: the inbox cannot store or read; nothing was acknowledged
        ├── InboxFullError                503: no room for another event; the service repeats it
        ├── InboxLostError                503: the file was removed, replaced or truncated while it was open
        ├── LostClaimError                another process has the event by now: nothing was marked
        ├── TransactionError              a handler's statements failed: nothing of them was kept
        │   └── StatementError            a statement cannot run as it was given; also a ValueError
        └── UnknownRecordError            no record has this id; also a KeyError

The HTTP statuses are those of contract 5.10: only after a 5xx the service certainly repeats a delivery.
`WebhookError.status` is 500 unless a subclass overrides it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

__all__ = [
    "BodyTooLargeError",
    "ConfigurationError",
    "CrossSiteRequestError",
    "HandlerError",
    "HandlerFailure",
    "InboxError",
    "InboxFullError",
    "InboxLostError",
    "InvalidBodyError",
    "LostClaimError",
    "MissingSignatureError",
    "RequestRefusedError",
    "RequestTimeoutError",
    "RouterError",
    "RouterFrozenError",
    "SignatureVerificationError",
    "StatementError",
    "TokenTimeError",
    "TransactionError",
    "UnknownRecordError",
    "UnsupportedMediaTypeError",
    "WebhookError",
]


class WebhookError(Exception):
    """Base of every error of the receiver; `status` is the HTTP status that answers it."""

    status: ClassVar[int] = 500


class RequestRefusedError(WebhookError):
    """A request is refused before any part of it is stored."""

    status = 400


class InvalidBodyError(RequestRefusedError):
    """HTTP 400: the body is not a JSON object in UTF-8 (contract 5.10), or `strict=True` found an oddity."""

    status = 400


class SignatureVerificationError(RequestRefusedError):
    """HTTP 401: the request does not prove its origin (contract 5.9).

    A receiver with `wrong_signature=503` answers 503, so that the service repeats the request.
    `claimed_api_key` is the account that the token names, an unverified claim of the sender.
    """

    status = 401

    def __init__(self, message: str = "", *, claimed_api_key: str | None = None) -> None:
        super().__init__(message)
        self.claimed_api_key = claimed_api_key


class MissingSignatureError(SignatureVerificationError):
    """HTTP 503: there is no token or signature.

    In rare failures the service omits the token, and repeats callbacks that get a 5xx (contract 5.9).
    """

    status = 503


class TokenTimeError(SignatureVerificationError):
    """HTTP 503: the token is correctly signed, but too old or too early by this machine's clock.

    One of the two clocks is wrong. The service does not repeat a callback after a 401, so a correction of the
    clock within a day would be too late (contract 5.9, 5.10).
    """

    status = 503


class CrossSiteRequestError(RequestRefusedError):
    """HTTP 403: a browser made the request for a web page, and the receiver has no verification.

    The service is no browser: it sends neither `Origin` nor `Sec-Fetch-Site`.
    """

    status = 403


class RequestTimeoutError(RequestRefusedError):
    """HTTP 408: the body did not arrive in time."""

    status = 408


class BodyTooLargeError(RequestRefusedError):
    """HTTP 413: the body, after decompression, is over the limit (contract 5.11)."""

    status = 413

    @classmethod
    def of(cls, size: int, most: int) -> Self:
        """Return the error of a body of *size* bytes, or of more if it was read no further."""
        return cls(f"the body is too large: {size} bytes and perhaps more, and max_body is {most}")


class UnsupportedMediaTypeError(RequestRefusedError):
    """HTTP 415: unsupported content encoding or, without verification, a content type other than JSON."""

    status = 415


class ConfigurationError(WebhookError, ValueError):
    """A setting of the receiver is missing or wrong; the message says what to do."""


class RouterError(WebhookError, TypeError):
    """A handler, filter or router that cannot work; raised at the registration."""


class RouterFrozenError(RouterError):
    """A registration after the start of the receiver."""


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """A handler that raised, or the filter in front of it."""

    handler: str
    error: BaseException = field(repr=False)  # its message is the application's and may hold personal data


class HandlerError(WebhookError):
    """One or more handlers failed; `failures` names each with its exception (contract 5.10: answer 500)."""

    def __init__(self, failures: Sequence[HandlerFailure]) -> None:
        self.failures: tuple[HandlerFailure, ...] = tuple(failures)
        names = ", ".join(f"{failure.handler} ({type(failure.error).__name__})" for failure in self.failures)
        super().__init__(f"failed: {names}")

    def __reduce__(self) -> tuple[type[HandlerError], tuple[tuple[HandlerFailure, ...]]]:
        return type(self), (self.failures,)


class InboxError(WebhookError):
    """HTTP 503: an event could not be stored, so it is not acknowledged (contract 5.10: it is repeated)."""

    status = 503


class InboxFullError(InboxError):
    """HTTP 503: the maximum number of events is pending, or the file is full."""


class InboxLostError(InboxError):
    """HTTP 503: the file of the inbox is no longer the opened one, so stored events would be lost."""


class LostClaimError(InboxError):
    """Another process may have the event by now, since this one gave no sign of life for too long.

    Nothing was marked, and nothing of the handler's transaction was kept.
    """


class TransactionError(InboxError):
    """The statements of a handler in `context.transaction` failed; none was stored."""


class StatementError(TransactionError, ValueError):
    """A statement or its parameters cannot be stored as they were given to `context.transaction`."""


class UnknownRecordError(InboxError, KeyError):
    """No record of the inbox has this id."""

    def __str__(self) -> str:
        return Exception.__str__(self)  # KeyError would print the quotes of a repr
