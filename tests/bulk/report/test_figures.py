"""The figures by themselves: what they are without rows, what they say of people, and a cost for each."""

from __future__ import annotations

import pytest

from nexmo_dispatch_async.bulk.report.figures import ChannelFigures, Group, Missed, Report, Times, each


def test_figures_without_rows_are_nothing() -> None:
    """Each number is 0, each list empty, and each time not known."""
    report = Report(name="n", made_at=5.0)
    channel, group, times = ChannelFigures(channel="sms"), Group(name="a"), Times()

    numbers = (report.rows, report.accepted, report.heard, report.ended, report.delivered, report.read)
    assert (*numbers, report.missed_rows, report.rejected) == (0,) * 8
    assert (report.states, report.skipped, report.cost, report.cost_each) == ({}, {}, {}, {})
    assert (report.begun, report.finished, report.to_delivered, report.to_read) == (None, None, times, times)
    lists = (report.channels, report.flows, report.errors, report.variants, report.languages)
    assert (*lists, report.reasons, report.missed, report.rejects) == ((),) * 8
    assert (channel.attempted, channel.delivered, channel.read, channel.failed, channel.people) == (0,) * 5
    assert (channel.spent, channel.silent, channel.to_delivered, channel.to_read) == ({}, 0, times, times)
    assert (group.rows, group.sent, group.delivered, group.read, group.cost) == (0, 0, 0, 0, {})
    assert (times.count, times.median, times.p90, times.longest, times.bars) == (0, None, None, None, ())


def test_a_message_that_neither_arrived_nor_failed_is_silent() -> None:
    """What was read has arrived, so it is not taken off twice."""
    assert ChannelFigures(channel="sms", attempted=9, delivered=4, read=3, failed=2).silent == 3


def test_the_parts_of_the_cost_add_up() -> None:
    """What the messages do not cost, the fees of workflows do, each currency by itself."""
    sms, viber = ({"EUR": "1.10", "USD": "2"}, {"EUR": "0.4"})
    report = Report(
        name="n",
        made_at=5.0,
        cost={"EUR": "1.7", "USD": "2.000", "GBP": "0.020"},
        channels=(ChannelFigures(channel="sms", spent=sms), ChannelFigures(channel="viber", spent=viber)),
    )

    assert report.beside_messages == {"EUR": "0.2", "GBP": "0.02"}


def test_rows_that_have_not_ended_are_never_fewer_than_none() -> None:
    """A row that callbacks settled can end without having been accepted."""
    assert Report(name="n", made_at=5.0, accepted=9, ended=4).unended == 5
    assert Report(name="n", made_at=5.0, accepted=3, ended=4).unended == 0


def test_nothing_shows_a_person() -> None:
    """A report and a missed row print numbers alone."""
    missed = Missed(id=7, line=3, who="+447700900123", state="sent", why="+447700900123 is gone")
    report = Report(name="n", made_at=5.0, rows=9, delivered=4, missed=(missed,))

    assert repr(missed) == "<Missed line 3>"
    assert repr(report) == "<Report of 9 rows, 4 reached>"


@pytest.mark.parametrize(
    ("amount", "people", "one"),
    [
        ("1", 3, "0.3333"),
        ("0.0005", 10, "0.0001"),
        ("0.07", 1, "0.0700"),
        ("20000", 2, "10000.0000"),
        ("5", 0, ""),
        ("5", -1, ""),
    ],
)
def test_what_one_person_cost(amount: str, people: int, one: str) -> None:
    """To four places, half of the last one up; for no people there is no such number."""
    assert each(amount, people) == one
