"""Settings of a campaign are checked when they are made: before a ledger, a row and a paid message."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import time, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from nexmo_dispatch_async.bulk import AbortIf, Campaign, Canary, QuietHours
from nexmo_dispatch_async.bulk.ledger.records import Cap
from nexmo_dispatch_async.exceptions import ConfigurationError

SHARES: Final = (0, -0.1, 1.01, 80, math.nan, True, "5%")

#: Field -> what makes the settings with a value, the rule and what to write, and wrong values.
FIELDS: Final[dict[str, tuple[Callable[[Any], object], str, tuple[Any, ...]]]] = {
    "Canary.first": (
        lambda value: Canary(first=value),
        "must be a whole number, at least 1, not",
        (0, -1, 5.5, 5.0, math.nan, "5", True, None),
    ),
    "Canary.until": (
        lambda value: Canary(first=5, until=value),
        "must be word or delivered, not",
        ("read", "", None, 5, ["word"]),
    ),
    "Canary.share": (
        lambda value: Canary(first=5, until="delivered", share=value),
        "must be a number above 0 and at most 1, not .*: write 0.05 for 5 %",
        (*SHARES, None),
    ),
    "Canary.within": (
        lambda value: Canary(first=5, until="delivered", within=value),
        "must be a number of seconds, at least 0, not",
        (-1, math.nan, "1h", True, None),
    ),
    "AbortIf.refused": (
        lambda value: AbortIf(refused=value),
        "must be a number above 0 and at most 1, or None",
        SHARES,
    ),
    "AbortIf.unknown": (
        lambda value: AbortIf(unknown=value),
        "must be a number above 0 and at most 1, or None",
        SHARES,
    ),
    "AbortIf.last": (
        lambda value: AbortIf(refused=0.1, last=value),
        "must be a whole number, from 1 to",
        (0, -1, 50.0, math.inf, math.nan, "50", True, None, 1 << 63),
    ),
    "QuietHours.begin": (
        lambda value: QuietHours(begin=value, end=0),
        r"must be a whole number, from 0 to 1439, not .*: write minutes after midnight, 21 \* 60 for 21:00",
        (-1, 1440, 21.5, time(21), "21:00", True, None),
    ),
    "QuietHours.end": (
        lambda value: QuietHours(begin=0, end=value),
        r"must be a whole number, from 0 to 1439, not .*: write minutes after midnight, 21 \* 60 for 21:00",
        (-1, 1440, 8.5, time(8), "08:00", True, None),
    ),
    "QuietHours.days": (
        lambda value: QuietHours(begin=0, end=8, days=value),
        r"must (be of type Set, not .*: write frozenset|be a whole number, from 0 to 6|leave a weekday)",
        (6, [6], "sunday", frozenset({7}), frozenset({-1}), frozenset({"sunday"}), frozenset(range(7)), None),
    ),
    "Cap.messages": (
        lambda value: Cap(messages=value, window=60),
        "must be a whole number, from 1 to",
        (0, -1, 1.5, "1", True, None),
    ),
    "Cap.window": (
        lambda value: Cap(messages=1, window=value),
        "must be a number of seconds, above 0, not",
        (0, -1, math.nan, "7d", True, None),
    ),
    "Cap.over": (
        lambda value: Cap(messages=1, window=60, over=value),
        "must be skip or defer, not",
        ("x", None),
    ),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_value_is_refused_with_field_and_rule(field: str) -> None:
    """The run would fail or wait for ever, after some messages were paid for."""
    make, rule, wrong = FIELDS[field]
    for value in wrong:
        with pytest.raises(ConfigurationError, match=rf"^{field} {rule}"):
            make(value)


@pytest.mark.parametrize("field", ["Canary.within", "Cap.window"])
def test_a_timedelta_is_told_to_be_written_in_seconds(field: str) -> None:
    """The settings have one unit."""
    with pytest.raises(
        ConfigurationError, match=rf"^{field} .*, not timedelta: write its total_seconds\(\)$"
    ):
        FIELDS[field][0](timedelta(hours=1))


def test_the_ends_of_each_range_are_taken() -> None:
    """One row, the whole share, no wait, all minutes of the day, six quiet days."""
    assert Canary(first=1, until="word", share=1, within=0).share == 1
    assert Canary(first=10**9, until="delivered", share=0.001, within=math.inf).within == math.inf
    assert AbortIf(refused=None, unknown=1, last=1).refused is None
    assert AbortIf(refused=0.001, last=(1 << 63) - 1).unknown is None
    assert QuietHours(begin=0, end=1439, days=frozenset(range(6))).end == 1439
    assert Cap(messages=1, window=0.5, over="defer").messages == 1


class Words(str):
    """Text of a framework, such as one that is marked as safe."""

    __slots__ = ()


async def test_words_of_a_framework_are_taken_as_text(tmp_path: Path) -> None:
    """JSON takes no subclass of `str`; a reason of one is a text all the same."""
    async with Campaign.open(tmp_path / "c.db") as campaign:
        await campaign.pause(Words("too many complaints"), by=Words("Ann"))
        paused = await campaign.ledger.control()
        await campaign.resume(by=Words("Bob"))
        resumed = await campaign.ledger.control()
        await campaign.stop(Words("over"), by=Words("Ann"))
        stopped = await campaign.ledger.control()

    assert (paused.by, paused.reason, resumed.by) == ("Ann", "too many complaints", "Bob")
    assert (stopped.by, stopped.reason) == ("Ann", "over")
