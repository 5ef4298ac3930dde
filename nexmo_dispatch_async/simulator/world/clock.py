"""Virtual time: moved by hand, or following real time at a given speed.

It never sleeps; the real clock is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["Clock"]


class Clock:
    """A clock of virtual milliseconds.

    Args:
        speed: Virtual seconds per real second; None for a clock that moves only with `jump()`.
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
        """Virtual seconds per real second; 0 while the clock is paused."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        now = self._exact()
        self._origin_ms, self._origin_s = now, self._monotonic()
        self._speed = _checked(speed)

    def now_ms(self) -> int:
        """Return the virtual time in milliseconds."""
        return int(self._exact())

    def real_ms(self) -> int:
        """Return the real milliseconds since the clock was created."""
        return int((self._monotonic() - self._started_s) * 1000)

    def jump(self, ms: int) -> None:
        """Move forward by `ms` virtual milliseconds."""
        self._origin_ms += ms

    def real_seconds_until(self, at_ms: int) -> float:
        """Return the real seconds until a virtual time; infinite while the clock is paused."""
        remaining = max(0.0, at_ms - self._exact()) / 1000
        return remaining / self._speed if self._speed else math.inf if remaining else 0.0

    def _exact(self) -> float:
        return self._origin_ms + (self._monotonic() - self._origin_s) * 1000 * self._speed


def _checked(speed: float) -> float:
    if not 0 <= speed < math.inf:
        raise ValueError(f"speed must be a finite number from 0; got {speed!r}")
    return float(speed)
