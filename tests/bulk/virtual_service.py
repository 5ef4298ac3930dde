"""A service with a limit, and who sends to it, in virtual time: an hour of both takes a moment."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from nexmo_dispatch_async.bulk.sending.governor import Lane
from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.quota import Quota

Limit = Callable[[float], float]


def steps(*pairs: tuple[float, float]) -> Limit:
    """Return a limit that changes: pairs of the second from which it holds, and sends per second."""

    def limit(now: float) -> float:
        return next(rate for since, rate in reversed(pairs) if now >= since)

    return limit


class WindowService:
    """Counts in windows, as Apigee's quota does; it may tell of it in headers."""

    def __init__(self, limit: Limit, *, window: float = 1.0, headers: bool = False, retry_after: bool = True):
        self.limit, self.window = limit, window
        self.headers, self.retry_after = headers, retry_after
        self.number, self.used = -1, 0

    def call(self, now: float) -> tuple[bool, Quota | None, float | None]:
        """Return whether a call is accepted, what the headers say, and `Retry-After`."""
        number = int(now / self.window)
        if number != self.number:
            self.number, self.used = number, 0
        self.used += 1
        most = int(self.limit(now) * self.window)
        reset_in = (number + 1) * self.window - now
        quota = Quota(limit=most, window=self.window, used=self.used, reset_in=reset_in)
        accepted = self.used <= most
        if not accepted:
            self.used -= 1
        asked = reset_in if self.retry_after and not accepted else None
        return accepted, quota if self.headers else None, asked


class SmoothService:
    """Allows each call its time, and a tenth of a second's calls at once, as a spike arrest does."""

    def __init__(self, limit: Limit, *, headers: bool = False, retry_after: bool = True):
        self.limit, self.headers, self.retry_after = limit, headers, retry_after
        self.due = 0.0

    def call(self, now: float) -> tuple[bool, Quota | None, float | None]:
        limit = self.limit(now)
        slack = max(1.0, limit * 0.1) / limit
        early = self.due - now - slack
        quota = Quota(limit=int(limit), window=1.0) if self.headers else None
        if early > 0:
            return False, quota, early if self.retry_after else None
        self.due = max(self.due, now) + 1 / limit
        return True, quota, None


@dataclass
class Log:
    """When sends of a lane left: those that were accepted, and those that were turned away."""

    accepted: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    pauses: list[float] = field(default_factory=list[float])

    def accepted_in(self, begin: float, end: float) -> int:
        return sum(begin <= each < end for each in self.accepted)

    def refused_in(self, begin: float, end: float) -> int:
        return sum(begin <= each < end for each in self.refused)

    def pauses_in(self, begin: float, end: float) -> int:
        return sum(begin <= each < end for each in self.pauses)

    def first_full(self, since: float, rate: float, until: float, span: float = 5.0) -> float:
        """Return after how many seconds 95 % of `rate` were accepted over `span` seconds."""
        now = since
        while now + span <= until:
            if self.accepted_in(now, now + span) >= 0.95 * rate * span:
                return now - since
            now += 1
        return float("inf")


def run(
    lanes: Sequence[tuple[Lane, WindowService | SmoothService]],
    *,
    until: float,
    limit: int = 64,
    latency: float = 0.2,
    stalls: Sequence[tuple[float, float]] = (),
    events: Sequence[tuple[float, Callable[[float], None]]] = (),
) -> list[Log]:
    """Send as much as the lanes allow, and return what became of it.

    Args:
        lanes: Each with the service that answers it.
        until: Seconds.
        limit: Sends in flight in each lane.
        latency: Seconds until the answer; the service counts half of it after the send.
        stalls: Pairs of a moment and the seconds from then on in which the sender does nothing.
        events: Pairs of a moment and what happens then.
    """
    logs = [Log() for _ in lanes]
    free = [limit for _ in lanes]
    answers: list[tuple[float, int, int, float, bool, Quota | None, float | None]] = []
    waiting = sorted(events, key=lambda each: each[0], reverse=True)
    now, number = 0.0, 0
    while now < until:
        while waiting and waiting[-1][0] <= now:
            waiting.pop()[1](now)
        while answers and answers[0][0] <= now:
            _, _, index, sent, accepted, quota, asked = heapq.heappop(answers)
            lane, log = lanes[index][0], logs[index]
            free[index] += 1
            if accepted:
                lane.accepted(now, quota)
                continue
            error = RateLimitError("429", retry_after=asked)
            error.quota = quota
            meters = lane.bucket, lane.gateway
            before = [meter.paused_until for meter in meters]
            lane.throttled(sent, now, error)
            if [meter.paused_until for meter in meters] != before:
                log.pauses.append(now)
        soonest = until
        for index, (lane, service) in enumerate(lanes):
            for _ in range(lane.ask(now, free[index])):
                free[index] -= 1
                number += 1
                accepted, quota, asked = service.call(now + latency / 2)
                (logs[index].accepted if accepted else logs[index].refused).append(now)
                heapq.heappush(answers, (now + latency, number, index, now, accepted, quota, asked))
            if free[index]:
                soonest = min(soonest, lane.held(now).until)
        if answers:
            soonest = min(soonest, answers[0][0])
        if waiting:
            soonest = min(soonest, waiting[-1][0])
        now = max(soonest, now + 1e-7)
        for begin, seconds in stalls:
            if begin <= now < begin + seconds:
                now = begin + seconds
    return logs
