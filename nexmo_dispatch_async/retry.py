"""When to try again and how long to wait: numbers in, numbers out.

It does not wait, and it does not decide what is safe to repeat: only errors that prove that nothing
happened reach it (contract 3.8).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import msgspec

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_core.backoff import exponential_wait

__all__ = ["RetryPolicy", "Timeout"]


class Timeout(msgspec.Struct, frozen=True, kw_only=True):
    """How long one attempt may take, in seconds; waiting for a free slot of the client does not count.

    Attributes:
        connect: Name resolution, TCP and TLS together. A time-out here proves that nothing was sent.
        total: The whole attempt, from the first byte of the connection to the last of the answer. More than
            five seconds may end up to a second late.
    """

    connect: float | None = 10.0
    total: float | None = 30.0

    def __post_init__(self) -> None:
        for name in ("connect", "total"):
            checks.seconds(f"Timeout.{name}", getattr(self, name), zero=False, none=True)


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a call that provably did not happen is tried, and the waits between.

    The wait after try *n* is `min(wait_max, wait_initial * 2 ** (n - 1))`, of which the share `wait_jitter`
    is random: 1.0 is full jitter, 0.0 none. If the service asked for a time (`Retry-After`, or the moment
    when its quota is reset), that time passes first and the wait above is added to it, so that a
    thousand callers who were told the same do not come back in the same instant.

    Attributes:
        attempts: Tries in total, not repetitions; 1 never tries again.
        timeout: Seconds from the first try after which none is begun, not even the first one if its token
            took longer; `None` for no limit. A wait that would end later is not begun either: the error is
            raised at once.
        wait_initial: Upper limit of the first wait, in seconds.
        wait_max: Upper limit of every wait, in seconds.
        wait_jitter: The random share of a wait, from 0.0 to 1.0.
        unavailable: Also repeat a POST that was answered with 503 and nothing better. The contract leaves
            that to the caller (3.8): it is unknown whether the gateway or the service behind it answered.
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
        """Return the seconds to wait after the failure of try number `attempt`, or `None` to give up.

        Args:
            attempt: The number of the try that failed, from 1.
            elapsed: Seconds since the first try began.
            random: A number from [0, 1).
            retry_after: What the service asked for.
        """
        if attempt >= self.attempts:
            return None
        most = exponential_wait(attempt, initial=self.wait_initial, maximum=self.wait_max, base=2.0)
        delay = most * (1 - self.wait_jitter * random) + (retry_after or 0.0)
        return None if self.is_over(elapsed + delay) else delay

    def is_over(self, elapsed: float) -> bool:
        """Return whether no try is to begin so many seconds after the first."""
        return self.timeout is not None and elapsed > self.timeout

    def waits(self, random: float = 0.0) -> Iterator[float]:
        """Yield the waits of a call whose every try fails at once: the policy as a list."""
        elapsed = 0.0
        for attempt in count(1):
            delay = self.wait(attempt, elapsed=elapsed, random=random)
            if delay is None:
                return
            elapsed += delay
            yield delay
