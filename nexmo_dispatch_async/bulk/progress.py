"""The status of a campaign: counts, rate, remaining time, and the reason and the end of a wait.

The module reads no ledger and no clock: `Sender` and `Campaign` provide the numbers.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Literal

from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger.records import Control, Counts, Life

__all__ = ["Progress", "Status", "Wait", "WaitReason", "pause_of", "silence"]

#: `quota`: of the gateway, spent. `throttled`: the service asked for less. `rate`: the campaign's own pace.
#: `unreachable`: no connection or no token. `service`: it fails for all sends, one after the other is unknown
#: or refused. `answers`: all slots are taken. `store`: the ledger. `due`: rows that may not be sent before a
#: time of their own. `silent`: rows in flight of a process that ended or is cut off, unknown after its lease.
WaitReason = Literal[
    "quota",
    "throttled",
    "rate",
    "unreachable",
    "service",
    "answers",
    "store",
    "due",
    "silent",
    "start_at",
    "quiet_hours",
    "paused",
    "canary",
    "max_spend",
    "stopping",
]


class Wait(Struct, frozen=True, kw_only=True):
    """The reason why a campaign sends nothing now.

    Attributes:
        reason: The cause of the wait.
        until: Epoch seconds of the end of the wait; `None` when only an event ends it.
        bucket: The meter that limits the rate: `gateway`, `campaign`, or a bucket; `""` for none.
        by: The origin of a pause, such as `command` or `abort_if`; `""` without a pause.
        words: Details, without personal data.
        since: Epoch seconds of the last sign of life of a `silent` process, or of the beginning of a pause;
            `None` where it is not known.
        pauses_at: Epoch seconds after which the campaign pauses if the send that is tried is refused, too;
            `None` unless the service refuses all sends.
    """

    reason: WaitReason
    until: float | None = None
    since: float | None = None
    bucket: str = ""
    by: str = ""
    words: str = ""
    pauses_at: float | None = None

    def is_shown(self, at: float) -> bool:
        """Whether it is more than a full house, or the pace of the next second."""
        soon = self.until is not None and self.until - at < 1.0
        return self.reason != "answers" and not (soon and self.reason in {"rate", "due"})

    def __str__(self) -> str:
        text: str = self.reason
        if self.by:
            text += f" by {self.by}"
        if self.bucket:
            text += f" of {self.bucket}"
        return f"{text}: {self.words}" if self.words else text


class Status(Struct, frozen=True, kw_only=True):
    """The status of a campaign.

    Attributes:
        state: `idle`: this process does not run the campaign. `running`, or `waiting` for the reason in
            `wait`. `paused`, `stopping`: on request of an operator or of the campaign itself. `finished`:
            no row is pending or sending.
        counts: Rows by state, and the facts from callbacks.
        rate: Results per second over the last minute.
        in_flight: Number of sends that wait for a response, in this process.
        eta: Epoch seconds of the last send at the present rate; `None` when unknown.
        spent: Cost according to callbacks, by currency.
        wait: The reason of a wait; `None` while rows are sent.
        at: Epoch seconds of this status.
        seen: Epoch seconds of the last sign of life of a process, where others send and the store knows it.
    """

    state: Literal["idle", "running", "waiting", "paused", "stopping", "finished"]
    counts: Counts
    at: float
    rate: float = 0.0
    in_flight: int = 0
    eta: float | None = None
    spent: dict[str, Decimal] = {}
    wait: Wait | None = None
    seen: float | None = None


def pause_of(control: Control) -> Wait:
    """Return the wait of a campaign that is paused."""
    return Wait(reason="paused", since=control.since, by=control.by, words=control.reason)


def silence(life: Life, at: float) -> Wait | None:
    """Return the wait for rows of processes that show no life; `None` without such rows.

    Args:
        life: The processes.
        at: Epoch seconds.
    """
    if not life.silent:
        return None
    # to the second, since each look has a delay of its own
    until = None if life.remaining is None else float(round(at + life.remaining))
    words = f"{life.silent:,} row{'' if life.silent == 1 else 's'} of a process that ended or is cut off"
    return Wait(reason="silent", until=until, since=float(round(at - life.silent_for)), words=words)


class Progress:
    """Counts results per second, for the rate of the last minute."""

    def __init__(self) -> None:
        self._seconds = [0] * 60
        self._at = 0
        self._since = math.inf

    def note(self, now: float, n: int = 1) -> None:
        """Count results."""
        self._advance(now)
        self._since = min(self._since, now)
        self._seconds[int(now) % 60] += n

    def rate(self, now: float) -> float:
        """Return the results per second over the last minute, or since the first one if that is shorter."""
        self._advance(now)
        if self._since == math.inf:
            return 0.0
        return sum(self._seconds) / max(1.0, min(60.0, now - self._since))

    def eta(self, now: float, rows: int) -> float | None:
        """Return the seconds for the remaining rows; `None` without progress."""
        rate = self.rate(now)
        if not rows:
            return 0.0
        return rows / rate if rate > 0 else None

    def _advance(self, now: float) -> None:
        second = int(now)
        gone = second - self._at
        if gone > 0:
            for each in range(max(self._at + 1, second - 59), second + 1):
                self._seconds[each % 60] = 0
            self._at = second
