"""Promises of the retry policy: numbers in, numbers out."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.retry import RetryPolicy, Timeout


def test_waits_double_up_to_the_maximum() -> None:
    policy = RetryPolicy(attempts=6, wait_initial=1, wait_max=5, timeout=None)

    assert list(policy.waits(random=0.0)) == [1, 2, 4, 5, 5]


@pytest.mark.parametrize(("jitter", "expected"), [(1.0, 1.0), (0.5, 3.0), (0.0, 5.0)])
def test_jitter_is_the_random_share_of_a_wait(jitter: float, expected: float) -> None:
    """1.0 is full jitter: anything between nothing and the whole wait."""
    policy = RetryPolicy(wait_initial=5, wait_jitter=jitter)

    assert policy.wait(1, elapsed=0, random=0.8) == pytest.approx(expected)


def test_attempts_are_tries_in_total() -> None:
    policy = RetryPolicy(attempts=2)

    assert policy.wait(1, elapsed=0, random=0.5) is not None
    assert policy.wait(2, elapsed=0, random=0.5) is None


def test_what_the_service_asked_for_passes_first() -> None:
    """The wait of the policy comes on top, so that callers do not return all at once."""
    policy = RetryPolicy(wait_initial=4)

    assert policy.wait(1, elapsed=0, random=0.75, retry_after=2) == 3.0


def test_no_wait_is_begun_that_ends_after_the_timeout() -> None:
    policy = RetryPolicy(wait_initial=1, timeout=10)

    assert policy.wait(1, elapsed=8.9, random=0.0) == 1.0
    assert policy.wait(1, elapsed=9.1, random=0.0) is None
    assert policy.wait(1, elapsed=0, random=0.0, retry_after=3600) is None


@given(
    attempt=st.integers(1, 10**6),
    random=st.floats(0, 1, exclude_max=True),
    retry_after=st.none() | st.floats(0, 1e6),
)
def test_any_wait_is_finite_and_bounded(attempt: int, random: float, retry_after: float | None) -> None:
    policy = RetryPolicy(attempts=10**7, timeout=None)

    delay = policy.wait(attempt, elapsed=0, random=random, retry_after=retry_after)

    assert delay is not None
    assert math.isfinite(delay)
    assert (retry_after or 0) <= delay <= policy.wait_max + (retry_after or 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attempts": 0}, "attempts must be a whole number, at least 1, not 0"),
        ({"attempts": 1.5}, "attempts must be a whole number, at least 1, not 1.5"),
        ({"attempts": True}, "attempts must be a whole number, at least 1, not True"),
        ({"attempts": "3"}, "attempts must be a whole number, at least 1, not str"),
        ({"wait_jitter": math.nan}, "wait_jitter must be a number, from 0 to 1, not nan"),
        ({"wait_max": math.nan}, "wait_max must be a number of seconds, at least 0, not nan"),
        ({"timeout": math.nan}, "timeout must be a number of seconds, at least 0, or None, not nan"),
        ({"wait_jitter": 1.5}, "wait_jitter must be a number, from 0 to 1, not 1.5"),
        ({"wait_initial": -1}, "wait_initial must be a number of seconds, at least 0, not -1"),
        ({"wait_max": -1}, "wait_max must be a number of seconds, at least 0, not -1"),
        ({"timeout": -1}, "timeout must be a number of seconds, at least 0, or None, not -1"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^RetryPolicy.{message}"):
        RetryPolicy(**settings)


@pytest.mark.parametrize("name", ["connect", "total"])
def test_time_outs_are_positive_or_none(name: str) -> None:
    assert Timeout(**{name: None}) is not None
    with pytest.raises(
        ConfigurationError, match=f"Timeout.{name} must be a number of seconds, above 0, or None, not 0"
    ):
        Timeout(**{name: 0})


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [(None, [1, 2, 4, 8]), (15, [1, 2, 4, 8]), (14.9, [1, 2, 4]), (7, [1, 2, 4]), (6.9, [1, 2]), (0, [])],
)
def test_the_waits_of_a_call_end_with_its_time(timeout: float | None, expected: list[float]) -> None:
    """They add up: the last one that ends in time, to the moment, is still made."""
    policy = RetryPolicy(attempts=5, wait_initial=1, wait_max=100, timeout=timeout)

    assert list(policy.waits()) == expected


def test_the_waits_of_a_call_take_their_share_of_chance() -> None:
    """The same number for each of them, and what they left counts as time."""
    policy = RetryPolicy(attempts=4, wait_initial=4, timeout=7, wait_jitter=1.0)

    assert list(policy.waits(random=0.75)) == [1, 2, 2.5]


def test_the_usual_policy_and_the_usual_time_outs() -> None:
    """Documented in docs/client.md: four tries within a minute, 10 s to connect and 30 s for all."""
    assert RetryPolicy() == RetryPolicy(
        attempts=4, timeout=60, wait_initial=0.25, wait_max=10, wait_jitter=1.0, unavailable=False
    )
    assert list(RetryPolicy().waits()) == [0.25, 0.5, 1.0]
    assert Timeout() == Timeout(connect=10, total=30)


@pytest.mark.parametrize(
    "settings", [{"wait_initial": 0}, {"wait_max": 0}, {"timeout": 0}, {"wait_jitter": 0}]
)
def test_no_wait_at_all_is_a_policy_too(settings: dict[str, Any]) -> None:
    policy = RetryPolicy(**{"wait_initial": 0, "wait_max": 0, **settings})

    assert policy.wait(1, elapsed=0, random=0.5) == 0
