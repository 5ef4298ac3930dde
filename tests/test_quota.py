"""What the headers of an answer say of the quota (contract 1.4); garbage is silence."""

from __future__ import annotations

import pytest

from nexmo_dispatch_async.exceptions import RateLimitError
from nexmo_dispatch_async.quota import Quota, quota_of
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
