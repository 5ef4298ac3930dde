"""Everything this package raises. The receiver has a tree of its own, under `WebhookError`.

    DispatchError                      all of the below
    ├── ConfigurationError             a setting is missing or wrong
    ├── UnacceptableError              would be refused again: what the next one and RefusedError share
    │   └── InvalidWorkflowError       refused here, before any network call: .findings
    ├── CareWindowStoreError           the store of a care window failed, and nothing was noted
    ├── CampaignError                  a campaign, or what it keeps, cannot do what was asked
    │   ├── LedgerError                its ledger failed, and nothing of the call was stored
    │   │   ├── LedgerInUseError       another process works with the file: .pid, .host
    │   │   └── LedgerCopiedError      the file was copied or restored: others may have been sent since
    │   ├── PlanChangedError           the ledger holds another plan
    │   └── PeopleError                the opt-out list failed, and nothing of the call was stored
    ├── ClientClosedError              the client is closed, or belongs to another event loop
    ├── TrackingError                  a workflow cannot be followed: the tracker is closed
    │   ├── TrackingStoreError         its store failed, and nothing was stored
    │   └── WaitError                  the awaited status did not come: .result is what is known
    │       ├── NotReachedError        the workflow ended without it
    │       └── WaitTimeoutError       not in time; a TimeoutError as well
    └── APIError                       a call to the service failed: .outcome says what that means
        ├── NotSentError               outcome "not_sent": nothing was accepted, sending again is safe
        │   ├── APIConnectionError     no connection: DNS, refused, TLS
        │   │   ├── APITimeoutError    no connection in time; a TimeoutError as well
        │   │   ├── ProxyError         the proxy refuses the request, or its tunnel to the service
        │   │   └── CertificateError   a certificate is not trusted, here or there
        │   ├── AuthenticationError    the credentials or the token were rejected
        │   ├── NotAcceptedError       408, 421, 425: a proxy on the way did not take the request
        │   ├── TokenUnavailableError  the token endpoint fails: no access token, so nothing was sent
        │   ├── SendingStoppedError    send_many() stopped before it: .attempts is 0
        │   └── RateLimitError         quota, spike arrest or throttling: .retry_after
        ├── RefusedError               outcome "refused": the same request would be refused again
        │   ├── BadRequestError        400, 422: .details.invalid_parameters
        │   ├── PaymentRequiredError   402, or a 400 about the balance: credit
        │   ├── PermissionDeniedError  403, or a project without this product
        │   ├── NotFoundError          404
        │   └── ConflictError          409
        └── OutcomeUnknownError        outcome "unknown": bytes left and no usable answer came back
            └── ProtocolError          an answer came back, and it makes no sense: .body

The three outcomes follow from one fact: the API has no idempotency key, so a request may be repeated
only when it provably did not happen (contract 3.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from nexmo_dispatch_core.vocabulary import ErrorClass, classify_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nexmo_dispatch_async.models.findings import Finding
    from nexmo_dispatch_async.models.problems import Problem
    from nexmo_dispatch_async.models.results import WorkflowResult
    from nexmo_dispatch_async.quota import Quota

Outcome = Literal["not_sent", "refused", "unknown"]
FailurePhase = Literal["token", "connect", "write", "wait", "read", "answer"]

__all__ = [
    "APIConnectionError",
    "APIError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "CampaignError",
    "CareWindowStoreError",
    "CertificateError",
    "ClientClosedError",
    "ConfigurationError",
    "ConflictError",
    "DispatchError",
    "FailurePhase",
    "InvalidWorkflowError",
    "LedgerCopiedError",
    "LedgerError",
    "LedgerInUseError",
    "NotAcceptedError",
    "NotFoundError",
    "NotReachedError",
    "NotSentError",
    "Outcome",
    "OutcomeUnknownError",
    "PaymentRequiredError",
    "PeopleError",
    "PermissionDeniedError",
    "PlanChangedError",
    "ProtocolError",
    "ProxyError",
    "RateLimitError",
    "RefusedError",
    "SendingStoppedError",
    "TokenUnavailableError",
    "TrackingError",
    "TrackingStoreError",
    "UnacceptableError",
    "WaitError",
    "WaitTimeoutError",
]


class DispatchError(Exception):
    """Base of every error of the SDK."""


class ConfigurationError(DispatchError, ValueError):
    """A setting is missing or wrong; the message names it and says what to do."""


class UnacceptableError(DispatchError):
    """The same workflow would be refused again, by the rules here or by the service.

    What `InvalidWorkflowError` and `RefusedError` have in common: one type for code that treats both alike
    (`Refused.error`).

    Attributes:
        outcome: Always `refused`.
        findings: What the rules here found; empty if the service refused it.
        status: The HTTP status; `None` if the rules here refused it.
        details: What the service said; `None` if the rules here refused it.
        code: The error code of the service (contract 6), or an empty text.
        error_class: What kind of trouble it is (contract 6).
    """

    outcome: ClassVar[Outcome] = "refused"
    findings: tuple[Finding, ...] = ()
    status: int | None = None
    details: Problem | None = None

    @property
    def code(self) -> str:
        """The error code of the service."""
        return ""

    @property
    def error_class(self) -> ErrorClass:
        """The class of the code; what the rules find is wrong with the request."""
        return "request"


class InvalidWorkflowError(UnacceptableError, ValueError):
    """A workflow breaks a rule of the API (contract 3, 7) and was not sent: see `findings`."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        lines = "".join(f"\n  {finding}" for finding in self.findings)
        count = len(self.findings)
        super().__init__(
            f"the workflow has {count} problem{'' if count == 1 else 's'}, nothing was sent:{lines}"
        )

    def __reduce__(self) -> tuple[type[InvalidWorkflowError], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)


class CareWindowStoreError(DispatchError):
    """The store of a care window failed, or its file is no longer there: nothing was noted."""


class CampaignError(DispatchError):
    """A campaign, or what it keeps of its recipients, cannot do what was asked."""


class LedgerError(CampaignError):
    """The ledger of a campaign failed, and nothing of the call was stored."""


class LedgerInUseError(LedgerError):
    """Another process works with the ledger, and two would message people twice.

    Attributes:
        pid: Number of the process that has it; 0 when that is not known.
        host: Name of the machine that it runs on, or an empty text.
    """

    def __init__(self, message: str, *, pid: int = 0, host: str = "") -> None:
        super().__init__(message)
        self.pid = pid
        self.host = host

    def __reduce__(self) -> tuple[object, tuple[str, int, str]]:
        return _ledger_in_use, (str(self), self.pid, self.host)


def _ledger_in_use(message: str, pid: int, host: str) -> LedgerInUseError:
    return LedgerInUseError(message, pid=pid, host=host)


class LedgerCopiedError(LedgerError):
    """The file is a copy of the ledger, or an older state of it: the other one may have been sent from.

    An operator who knows that it was not opens it with `restored=True`.
    """


class PlanChangedError(CampaignError):
    """The ledger holds another plan than the one it was asked to hold: a campaign is frozen once it began."""


class PeopleError(CampaignError):
    """The opt-out list failed, and nothing of the call was stored."""


class ClientClosedError(DispatchError, RuntimeError):
    """The client was used after `aclose()`, or from another event loop than the one it was opened in."""


class TrackingError(DispatchError):
    """A workflow cannot be followed, since the tracker is closed."""


class TrackingStoreError(TrackingError):
    """The store of the tracker failed, and nothing was stored."""


class WaitError(TrackingError):
    """The awaited status did not come; `result` is what is known of the workflow."""

    def __init__(self, message: str, result: WorkflowResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[type[WaitError], tuple[str, WorkflowResult]]:
        return type(self), (str(self), self.result)


class NotReachedError(WaitError):
    """The workflow ended without the status that was waited for."""


class WaitTimeoutError(WaitError, TimeoutError):
    """What was waited for did not come in time.

    Some workflows never end: nothing documented ends a last step that stays `submitted` (contract 9.12).
    """


class APIError(DispatchError):
    """A call to the service failed.

    Neither its text nor its attributes hold personal data or secrets, except `details` and `client_refs`, and
    the `body` of a `ProtocolError`.

    Attributes:
        outcome: Whether the service accepted it: `not_sent`, `refused` or `unknown`.
        phase: How far the last try got. `token`: no access token. `connect`: no connection. `write`: the
            connection was found closed, or had something to say already, and nothing was written.
            `wait`: bytes left and no answer began. `read`: the answer began and did not end. `answer`: a
            whole answer came back.
        status: The HTTP status, if an answer came back.
        details: What could be read from its body, in the service's own words.
        code: The error code of the service, as a number or a name (contract 6), or an empty text.
        error_class: What kind of trouble it is: `temporary`, `permanent`, `configuration`, `request` or
            `unknown` (contract 6).
        transaction_id: The trace id of KPN's gateway, or an empty text.
        instance: The trace id of a Vonage problem, or an empty text.
        retry_after: The number of seconds the service asked to wait.
        quota: What the gateway said of the quota with this answer; `None` where it said nothing readable.
        attempts: How often the request was tried.
        request: Its method and its URL template, such as `POST /dispatch`.
        steps: What a workflow consisted of, one line a step: channel, content, masked recipient, condition.
        client_refs: The references of its steps; callbacks repeat them (contract 3.2).
    """

    outcome: ClassVar[Outcome]
    _usual_class: ClassVar[ErrorClass] = "unknown"

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        status: int | None = None,
        details: Problem | None = None,
        retry_after: float | None = None,
        attempts: int = 1,
        phase: FailurePhase = "answer",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.request = request
        self.status = status
        self.details = details
        self.retry_after = retry_after
        self.quota: Quota | None = None
        self.attempts = attempts
        self.phase: FailurePhase = phase
        self.steps: tuple[str, ...] = ()
        self.client_refs: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The error code of the service."""
        return self.details.code if self.details is not None else ""

    @property
    def error_class(self) -> ErrorClass:
        """The class of the code, and where that says nothing, of what this exception stands for."""
        return classify_code(self.code) or self._usual_class

    @property
    def transaction_id(self) -> str:
        """The trace id of KPN's gateway."""
        return self.details.transaction_id if self.details is not None else ""

    @property
    def instance(self) -> str:
        """The trace id of a Vonage problem."""
        return self.details.instance if self.details is not None else ""


class NotSentError(APIError):
    """The service accepted nothing: sending again cannot send twice."""

    outcome: ClassVar[Outcome] = "not_sent"


class APIConnectionError(NotSentError):
    """No connection could be made: DNS, refused or TLS; no byte of the request left."""

    _usual_class: ClassVar[ErrorClass] = "temporary"


class APITimeoutError(APIConnectionError, TimeoutError):
    """No connection could be made in time; no byte of the request left."""


class ProxyError(APIConnectionError):
    """The proxy refuses the request, or its tunnel to the service; `status` is that of the proxy.

    A proxy that wants credentials or forbids the address would do so again: the call is tried once, and the
    class is `configuration`. One that cannot reach the service is `temporary`.
    """

    @property
    def error_class(self) -> ErrorClass:
        """`temporary` if the proxy may answer otherwise another time."""
        status = self.status or 0
        return "temporary" if status >= 500 or status in (408, 425, 429) else "configuration"


class CertificateError(APIConnectionError):
    """A certificate is not trusted: that of the service here, or that of the client there; nothing was read.

    That of the service may also be another one than was pinned; that of the client may be missing or expired.
    The call is not tried again: certificates are a setting, see `DispatchClient(ssl=…)`.
    """

    _usual_class: ClassVar[ErrorClass] = "configuration"


class AuthenticationError(NotSentError):
    """The credentials or the access token were rejected, by whatever status (contract 2.2, 2.3)."""

    _usual_class: ClassVar[ErrorClass] = "configuration"


class NotAcceptedError(NotSentError):
    """HTTP 408, 421 or 425: a proxy on the way did not take the request (contract 6.2, RFC 9110).

    It had not all of it in time, is not the server that the request was for, or will not risk a repetition;
    in each case the request went no further.
    """

    _usual_class: ClassVar[ErrorClass] = "temporary"


class TokenUnavailableError(NotSentError):
    """The token endpoint fails or makes no sense (contract 2.2): without a token nothing was sent."""

    _usual_class: ClassVar[ErrorClass] = "temporary"


class SendingStoppedError(NotSentError):
    """`send_many()` stopped before this workflow, since one after the other was unknown or not sent.

    The message names the last of them. See `send_many(brake=…)`.
    """

    _usual_class: ClassVar[ErrorClass] = "temporary"


class RateLimitError(NotSentError):
    """Quota, spike arrest or throttling turned the call away (contract 3.8)."""

    _usual_class: ClassVar[ErrorClass] = "temporary"


class RefusedError(APIError, UnacceptableError):
    """The service refused the request; the same request would be refused again."""

    outcome: ClassVar[Outcome] = "refused"
    _usual_class: ClassVar[ErrorClass] = "request"


class BadRequestError(RefusedError):
    """HTTP 400 or 422: the request breaks a rule of the service; see `details.invalid_parameters`."""


class PaymentRequiredError(RefusedError):
    """The balance is too low: 402, `low-balance`, or a 400 with the parameter `balance` (contract 3.8)."""

    _usual_class: ClassVar[ErrorClass] = "configuration"


class PermissionDeniedError(RefusedError):
    """HTTP 403, or a project that is not entitled to this product (contract 2.3)."""

    _usual_class: ClassVar[ErrorClass] = "configuration"


class NotFoundError(RefusedError):
    """HTTP 404: no such path, application or id."""


class ConflictError(RefusedError):
    """HTTP 409: the request contradicts the present state."""


class OutcomeUnknownError(APIError):
    """Bytes of the request left and no usable answer came back: it may or may not have happened.

    The request is not repeated, since there is no idempotency key and a second one could send the
    messages twice (contract 3.8). Wait for callbacks to learn what became of it: those of a workflow
    repeat its `client_refs`, if it had any.
    """

    outcome: ClassVar[Outcome] = "unknown"
    _usual_class: ClassVar[ErrorClass] = "temporary"


class ProtocolError(OutcomeUnknownError):
    """An answer came back that does not say what happened: success without an id, or no HTTP (contract 3.7).

    `body` holds the first bytes of that answer, in the service's own words.
    """

    _usual_class: ClassVar[ErrorClass] = "unknown"

    def __init__(
        self,
        message: str,
        *,
        body: bytes = b"",
        request: str = "",
        status: int | None = None,
        details: Problem | None = None,
        phase: FailurePhase = "answer",
    ) -> None:
        super().__init__(message, request=request, status=status, details=details, phase=phase)
        self.body = body
