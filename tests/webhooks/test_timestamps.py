"""Every timestamp form of contract 5.7."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks.events import parse_timestamp
from nexmo_dispatch_webhooks.events.timestamps import LONGEST, has_zone

NOON = datetime(2020, 1, 1, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2020-01-01T14:00:00.000Z",
        "2020-01-01T14:00:00Z",
        "2020-01-01T14:00:00.0000000Z",
        "2020-01-01 14:00:00 UTC",
        "2020-01-01 14:00:00 utc",
        "2020-01-01 14:00:00 GMT",
        "2020-01-01T14:00:00+00:00",
        "2020-01-01T14:00:00+0000",
        "2020-01-01T15:00:00+01:00",
        "2020-01-01T09:00:00.0-0500",
        "2020-01-01T14:00:00",
        "\t2020-01-01T14:00:00Z \n",
        1577887200,
        1577887200.0,
        1577887200000,
        "1577887200",
        "1577887200.0",
        "1577887200000",
        "20200101T140000Z",
    ],
)
def test_every_form_gives_the_same_instant(value: object) -> None:
    """ISO 8601 with and without fraction and offset, a zone name, epoch seconds and milliseconds."""
    parsed = parse_timestamp(value)

    assert parsed == NOON
    assert parsed.tzinfo is UTC


def test_digits_are_never_a_date() -> None:
    """`1612051200000` is a time in 2021, not the year 1612."""
    assert parse_timestamp("1612051200000") == datetime(2021, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_border_between_seconds_and_milliseconds(as_text: bool) -> None:
    """Eleven digits are seconds, until the year 5138; more are milliseconds, from 1973 on (contract 5.7)."""
    last, first = 99_999_999_999, 100_000_000_000

    moments = [parse_timestamp(str(number) if as_text else number) for number in (last, first)]

    assert moments == [
        datetime(5138, 11, 16, 9, 46, 39, tzinfo=UTC),
        datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC),
    ]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("value", "hour"),
    [
        ("2020-01-01T14:00:00", 14),
        ("2020-01-01 14:00:00 UTC", 14),
        ("20200101T140000", 14),
        ("2020-01-01T14:00:00+02:00", 12),
        (" 2020-01-01T14:00:00+02:00", 12),
        (1577887200, 14),
        ("1577887200", 14),
    ],
)
def test_the_zone_of_the_machine_plays_no_part(value: object, hour: int) -> None:
    """Contract 5.7: a time without a zone is UTC, wherever the receiver stands."""
    assert parse_timestamp(value) == NOON.replace(hour=hour)


@pytest.mark.parametrize(
    ("start", "filler", "end"),
    [("2020-01-01T14:00:00.", "0", "Z"), ("2020-01-01 14:00:00", " ", "UTC"), ("1577887200.", "0", "")],
)
def test_a_timestamp_has_at_most_64_characters(start: str, filler: str, end: str) -> None:
    """That bounds the work on hostile input; blanks around the text do not count."""
    fitting, longer = (start + filler * (size - len(start + end)) + end for size in (64, 65))

    assert len(fitting) == LONGEST
    assert parse_timestamp(fitting) == parse_timestamp(f" {fitting}\n") == NOON
    assert parse_timestamp(longer) is None


@pytest.mark.parametrize(
    ("value", "has"),
    [
        ("2020-01-01T14:00:00Z", True),
        ("2020-01-01T14:00:00+02:00", True),
        (" 2020-01-01 14:00:00 utc ", True),
        ("2020-01-01 14:00:00 GMT", True),
        ("2020-01-01T14:00:00", False),
        ("1577887200", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_timestamp_that_says_no_zone_is_told_apart(value: str, has: bool) -> None:
    """Every documented form says one (contract 5.7)."""
    assert has_zone(value) is has


def test_fraction_is_kept() -> None:
    assert parse_timestamp("2020-01-01T14:00:00.123456Z") == NOON.replace(microsecond=123456)


@pytest.mark.parametrize(
    "value",
    [
        *("1.2.3", "1577887200.0.0", ".5.", "1,5", "+1577887200"),
        *(None, True, "", " ", "yesterday", "2020-13-01T00:00:00Z", "2020-01-01 14:00:00 CET", "UTC"),
        *("\ud800", "²", "1" * 400, "9" * 60, 10**400, 1e300, float("nan"), float("inf"), -1e30),
        *("0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", [], {}, b"2020-01-01T14:00:00Z"),
    ],
)
def test_unreadable_is_none(value: object) -> None:
    """An unreadable timestamp never causes rejection (contract 5.7)."""
    assert parse_timestamp(value) is None


@given(st.one_of(st.text(max_size=40), st.integers(), st.floats(), st.datetimes().map(str)))
def test_anything_gives_utc_or_none(value: object) -> None:
    parsed = parse_timestamp(value)

    assert parsed is None or parsed.tzinfo is UTC
