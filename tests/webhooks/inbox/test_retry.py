"""When a failed handler is tried again: a function of numbers."""

import pytest

from nexmo_dispatch_webhooks import ConfigurationError
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy


def test_the_default_policy_ends_within_a_quarter_of_an_hour() -> None:
    """Six tries: after 1, 5, 25, 125 and 600 seconds, and a little more by chance."""
    policy = HandlerRetryPolicy()

    assert [policy.wait(failures, lambda: 0.0) for failures in range(1, 7)] == [1, 5, 25, 125, 600, None]
    assert policy.wait(2, lambda: 1.0) == pytest.approx(5.5)
    assert HandlerRetryPolicy(attempts=10**6, wait_exp_base=1e6).wait(10**5, lambda: 0.0) == 600


@pytest.mark.parametrize(
    "values",
    [{"wait_initial": 0}, {"wait_max": 0}, {"wait_jitter": 0}, {"wait_exp_base": 1}, {"attempts": 1}],
)
def test_policies_without_waits_growth_or_chance_make_sense(values: dict[str, float]) -> None:
    """Each limit itself is allowed."""
    policy = HandlerRetryPolicy(**{"attempts": 3, "wait_max": 2, **values})  # type: ignore[arg-type]  # attempts is an int in each

    if policy.attempts > 1:
        assert policy.wait(1, lambda: 0.0) == min(policy.wait_initial, policy.wait_max)
    assert policy.wait(policy.attempts, lambda: 0.0) is None


@pytest.mark.parametrize(
    "values",
    [{"attempts": 0}, {"wait_initial": -1}, {"wait_max": -1}, {"wait_exp_base": 0.5}, {"wait_jitter": -1}],
)
def test_policies_that_make_no_sense(values: dict[str, float]) -> None:
    """The message begins with the setting."""
    with pytest.raises(ConfigurationError, match=f"^{next(iter(values))} "):
        HandlerRetryPolicy(**values)  # type: ignore[arg-type]  # attempts is an int in each


@pytest.mark.parametrize("failures", [1, 2, 5])
def test_no_wait_is_longer_than_the_longest(failures: int) -> None:
    """It is the wait with all of the chance, also after the last attempt, where another process goes on."""
    policy = HandlerRetryPolicy(attempts=9, wait_jitter=0.5)

    assert policy.longest(failures) == policy.wait(failures, lambda: 1.0)
    assert HandlerRetryPolicy(attempts=1, wait_jitter=0.5).longest(failures) == policy.longest(failures)
