"""Acceptance of the inbox, in the size of the normal suite; tests/soak/test_inbox.py has the full size."""

from pathlib import Path

import pytest

from tests.webhooks.inbox.scenarios import kill_repeatedly, two_bad_among_many


@pytest.mark.parametrize("events", [101, pytest.param(501, marks=pytest.mark.long)])
async def test_a_failing_handler_and_a_broken_body_among_many_good_events(
    tmp_path: Path, events: int
) -> None:
    """(1) All good ones handled exactly once, nothing repeated, the bad ones set aside and brought back."""
    figures = await two_bad_among_many(tmp_path, events=events)

    print(figures)


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_a_receiver_that_is_killed_under_load_loses_nothing(tmp_path: Path, kills: int) -> None:
    """(2) Every acknowledged event is handled: at least once; exactly once with `context.transaction`."""
    figures = await kill_repeatedly(tmp_path, kills=kills, seed=4)

    print(figures)
    assert figures.acknowledged > 0
    assert (figures.lost, figures.effects_wrong) == (0, 0)
