"""Where virtual time stands: put there by hand, or following real time at a speed.

It never sleeps; the real clock is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """Virtual milliseconds.

    Args:
        speed: Virtual seconds per real second; None for a clock that is only moved by hand.
        monotonic: The real clock, in seconds.
    """

    def __init__(self, speed: float | None, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._origin_ms = 0.0
        self._origin_s = self._started_s = monotonic()
        self._speed = 0.0 if speed is None else _checked(speed)
        self.runs: bool = speed is not None

    @property
    def speed(self) -> float:
        """Virtual seconds per real second; 0 while it stands still."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        now = self._exact()
        self._origin_ms, self._origin_s = now, self._monotonic()
        self._speed = _checked(speed)

    def now_ms(self) -> int:
        """Return the virtual time."""
        return int(self._exact())

    def real_ms(self) -> int:
        """Return the real time since the clock was made."""
        return int((self._monotonic() - self._started_s) * 1000)

    def jump(self, ms: int) -> None:
        """Go forward at once."""
        self._origin_ms += ms

    def real_seconds_until(self, at_ms: int) -> float:
        """Return the real time until a virtual moment; infinite while the clock stands still."""
        missing = max(0.0, at_ms - self._exact()) / 1000
        return missing / self._speed if self._speed else math.inf if missing else 0.0

    def _exact(self) -> float:
        return self._origin_ms + (self._monotonic() - self._origin_s) * 1000 * self._speed


def _checked(speed: float) -> float:
    if not 0 <= speed < math.inf:
        raise ValueError(f"speed is a number from 0; got {speed!r}")
    return float(speed)
