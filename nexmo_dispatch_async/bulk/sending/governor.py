"""How fast sends leave: the campaign's own rate, the rate of each bucket, and of the gateway above them.

It sends nothing and reads no clock. One governor serves all campaigns of a process, so that two of them share
what the service allows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from nexmo_dispatch_async.bulk.sending.meter import Meter, PauseKind
from nexmo_dispatch_async.bulk.settings import Pace
from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.models.problems import gateway_reason
from nexmo_dispatch_async.quota import Quota

__all__ = ["Governor", "Held", "Lane", "planned_rate"]


class Held(Struct, frozen=True):
    """Why a send of a lane does not leave now.

    Attributes:
        until: When it may, in seconds of the governor's clock; infinite when an answer decides.
        meter: Name of the meter that holds it.
        kind: `rate`, or the kind of the pause.
    """

    until: float
    meter: str
    kind: PauseKind | Literal["rate"]


class Lane:
    """The way of a send: every meter on it must let it through.

    Args:
        own: Meters of the campaign alone; the service teaches them nothing.
        bucket: Meter of channel and sender.
        gateway: Meter of the application at the gateway.
    """

    __slots__ = ("_all", "bucket", "gateway")

    def __init__(self, own: Sequence[Meter], bucket: Meter, gateway: Meter) -> None:
        self.bucket: Meter = bucket
        self.gateway: Meter = gateway
        self._all = (*own, bucket, gateway)

    def ask(self, now: float, want: int) -> int:
        """Take as many of `want` sends as may leave now, and return how many."""
        if want <= 0:
            return 0
        allowed = [meter.available(now, want) for meter in self._all]
        n = min(allowed)
        for meter, each in zip(self._all, allowed, strict=True):
            meter.take(now, n, hungry=each == n < want)
        return n

    def give_back(self, n: int) -> None:
        """Take back sends that did not leave."""
        if n:
            for meter in self._all:
                meter.give_back(n)

    def held(self, now: float) -> Held:
        """Return which meter lets the next send through last, and when."""
        meter = max(self._all, key=lambda each: each.next(now))
        until = meter.next(now)
        paused = now < meter.paused_until
        return Held(until, meter.name, meter.pause_kind if paused or until == math.inf else "rate")

    # --- answers: one for each send that left ---

    def accepted(self, now: float, quota: Quota | None = None, n: int = 1) -> None:
        """Hear that the service took sends, or refused them for what they are; `quota` of the last answer."""
        self._back(n)
        self.bucket.accepted(now, n)
        self.gateway.accepted(now, n)
        if quota is not None:
            self.gateway.told(quota, now)

    def throttled(self, sent: float, now: float, error: RateLimitError) -> Meter:
        """Hear that a send was turned away for its rate, and return the meter that took it.

        The gateway counts per application; what the service behind it says counts for the bucket.
        """
        self._back()
        quota = error.quota
        of_gateway = error.details is not None and _is_of_gateway(error)
        if quota is not None:
            self.gateway.told(quota, now)
            of_gateway = of_gateway or quota.spent
        meter = self.gateway if of_gateway else self.bucket
        meter.throttled(sent, now, error.retry_after)
        return meter

    def unreachable(self, sent: float, now: float) -> None:
        """Hear that a send did not leave."""
        self._back()
        self.gateway.unreachable(sent, now)

    def lost(self) -> None:
        """Hear that the answer to a send is unknown, or that it was never made."""
        self._back()

    def _back(self, n: int = 1) -> None:
        for meter in self._all:
            meter.out -= n


_GATEWAY_WORDS = ("policies.ratelimit", "quotaviolation", "spikearrest")


def _is_of_gateway(error: RateLimitError) -> bool:
    reason = gateway_reason(error.details) if error.details is not None else ""
    return any(word in reason for word in _GATEWAY_WORDS)


class Governor:
    """The meters of a process by application and bucket.

    Args:
        random: A number from [0, 1), for the jitter of pauses.
    """

    def __init__(self, *, random: Callable[[], float] = random.random) -> None:
        self._random = random
        self._meters: dict[tuple[str, str], Meter] = {}

    def meter(self, application: str, bucket: str = "") -> Meter:
        """Return the meter of a bucket, or of the gateway above it; it is made at the first use."""
        meter = self._meters.get((application, bucket))
        if meter is None:
            meter = Meter(bucket or "gateway", random=self._random)
            self._meters[application, bucket] = meter
        return meter

    def lane(self, application: str, bucket: str, own: Sequence[Meter] = ()) -> Lane:
        """Return the way of the sends of a bucket.

        Args:
            application: What the gateway counts by.
            bucket: Channel and sender.
            own: Meters of the campaign alone.
        """
        return Lane(own, self.meter(application, bucket), self.meter(application))


def planned_rate(pace: Pace, *, total: int, done: int) -> float:
    """Return the sends per second that the user asked for at this point of a campaign.

    A stage of a ramp lasts until as many were sent as fit into its time: a pause at night, or a service that
    is slow, does not shorten a warm-up.

    Args:
        pace: Of the campaign.
        total: Rows of the campaign.
        done: Rows that were sent, in whatever run.

    Returns:
        The rate, infinite when nothing bounds it.
    """
    rate = math.inf
    left = float(done)
    for stage in pace.rates:
        rate = stage.per_second
        fits = stage.per_second * stage.seconds
        if left < fits:
            break
        left -= fits
    if pace.over is not None:
        rate = min(rate, max(total, 1) / pace.over)
    return rate
