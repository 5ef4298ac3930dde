"""Numbers, times and names as text for the report page, escaped for HTML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from nexmo_dispatch_async.bulk.report.counting import CHANNEL_WORDS

__all__ = ["NONE", "amounts", "channel_name", "duration", "moment", "number", "percent", "place_name", "text"]

# What a browser would act on or not show: control characters, and those that turn the direction of writing.
_HIDDEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)

_REPLACEMENT: Final = "\ufffd"
# Keeps a number and its unit on one line.
_FIXED: Final = "\u00a0"
#: What stands where there is nothing to say.
NONE: Final = "\u2013"


def text(value: str) -> str:
    """Return a foreign text as HTML: escaped, isolated, with what does not show made visible."""
    return f"<bdi>{escape(_HIDDEN.sub(_REPLACEMENT, value))}</bdi>"


def number(value: int) -> str:
    """Return a number with separators."""
    return f"{value:,}"


def percent(part: int, whole: int) -> str:
    """Return a share with one decimal; a dash for nothing to share."""
    return f"{100 * part / whole:.1f}{_FIXED}%" if whole else NONE


def amounts(costs: Mapping[str, str]) -> str:
    """Return sums by currency, `EUR 12.50 + USD 3`; a dash for none."""
    return (
        " + ".join(
            f"{escape(currency)}{_FIXED}{escape(amount)}".strip() for currency, amount in costs.items()
        )
        or NONE
    )


def duration(seconds: float | None) -> str:
    """Return a time in its two largest units, `5 min 12 s`; a dash for none."""
    if seconds is None:
        return NONE
    rest = round(seconds)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{_FIXED}{unit}")
        elif parts:
            break
    return _FIXED.join(parts[:2]) or f"0{_FIXED}s"


def moment(epoch: float | None, zone: str) -> str:
    """Return a date and time in a zone, to the minute; a dash for none."""
    if epoch is None:
        return NONE
    at = datetime.fromtimestamp(epoch, ZoneInfo(zone))
    return f"{at:%Y-%m-%d %H:%M} {escape(at.tzname() or zone)}"


def channel_name(channel: str) -> str:
    """Return the usual name of a channel."""
    return escape(CHANNEL_WORDS.get(channel, channel))


def place_name(place: str) -> str:
    """Return the name of a place of the flow: `1 whatsapp` is `1. WhatsApp`."""
    step, blank, channel = place.partition(" ")
    if blank and step.isdecimal():
        return f"{step}. {channel_name(channel)}"
    return escape(place[:1].upper() + place[1:])
