"""Start, end and quiet hours in the time of the person, over both changes of the clocks."""

from __future__ import annotations

import datetime as dt
import math
from zoneinfo import ZoneInfo

import pytest

from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.settings import QuietHours
from nexmo_dispatch_async.exceptions import ConfigurationError

NIGHT = QuietHours(begin=21 * 60, end=8 * 60)
AMSTERDAM = "Europe/Amsterdam"


def at(text: str, zone: str = AMSTERDAM, fold: int = 0) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


@pytest.mark.parametrize("zone", [AMSTERDAM, "Asia/Tokyo", "America/St_Johns", "Asia/Kathmandu"])
def test_quiet_hours_are_those_of_the_persons_own_clock(zone: str) -> None:
    """Open from 8:00 to 20:59 there, whatever the campaign's zone, and closed from 21:00 to 7:59."""
    calendar = Calendar(AMSTERDAM, NIGHT)

    assert [calendar.is_open(zone, at(f"2026-11-10T{time}", zone)) for time in ("08:00", "20:59")] == [
        True,
        True,
    ]
    assert [
        calendar.is_open(zone, at(f"2026-11-10T{time}", zone)) for time in ("07:59", "21:00", "00:00")
    ] == [
        False,
        False,
        False,
    ]
    assert calendar.opens(zone, at("2026-11-10T21:30", zone)) == at("2026-11-11T08:00", zone)
    assert calendar.opens(zone, at("2026-11-10T12:00", zone)) == at("2026-11-10T12:00", zone)


def test_nothing_is_sent_an_hour_early_when_clocks_are_changed() -> None:
    """On both days of the change it opens at 8:00 of the new time."""
    calendar = Calendar(AMSTERDAM, NIGHT)

    assert calendar.opens("", at("2027-03-27T22:00")) == at("2027-03-28T08:00")
    assert calendar.opens("", at("2026-10-24T22:00")) == at("2026-10-25T08:00")
    assert at("2027-03-28T08:00") - at("2027-03-27T22:00") == 9 * 3600
    assert at("2026-10-25T08:00") - at("2026-10-24T22:00") == 11 * 3600


def test_an_end_that_does_not_exist_is_the_moment_of_the_change() -> None:
    """Quiet until 2:30 on the day without 2:30: open from 3:00, when 1:59 is over."""
    calendar = Calendar(AMSTERDAM, QuietHours(begin=23 * 60, end=2 * 60 + 30))

    assert calendar.opens("", at("2027-03-28T01:00")) == at("2027-03-28T03:00")


def test_an_end_that_comes_twice_opens_at_the_first_and_closes_again() -> None:
    """Quiet until 2:30 on the day with two of them: the half hour between 2:00 and 2:30 is quiet twice."""
    calendar = Calendar(AMSTERDAM, QuietHours(begin=23 * 60, end=2 * 60 + 30))
    first = at("2026-10-25T02:30")

    assert calendar.opens("", at("2026-10-25T01:00")) == first
    assert calendar.changes([""], first) == at("2026-10-25T02:00", fold=1)
    assert calendar.opens("", at("2026-10-25T02:00", fold=1)) == at("2026-10-25T02:30", fold=1)


def test_a_quiet_weekday_lasts_all_day() -> None:
    """From Saturday evening until Monday morning."""
    calendar = Calendar(AMSTERDAM, QuietHours(begin=NIGHT.begin, end=NIGHT.end, days=frozenset({6})))

    assert calendar.opens("", at("2026-11-14T21:00")) == at("2026-11-16T08:00")


def test_a_number_with_several_zones_is_sent_to_when_all_are_awake() -> None:
    """The intersection: 8:00 in Los Angeles is 11:00 in New York."""
    calendar = Calendar("UTC", NIGHT)
    both = "America/New_York|America/Los_Angeles"

    assert calendar.opens(both, at("2026-11-10T05:00", "America/New_York")) == at(
        "2026-11-10T08:00", "America/Los_Angeles"
    )
    assert not calendar.is_open(both, at("2026-11-10T21:00", "America/New_York"))
    morning = Calendar("UTC", QuietHours(begin=12 * 60, end=9 * 60))
    assert morning.opens("Europe/Amsterdam|Asia/Tokyo", 0.0) == math.inf


def test_an_unknown_zone_is_that_of_the_campaign() -> None:
    """A row with a zone that does not exist neither waits for ever nor goes out at night."""
    calendar = Calendar("Asia/Tokyo", NIGHT)

    assert not calendar.is_open("Europe/Atlantis", at("2026-11-10T03:00", "Asia/Tokyo"))
    assert calendar.is_open("Europe/Atlantis", at("2026-11-10T12:00", "Asia/Tokyo"))


def test_closed_zones_and_the_next_change() -> None:
    """Of a campaign over three zones: which are closed now, and when that changes."""
    calendar = Calendar(AMSTERDAM, NIGHT)
    zones = ["", "Asia/Tokyo", "America/New_York"]
    noon = at("2026-11-10T12:30")

    assert calendar.closed(zones, noon) == {"America/New_York"}  # 6:30 there, 20:30 in Tokyo
    assert calendar.changes(zones, noon) == at("2026-11-10T13:00")
    assert Calendar(AMSTERDAM).closed(zones, noon) == frozenset()
    assert Calendar(AMSTERDAM).changes(zones, noon) == math.inf


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"zone": "Europe/Atlantis"}, "no time zone"),
        ({"start_at": 6.0, "send_until": 5.0}, "start_at must be before send_until"),
        ({"start_at": 5.0, "send_until": 5.0}, "start_at must be before send_until"),
    ],
)
def test_a_calendar_that_makes_no_sense_is_refused(settings: dict[str, object], message: str) -> None:
    """The message names the setting and what it may be."""
    with pytest.raises(ConfigurationError, match=message):
        Calendar(**settings)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("begin", "end", "quiet"),
    [
        (12 * 60, 13 * 60, ["12:00", "12:59"]),
        (12 * 60, 12 * 60, []),
        (0, 1439, ["00:00", "11:59", "12:00", "12:59", "13:00"]),
        (1439, 0, ["23:59"]),
        (13 * 60, 12 * 60, ["00:00", "11:59", "13:00", "23:59"]),
    ],
)
def test_quiet_hours_begin_with_their_first_minute_and_end_before_their_last(
    begin: int, end: int, quiet: list[str]
) -> None:
    """At noon or over midnight; from a minute to itself there are none."""
    calendar = Calendar(AMSTERDAM, QuietHours(begin=begin, end=end))
    times = ("00:00", "11:59", "12:00", "12:59", "13:00", "23:59")

    assert [time for time in times if not calendar.is_open("", at(f"2026-11-10T{time}"))] == quiet


def test_without_settings_every_moment_is_open() -> None:
    """In UTC, and from any moment on; six quiet days of a week leave one."""
    calendar = Calendar()
    sundays = Calendar(
        quiet=QuietHours(begin=0, end=0, days=frozenset(range(6))), start_at=4.0, send_until=5.0
    )

    assert (calendar.zone, calendar.quiet, calendar.start_at, calendar.send_until) == (
        "UTC",
        None,
        None,
        None,
    )
    assert calendar.is_open("", 7.0)
    assert calendar.opens(AMSTERDAM, 7.0) == 7.0
    assert (sundays.start_at, sundays.send_until) == (4.0, 5.0)
    monday = at("2026-11-09T00:00", "UTC")
    assert sundays.opens("", monday) == at("2026-11-15T00:00", "UTC")
    assert sundays.changes([""], at("2026-11-15T01:00", "UTC")) == at("2026-11-16T00:00", "UTC")


def test_quiet_hours_may_begin_and_end_at_any_minute() -> None:
    """Also between the quarters of an hour, in a zone half an hour beside its neighbours."""
    calendar = Calendar("Asia/Kolkata", QuietHours(begin=21 * 60 + 7, end=8 * 60 + 13), start_at=4.0)
    evening, morning = (at(f"2026-11-{time}", "Asia/Kolkata") for time in ("10T21:07", "11T08:13"))

    assert calendar.changes([""], evening - 3600) == evening
    assert calendar.opens("", evening) == calendar.changes([""], evening) == morning
    assert Calendar(send_until=5.0).send_until == 5.0


def test_the_next_change_is_that_of_the_first_zone_to_change() -> None:
    """In whatever order the zones are named."""
    calendar = Calendar(AMSTERDAM, NIGHT)
    zones = ["Asia/Tokyo", "", "America/New_York"]
    morning = at("2026-11-10T07:30")

    changes = [calendar.changes(order, morning) for order in (zones, zones[::-1])]

    assert changes == [at("2026-11-10T08:00")] * 2
    assert calendar.changes([], morning) == math.inf
    assert calendar.changes(["Asia/Tokyo"], morning) == at("2026-11-10T21:00", "Asia/Tokyo")
