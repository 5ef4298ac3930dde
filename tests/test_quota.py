"""What the headers of an answer say of the quota (contract 1.4); garbage is silence."""

from __future__ import annotations

import pytest

from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.quota import Quota, quota_of, retry_after
from nexmo_dispatch_async.sansio import Headers, Response, decipher_dispatch, decipher_response

NOW = 1_762_988_400.0  # 2025-11-12 23:00 UTC
FIELDS = {
    "quota-limit": "600",
    "quota-interval": "1",
    "quota-time-unit": "minute",
    "quota-used": "599",
    "quota-reset-UTC": "2025-11-12T23:00:30Z",
}


def test_a_quota_is_read_from_its_five_headers() -> None:
    """Limit, window in seconds, calls used and the seconds until the reset."""
    quota = quota_of(Headers(FIELDS), now=NOW)

    assert quota == Quota(limit=600, window=60, used=599, reset_in=30)
    assert not quota.spent


@pytest.mark.parametrize(
    ("unit", "interval", "window"),
    [
        ("hour", "2", 7200),
        ("DAY", "1", 86_400),
        ("weeks", "1", 604_800),
        ("month", "1", 2_678_400),
        ("fortnight", "1", 0),
        ("day", "x", 0),
        ("minute", "-1", 0),
    ],
)
def test_the_window_is_the_unit_times_the_interval(unit: str, interval: str, window: float) -> None:
    """An unknown unit and a strange interval are a window that is not known."""
    quota = quota_of(Headers(FIELDS | {"quota-time-unit": unit, "quota-interval": interval}), now=NOW)

    assert quota is not None
    assert quota.window == window


@pytest.mark.parametrize("reset", ["soon", "", "2025-11-12T22:59:00Z", "1762988400", "2026-11-12T23:00:00Z"])
def test_a_reset_that_is_over_or_unreadable_or_beyond_the_window_is_not_known(reset: str) -> None:
    """Nothing waits for a moment that makes no sense."""
    quota = quota_of(Headers(FIELDS | {"quota-reset-UTC": reset}), now=NOW)

    assert quota is not None
    assert quota.reset_in is None


@pytest.mark.parametrize("limit", ["many", "", "-1"])
def test_a_limit_that_is_no_number_is_no_quota(limit: str) -> None:
    """Without a limit the rest says nothing."""
    assert quota_of(Headers(FIELDS | {"quota-limit": limit}), now=NOW) is None
    assert quota_of(Headers({}), now=NOW) is None


def test_the_clock_of_the_service_counts_where_it_tells_its_time() -> None:
    """The reset counts from the answer's `Date`: a clock here that is wrong changes nothing."""
    fields = FIELDS | {"Date": "Wed, 12 Nov 2025 23:00:10 GMT"}

    quota = quota_of(Headers(fields), now=NOW - 86_400)

    assert quota is not None
    assert quota.reset_in == 20


def test_an_error_tells_the_quota() -> None:
    """A 429 carries what the gateway said of the quota."""
    answer = Response(429, Headers(FIELDS | {"quota-used": "600"}), b"{}")

    with pytest.raises(RateLimitError) as caught:
        decipher_response(answer, decipher_dispatch, now=NOW)

    assert caught.value.quota == Quota(limit=600, window=60, used=600, reset_in=30)
    assert caught.value.quota.spent


# --- when to come back ----------------------------------------------------------------------------

SPENT = {"quota-limit": "100", "quota-used": "100"}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "31622400"}, 31_622_400.0),
        ({"Retry-After": "31622401"}, None),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Wed, 12 Nov 2025 23:00:30 GMT"}, 30.0),
        ({"Retry-After": "Wed, 12 Nov 2025 22:00:30 GMT"}, 0.0),
        ({"Retry-After": "Wed, 12 Nov 2025 23:00:30 GMT", "Date": "Wed, 12 Nov 2025 23:00:20 GMT"}, 10.0),
        ({"Retry-After": "5", "quota-reset-UTC": "2025-11-13 00:00:00", **SPENT}, 5.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13T00:00:00Z", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00 UTC", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "1762992000", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "1762992000000", **SPENT}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00"}, 3600.0),
        ({"quota-reset-UTC": "12", **SPENT}, None),
        ({"quota-reset-UTC": "1000000000", **SPENT}, None),
        ({"quota-reset-UTC": "100000000000", **SPENT}, 100_000_000_000 - NOW),
        ({"quota-reset-UTC": "2025-11-13 00:00:00", "quota-used": "7"}, 3600.0),
        ({"quota-reset-UTC": "2025-11-13 00:00:00", "quota-limit": "7"}, 3600.0),
        ({"quota-reset-UTC": "2025-11-12 23:00:00.5", **SPENT}, 0.5),
        ({"quota-reset-UTC": "tomorrow", **SPENT}, None),
        ({"quota-reset-UTC": "2025-11-13 00:00:00", "quota-limit": "100", "quota-used": "7"}, None),
    ],
)
def test_when_to_come_back(headers: dict[str, str], seconds: float | None) -> None:
    """Contract 1.4: the format of the reset is not specified, and other limits hit in mid-quota too."""
    assert retry_after(Headers(headers), now=NOW) == seconds


@pytest.mark.parametrize("asked", ["inf", "nan", "1e999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"])
def test_a_moment_that_never_comes_is_not_asked_for(asked: str) -> None:
    """An infinite wait could not even be printed."""
    assert retry_after({"Retry-After": asked}, now=1.7e9) is None


def test_a_date_means_nothing_without_a_clock() -> None:
    assert retry_after(Headers({"Retry-After": "Wed, 12 Nov 2025 23:00:30 GMT"})) is None


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("2025-11-12T23:00:10", 10),
        ("2025-11-12 23:00:10 UTC", 10),
        ("2025-11-13T01:00:10+02:00", 10),
        ("Wed, 12 Nov 2025 23:00:10 GMT", 10),
        ("Wed, 12 Nov 2025 23:00:10 -0000", 10),
    ],
)
def test_a_moment_to_come_back_at_is_utc_unless_it_says_otherwise(asked: str, seconds: float) -> None:
    """Contract 1.4: wherever the client stands."""
    assert retry_after({"Retry-After": asked}, now=NOW) == seconds
    assert retry_after({"quota-reset-UTC": asked}, now=NOW) == seconds


def test_a_reset_means_nothing_without_a_clock() -> None:
    """Where the answer has no `Date` and the caller no time, any moment would be in the window."""
    quota = quota_of(Headers(FIELDS | {"quota-reset-UTC": "1970-01-01T00:00:30Z"}))

    assert quota is not None
    assert quota.reset_in is None


@pytest.mark.parametrize(
    ("changes", "reset_in"),
    [
        ({"quota-reset-UTC": "2025-11-12T23:02:00Z"}, 120),
        ({"quota-reset-UTC": "2025-11-12T23:02:01Z"}, None),
        ({"quota-reset-UTC": "2025-11-12T23:02:01Z", "quota-time-unit": "fortnight"}, 121),
    ],
)
def test_a_reset_may_exceed_its_window_by_a_minute(changes: dict[str, str], reset_in: float | None) -> None:
    """So far clocks may differ; of a window that is not known the longest counts."""
    quota = quota_of(Headers(FIELDS | changes), now=NOW)

    assert quota is not None
    assert quota.reset_in == reset_in


def test_nothing_at_all_may_be_allowed_and_a_negative_use_is_not_known() -> None:
    """A limit of 0 is a quota, and it is spent."""
    nothing = quota_of(Headers(FIELDS | {"quota-limit": "0", "quota-used": "0"}))
    strange = quota_of(Headers(FIELDS | {"quota-used": "-1"}))

    assert nothing is not None
    assert strange is not None
    assert (nothing.limit, nothing.spent) == (0, True)
    assert (strange.used, strange.spent) == (None, False)
