"""Limits the rate of sends: by campaign, by bucket, and by application at the gateway.

The module sends nothing and reads no clock. One governor serves all campaigns of a process, so that they
share the rate that the service allows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from nexmo_dispatch_async.bulk.sending.meter import Meter, PauseKind
from nexmo_dispatch_async.bulk.settings import Pace
from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.models.problems import gateway_reason
from nexmo_dispatch_async.quota import Quota, quota_of

__all__ = ["Answers", "Governor", "Held", "Lane", "planned_rate"]


class Held(Struct, frozen=True):
    """The reason why a send of a lane has to wait.

    Attributes:
        until: End of the wait, in seconds of the governor's clock; infinite when it depends on a response.
        meter: Name of the meter that limits the send.
        kind: `rate`, or the kind of the pause.
        words: Why the service fails for all sends; `""` for another kind.
        gives_up_at: When it is no use to wait for a service that refuses all sends, in seconds of the
            governor's clock; infinite otherwise.
    """

    until: float
    meter: str
    kind: PauseKind | Literal["rate"]
    words: str = ""
    gives_up_at: float = math.inf


class Lane:
    """The meters of a send; all of them must permit it.

    Args:
        own: Meters of the campaign; responses of the service do not change them.
        bucket: Meter of channel and sender.
        gateway: Meter of the application at the gateway.
    """

    __slots__ = ("_all", "bucket", "gateway")

    def __init__(self, own: Sequence[Meter], bucket: Meter, gateway: Meter) -> None:
        self.bucket: Meter = bucket
        self.gateway: Meter = gateway
        self._all = (*own, bucket, gateway)

    def ask(self, now: float, want: int) -> int:
        """Reserve up to `want` sends that may start now; return their number."""
        if want <= 0:
            return 0
        allowed = [meter.available(now, want) for meter in self._all]
        n = min(allowed)
        for meter, each in zip(self._all, allowed, strict=True):
            meter.take(now, n, hungry=each == n < want)
        return n

    def give_back(self, n: int) -> None:
        """Return reserved sends that did not start."""
        if n:
            for meter in self._all:
                meter.give_back(n)

    def held(self, now: float) -> Held:
        """Return the meter with the longest wait for the next send, and the end of the wait."""
        meter = max(self._all, key=lambda each: each.next(now))
        until = meter.next(now)
        waits = self.gateway.gives_up_at < math.inf
        if waits:
            meter = self.gateway  # it is told, however slow the pace of the campaign is
        paused = waits or now < meter.paused_until or until == math.inf
        kind: PauseKind | Literal["rate"] = meter.pause_kind if paused else "rate"
        if kind != "service":
            return Held(until, meter.name, kind)
        return Held(until, meter.name, kind, meter.pause_words, meter.gives_up_at)

    # --- responses: one call for each send ---

    def accepted(self, now: float, quota: Quota | None = None, n: int = 1) -> None:
        """Count sends that the service accepted or refused, with the `quota` of the last response."""
        self._back(n)
        self.bucket.accepted(now, n)
        self.gateway.accepted(now, n)
        if quota is not None:
            self.gateway.apply_quota(quota, now)

    def throttled(self, sent: float, now: float, error: RateLimitError) -> Meter:
        """Count a send that was rejected for its rate; return the meter that slows down.

        The gateway counts per application; a rejection by the service behind it counts for the bucket.
        """
        self._back()
        quota = error.quota
        of_gateway = error.details is not None and _is_of_gateway(error)
        if quota is not None:
            self.gateway.apply_quota(quota, now)
            of_gateway = of_gateway or quota.spent
        meter = self.gateway if of_gateway else self.bucket
        meter.throttled(sent, now, error.retry_after)
        return meter

    def unreachable(self, sent: float, now: float) -> None:
        """Count a send that could not leave."""
        self._back()
        self.gateway.unreachable(sent, now)

    def lost(self) -> None:
        """Count a send with an unknown outcome, or a send that was never made."""
        self._back()

    def _back(self, n: int = 1) -> None:
        for meter in self._all:
            meter.out -= n


class Answers:
    """Accepted sends that their lanes have not heard of yet: how many, and the headers of the last."""

    def __init__(self) -> None:
        self._waiting: dict[Lane, tuple[int, Mapping[str, str]]] = {}

    def note(self, lane: Lane, headers: Mapping[str, str]) -> None:
        """Note one more."""
        known = self._waiting.get(lane)
        self._waiting[lane] = 1 if known is None else known[0] + 1, headers

    def tell(self, now: float, at: float) -> None:
        """Report them to their lanes.

        Args:
            now: Monotonic seconds.
            at: Epoch seconds.
        """
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for lane, (n, headers) in waiting.items():
                lane.accepted(now, quota_of(headers, now=at), n)


_GATEWAY_WORDS = ("policies.ratelimit", "quotaviolation", "spikearrest")


def _is_of_gateway(error: RateLimitError) -> bool:
    reason = gateway_reason(error.details) if error.details is not None else ""
    return any(word in reason for word in _GATEWAY_WORDS)


class Governor:
    """The meters of a process by application and bucket.

    Args:
        random: Returns a number from [0, 1), for the jitter of pauses.
    """

    def __init__(self, *, random: Callable[[], float] = random.random) -> None:
        self._random = random
        self._meters: dict[tuple[str, str], Meter] = {}

    def meter(self, application: str, bucket: str = "") -> Meter:
        """Return the meter of a bucket, or of the gateway; created at the first use."""
        meter = self._meters.get((application, bucket))
        if meter is None:
            meter = Meter(bucket or "gateway", random=self._random)
            self._meters[application, bucket] = meter
        return meter

    def lane(self, application: str, bucket: str, own: Sequence[Meter] = ()) -> Lane:
        """Return the lane of a bucket.

        Args:
            application: Id of the application, by which the gateway counts.
            bucket: Channel and sender.
            own: Meters of the campaign.
        """
        return Lane(own, self.meter(application, bucket), self.meter(application))


def planned_rate(pace: Pace, *, total: int, done: int) -> float:
    """Return the configured sends per second at the present point of a campaign.

    A stage of a ramp ends after the number of sends that fit into its time: a pause at night, or a slow
    service, does not shorten a warm-up.

    Args:
        pace: Pace of the campaign.
        total: Number of rows of the campaign.
        done: Number of sent rows, over all runs.

    Returns:
        The rate; infinite without a limit.
    """
    rate = math.inf
    sends = float(done)
    for stage in pace.rates:
        rate = stage.per_second
        fits = stage.per_second * stage.seconds
        if sends < fits:
            break
        sends -= fits
    if pace.over is not None:
        rate = min(rate, max(total, 1) / pace.over)
    return rate
