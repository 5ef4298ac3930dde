"""Parses durations, rates, shares and times of day in any spelling, each to one unit.

It raises `ValueError` with what to write instead; who calls knows which setting it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import cast

from nexmo_dispatch_async.bulk.settings import Rate

__all__ = ["duration", "epoch", "minutes", "money", "number", "ramp", "rate", "share"]

_SECONDS = {
    "s": 1,
    "sec": 1,
    "m": 60,
    "min": 60,
    "h": 3600,
    "hour": 3600,
    "d": 86400,
    "day": 86400,
    "w": 604800,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]+)")
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?\s*[a-z]+\s*)+")
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*([a-z]+)")
_STAGE = re.compile(r"(.+?)\s+for\s+(.+)")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DIGITS = 15
_EARLIEST, _LATEST = -60_000_000_000.0, 250_000_000_000.0  # in the years 68 and 9892
#: A hundred years: with a longer one no moment has a date.
_LONGEST_S = 36_500 * 86_400.0
_DURATION_CURE = 'must be a duration such as "90s", "10m", "6h", "1h 30m" or "7d", at most 36500d'
_RATE_CURE = 'must be a rate above 0 such as "50/s", "20/min" or "500/h"'


def duration(value: object) -> float:
    """Return seconds from seconds, a timedelta or a text such as `"1h 30m"`.

    Raises:
        ValueError: It is none, not above 0, or above a hundred years.
    """
    seconds = number(value)
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, str) and _DURATION.fullmatch(text := value.strip().lower()):
        parts = _PART.findall(text)
        if all(unit in _SECONDS or unit.removesuffix("s") in _SECONDS for _, unit in parts):
            seconds = sum(
                float(count) * _SECONDS.get(unit, _SECONDS.get(unit.removesuffix("s"), 0))
                for count, unit in parts
            )
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError(_DURATION_CURE)
    return seconds


def rate(value: object) -> float:
    """Return sends per second from a number of them or a text such as `"500/h"`.

    Raises:
        ValueError: It is none, or not above 0.
    """
    per_second = number(value)
    if isinstance(value, str) and (found := _RATE.fullmatch(value.strip().lower())) is not None:
        unit = _SECONDS.get(found[2])
        per_second = float(found[1]) / unit if unit else math.nan
    if not 0 < per_second < math.inf:
        raise ValueError(_RATE_CURE)
    return per_second


def ramp(value: object) -> tuple[Rate, ...]:
    """Return stages from a rate, or from a list such as `["50/h for 2h", "200/h for 2h", "1000/h"]`.

    Raises:
        ValueError: A stage is none, or one but the last has no length.
    """
    stages: list[object] = [*cast("Iterable[object]", value)] if isinstance(value, list | tuple) else [value]
    if not stages:
        raise ValueError(_RATE_CURE)
    rates: list[Rate] = []
    for position, stage in enumerate(stages, 1):
        found = _STAGE.fullmatch(stage.strip()) if isinstance(stage, str) else None
        last = position == len(stages)
        if found is None and not last:
            raise ValueError(f'stage {position} must say how long, such as "50/h for 2h"')
        if found is not None and last:
            raise ValueError("the last stage lasts until the end; leave out for …")
        rates.append(Rate(rate(stage)) if found is None else Rate(rate(found[1]), duration(found[2])))
    return tuple(rates)


def share(value: object) -> float:
    """Return a share from 0 to 1 from such a number or a text such as `"10%"`.

    Raises:
        ValueError: It is none.
    """
    found = number(value)
    if isinstance(value, str) and value.strip().endswith("%"):
        try:
            found = float(value.strip()[:-1]) / 100
        except ValueError:
            found = math.nan
    if not 0 <= found <= 1:
        raise ValueError('must be a share such as "10%" or 0.1')
    return found


def minutes(value: object) -> int:
    """Return minutes after midnight from a time of day such as `"21:00"`.

    Raises:
        ValueError: It is none.
    """
    found = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError('must be a time of day such as "21:00"')
    return int(found[1]) * 60 + int(found[2])


def money(value: object) -> Decimal:
    """Return an exact amount from a text such as `"250.00"`, a whole number or a `Decimal`.

    Raises:
        ValueError: It is none, or negative.
    """
    amount = Decimal("NaN")
    if isinstance(value, str | int | Decimal) and not isinstance(value, bool):
        try:
            amount = Decimal(value)
        except InvalidOperation:
            amount = Decimal("NaN")
    # Beyond these amounts sums and quotients of them overflow.
    if not amount.is_finite() or amount < 0 or (amount and not -_DIGITS < amount.adjusted() < _DIGITS):
        raise ValueError('must be an amount such as "250.00"')
    return amount


def epoch(moment: datetime) -> float:
    """Return a time with a zone in epoch seconds.

    Raises:
        ValueError: It is so far away that it has no date in another zone.
    """
    seconds = moment.timestamp()
    if not _EARLIEST < seconds < _LATEST:
        raise ValueError("is too far away")
    return seconds


def number(value: object) -> float:
    """Return a number as a float: infinity for one beyond all floats, NaN for what is no number."""
    if not isinstance(value, int | float | Decimal) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return math.inf
