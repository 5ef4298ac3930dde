"""Acceptance of the inbox in full size; the normal suite has the same stories short."""

from pathlib import Path

import pytest

from tests.webhooks.inbox.scenarios import kill_repeatedly, two_bad_among_many


@pytest.mark.timeout(600)
async def test_a_failing_handler_and_a_broken_body_among_10_000_good_events(tmp_path: Path) -> None:
    """(1) All good ones handled exactly once, nothing repeated, the bad ones set aside and brought back."""
    figures = await two_bad_among_many(tmp_path, events=10_002)

    print(figures)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_receiver_killed_20_times_under_load_loses_nothing(tmp_path: Path, seed: int) -> None:
    """(2) Every acknowledged event is handled: at least once; exactly once with `context.transaction`."""
    figures = await kill_repeatedly(tmp_path, kills=20, seed=seed)

    print(figures)
    assert figures.acknowledged > 0
    assert (figures.lost, figures.effects_wrong) == (0, 0)
