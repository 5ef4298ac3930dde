"""Reads timestamps of every form in contract 5.7 as aware UTC datetimes.

An unreadable timestamp is `None`, never an error: the caller keeps the original text.
"""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["LONGEST", "has_zone", "parse_timestamp"]

# Zone names that mean UTC; `2020-01-01 14:00:00 UTC` is the form of the v1 examples.
_UTC_NAMES = ("UTC", "GMT", "Z")
# Seconds until the year 5138; anything above is milliseconds, which cannot be a date before 1973.
_LARGEST_SECONDS = 100_000_000_000
#: Maximum length of a timestamp; it bounds the work on hostile input.
LONGEST = 64


def parse_timestamp(value: object) -> datetime | None:
    """Read an ISO 8601 text, a text with a UTC zone name, or epoch seconds or milliseconds.

    Args:
        value: The member of the body: text or a number.

    Returns:
        An aware datetime in UTC, or None when the value is not readable. A time without a zone is
        taken as UTC.
    """
    if type(value) is str:
        # Only with dashes: the short form without them would read epoch digits as a date.
        if value[4:5] == "-" and len(value) <= LONGEST:
            try:
                parsed = datetime.fromisoformat(value)
            except ValueError:
                return _tolerant(value)
            return parsed if parsed.tzinfo is UTC else _to_utc(parsed)
        return _tolerant(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _from_epoch(value)
    return None


def has_zone(value: str) -> bool:
    """Return whether a readable timestamp has a zone, as every documented form has; digits have none."""
    text = value.strip()
    if text.upper().endswith(_UTC_NAMES):
        return True
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _tolerant(value: str) -> datetime | None:
    """Read epoch digits, zone names, white space, and all other forms of `datetime.fromisoformat`."""
    text = value.strip()
    if len(text) > LONGEST:
        return None
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return _from_epoch(float(text))
    for name in _UTC_NAMES:
        if text.upper().endswith(name):
            text = text[: -len(name)].rstrip()
            break
    try:
        return _to_utc(datetime.fromisoformat(text))
    except ValueError:
        return None


def _to_utc(parsed: datetime) -> datetime | None:
    if parsed.tzinfo is None:
        return parsed.replace(tzinfo=UTC)
    try:
        return parsed.astimezone(UTC)
    except OverflowError:  # with its offset, the time is outside the years 1 to 9999
        return None


def _from_epoch(number: float) -> datetime | None:
    try:
        seconds = number if abs(number) < _LARGEST_SECONDS else number / 1000
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):  # out of range, or not finite
        return None
