"""The decision table after a failed attempt: give up, renew the token, or pause and repeat.

The module is pure: no clock, no network, no randomness of its own; `call` and `tokens` carry the decisions
out. Contract 3.8: a request is repeated only if it was provably not carried out, if it only reads, or if the
policy of the caller says so.
"""

from __future__ import annotations

import enum
from typing import Final, Literal, NamedTuple

from nexmo_dispatch_async.exceptions import (
    APIError,
    AuthenticationError,
    CertificateError,
    NotSentError,
    OutcomeUnknownError,
    ProtocolError,
    ProxyError,
)
from nexmo_dispatch_async.retry import RetryPolicy

__all__ = [
    "TABLE",
    "Decision",
    "Failure",
    "GiveUp",
    "Move",
    "Pause",
    "Purpose",
    "RenewToken",
    "decide",
    "failure_in",
    "printed",
    "purpose_of",
]

#: The purpose of a request: to write (everything but GET), to read (GET), or to get a token.
Purpose = Literal["write", "read", "token"]


class GiveUp(NamedTuple):
    """Raise the error."""


class RenewToken(NamedTuple):
    """Repeat at once, with a new token."""


class Pause(NamedTuple):
    """Repeat after a number of seconds."""

    seconds: float


Decision = GiveUp | RenewToken | Pause


class Failure(enum.Enum):
    """What failed: the rows of the table, each with its words in the documentation."""

    REJECTED = "401: the gateway rejected the token, before the service saw the request"
    SETTING = "a certificate was not taken, or a proxy refuses the client"
    NOT_SENT = "nothing was accepted: no connection, no token, a quota or a rate limit"
    REFUSED = "the service refused the request"
    UNUSABLE = "a whole response with a status that is not an error, and no sense"
    UNAVAILABLE = "503 and nothing better: from the gateway, or from the service behind it"
    UNKNOWN = "bytes left, and no response or another error of the service came"


class Move(enum.Enum):
    """What follows: the cells of the table."""

    GIVE_UP = "give up"
    RENEW = "renew the token"
    PAUSE = "pause, repeat"
    IF_UNAVAILABLE = "pause, repeat if `RetryPolicy.unavailable`"


class Row(NamedTuple):
    """One row of the table: what follows, by the purpose of the request."""

    write: Move
    read: Move
    token: Move


_GIVE_UP, _RENEW, _PAUSE, _IF_UNAVAILABLE = Move

# fmt: off
TABLE: Final[dict[Failure, Row]] = {
    # What failed            a write           a read     a token request
    Failure.REJECTED:    Row(_RENEW,           _RENEW,    _GIVE_UP),
    Failure.SETTING:     Row(_GIVE_UP,         _GIVE_UP,  _GIVE_UP),
    Failure.NOT_SENT:    Row(_PAUSE,           _PAUSE,    _PAUSE),
    Failure.REFUSED:     Row(_GIVE_UP,         _GIVE_UP,  _PAUSE),
    Failure.UNUSABLE:    Row(_GIVE_UP,         _GIVE_UP,  _PAUSE),
    Failure.UNAVAILABLE: Row(_IF_UNAVAILABLE,  _PAUSE,    _PAUSE),
    Failure.UNKNOWN:     Row(_GIVE_UP,         _PAUSE,    _PAUSE),
}
# fmt: on


def purpose_of(method: str) -> Purpose:
    """Return the purpose of a call with this HTTP method."""
    return "read" if method == "GET" else "write"


def failure_in(error: APIError) -> Failure:
    """Return the row of the table for an error."""
    if isinstance(error, AuthenticationError):
        return Failure.REJECTED
    if isinstance(error, NotSentError):
        wrong = isinstance(error, CertificateError)
        if isinstance(error, ProxyError):
            wrong = error.error_class == "configuration"
        return Failure.SETTING if wrong else Failure.NOT_SENT
    if not isinstance(error, OutcomeUnknownError):
        return Failure.REFUSED
    if isinstance(error, ProtocolError) and error.status is not None:
        return Failure.UNUSABLE
    return Failure.UNAVAILABLE if error.status == 503 else Failure.UNKNOWN


def decide(
    error: APIError,
    purpose: Purpose,
    policy: RetryPolicy,
    *,
    attempt: int,
    elapsed: float,
    random: float,
    renewable: bool = False,
) -> Decision:
    """Return what follows a failed attempt.

    Args:
        error: The error of the attempt.
        purpose: The purpose of the request.
        policy: The number of attempts and the waits between them.
        attempt: The number of the attempt, from 1; an attempt that only led to a new token does not count.
        elapsed: Seconds since the first attempt began.
        random: A number from [0, 1), for the jitter.
        renewable: Whether the token may be renewed, which is allowed once in a call.
    """
    move: Move = getattr(TABLE[failure_in(error)], purpose)
    if move is Move.RENEW:
        return RenewToken() if renewable and not policy.is_over(elapsed) else GiveUp()
    if move is Move.GIVE_UP or (move is Move.IF_UNAVAILABLE and not policy.unavailable):
        return GiveUp()
    seconds = policy.wait(attempt, elapsed=elapsed, random=random, retry_after=error.retry_after)
    return GiveUp() if seconds is None else Pause(seconds)


def printed() -> str:
    """Return the table for the documentation."""
    lines = [
        "| What failed | a send, or another call that writes | a call that reads (GET) | a token request |",
        "|---|---|---|---|",
    ]
    lines += (
        f"| {failure.value} | {row.write.value} | {row.read.value} | {row.token.value} |"
        for failure, row in TABLE.items()
    )
    return "\n".join(lines)


if __name__ == "__main__":
    print(printed())
