"""Durations in words, for messages."""

from __future__ import annotations

__all__ = ["in_words"]

_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"))


def in_words(seconds: float) -> str:
    """Return a duration in its two largest units, such as `3 h 5 min`.

    Args:
        seconds: The duration; fractions are rounded up, so that a wait is never too short.
    """
    rest = max(0, -int(-seconds // 1))
    words: list[str] = []
    for size, unit in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count} {unit}s" if unit == "day" and count > 1 else f"{count} {unit}")
    if rest or not words:
        words.append(f"{rest} s")
    return " ".join(words[:2])
