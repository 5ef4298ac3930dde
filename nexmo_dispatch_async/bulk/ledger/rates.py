"""Rates that the workers of a campaign share: how a ledger grants sends of them.

The rule is GCRA with blocks. A ledger keeps one number for each rate, the time at which its next send is due.
A grant moves that time by as many intervals as it grants sends, so that all grants together never exceed the
rate, whichever worker gets them. No grant reaches further ahead than `AHEAD`: a worker that dies takes no
more with it. The module reads no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct, field

__all__ = ["AHEAD", "Grant", "RateExchange", "RateRequest", "SharedPause", "SharedRates"]

#: Seconds by which a grant is ahead of its sends, at most.
AHEAD: Final = 0.5
#: Reasons of a pause that concern all workers.
PauseKind = Literal["quota", "throttled"]


class RateRequest(Struct, frozen=True, kw_only=True):
    """A request of a worker for sends of a rate.

    Attributes:
        name: Name of the rate: `campaign`, a channel or a bucket.
        n: Maximum number of sends; 0 to only return some.
        rate: Sends per second of all workers together.
        back: Number of sends of earlier grants that were not used and go back.
        credit: Seconds of a stall that may be made up for: 0 unless the rate limited the worker before.
    """

    name: str
    n: int
    rate: float
    back: int = 0
    credit: float = 0.0


class Grant(Struct, frozen=True):
    """The sends that a worker may start.

    Attributes:
        n: Number of sends.
        wait: Seconds until the first of them, the others follow at the rate; negative for a send that is
            late. Without a send, the seconds until the next one of the rate is due.
    """

    n: int
    wait: float


class SharedPause(Struct, frozen=True):
    """A pause that the service demanded of one worker, and that all of them keep.

    Attributes:
        name: Name of the bucket, or `gateway`.
        seconds: Seconds from now until its end; 0 ends a pause that the others keep.
        kind: `quota` or `throttled`.
    """

    name: str
    seconds: float
    kind: PauseKind


class RateExchange(Struct, frozen=True):
    """The response of a ledger to a worker.

    Attributes:
        grants: One for each request.
        pauses: All present pauses, of this worker too.
    """

    grants: tuple[Grant, ...]
    pauses: tuple[SharedPause, ...] = ()


class SharedRates(Struct):
    """The rates and pauses of a campaign: a value that a ledger keeps in memory, or stores as it is.

    Attributes:
        due: By name of a rate, when its next send is due, and the sends per second at the last grant.
        pauses: By name of a bucket, the end and the kind of its pause.
    """

    due: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])
    pauses: dict[str, tuple[float, PauseKind]] = field(default_factory=dict[str, tuple[float, PauseKind]])

    def exchange(
        self, requests: Sequence[RateRequest], pauses: Iterable[SharedPause], now: float
    ) -> RateExchange:
        """Grant sends and note pauses.

        Args:
            requests: Requests of one worker.
            pauses: Pauses that began or ended there.
            now: Seconds of any clock that all workers share.
        """
        for pause in pauses:
            until = now + pause.seconds
            if pause.seconds <= 0:
                self.pauses.pop(pause.name, None)
            elif until > self.pauses.get(pause.name, (now, ""))[0]:
                self.pauses[pause.name] = until, pause.kind
        self.pauses = {name: each for name, each in self.pauses.items() if each[0] > now}
        return RateExchange(
            tuple(self._grant(request, now) for request in requests),
            tuple(SharedPause(name, until - now, kind) for name, (until, kind) in self.pauses.items()),
        )

    def _grant(self, request: RateRequest, now: float) -> Grant:
        due, before = self.due.get(request.name, (now, request.rate))
        if due > now and request.rate > before:
            # The remaining wait scales: a slow rate must not delay the first send of a fast one.
            due = now + (due - now) * before / request.rate
        start = max(due - request.back / request.rate, now - request.credit)
        n = min(request.n, max(0, math.floor((now + AHEAD - start) * request.rate + 1e-6) + 1))
        self.due[request.name] = start + n / request.rate, request.rate
        return Grant(n, start - now)
