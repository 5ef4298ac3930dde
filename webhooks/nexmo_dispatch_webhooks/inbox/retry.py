"""`HandlerRetryPolicy`: when a failed handler is tried again, as a plain function of numbers.

It does not wait and knows no event.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nexmo_dispatch_core.backoff import exponential_wait
from nexmo_dispatch_webhooks.checks import checks

__all__ = ["HandlerRetryPolicy"]


class HandlerRetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How often a failed handler is tried, and the waits between the attempts.

    After the n-th failure the wait is `min(wait_max, wait_initial * wait_exp_base ** (n - 1))` and jitter. By
    default there are six attempts within about 13 minutes: after 1, 5, 25, 125 and 600 seconds.

    Attributes:
        attempts: Total number of attempts; after the last one the event is quarantined.
        wait_initial: The first wait, in seconds.
        wait_max: The longest wait without jitter, in seconds.
        wait_exp_base: The factor from one wait to the next, at least 1.
        wait_jitter: Up to this part of each wait is added at random, so that handlers that failed together
            are not retried together.

    Raises:
        ConfigurationError: A number is out of its range.
    """

    attempts: int = 6
    wait_initial: float = 1.0
    wait_max: float = 600.0
    wait_exp_base: float = 5.0
    wait_jitter: float = 0.1

    def __post_init__(self) -> None:
        checks.count("attempts", self.attempts)
        for name in ("wait_initial", "wait_max"):
            checks.seconds(name, getattr(self, name))
        checks.number("wait_exp_base", self.wait_exp_base, least=1)
        checks.number("wait_jitter", self.wait_jitter)

    def wait(self, failures: int, random: Callable[[], float]) -> float | None:
        """Return the seconds until the next attempt, None for quarantine.

        Args:
            failures: The number of failed attempts, at least 1.
            random: Returns a number from 0 to 1.
        """
        if failures >= self.attempts:
            return None
        return self._base(failures) * (1 + self.wait_jitter * random())

    def longest(self, failures: int) -> float:
        """Return the longest wait after a failure, in seconds, whatever the number of attempts.

        Args:
            failures: The number of failed attempts, at least 1.
        """
        return self._base(failures) * (1 + self.wait_jitter)

    def _base(self, failures: int) -> float:
        return exponential_wait(
            failures, initial=self.wait_initial, maximum=self.wait_max, base=self.wait_exp_base
        )
