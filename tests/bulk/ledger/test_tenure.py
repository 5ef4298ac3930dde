"""A process knows when others may have taken its rows, also when one of its clocks stood still."""

from __future__ import annotations

import logging
import sys
import time

import pytest

from nexmo_dispatch_async.bulk.ledger.tenure import Tenure, boot_time
from nexmo_dispatch_async.exceptions import LedgerError
from tests.support.clock import Time


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def wall() -> Time:
    return Time()


@pytest.fixture
def tenure(clock: Time, wall: Time) -> Tenure:
    """A tenure with a lease of 120 seconds, just begun."""
    tenure = Tenure(120, clock=clock, wall_clock=wall)
    tenure.renew(tenure.ask())
    return tenure


def test_rows_are_not_sent_in_the_second_half_of_the_lease(tenure: Tenure, clock: Time) -> None:
    guard = tenure.guard()
    clock.now += 59.9
    guard()
    clock.now += 0.1
    with pytest.raises(LedgerError, match="too old"):
        guard()


def test_signs_of_life_prolong_it(tenure: Tenure, clock: Time) -> None:
    """A claim of a process that lives does not age."""
    guard = tenure.guard()
    for _ in range(100):
        clock.now += 30
        tenure.renew(tenure.ask())

    guard()


def test_it_counts_from_before_the_sign_of_life(tenure: Tenure, clock: Time) -> None:
    """The store may have taken the sign long before its answer came."""
    guard, asked = tenure.guard(), tenure.ask()
    clock.now += 40
    tenure.renew(asked)
    clock.now += 20

    with pytest.raises(LedgerError, match="too old"):
        guard()


@pytest.mark.parametrize("which", ["clock", "wall"])
def test_what_was_claimed_before_a_gap_is_not_sent_after_it(
    tenure: Tenure, clock: Time, wall: Time, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next sign of life does not mend that, whichever clock saw the sleep; a line of the log says so."""
    guard = tenure.guard()
    (clock if which == "clock" else wall).now += 300
    with caplog.at_level(logging.WARNING, logger="nexmo_dispatch_async"):
        tenure.renew(tenure.ask())

    with pytest.raises(LedgerError, match="too old"):
        guard()
    tenure.guard()()
    assert [record.getMessage() for record in caplog.records] == [
        "no sign of life for too long: rows that were claimed before are not sent"
    ]


def test_a_gap_that_only_the_store_saw_is_one(tenure: Tenure) -> None:
    """The clocks of a virtual machine stand still while it is paused, and that of the server goes on."""
    guard = tenure.guard()
    tenure.renew(tenure.ask(), lapsed=True)

    with pytest.raises(LedgerError, match="too old"):
        guard()
    tenure.guard()()


def test_a_wall_clock_that_is_set_back_gives_no_more_time(tenure: Tenure, clock: Time, wall: Time) -> None:
    guard = tenure.guard()
    wall.now -= 3600
    clock.now += 60

    with pytest.raises(LedgerError, match="too old"):
        guard()


def test_nothing_is_sent_before_the_first_sign_of_life() -> None:
    tenure = Tenure(120)
    assert not tenure.held
    with pytest.raises(LedgerError, match="too old"):
        tenure.guard()()


@pytest.mark.parametrize(("platform", "seconds"), [("linux", 7.0), ("darwin", 5.0)])
def test_the_clock_sees_a_suspended_machine_where_the_system_has_one(
    monkeypatch: pytest.MonkeyPatch, platform: str, seconds: float
) -> None:
    """It is CLOCK_BOOTTIME, since CLOCK_MONOTONIC stands still meanwhile."""
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 77, raising=False)
    monkeypatch.setattr(time, "clock_gettime", {77: 7.0}.__getitem__, raising=False)
    monkeypatch.setattr(time, "monotonic", lambda: 5.0)

    assert boot_time() == seconds


def test_a_repr_tells_whether_rows_may_be_sent(tenure: Tenure, wall: Time) -> None:
    assert repr(tenure) == "<Tenure 1, held>"
    wall.now += 60
    assert repr(tenure) == "<Tenure 1, not held>"


def test_the_gaps_of_a_minute_are_one_line(tenure: Tenure, caplog: pytest.LogCaptureFixture) -> None:
    """Each gap begins another tenure."""
    with caplog.at_level(logging.WARNING, logger="nexmo_dispatch_async"):
        for _ in range(3):
            tenure.renew(tenure.ask(), lapsed=True)

    assert len(caplog.records) == 1
    assert repr(tenure) == "<Tenure 4, held>"
