"""`Tenure`: until when a process may send the rows that it claimed, by clocks that see that it slept.

Once the lease of a process is over, others make its rows `unknown`, and an operator may resend them. The
module does no I/O.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.bursts import Bursts
from nexmo_dispatch_core.checks import DAY
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Tenure", "boot_time", "check_lease"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

#: Part of a lease after which a process sends no more. The rest is for what its clocks do not see: the others
#: have clocks of their own, and a standby that takes over may lack the last sign of life.
_SAFE: Final = 0.5


def boot_time() -> float:
    """Return seconds that also pass while the machine is suspended, where the system counts them."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # `time.monotonic` stands still meanwhile
    return time.monotonic()


def check_lease(lease: object) -> None:
    """Require the seconds of a lease: above 0, and at most a day.

    Raises:
        ConfigurationError: They are something else.
    """
    checks.seconds("lease", lease, zero=False, most=DAY)


class Tenure:
    """The time in which no other process can have taken the rows that this one claimed.

    Args:
        lease: Seconds without a sign of life after which others take this process for dead; above 0, and at
            most a day.
        clock: Returns seconds that never go back.
        wall_clock: Returns epoch seconds: a suspension that the first clock did not see shows in them.
    """

    def __init__(
        self,
        lease: float,
        *,
        clock: Callable[[], float] = boot_time,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        check_lease(lease)
        self._safe = lease * _SAFE
        self._clock = clock
        self._wall = wall_clock
        # The number of this tenure, and its end by both clocks
        self._number = 0
        self._until = self._wall_until = -math.inf
        self._bursts = Bursts()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Tenure {self._number}, {'held' if self.held else 'not held'}>"

    @property
    def held(self) -> bool:
        """Whether the last sign of life is young enough."""
        return self._clock() < self._until and self._wall() < self._wall_until

    def ask(self) -> tuple[float, float]:
        """Return the times for `renew()`; called before a sign of life is sent."""
        return self._clock(), self._wall()

    def renew(self, asked: tuple[float, float], *, lapsed: bool = False) -> None:
        """Prolong the tenure after a sign of life was stored; where there was a gap, another one begins.

        Args:
            asked: What `ask()` returned.
            lapsed: Whether the lease was over by the clock of the store.
        """
        if lapsed or not self.held:
            self.end()
        self._until, self._wall_until = (at + self._safe for at in asked)

    def end(self) -> None:
        """End the tenure: others may have the rows that this process claimed."""
        if self._until > -math.inf and (more := self._bursts.begin("gap")) is not None:
            logger.warning("no sign of life for too long: rows that were claimed before are not sent%s", more)
        self._number += 1
        self._until = self._wall_until = -math.inf

    def guard(self) -> Callable[[], None]:
        """Return a check for what is claimed from now on; it raises `LedgerError` when the tenure is over."""
        return partial(self._require, self._number)

    def _require(self, number: int) -> None:
        if number != self._number or not self.held:
            raise LedgerError("another process may have taken the row over: its claim is too old to send it")
