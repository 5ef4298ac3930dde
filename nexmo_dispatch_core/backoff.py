"""Exponential wait between attempts: numbers in, a number out.

It does not wait, it draws no random numbers, and it does not decide what may be repeated.
"""

from __future__ import annotations

__all__ = ["exponential_wait"]


def exponential_wait(attempt: int, *, initial: float, maximum: float, base: float) -> float:
    """Return the seconds to wait after a failed attempt, without jitter.

    The wait is `min(maximum, initial * base ** (attempt - 1))`.

    Args:
        attempt: The number of the attempt that failed, from 1.
        initial: The wait after the first attempt, in seconds.
        maximum: The longest wait, in seconds.
        base: The factor from one wait to the next, from 1.
    """
    try:
        return min(maximum, initial * float(base) ** (attempt - 1))
    except OverflowError:  # the power is beyond the floats, and so beyond every maximum
        return maximum if initial else 0.0
