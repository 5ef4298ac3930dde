"""Reads the pace of the service from response headers: the quota and its use, and the time to wait.

The functions keep no state and read no clock. None of the formats is certain (contract 1.4, 9), so an
unreadable header counts as missing.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache

from msgspec import Struct

from nexmo_dispatch_core.lenient import to_int

__all__ = ["Quota", "epoch_seconds", "quota_of", "retry_after"]


class Quota(Struct, frozen=True, kw_only=True):
    """The quota of an application at the gateway (contract 1.4).

    Attributes:
        limit: Number of calls per window.
        window: Length of the window in seconds; 0.0 when unknown.
        used: Number of calls in the current window; `None` when unknown.
        reset_in: Seconds until the next window, above 0; `None` when unknown, or when the header names a
            moment in the past or beyond the window.
    """

    limit: int
    window: float = 0.0
    used: int | None = None
    reset_in: float | None = None

    @property
    def spent(self) -> bool:
        """Whether the quota is exhausted."""
        return self.used is not None and self.used >= self.limit


# `second` is not documented (contract 1.4), but Apigee supports it.
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "week": 604_800, "month": 2_678_400}

# Seconds by which a reset may exceed the window: more is no difference of clocks but another format.
_TOLERANCE = 60.0


def quota_of(headers: Mapping[str, str], *, now: float = 0.0) -> Quota | None:
    """Return the quota of response headers; `None` without one.

    Args:
        headers: Headers of the response; any mapping that ignores the case of names.
        now: Epoch seconds, for a response without `Date`.
    """
    text = headers.get("quota-limit")
    if text is None:
        return None
    limit = to_int(text)
    if limit is None or limit < 0:
        return None
    unit = _UNITS.get(headers.get("quota-time-unit", "").strip().lower().removesuffix("s"), 0)
    interval = to_int(headers.get("quota-interval", "1"))
    window = float(unit * interval) if interval is not None and interval > 0 else 0.0
    used = to_int(headers.get("quota-used"))
    moment = epoch_seconds(headers.get("quota-reset-UTC", "").strip())
    here = epoch_seconds(headers.get("Date", "")) or now
    reset_in = moment - here if moment is not None and here else 0.0
    in_window = 0 < reset_in <= (window or _UNITS["month"]) + _TOLERANCE
    return Quota(
        limit=limit,
        window=window,
        used=used if used is not None and used >= 0 else None,
        reset_in=reset_in if in_window else None,
    )


def retry_after(headers: Mapping[str, str], *, now: float = 0.0, quota: bool = True) -> float | None:
    """Return the seconds to wait that the service demands; `None` without such a demand.

    The source is `Retry-After`, in seconds or as a date; or else, for an exhausted quota, `quota-reset-UTC`,
    whose format is not specified (contract 1.4). Dates count from the `Date` header of the response, which is
    the service's clock, or from `now`.

    Args:
        headers: Headers of the response; any mapping that ignores the case of names.
        now: Epoch seconds, for a response without `Date`.
        quota: Whether the reset of an exhausted quota counts.
    """
    value = headers.get("Retry-After", "").strip()
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    if not value and quota and _quota_is_spent(headers):
        value = headers.get("quota-reset-UTC", "").strip()
    moment = epoch_seconds(value) if value else None
    here = epoch_seconds(headers.get("Date", "")) or now
    if moment is None or not here:
        return None
    return max(0.0, moment - here)


def _quota_is_spent(headers: Mapping[str, str]) -> bool:
    used, limit = to_int(headers.get("quota-used")), to_int(headers.get("quota-limit"))
    # Every response has these headers: a spike arrest in mid-quota must not wait until midnight.
    return used is None or limit is None or used >= limit


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    # Numbers above a year are epoch seconds or garbage.
    return seconds if 0 <= seconds <= 31_622_400 else None


# Most responses repeat the same reset, and responses of the same second the same date.
@lru_cache(maxsize=64)
def epoch_seconds(text: str) -> float | None:
    """Return the epoch seconds of an HTTP date, an ISO date (UTC by default) or a number; None for others."""
    try:
        number = float(text)
    except ValueError:
        pass
    else:
        if not 1e9 < number < math.inf:
            return None
        return number / 1000 if number > 1e11 else number
    for parse in (dt.datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text.removesuffix(" UTC"))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=dt.UTC)
            return moment.timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return None
