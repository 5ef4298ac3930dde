"""The numbers of calls, requests and tokens of a client.

The module measures no time; middleware may.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["ClientStatistics", "Counters"]


class ClientStatistics(NamedTuple):
    """The numbers of a client since it was made; workflows refused by a rule do not count."""

    #: Calls begun: sends, and application calls.
    calls: int
    #: Calls that the service accepted.
    succeeded: int
    #: Calls that ended with a `NotSentError`.
    not_sent: int
    #: Calls that ended with a `RefusedError`.
    refused: int
    #: Calls that ended with an `OutcomeUnknownError`.
    unknown: int
    #: Calls that were cancelled, or ended by an exception that is no `APIError`.
    interrupted: int
    #: Interrupted calls that the service may have accepted.
    interrupted_unknown: int
    #: Requests made for calls, the first of each call and the repetitions.
    attempts: int
    #: Requests made to the token endpoint.
    token_requests: int
    #: Tokens received.
    tokens: int
    #: Calls that hold one of the client's slots: they connect, write, wait for a response or for a token.
    in_flight: int
    #: Calls that wait between two attempts.
    pausing: int
    #: Calls that wait for a slot.
    waiting: int


class Counters:
    """The running counts; they need no lock, since a client belongs to one event loop."""

    __slots__ = (
        "attempts",
        "calls",
        "in_flight",
        "interrupted",
        "interrupted_unknown",
        "not_sent",
        "pausing",
        "refused",
        "succeeded",
        "token_requests",
        "tokens",
        "unknown",
    )

    def __init__(self) -> None:
        self.calls: int = 0
        self.attempts: int = 0
        self.token_requests: int = 0
        self.tokens: int = 0
        self.succeeded: int = 0
        self.not_sent: int = 0
        self.refused: int = 0
        self.unknown: int = 0
        self.interrupted: int = 0
        self.interrupted_unknown: int = 0
        self.in_flight: int = 0
        self.pausing: int = 0

    def failed(self, outcome: Literal["not_sent", "refused", "unknown"]) -> None:
        """Count the end of a call that failed."""
        if outcome == "not_sent":
            self.not_sent += 1
        elif outcome == "refused":
            self.refused += 1
        else:
            self.unknown += 1

    def snapshot(self) -> ClientStatistics:
        """Return the current numbers."""
        ended = self.succeeded + self.not_sent + self.refused + self.unknown + self.interrupted
        return ClientStatistics(
            calls=self.calls,
            succeeded=self.succeeded,
            not_sent=self.not_sent,
            refused=self.refused,
            unknown=self.unknown,
            interrupted=self.interrupted,
            interrupted_unknown=self.interrupted_unknown,
            attempts=self.attempts,
            token_requests=self.token_requests,
            tokens=self.tokens,
            in_flight=self.in_flight,
            pausing=self.pausing,
            waiting=self.calls - ended - self.in_flight - self.pausing,
        )
