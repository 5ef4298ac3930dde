"""What a campaign is doing: numbers, how fast, how long still, and why nothing moves and until when.

It reads no ledger and no clock: `Sender` and `Campaign` fill it.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.records import Counts

__all__ = ["Progress", "Status", "Waiting", "WaitingFor"]

#: `quota`: of the gateway, spent. `throttled`: the service asked for less. `rate`: the campaign's own pace.
#: `unreachable`: no connection or no token. `service`: one send after the other is unknown. `answers`: all
#: slots are taken. `store`: the ledger. `due`: rows that may not be sent before a time of their own.
WaitingFor = Literal[
    "quota",
    "throttled",
    "rate",
    "unreachable",
    "service",
    "answers",
    "store",
    "due",
    "start_at",
    "quiet_hours",
    "paused",
    "canary",
    "max_spend",
    "stopping",
]


class Waiting(Struct, frozen=True, kw_only=True):
    """Why nothing moves.

    Attributes:
        reason: What it waits for.
        until: Epoch seconds at which that ends; `None` when nothing but an event ends it.
        bucket: Which meter holds it: `gateway`, `campaign`, or a bucket; `""` for none.
        by: Who paused it, such as `command` or `abort_if`; `""` for nothing of that kind.
        words: More about it, without personal data.
    """

    reason: WaitingFor
    until: float | None = None
    bucket: str = ""
    by: str = ""
    words: str = ""

    def __str__(self) -> str:
        text = self.reason.replace("_", " ")
        if self.by:
            text += f" by {self.by}"
        if self.bucket:
            text += f" of {self.bucket}"
        return f"{text}: {self.words}" if self.words else text


class Status(Struct, frozen=True, kw_only=True):
    """Where a campaign stands.

    Attributes:
        state: `idle`: nothing runs here. `running`, or `waiting` for what `waiting` says. `paused`,
            `stopping`: an operator asked for it, or the campaign itself. `finished`: no row is pending or
            sending.
        counts: Rows by state, and what callbacks told.
        rate: Results per second over the last minute.
        in_flight: Sends that wait for their answer, in this process.
        eta: Epoch seconds at which it will have sent all, at the present rate; `None` when that is not known.
        spent: What callbacks told of the cost, by currency.
        waiting: Why nothing moves; `None` while something does.
        at: Epoch seconds of this status.
    """

    state: Literal["idle", "running", "waiting", "paused", "stopping", "finished"]
    counts: Counts
    at: float
    rate: float = 0.0
    in_flight: int = 0
    eta: float | None = None
    spent: dict[str, Decimal] = {}
    waiting: Waiting | None = None


class Progress:
    """Counts results by the second, for the rate of the last minute."""

    def __init__(self) -> None:
        self._seconds = [0] * 60
        self._at = 0
        self._since = math.inf

    def note(self, now: float, n: int = 1) -> None:
        """Take in results."""
        self._advance(now)
        self._since = min(self._since, now)
        self._seconds[int(now) % 60] += n

    def rate(self, now: float) -> float:
        """Return the results per second over the last minute, or since the first one if that is shorter."""
        self._advance(now)
        if self._since == math.inf:
            return 0.0
        return sum(self._seconds) / max(1.0, min(60.0, now - self._since))

    def eta(self, now: float, left: int) -> float | None:
        """Return the seconds that `left` rows still take, `None` when nothing moves."""
        rate = self.rate(now)
        if not left:
            return 0.0
        return left / rate if rate > 0 else None

    def _advance(self, now: float) -> None:
        second = int(now)
        gone = second - self._at
        if gone > 0:
            for each in range(max(self._at + 1, second - 59), second + 1):
                self._seconds[each % 60] = 0
            self._at = second
