"""The records of a campaign: what they are when nothing is said, and that none shows a person."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from nexmo_dispatch_async.bulk.ledger.records import (
    SKIP_REASONS,
    STATES,
    Added,
    Bounds,
    Cap,
    Claimed,
    ClaimRequest,
    Control,
    Counts,
    Life,
    News,
    Observed,
    Recipient,
    Result,
    Row,
    Suppressed,
)
from nexmo_dispatch_async.exceptions import ConfigurationError

NUMBER = "447700900123"
RECIPIENT = Recipient(key=NUMBER, address=NUMBER, fields={"name": "Ann"}, bucket="b")
CLAIMED = Claimed(id=7, key=NUMBER, address=NUMBER, fields={"name": "Ann"}, bucket="b")
ROW = Row(id=7, key=NUMBER, address=NUMBER, fields={"name": "Ann"}, bucket="b", state="pending")


def test_a_recipient_is_sent_to_at_any_time_unless_it_says_otherwise() -> None:
    """In the zone, the language and the channels of the campaign."""
    for each in (RECIPIENT, ROW):
        assert (each.line, each.zone, each.language, each.variant, each.channels) == (0, "", "", "", ())
        assert (each.not_before, each.expires, each.skip) == (0.0, math.inf, None)
    assert RECIPIENT.others == ()
    assert (ROW.attempts, ROW.changed, ROW.dispatch_uuid, ROW.error, ROW.code) == (0, 0.0, "", "", "")
    assert ROW.news is None
    assert (CLAIMED.line, CLAIMED.language, CLAIMED.variant, CLAIMED.channels) == (0, "", "", ())
    assert CLAIMED.attempts == 1


@pytest.mark.parametrize(
    "record", [RECIPIENT, CLAIMED, ROW, Suppressed(address=NUMBER, reason="stop", at=1.0)]
)
def test_no_record_shows_a_person(record: object) -> None:
    """A log line may hold a record."""
    assert NUMBER not in repr(record)
    assert "Ann" not in f"{record!r} {record}"
    assert type(record).__name__ in repr(record)


@pytest.mark.parametrize("now", [datetime(2027, 1, 1, tzinfo=UTC), "2027-01-01", math.nan, True])
def test_a_claim_at_what_is_no_time_is_refused(now: object) -> None:
    """A store that compares it with numbers would skip each row as expired."""
    with pytest.raises(ConfigurationError, match=r"^ClaimRequest\.now must be epoch seconds"):
        ClaimRequest(limit=5, now=now)  # type: ignore[arg-type]  # wrong on purpose


def test_what_is_asked_for_is_everything_unless_it_is_less() -> None:
    """All buckets, all zones, no cap; a message above a cap is left out."""
    request = ClaimRequest(limit=5, now=1.0)

    assert (request.buckets, request.closed_zones, request.cap) == (None, frozenset(), None)
    assert request.bounds is None
    assert Cap(messages=1, window=60).over == "skip"
    assert Added(added=1).duplicates == Observed(changed=1).unmatched == ()


def test_a_result_and_news_hold_only_what_was_told() -> None:
    """Of no claim, without an id, an error or a time."""
    result, news = Result(id=1, state="sent", at=1.0), News(dispatch_uuid="d", at=1.0)

    assert (result.dispatch_uuid, result.error, result.code) == ("", "", "")
    assert (result.not_before, result.attempts) == (0.0, 0)
    assert (news.client_ref, news.ended, news.reached, news.channel) == ("", False, "", "")
    assert (news.delivered_at, news.read_at, news.cost, news.currency) == (None, None, "", "")
    assert (news.code, news.steps) == ("", b"")


def test_counts_add_up() -> None:
    """A campaign has sent all it will when no row is pending or under way."""
    counts = Counts(states={"pending": 1, "sending": 2, "sent": 4, "skipped": 8})
    empty = Counts(states={})

    assert (counts.total, counts.open) == (15, 3)
    assert (empty.total, empty.open, empty.ended) == (0, 0, 0)
    assert (empty.skipped, empty.reached, empty.cost) == ({}, {}, {})


def counts(*, ended: int = 0, cost: str = "0", **states: int) -> Counts:
    return Counts(states=states, ended=ended, cost={"EUR": cost})


@pytest.mark.parametrize(
    ("bounds", "seen", "room"),
    [
        (Bounds(sends=5), counts(pending=9), 5),
        (Bounds(sends=5), counts(sending=1, sent=1, refused=1, unknown=1, skipped=9), 1),
        (Bounds(sends=5), counts(sent=7), 0),
        (Bounds(spend=Decimal(4), worst=Decimal("0.5"), currency="EUR"), counts(), 8),
        (Bounds(spend=Decimal(4), worst=Decimal("0.5"), currency="EUR"), counts(cost="3.6"), 0),
        (Bounds(spend=Decimal(4), worst=Decimal("0.5"), currency="EUR"), counts(cost="9"), 0),
        (Bounds(spend=Decimal(4), worst=Decimal("0.5"), currency="USD"), counts(cost="9"), 8),
        (
            Bounds(spend=Decimal(4), worst=Decimal("0.5"), currency="EUR"),
            counts(sent=3, ended=1, sending=1, unknown=1, cost="0.5"),
            3,
        ),
        (Bounds(sends=2, spend=Decimal(4), worst=Decimal(1), currency="EUR"), counts(), 2),
        (Bounds(sends=9, spend=Decimal(4), worst=Decimal(1), currency="EUR"), counts(), 4),
    ],
)
def test_a_claim_gets_what_its_bounds_leave(bounds: Bounds, seen: Counts, room: int) -> None:
    """Of rows and of money, with the worst case of what is still open; never less than none."""
    request = ClaimRequest(limit=100, now=1.0, bounds=bounds)

    assert bounds.room(seen) == room
    assert request.within(seen).limit == room
    assert ClaimRequest(limit=1, now=1.0, bounds=bounds).within(seen).limit == min(room, 1)


def test_without_bounds_a_claim_gets_what_it_asks_for() -> None:
    """Nothing is limited that was not asked to be."""
    request = ClaimRequest(limit=100, now=1.0)

    assert request.within(counts(sent=10**6)) is request
    assert Bounds().room(counts(sent=10**6)) >= 10**9
    assert (Bounds().worst, Bounds().currency) == (Decimal(0), "")
    assert Bounds.may_cost(counts(sent=1, ended=2)) == 0


def test_a_campaign_runs_as_planned_until_an_operator_says_otherwise() -> None:
    """Nothing is released, and nothing was resumed."""
    control = Control()

    assert (control.version, control.state, control.by, control.reason) == (0, "run", "", "")
    assert (control.rate, control.limit, control.release, control.resumed) == (None, None, False, 0)


def test_a_store_may_keep_the_position_of_a_state_or_a_reason() -> None:
    """The order never changes, and a new reason is the last."""
    assert STATES == ("pending", "sending", "sent", "refused", "unknown", "skipped")
    assert SKIP_REASONS[:6] == ("suppressed", "capped", "expired", "hold_out", "dropped", "excluded")


def test_a_pause_by_the_campaign_itself_changes_no_word_of_an_operator() -> None:
    """A running campaign pauses; one that was stopped begins the next run with the pause."""
    paused = Control(rate=5.0).paused("abort_if", "too many")
    assert paused == Control(state="pause", by="abort_if", reason="too many", rate=5.0)

    asked = Control().asked(state="pause", by="command", reason="wait")
    assert asked.paused("max_spend", "used up") == asked

    stopped = Control().stopped("command", "").paused("abort_if", "too many")
    assert (stopped.state, stopped.held, stopped.by) == ("stop", True, "abort_if")
    assert stopped.begun() == Control(state="pause", by="abort_if", reason="too many")
    held = asked.stopped("command", "")
    assert held.paused("max_spend", "used up") == held


def test_no_row_is_claimed_before_its_price_is_known() -> None:
    """A worst cost is of so many rows; with more of them there is no room."""
    bounds = Bounds(spend=Decimal("1.00"), worst=Decimal("0.25"), rows=10)

    assert bounds.room(Counts(states={"pending": 10})) == 4
    assert bounds.room(Counts(states={"pending": 10, "sent": 1})) == 0


def test_no_process_is_known_unless_it_is_told() -> None:
    """A store of one process tells of no other."""
    assert Life() == Life(senders=0, seen=None, silent=0, silent_for=0.0, remaining=0.0)


PAUSED = Control(version=3, state="pause", by="operator", reason="lunch")
SPENT = Control(version=3, state="pause", by="max_spend", reason="all of it", rate=2.0)


def test_a_change_has_the_next_version_and_no_change_has_none() -> None:
    """Workers follow a version once."""
    assert PAUSED.changed(lambda known: known) is PAUSED
    assert PAUSED.changed(lambda _: Control(version=9, rate=5.0)) == Control(version=4, rate=5.0)


def test_each_resumption_is_counted_and_ends_a_pause_that_was_held() -> None:
    """A campaign that waits for the service tries one send at once then."""
    held = PAUSED.stopped("operator", "enough")

    assert held.asked(state="run", by="") == Control(version=3, reason="lunch", resumed=1)
    assert held.asked(state="pause").resumed == 0
    assert not held.asked(state="pause").held
    assert held.asked(rate=7.0) == Control(
        version=3, state="stop", by="operator", reason="lunch", held=True, rate=7.0
    )


def test_a_pause_outlasts_a_stop_with_its_reason() -> None:
    """A second stop changes nothing of that; without a pause the stop has a reason of its own."""
    held = Control(version=3, state="stop", by="operator", reason="lunch", held=True)

    assert PAUSED.stopped("command", "enough") == held
    assert held.stopped("command", "enough") == held
    assert Control().stopped("command", "enough") == Control(state="stop", by="command", reason="enough")


def test_a_pause_knows_since_when() -> None:
    """Another word about a pause does not begin it anew; what ends it forgets its beginning."""
    paused = Control().asked(at=60.0, state="pause", reason="lunch")

    assert paused.since == 60.0
    assert paused.asked(at=90.0, state="pause", reason="dinner").since == 60.0
    assert paused.asked(at=90.0, limit=5).since == 60.0
    assert paused.paused("abort_if", "too late", 90.0).since == 60.0
    assert paused.stopped("command", "enough").since == 60.0
    assert paused.stopped("command", "enough").asked(at=90.0, state="pause").since == 60.0
    assert paused.asked(at=90.0, state="run").since is None
    assert Control().paused("abort_if", "refused", 70.0).since == 70.0
    assert Control(state="stop").paused("abort_if", "refused", 70.0).since == 70.0
    assert Control().paused("max_spend", "spent", 70.0).begun().since is None


def test_a_run_ends_a_stop_and_a_pause_for_a_budget_and_no_other_pause() -> None:
    """It looks at the budget that it has itself."""
    running = Control(version=3, rate=2.0)

    assert running.begun() is running
    assert PAUSED.begun() == PAUSED == PAUSED.stopped("command", "enough").begun()
    assert SPENT.begun() == running == SPENT.stopped("command", "enough").begun()
    assert Control(version=3, state="stop", by="command", reason="enough", rate=2.0).begun() == running
