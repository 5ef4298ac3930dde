"""When a campaign may send: its start, its end, and the quiet hours of each person's own time zone.

It reads no clock: moments are epoch seconds. Which local time a moment is comes from the zone's rules, so the
days on which clocks are changed need no care: an hour that does not exist is never quiet, one that comes
twice is quiet twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nexmo_dispatch_async.bulk.settings import QuietHours
from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["Calendar"]

# Clocks are changed at quarters of an hour of UTC, wherever they are.
_QUARTER = 900.0
_LOOK_AHEAD = 9 * 86_400.0


class Calendar:
    """When what may be sent.

    Args:
        zone: IANA name of the campaign's zone, for people without one.
        quiet: Quiet hours in the local time of the person, or `None`.
        start_at: Epoch seconds before which nothing is sent, or `None`.
        send_until: Epoch seconds from which nothing is sent, or `None`.

    Raises:
        ConfigurationError: The zone is not known, `start_at` is not before `send_until`, or the quiet hours
            are never over.
    """

    def __init__(
        self,
        zone: str = "UTC",
        quiet: QuietHours | None = None,
        *,
        start_at: float | None = None,
        send_until: float | None = None,
    ) -> None:
        if start_at is not None and send_until is not None and start_at >= send_until:
            raise ConfigurationError("start_at must be before send_until")
        if quiet is not None:
            _check(quiet)
        self.zone = zone
        self.quiet = quiet
        self.start_at = start_at
        self.send_until = send_until
        self._zones_of(zone)

    def is_open(self, zone: str, at: float) -> bool:
        """Return whether a person of a zone may be sent to at a moment, start and end of the campaign apart.

        Args:
            zone: IANA name, `""` for the campaign's, or several separated by `|`, of a number whose country
                has several: it must be open in all of them. One that is not known is the campaign's.
            at: Epoch seconds.
        """
        return self.quiet is None or not any(_is_quiet(self.quiet, each, at) for each in self._zones_of(zone))

    def closed(self, zones: Iterable[str], at: float) -> frozenset[str]:
        """Return those of the zones in which nothing is sent at a moment."""
        if self.quiet is None:
            return frozenset()
        return frozenset(zone for zone in zones if not self.is_open(zone, at))

    def opens(self, zone: str, at: float) -> float:
        """Return from when on a person of a zone may be sent to: `at` itself, or the next such moment.

        It is infinite for several zones that are never open together within nine days.
        """
        if self.is_open(zone, at):
            return at
        return next((each for each in self._edges(zone, at) if self.is_open(zone, each)), float("inf"))

    def changes(self, zones: Iterable[str], at: float) -> float:
        """Return the next moment at which one of the zones opens or closes; infinite when none does."""
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
        """Return the moments at which quiet hours may begin or end."""
        quiet = self.quiet
        if quiet is None:
            return []
        found = {(at // _QUARTER + number) * _QUARTER for number in range(1, int(_LOOK_AHEAD / _QUARTER))}
        for each in self._zones_of(zone):
            day = dt.datetime.fromtimestamp(at, each).date()
            for number in range(10):
                date = day + dt.timedelta(days=number)
                for minute in (quiet.begin, quiet.end, 0):
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


def _check(quiet: QuietHours) -> None:
    for name, minute in (("begin", quiet.begin), ("end", quiet.end)):
        if not 0 <= minute < 1440:
            raise ConfigurationError(f"quiet hours: {name} must be from 0 to 1439 minutes after midnight")
    if not quiet.days <= frozenset(range(7)):
        raise ConfigurationError("quiet hours: days are weekdays from 0, Monday, to 6, Sunday")
    if len(quiet.days) == 7:
        raise ConfigurationError("quiet hours: every day is quiet, so nothing would ever be sent")


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
