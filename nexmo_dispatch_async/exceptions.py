"""All exceptions of this package. The receiver has its own tree, under `WebhookError`.

    DispatchError                      base of all others
    ├── ConfigurationError             a setting is missing or wrong; also a ValueError
    ├── UnacceptableError              the same workflow would be refused again; also a base of RefusedError
    │   └── InvalidWorkflowError       the rules refused the workflow before any network call: .findings
    ├── CareWindowStoreError           the store of a care window failed; nothing was recorded
    ├── CampaignError                  a campaign or its files cannot carry out the call
    │   ├── LedgerError                the ledger failed; nothing of the call was stored
    │   │   ├── LedgerMissingError     there is no ledger at this place, or no campaign of this name
    │   │   ├── LedgerInUseError       another process uses the file: .pid, .host
    │   │   └── LedgerCopiedError      the ledger is a copy or was restored: the original may have sent since
    │   ├── PlanChangedError           the ledger holds another plan
    │   └── OptOutError                the opt-out list failed; nothing of the call was stored
    ├── ClientClosedError              the client is closed, or of another event loop: .outcome "not_sent"
    ├── TrackingError                  a workflow cannot be followed: the tracker is closed
    │   ├── TrackingStoreError         the store of the tracker failed; nothing was stored
    │   └── WaitError                  the awaited status did not come: .result has the known facts
    │       ├── NotReachedError        the workflow ended without the status
    │       └── WaitTimeoutError       the timeout passed; a TimeoutError as well
    └── APIError                       a call to the service failed: .outcome is the verdict
        ├── NotSentError               outcome "not_sent": the service accepted nothing, a retry is safe
        │   ├── APIConnectionError     no connection: DNS, refused, TLS
        │   │   ├── APITimeoutError    no connection in time; a TimeoutError as well
        │   │   ├── ProxyError         the proxy refuses the request, or the tunnel to the service
        │   │   └── CertificateError   the client or the service does not trust the other's certificate
        │   ├── AuthenticationError    the credentials or the token were rejected; a retry is safe and useless
        │   ├── NotAcceptedError       408, 421, 425: a proxy on the way did not take the request
        │   ├── TokenUnavailableError  the token endpoint fails: no access token, so nothing was sent
        │   ├── SendingStoppedError    send_many() stopped before this workflow: .attempts is 0
        │   └── RateLimitError         quota, spike arrest or throttling: .retry_after
        ├── RefusedError               outcome "refused": the same request would be refused again
        │   ├── BadRequestError        400, 422: .details.invalid_parameters
        │   ├── PaymentRequiredError   402, or a 400 about the balance: credit
        │   ├── PermissionDeniedError  403, or a project without this product
        │   ├── NotFoundError          404
        │   └── ConflictError          409
        └── OutcomeUnknownError        outcome "unknown": bytes left and no usable response arrived
            └── ProtocolError          a response arrived but was not understood: .body

The three outcomes follow from one fact: the API has no idempotency key, so a request may be repeated
only when it provably did not happen (contract 3.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from nexmo_dispatch_async import advice
from nexmo_dispatch_core.vocabulary import ErrorClass, classify_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nexmo_dispatch_async.models.findings import Finding
    from nexmo_dispatch_async.models.problems import Problem
    from nexmo_dispatch_async.models.results import WorkflowResult
    from nexmo_dispatch_async.quota import Quota

Outcome = Literal["not_sent", "refused", "unknown"]
FailurePhase = Literal["token", "connect", "write", "wait", "read", "response"]

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
    "LedgerMissingError",
    "NotAcceptedError",
    "NotFoundError",
    "NotReachedError",
    "NotSentError",
    "OptOutError",
    "Outcome",
    "OutcomeUnknownError",
    "PaymentRequiredError",
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
    """The same workflow would be refused again, by the rules of this package or by the service.

    Common base of `InvalidWorkflowError` and `RefusedError`, as `Refused.error` has them.

    Attributes:
        outcome: Always `refused`.
        findings: Findings of the rules; empty if the service refused the workflow.
        status: HTTP status; `None` if the rules refused the workflow.
        details: Content of the error body; `None` if the rules refused the workflow.
        reason: Why, without a value of the workflow: title, code and names of parameters, or ids of rules.
        code: Error code of the service (contract 6), or an empty text.
        error_class: Class of the error (contract 6).
    """

    outcome: ClassVar[Outcome] = "refused"
    findings: tuple[Finding, ...] = ()
    status: int | None = None
    details: Problem | None = None
    reason: str = ""

    @property
    def code(self) -> str:
        """The error code of the service."""
        return ""

    @property
    def error_class(self) -> ErrorClass:
        """The class of the code; `request` when the rules refused the workflow."""
        return "request"


class InvalidWorkflowError(UnacceptableError, ValueError):
    """A workflow breaks a rule of the API (contract 3, 7) and was not sent: see `findings`."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        self.reason: str = ", ".join(dict.fromkeys(finding.rule for finding in self.findings))
        lines = "".join(f"\n  {finding}" for finding in self.findings)
        problems = f"{len(self.findings)} problem{'' if len(self.findings) == 1 else 's'}"
        super().__init__(f"the workflow has {problems}, nothing was sent:{lines}")

    def __reduce__(self) -> tuple[type[InvalidWorkflowError], tuple[tuple[Finding, ...]]]:
        return type(self), (self.findings,)


class CareWindowStoreError(DispatchError):
    """The store of a care window failed, or its file vanished: nothing was recorded."""


class CampaignError(DispatchError):
    """A campaign or its files cannot carry out the call."""


class LedgerError(CampaignError):
    """The ledger of a campaign failed; nothing of the call was stored."""


class LedgerMissingError(LedgerError):
    """There is no ledger at this place, or no campaign of this name in the store."""


class LedgerInUseError(LedgerError):
    """Another process uses the ledger; two processes would message people twice.

    Attributes:
        pid: Id of that process; 0 when unknown.
        host: Name of the machine on which the process runs, or an empty text.
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
    """The ledger is a copy, or an older state: messages may have been sent from the original.

    `restored=True` opens it; only an operator can know that the original sent nothing since.
    """


class PlanChangedError(CampaignError):
    """The ledger holds another plan: the plan of a campaign cannot change after its start."""


class OptOutError(CampaignError):
    """The opt-out list failed; nothing of the call was stored."""


class ClientClosedError(DispatchError, RuntimeError):
    """The client was used after `aclose()`, or from another event loop than its own: nothing was sent."""

    outcome: ClassVar[Outcome] = "not_sent"


class TrackingError(DispatchError):
    """A workflow cannot be followed, since the tracker is closed."""


class TrackingStoreError(TrackingError):
    """The store of the tracker failed; nothing was stored."""


class WaitError(TrackingError):
    """The awaited status did not come; `result` has the known facts of the workflow."""

    def __init__(self, message: str, result: WorkflowResult) -> None:
        super().__init__(message)
        self.result = result

    def __reduce__(self) -> tuple[type[WaitError], tuple[str, WorkflowResult]]:
        return type(self), (str(self), self.result)


class NotReachedError(WaitError):
    """The workflow ended without the awaited status."""


class WaitTimeoutError(WaitError, TimeoutError):
    """The awaited status did not come within the timeout.

    Some workflows never end: nothing documented ends a last step that stays `submitted` (contract 9.12).
    """


class APIError(DispatchError):
    """A call to the service failed.

    The text and the attributes hold no personal data and no secrets, except `details`, `client_refs`, and
    the `body` of a `ProtocolError`.

    Attributes:
        outcome: Whether the service accepted the request: `not_sent`, `refused` or `unknown`.
        phase: Where the last attempt failed. `token`: no access token. `connect`: no connection. `write`: the
            connection was closed, or had unsolicited bytes, and nothing was written. `wait`: bytes left and
            no response began. `read`: the response began and did not end. `response`: a complete response
            arrived.
        status: HTTP status, if a response arrived.
        details: Content of the error body, in the service's own words.
        code: Error code of the service, as a number or a name (contract 6), or an empty text.
        error_class: Class of the error: `temporary`, `permanent`, `configuration`, `request` or `unknown`
            (contract 6).
        transaction_id: Trace id of KPN's gateway, or an empty text.
        instance: Trace id of a Vonage problem, or an empty text.
        retry_after: Seconds to wait before a retry, as the service demands; `None` without such a demand.
        quota: Quota according to the headers of the response; `None` when they do not contain any.
        attempts: Number of attempts.
        request: Method and URL template of the request, such as `POST /dispatch`.
        steps: The steps of the workflow, one line each: channel, content, masked recipient, condition.
        client_refs: The references of the steps; callbacks repeat them (contract 3.2).
    """

    outcome: ClassVar[Outcome]
    _usual_class: ClassVar[ErrorClass] = "unknown"
    _advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        request: str = "",
        status: int | None = None,
        details: Problem | None = None,
        retry_after: float | None = None,
        attempts: int = 1,
        phase: FailurePhase = "response",
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
        """The class of the code; for an unknown code, the usual class of this type of exception."""
        return classify_code(self.code) or self._usual_class

    @property
    def next_step(self) -> str:
        """What to do next, in one sentence; the text of the error ends with it."""
        return self._advice

    def __str__(self) -> str:
        """Return the message and the next step."""
        step = self.next_step
        return f"{self.message}; {step}" if step else self.message

    @property
    def transaction_id(self) -> str:
        """The trace id of KPN's gateway."""
        return self.details.transaction_id if self.details is not None else ""

    @property
    def instance(self) -> str:
        """The trace id of a Vonage problem."""
        return self.details.instance if self.details is not None else ""


class NotSentError(APIError):
    """The service accepted nothing: a retry cannot send the messages twice."""

    outcome: ClassVar[Outcome] = "not_sent"
    _advice: ClassVar[str] = advice.NOT_SENT


class APIConnectionError(NotSentError):
    """No connection could be made: DNS, refused or TLS; no byte of the request left."""

    _usual_class: ClassVar[ErrorClass] = "temporary"
    _advice: ClassVar[str] = advice.NO_CONNECTION


class APITimeoutError(APIConnectionError, TimeoutError):
    """No connection could be made in time; no byte of the request left."""


class ProxyError(APIConnectionError):
    """The proxy refuses the request, or the tunnel to the service; `status` is that of the proxy.

    A proxy that demands credentials or forbids the address would do so again: the call is not retried, and
    the class is `configuration`. The failure of a proxy to reach the service is `temporary`.
    """

    _advice: ClassVar[str] = advice.PROXY

    @property
    def error_class(self) -> ErrorClass:
        """`temporary` if the proxy may respond differently to a retry."""
        status = self.status or 0
        return "temporary" if status >= 500 or status in (408, 425, 429) else "configuration"


class CertificateError(APIConnectionError):
    """The client does not trust the service's certificate, or the service the client's; nothing was read.

    The certificate of the service may also differ from the pinned one; that of the client may be missing or
    expired. The call is not retried: certificates are a setting, see `DispatchClient(ssl=…)`.
    """

    _usual_class: ClassVar[ErrorClass] = "configuration"
    _advice: ClassVar[str] = advice.CERTIFICATE


class AuthenticationError(NotSentError):
    """The credentials or the access token were rejected, by whatever status (contract 2.2, 2.3)."""

    _usual_class: ClassVar[ErrorClass] = "configuration"
    #: name of the class of the client's credentials, such as `KpnOAuth`; empty if it is not known
    credentials: str = ""

    @property
    def next_step(self) -> str:
        """Which settings to look at, and what to do after a rotation of the secret."""
        return advice.after_rejection(self.phase, self.credentials)


class NotAcceptedError(NotSentError):
    """HTTP 408, 421 or 425: a proxy on the way did not take the request (contract 6.2, RFC 9110).

    The proxy did not receive the whole request in time, is not the right server for the request, or refuses
    early data; in each case the request went no further.
    """

    _usual_class: ClassVar[ErrorClass] = "temporary"


class TokenUnavailableError(NotSentError):
    """The token endpoint failed, or its response was not understood (contract 2.2): nothing was sent."""

    _usual_class: ClassVar[ErrorClass] = "temporary"


class SendingStoppedError(NotSentError):
    """`send_many()` stopped before this workflow, after a run of workflows that were unknown or not sent.

    The message names the last failure of the run. See `send_many(brake=…)`.
    """

    _advice: ClassVar[str] = advice.STOPPED
    _usual_class: ClassVar[ErrorClass] = "temporary"


class RateLimitError(NotSentError):
    """The quota, the spike arrest or throttling rejected the call (contract 3.8)."""

    _usual_class: ClassVar[ErrorClass] = "temporary"

    @property
    def next_step(self) -> str:
        """When to repeat the call, and which quota is used up."""
        return advice.after_limit(self.quota, self.retry_after)


class RefusedError(APIError, UnacceptableError):
    """The service refused the request; the same request would be refused again."""

    outcome: ClassVar[Outcome] = "refused"
    _usual_class: ClassVar[ErrorClass] = "request"


class BadRequestError(RefusedError):
    """HTTP 400 or 422: the request breaks a rule of the service; see `details.invalid_parameters`."""

    _advice: ClassVar[str] = advice.BAD_REQUEST


class PaymentRequiredError(RefusedError):
    """The balance is too low: 402, `low-balance`, or a 400 with the parameter `balance` (contract 3.8)."""

    _usual_class: ClassVar[ErrorClass] = "configuration"
    _advice: ClassVar[str] = advice.NO_CREDIT


class PermissionDeniedError(RefusedError):
    """HTTP 403, or a project without access to this product (contract 2.3)."""

    _usual_class: ClassVar[ErrorClass] = "configuration"
    _advice: ClassVar[str] = advice.NOT_PERMITTED


class NotFoundError(RefusedError):
    """HTTP 404: no such path, application or id."""

    _advice: ClassVar[str] = advice.NOT_FOUND


class ConflictError(RefusedError):
    """HTTP 409: the request conflicts with the present state of the resource."""


class OutcomeUnknownError(APIError):
    """Bytes of the request left and no usable response arrived: the messages may or may not have been sent.

    The request is not repeated, since there is no idempotency key and a second request could send the
    messages twice (contract 3.8). Only callbacks can tell, by `client_refs`: docs/one_time_passwords.md.
    """

    outcome: ClassVar[Outcome] = "unknown"
    _usual_class: ClassVar[ErrorClass] = "temporary"

    @property
    def next_step(self) -> str:
        """Why not to repeat the request, and what tells its outcome."""
        return advice.after_unknown(self.request, has_refs=bool(self.client_refs))


class ProtocolError(OutcomeUnknownError):
    """A response arrived but was not understood: a success without an id, or no HTTP (contract 3.7).

    `body` holds the first bytes of the response.
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
        phase: FailurePhase = "response",
    ) -> None:
        super().__init__(message, request=request, status=status, details=details, phase=phase)
        self.body = body
