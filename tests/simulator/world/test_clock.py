"""Virtual time that follows a real clock, here one that the test moves."""

import math

import pytest

from nexmo_dispatch_async.simulator.world.clock import Clock


class Watch:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_moved_by_hand_stands_still() -> None:
    watch = Watch()
    clock = Clock(None, watch)

    watch.now += 60

    assert clock.now_ms() == 0
    assert not clock.runs
    assert clock.real_seconds_until(1) == math.inf


def test_time_follows_the_real_clock_at_its_speed() -> None:
    watch = Watch()
    clock = Clock(60, watch)

    watch.now += 2

    assert clock.now_ms() == 120_000
    assert clock.real_seconds_until(180_000) == 1
    assert clock.real_seconds_until(1) == 0


def test_changing_the_speed_does_not_jump() -> None:
    watch = Watch()
    clock = Clock(1, watch)
    watch.now += 10

    clock.speed = 0
    watch.now += 1000

    assert clock.now_ms() == 10_000
    assert clock.real_seconds_until(10_000) == 0
    clock.speed = 10
    watch.now += 1
    assert clock.now_ms() == 20_000
    assert clock.speed == 10


def test_a_jump_adds() -> None:
    clock = Clock(1, Watch())

    clock.jump(5000)

    assert clock.now_ms() == 5000


@pytest.mark.parametrize("speed", [-1, math.inf, math.nan])
def test_a_speed_that_cannot_be_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Clock(speed, Watch())
