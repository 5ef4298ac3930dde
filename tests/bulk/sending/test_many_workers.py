"""The simulation of `make bench-engines`: what it takes for given, and that it says what it found."""

from __future__ import annotations

import pytest

from benchmarks.many_workers import Found, saturation, simulate, windows
from benchmarks.store_costs import Costs


def test_the_simulation_says_what_it_assumes_and_whether_the_rate_was_kept() -> None:
    """Ten workers of which some join, die and leave send 40/s within 3 %, whatever they are."""
    lines = list(simulate(Costs(claim=2e-3), numbers=[10], rate=40.0))

    assert "latency 0.2" in lines[0]
    assert "claim 2000 µs" in lines[1]
    used = [line.split()[2] for line in lines if line.startswith("  ") and "%" in line and "-" not in line]
    assert used == ["100.0%"]
    assert lines[-1].startswith("met ")


def test_a_slow_store_is_seen_to_be_one() -> None:
    """A claim of a quarter of a second on each core: ten workers have no more than three."""
    lines = list(simulate(Costs(claim=0.25), numbers=[3, 10], rate=5.0))

    assert any(line.startswith("  saturates between 3 and 10 workers") for line in lines)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ([100, 190, 200], "saturates between 3 and 10 workers, at 200 sends/s"),
        ([100, 190, 300], "does not saturate with 10 workers"),
    ],
)
def test_where_it_saturates(rates: list[float], said: str) -> None:
    """Where more workers add less than a tenth."""
    found = [Found(n, rate, 1, 1, 0, 0, 0.5) for n, rate in zip([1, 3, 10], rates, strict=True)]

    assert saturation(found) == said


def test_any_window_is_looked_at() -> None:
    """A gap of one second counts in each window around it."""
    moments = [number / 10 for number in range(200) if not 100 <= number < 110]

    assert min(windows(moments, 0, 20)) == 9.0
    assert max(windows(moments, 0, 20)) == 10.0
