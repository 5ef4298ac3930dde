"""What became of one POST, as a result for the ledger and as news for the governor.

It sends nothing. Whatever ends a POST comes here: an answer, an error, a cancellation, an exception of a
middleware.
"""

from __future__ import annotations

from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.records import Claimed, Result
from nexmo_dispatch_async.bulk.sending.governor import Lane
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    CertificateError,
    ClientClosedError,
    ConfigurationError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    ProxyError,
    RateLimitError,
    UnacceptableError,
)
from nexmo_dispatch_async.interruption import outcome_of_failure

__all__ = ["BRAKE_AFTER", "Verdict", "judge", "not_sent"]

#: Unknown outcomes in a row after which the sends pause, as `send_many()` does.
BRAKE_AFTER = 20


class Verdict(Struct, frozen=True):
    """What a failure means.

    Attributes:
        result: For the ledger.
        pause: Why the campaign has to pause: every other row would fail the same; `""` when it need not.
        fatal: What ends the run, since nothing can be sent any more: it is raised when all is recorded.
    """

    result: Result
    pause: str = ""
    fatal: BaseException | None = None


def not_sent(row: Claimed, at: float, error: str = "") -> Result:
    """Return the result of a row that was provably not sent: it is `pending` again, at its old place."""
    return Result(id=row.id, state="pending", at=at, error=error, attempts=row.attempts)


def judge(
    row: Claimed, error: BaseException, lane: Lane, *, sent: float, now: float, at: float, unknowns: int
) -> Verdict:
    """Return what a POST that failed means, and tell the governor.

    Args:
        row: What was sent.
        error: What ended the POST.
        lane: Its way.
        sent: When it left, in seconds of the governor's clock.
        now: The same clock, now.
        at: Epoch seconds.
        unknowns: How many results in a row were unknown before it.
    """
    name = type(error).__name__
    if isinstance(error, RateLimitError) and error.phase != "token":
        lane.throttled(sent, now, error)
        return Verdict(not_sent(row, at, name))
    if isinstance(error, PaymentRequiredError | AuthenticationError | CertificateError) or (
        isinstance(error, ProxyError) and error.error_class == "configuration"
    ):
        # Of the account and not of the row: the next ten thousand would be refused as well.
        lane.lost()
        return Verdict(not_sent(row, at, name), pause=str(error))
    if isinstance(error, UnacceptableError):
        lane.accepted(now)
        result = Result(id=row.id, state="refused", at=at, error=name, code=error.code, attempts=row.attempts)
        return Verdict(result)
    if isinstance(error, NotSentError):
        lane.unreachable(sent, now)
        return Verdict(not_sent(row, at, name))
    if isinstance(error, ClientClosedError | ConfigurationError):
        lane.lost()
        return Verdict(not_sent(row, at, name), fatal=error)
    known = outcome_of_failure(error)
    lane.lost()
    if known.outcome == "sent" and known.dispatch is not None:
        uuid = known.dispatch.dispatch_uuid
        return Verdict(Result(id=row.id, state="sent", at=at, dispatch_uuid=uuid, attempts=row.attempts))
    if known.outcome == "not_sent":
        # Cancelled, or an exception of a middleware: the next one waits, so that it is no endless loop.
        if isinstance(error, Exception):
            lane.gateway.unreachable(sent, now)
        return Verdict(not_sent(row, at, name))
    code = error.code if isinstance(error, APIError) else ""
    result = Result(id=row.id, state="unknown", at=at, error=name, code=code, attempts=row.attempts)
    if isinstance(error, OutcomeUnknownError) and unknowns + 1 >= BRAKE_AFTER:
        lane.gateway.brake(sent, now)
        if lane.gateway.failures > 5:
            return Verdict(result, pause=f"{unknowns + 1} in a row are unknown, the last one: {error}")
    return Verdict(result)
