"""The times at which a campaign may send: start, end, and quiet hours in each recipient's time zone.

The module reads no clock: times are epoch seconds, and the rules of the zone give the local time. Changes to
and from summer time therefore need no special case: a skipped hour is never quiet, a repeated hour is quiet
twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nexmo_dispatch_async.bulk.settings import QuietHours
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["Calendar"]

# In every zone, clocks change and days begin at a quarter of an hour of UTC.
_QUARTER = 900.0
_LOOK_AHEAD = 9 * 86_400.0


class Calendar:
    """The times at which rows may be sent.

    Args:
        zone: IANA name of the campaign's zone, for recipients without a zone.
        quiet: Quiet hours in the recipient's local time; `None` for none.
        start_at: Epoch seconds before which nothing is sent, or `None`.
        send_until: Epoch seconds from which nothing is sent, or `None`.

    Raises:
        ConfigurationError: The zone is not known, a time is no number of seconds, or `start_at` is not before
            `send_until`.
    """

    def __init__(
        self,
        zone: str = "UTC",
        quiet: QuietHours | None = None,
        *,
        start_at: float | None = None,
        send_until: float | None = None,
    ) -> None:
        for name, at in (("start_at", start_at), ("send_until", send_until)):
            if at is not None:
                checks.seconds(name, at)
        if start_at is not None and send_until is not None and start_at >= send_until:
            raise ConfigurationError("start_at must be before send_until")
        self.zone = zone
        self.quiet = quiet
        self.start_at = start_at
        self.send_until = send_until
        self._zones_of(zone)

    def is_open(self, zone: str, at: float) -> bool:
        """Return whether recipients in a zone may be sent to, ignoring start and end of the campaign.

        Args:
            zone: IANA name, `""` for the campaign's zone, or several names separated by `|` for a country
                with several zones, all of which must be open. An unknown zone counts as the campaign's.
            at: Epoch seconds.
        """
        return self.quiet is None or not any(_is_quiet(self.quiet, each, at) for each in self._zones_of(zone))

    def closed(self, zones: Iterable[str], at: float) -> frozenset[str]:
        """Return the zones in which nothing may be sent at a time."""
        if self.quiet is None:
            return frozenset()
        return frozenset(zone for zone in zones if not self.is_open(zone, at))

    def opens(self, zone: str, at: float) -> float:
        """Return the first time, from `at` on, at which recipients in a zone may be sent to.

        The time is infinite for several zones that are never open together within nine days.
        """
        if self.is_open(zone, at):
            return at
        return next((each for each in self._edges(zone, at) if self.is_open(zone, each)), float("inf"))

    def changes(self, zones: Iterable[str], at: float) -> float:
        """Return the next time at which one of the zones opens or closes; infinite when none does."""
        if self.quiet is None:
            return float("inf")
        soonest = float("inf")
        for zone in zones:
            before = self.is_open(zone, at)
            for edge in self._edges(zone, at):
                if edge >= soonest:
                    break
                if self.is_open(zone, edge) != before:
                    soonest = edge
                    break
        return soonest

    def _edges(self, zone: str, at: float) -> list[float]:
        """Return the times at which quiet hours may begin or end."""
        quiet = self.quiet
        if quiet is None:
            return []
        found = {(at // _QUARTER + number) * _QUARTER for number in range(1, int(_LOOK_AHEAD / _QUARTER))}
        for each in self._zones_of(zone):
            day = dt.datetime.fromtimestamp(at, each).date()
            for number in range(10):
                date = day + dt.timedelta(days=number)
                for minute in (quiet.begin, quiet.end):
                    local = dt.datetime.combine(date, dt.time(minute // 60, minute % 60), each)
                    found.update((local.timestamp(), local.replace(fold=1).timestamp()))
        return sorted(moment for moment in found if moment > at)

    def _zones_of(self, zone: str) -> tuple[ZoneInfo, ...]:
        if not zone or zone == self.zone:
            return (_zone(self.zone),)
        try:
            return tuple(_zone(name) for name in zone.split("|"))
        except ConfigurationError:
            return (_zone(self.zone),)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigurationError(
            f"{name!r} is no time zone: use a name such as Europe/Amsterdam (on Windows, install tzdata)"
        ) from None


def _is_quiet(quiet: QuietHours, zone: ZoneInfo, at: float) -> bool:
    local = dt.datetime.fromtimestamp(at, zone)
    if local.weekday() in quiet.days:
        return True
    minute = local.hour * 60 + local.minute
    if quiet.begin <= quiet.end:
        return quiet.begin <= minute < quiet.end
    return minute >= quiet.begin or minute < quiet.end
