"""The exponential wait between attempts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_core.backoff import exponential_wait


@pytest.mark.parametrize(
    ("initial", "maximum", "base", "waits"),
    [
        (0.25, 10.0, 2.0, [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0]),
        (1.0, 600.0, 5.0, [1.0, 5.0, 25.0, 125.0, 600.0]),
        (3.0, 600.0, 1.0, [3.0, 3.0, 3.0]),
        (0.0, 600.0, 5.0, [0.0, 0.0]),
        (7.0, 2.0, 5.0, [2.0, 2.0]),
    ],
)
def test_each_wait_is_longer_by_the_base_up_to_the_maximum(
    initial: float, maximum: float, base: float, waits: list[float]
) -> None:
    """`min(maximum, initial * base ** (attempt - 1))`."""
    assert [
        exponential_wait(attempt, initial=initial, maximum=maximum, base=base)
        for attempt in range(1, len(waits) + 1)
    ] == waits


@pytest.mark.parametrize(
    ("attempt", "base", "wait"),
    [
        (64, 1.01, 1.01**63),
        (464, 1.01, 1.01**463),
        (10**9, 1.01, 600.0),
        (10**9, 1.0, 1.0),
        (10**400, 2.0, 600.0),
    ],
)
def test_a_slow_growth_goes_on_up_to_the_maximum(attempt: int, base: float, wait: float) -> None:
    """A base just above 1 takes hundreds of attempts."""
    assert exponential_wait(attempt, initial=1.0, maximum=600.0, base=base) == pytest.approx(wait)
    assert exponential_wait(attempt, initial=0.0, maximum=600.0, base=base) == 0.0


@given(
    st.integers(1, 10**9), st.floats(0, 1e300), st.floats(0, 1e300), st.floats(1, 1e300, allow_infinity=False)
)
def test_no_number_of_attempts_overflows(attempt: int, initial: float, maximum: float, base: float) -> None:
    """A wait is finite and within the maximum, whatever the attempt and the base."""
    wait = exponential_wait(attempt, initial=initial, maximum=maximum, base=base)

    assert math.isfinite(wait)
    assert 0 <= wait <= maximum
