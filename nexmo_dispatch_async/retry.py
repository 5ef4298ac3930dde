"""Retry policy and timeouts: when to retry and how long to wait, as numbers.

The module does not wait, and it does not decide what is safe to repeat: the call consults it only after
errors that prove that nothing was sent (contract 3.8).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import msgspec

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_core.backoff import exponential_wait

__all__ = ["RetryPolicy", "Timeout"]


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """Time limits of one attempt, in seconds; the wait for a free slot of the client does not count.

    Attributes:
        connect: Limit of name resolution, TCP and TLS together, 10 by default. This timeout proves that
            nothing was sent.
        total: Limit of the whole attempt, from the start of the connection to the last byte of the response,
            30 by default.
            A timeout of more than five seconds may fire up to a second late.
    """

    connect: float | None = 10.0
    total: float | None = 30.0

    def __post_init__(self) -> None:
        for name in ("connect", "total"):
            checks.seconds(f"Timeout.{name}", getattr(self, name), zero=False, none=True)


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Number of attempts of a call that provably sent nothing, and the waits between them.

    The wait after attempt *n* is `min(wait_max, wait_initial * 2 ** (n - 1))`, of which the share
    `wait_jitter` is random: 1.0 is full jitter, 0.0 none. If the service demands a wait (`Retry-After`, or
    the reset of its quota), the two waits are added, so that a thousand callers with the same demand do not
    retry at the same instant.

    Attributes:
        attempts: Maximum number of attempts, including the first, 4 by default; 1 means no retry.
        timeout: Seconds from the start of the call after which no attempt begins, not even the first, if its
            token took longer; 60 by default, `None` for no limit. A wait that would end later does not begin:
            the error is raised at once.
        wait_initial: Upper limit of the first wait, in seconds.
        wait_max: Upper limit of every wait, in seconds.
        wait_jitter: Random share of a wait, from 0.0 to 1.0.
        unavailable: Also repeat a POST after a 503 without a reason. The contract leaves this decision to the
            caller (3.8): the 503 may come from the gateway or from the service behind it.
    """

    attempts: int = 4
    timeout: float | None = 60.0
    wait_initial: float = 0.25
    wait_max: float = 10.0
    wait_jitter: float = 1.0
    unavailable: bool = False

    def __post_init__(self) -> None:
        checks.count("RetryPolicy.attempts", self.attempts)
        checks.number("RetryPolicy.wait_jitter", self.wait_jitter, most=1)
        for name in ("wait_initial", "wait_max"):
            checks.seconds(f"RetryPolicy.{name}", getattr(self, name))
        checks.seconds("RetryPolicy.timeout", self.timeout, none=True)

    def wait(
        self, attempt: int, *, elapsed: float, random: float, retry_after: float | None = None
    ) -> float | None:
        """Return the seconds to wait after a failed attempt; `None` to give up.

        Args:
            attempt: Number of the failed attempt, from 1.
            elapsed: Seconds since the start of the call.
            random: A number from [0, 1).
            retry_after: Seconds that the service demands.
        """
        if attempt >= self.attempts:
            return None
        most = exponential_wait(attempt, initial=self.wait_initial, maximum=self.wait_max, base=2.0)
        delay = most * (1 - self.wait_jitter * random) + (retry_after or 0.0)
        return None if self.is_over(elapsed + delay) else delay

    def is_over(self, elapsed: float) -> bool:
        """Return whether no attempt may begin `elapsed` seconds after the start of the call."""
        return self.timeout is not None and elapsed > self.timeout

    def waits(self, random: float = 0.0) -> Iterator[float]:
        """Yield the waits of a call whose attempts all fail at once: the policy as a list."""
        elapsed = 0.0
        for attempt in count(1):
            delay = self.wait(attempt, elapsed=elapsed, random=random)
            if delay is None:
                return
            elapsed += delay
            yield delay
