"""Turns the end of a POST into a result for the ledger, and informs the governor.

The module sends nothing. The end of a POST is a response, an error, a cancellation, or an exception of a
middleware.
"""

from __future__ import annotations

import logging
import math

from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.records import Claimed, Result
from nexmo_dispatch_async.bulk.sending.governor import Lane
from nexmo_dispatch_async.bulk.sending.meter import Meter
from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    CertificateError,
    ClientClosedError,
    ConfigurationError,
    LedgerError,
    NotFoundError,
    NotSentError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    ProxyError,
    RateLimitError,
    UnacceptableError,
)
from nexmo_dispatch_async.interruption import outcome_of_failure
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.sansio import Response, decipher_dispatch
from nexmo_dispatch_core.bursts import Bursts

__all__ = ["BRAKE_AFTER", "Answer", "Verdict", "Verdicts", "decipher_answer", "not_sent"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

#: Failures that no row causes: no credit, credentials, no right to send (contract 3.8), and a path or an
#: application that is not there (contract 2.3, 9.28).
_OF_ALL_ROWS = (
    PaymentRequiredError,
    AuthenticationError,
    CertificateError,
    PermissionDeniedError,
    NotFoundError,
)

#: What an accepted POST brings.
Answer = tuple[Dispatch, Response]

#: Length of a run of unknown outcomes after which the sends pause, as in `send_many()`.
BRAKE_AFTER = 20


class Verdict(Struct, frozen=True):
    """The consequences of a failure.

    Attributes:
        result: The result for the ledger.
        pause: Reason to pause the campaign, since every other row would fail, too; `""` for no pause.
        fatal: Error that ends the run, since nothing can be sent any more; raised after all results are
            recorded.
    """

    result: Result
    pause: str = ""
    fatal: BaseException | None = None


def decipher_answer(response: Response) -> Answer:
    """Return the workflow that was accepted, with its response."""
    return decipher_dispatch(response), response


def not_sent(row: Claimed, at: float, error: str = "") -> Result:
    """Return the result of a row that was provably not sent: `pending` again, at its old place."""
    return Result(id=row.id, state="pending", at=at, error=error, attempts=row.attempts)


class Verdicts:
    """The verdicts on the failures of one run: those before say what the next one means."""

    def __init__(self) -> None:
        self._bursts = Bursts()
        # Length of the run of unknown results, and whether the service accepted a send at all
        self._unknowns = 0
        self._accepted = False

    def note(self, state: str) -> None:
        """Note the result of a row that is not pending again."""
        self._unknowns = self._unknowns + 1 if state == "unknown" else 0
        self._accepted = self._accepted or state == "sent"

    def unrendered(self, row: Claimed, error: Exception, at: float) -> Result:
        """Return the result of a row for which the template raised; a burst of them is one log line."""
        name = type(error).__name__
        more = self._bursts.begin(name)
        if more is not None:
            logger.warning("row %d cannot be rendered: %s%s", row.id, name, more)
        return Result(id=row.id, state="refused", at=at, error=name, attempts=row.attempts)

    def judge(
        self, row: Claimed, error: BaseException, lane: Lane, *, sent: float, now: float, at: float
    ) -> Verdict:
        """Return the consequences of a failed POST, and inform the governor.

        Args:
            row: The row.
            error: The exception that ended the POST.
            lane: The lane of the row.
            sent: Start of the POST, in seconds of the governor's clock.
            now: Present time of that clock.
            at: Epoch seconds.
        """
        name = type(error).__name__
        if isinstance(error, RateLimitError) and error.phase != "token":
            lane.throttled(sent, now, error)
            return Verdict(not_sent(row, at, name))
        if isinstance(error, _OF_ALL_ROWS) or (
            isinstance(error, ProxyError) and error.error_class == "configuration"
        ):
            # Of the account or of the settings: the next ten thousand rows would be refused as well.
            lane.lost()
            return Verdict(not_sent(row, at, name), pause=self._refused(error, lane.gateway, sent, now))
        if isinstance(error, UnacceptableError):
            lane.accepted(now)
            why = f"{name}: {error.reason}" if error.reason else name
            return Verdict(
                Result(id=row.id, state="refused", at=at, error=why, code=error.code, attempts=row.attempts)
            )
        if isinstance(error, NotSentError):
            lane.unreachable(sent, now)
            return Verdict(not_sent(row, at, name))
        lane.lost()
        if isinstance(error, ClientClosedError | ConfigurationError):
            return Verdict(not_sent(row, at, name), fatal=error)
        known = outcome_of_failure(error)
        if known.outcome == "sent" and known.dispatch is not None:
            uuid = known.dispatch.dispatch_uuid
            return Verdict(Result(id=row.id, state="sent", at=at, dispatch_uuid=uuid, attempts=row.attempts))
        if known.outcome == "not_sent":
            # Cancelled, or claimed too long ago, which another claim mends; or an exception of a middleware:
            # the next one waits, so that it is no endless loop.
            if isinstance(error, Exception) and not isinstance(error, LedgerError):
                lane.gateway.unreachable(sent, now)
            return Verdict(not_sent(row, at, name))
        code = error.code if isinstance(error, APIError) else ""
        result = Result(id=row.id, state="unknown", at=at, error=name, code=code, attempts=row.attempts)
        pause = self._brake(error, lane.gateway, sent, now) if isinstance(error, OutcomeUnknownError) else ""
        return Verdict(result, pause=pause)

    def _refused(self, error: APIError, gateway: Meter, sent: float, now: float) -> str:
        """Let one send be tried again after a refusal of all; return the reason to pause, `""` for none.

        A gateway that is deployed refuses everything for a moment, and the row was provably not accepted.
        Credentials that never worked are wrong, and credit does not come back by itself.
        """
        reason = str(error)
        over = gateway.refused(sent, now, reason)
        if over or not self._accepted or isinstance(error, PaymentRequiredError):
            return reason
        more = self._bursts.begin("service", type(error).__name__)
        if more is not None:
            logger.warning("the service refuses all sends, one at a time is tried again: %s%s", reason, more)
        return ""

    def _brake(self, error: OutcomeUnknownError, gateway: Meter, sent: float, now: float) -> str:
        """Slow down after a run of unknown results; return the reason to pause, `""` for none."""
        if gateway.gives_up_at < math.inf:
            # The send that was tried while the service refuses all of them: the wait for it goes on.
            return error.message if gateway.refused(sent, now, error.message) else ""
        if self._unknowns + 1 < BRAKE_AFTER:
            return ""
        reason = f"{self._unknowns + 1} in a row are unknown, the last one: {error.message}"
        gateway.brake(sent, now, reason)
        return reason if gateway.failures > 5 else ""
