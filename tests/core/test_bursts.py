"""One log line for many events with one cause, and how many were left out."""

import pytest

from nexmo_dispatch_core import bursts
from nexmo_dispatch_core.bursts import BURST, Bursts, cause_of


class Now:
    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_the_first_of_a_burst_is_logged_and_the_next_burst_counts_the_others() -> None:
    """For a minute; each cause has its own."""
    now = Now()
    lines = Bursts(now)

    assert lines.begin("full") == ""
    for _ in range(700):
        now.seconds += BURST / 701
        assert lines.begin("full") is None
    assert lines.begin("locked") == ""
    now.seconds = BURST
    assert lines.begin("full") == " (700 more since the last such line)"
    now.seconds = 2 * BURST
    assert lines.begin("full") == ""


def test_numbers_make_no_cause() -> None:
    """Texts that differ in sizes and ids alone say the same."""
    assert cause_of("record 17 of 4,096 bytes") == cause_of("record 9 of 1,024 bytes")
    assert cause_of("the disk is full") != cause_of("the file is full")


def test_the_memory_of_causes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application may make up any number of them."""
    monkeypatch.setattr(bursts, "MOST", 10)
    lines = Bursts(Now())

    assert [lines.begin(number) for number in range(100)] == [""] * 100
    assert len(lines) <= 10
