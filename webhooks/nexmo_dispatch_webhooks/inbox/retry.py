"""When a failed handler is tried again: a plain function of numbers.

It waits for nothing and knows no event.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from nexmo_dispatch_core.backoff import exponential_wait
from nexmo_dispatch_webhooks.checks import checks

__all__ = ["HandlerRetryPolicy"]


class HandlerRetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """After the n-th failure wait `min(wait_max, wait_initial * wait_exp_base ** (n - 1))` and some jitter.

    The defaults try six times within about 13 minutes: after 1, 5, 25, 125 and 600 seconds.
    """

    #: Tries in total; after the last one the event is quarantined.
    attempts: int = 6
    wait_initial: float = 1.0
    wait_max: float = 600.0
    wait_exp_base: float = 5.0
    #: Up to this part of the wait is added at random, so that what failed together does not return together.
    wait_jitter: float = 0.1

    def __post_init__(self) -> None:
        checks.count("attempts", self.attempts)
        for name in ("wait_initial", "wait_max"):
            checks.seconds(name, getattr(self, name))
        checks.number("wait_exp_base", self.wait_exp_base, least=1)
        checks.number("wait_jitter", self.wait_jitter)

    def wait(self, failures: int, random: Callable[[], float]) -> float | None:
        """Seconds until the next attempt, None for quarantine.

        Args:
            failures: how many attempts failed, at least 1.
            random: gives a number from 0 to 1.
        """
        if failures >= self.attempts:
            return None
        return self._base(failures) * (1 + self.wait_jitter * random())

    def longest(self, failures: int) -> float:
        """The most seconds that `wait` may give, whatever the number of attempts.

        Args:
            failures: how many attempts failed, at least 1.
        """
        return self._base(failures) * (1 + self.wait_jitter)

    def _base(self, failures: int) -> float:
        return exponential_wait(
            failures, initial=self.wait_initial, maximum=self.wait_max, base=self.wait_exp_base
        )
