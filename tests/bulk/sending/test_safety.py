"""Canary, budget and abort: numbers in, how many rows may go out."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.records import Bounds, Counts
from nexmo_dispatch_async.bulk.sending.safety import AbortWatch, Allowance, Budget, CanaryWatch, Hold
from nexmo_dispatch_async.bulk.settings import AbortIf, Canary
from nexmo_dispatch_async.exceptions import ConfigurationError


def counts(*, ended: int = 0, delivered: int = 0, cost: str = "0", **states: int) -> Counts:
    return Counts(states=states, ended=ended, reached={"delivered": delivered}, cost={"EUR": cost})


def test_a_canary_waits_for_a_word_after_its_first_rows() -> None:
    """Rows under way are among the first; a release lets all others go."""
    watch = CanaryWatch(Canary(first=10))

    assert watch.room(counts(pending=100), released=False, now=0) == 10
    assert watch.room(counts(pending=93, sending=4, refused=3), released=False, now=0) == 3
    hold = watch.room(counts(pending=90, sent=10), released=False, now=0)
    assert isinstance(hold, Hold)
    assert (hold.by, hold.pauses) == ("canary", False)
    released = watch.room(counts(pending=90, sent=10), released=True, now=0)
    assert isinstance(released, int)
    assert released >= 90


def test_a_canary_goes_on_by_itself_when_enough_were_delivered() -> None:
    """Nine of ten delivered; eight hold it, and after its time it pauses."""
    watch = CanaryWatch(Canary(first=10, until="delivered", share=0.9, within=600))

    hold = watch.room(counts(pending=90, sent=10, delivered=8), released=False, now=100)
    assert isinstance(hold, Hold)
    assert not hold.pauses
    late = watch.room(counts(pending=90, sent=10, delivered=8), released=False, now=700)
    assert isinstance(late, Hold)
    assert late.pauses
    assert "8 of the first 10" in late.reason
    assert isinstance(watch.room(counts(pending=90, sent=10, delivered=9), released=False, now=701), int)


def test_a_budget_counts_what_was_charged_and_the_worst_of_what_is_open() -> None:
    """Of 10 EUR at most 0.50 a row: 4 charged for rows that ended, 6 rows open: room for six more."""
    budget = Budget(Decimal(10), worst=Decimal("0.50"))

    assert budget.room(counts(pending=50)) == 20
    assert budget.room(counts(pending=50, sent=15, ended=10, cost="4.00", sending=1)) == 6
    waits = budget.room(counts(pending=50, sent=20, ended=5, cost="2.60", sending=0))
    assert isinstance(waits, Hold)
    assert not waits.pauses  # reports may still show that it cost less
    over = budget.room(counts(pending=50, sent=20, ended=20, cost="9.80"))
    assert isinstance(over, Hold)
    assert over.pauses
    assert "9.80 EUR" in over.reason
    assert "raise max_spend" in over.reason
    assert "raise max_spend" not in waits.reason


def test_a_budget_is_never_passed_whatever_rows_turn_out_to_cost() -> None:
    """Rows are sent as the budget allows and cost the worst: the sum stays below."""
    budget = Budget(Decimal("1.00"), worst=Decimal("0.07"))
    sent = ended = 0
    for _ in range(50):
        room = budget.room(counts(pending=100, sent=sent, ended=ended, cost=str(Decimal("0.07") * ended)))
        sent += 1 if isinstance(room, int) else 0
        ended = max(ended, sent - 1)

    assert sent == 14


def test_abort_if_looks_at_the_last_results_only() -> None:
    """Two in ten refused is too much; the same two further back are not."""
    watch = AbortWatch(AbortIf(refused=0.2, last=10))

    assert [watch.note("refused") for _ in range(1)] == [None]
    assert [watch.note("sent") for _ in range(10)] == [None] * 10
    assert watch.note("refused") is None
    hold = watch.note("refused")
    assert hold == Hold("abort_if", "2 of the last 10 rows are refused, 20% is too much", pauses=True)
    assert watch.note("refused") is None  # it begins anew


def test_abort_if_says_what_the_service_said_most_often() -> None:
    """The person on call reads the reason in the words of the pause; rows of other states do not count."""
    watch = AbortWatch(AbortIf(refused=0.5, last=5))
    errors = ("RowError", "BadRequestError: Invalid params (from)", "BadRequestError: Invalid params (from)")

    assert [watch.note("unknown", "ProtocolError") for _ in range(2)] == [None] * 2
    holds = [watch.note("refused", error) for error in errors]

    assert holds[-1] is not None
    assert holds[-1].reason == (
        "3 of the last 5 rows are refused, 50% is too much; most often BadRequestError: Invalid params (from)"
    )


WORD = Canary(first=10)
DELIVERED = Canary(first=10, until="delivered", share=0.9, within=600)
GO_ON = "the first 10 rows were sent: release it to go on"


@pytest.mark.parametrize(
    ("canary", "seen", "expected"),
    [
        (WORD, counts(sent=6, sending=1, refused=1, unknown=1, skipped=50), 1),
        (WORD, counts(sent=7, sending=1, refused=1, unknown=1), Hold("canary", GO_ON)),
        (WORD, counts(sent=10, delivered=10), Hold("canary", GO_ON)),
        (WORD, counts(sent=12), Hold("canary", GO_ON)),
        (DELIVERED, counts(sent=9, delivered=8), 1),
        (
            DELIVERED,
            counts(sent=10),
            Hold("canary", "0 of the first 10 rows were delivered, of 90% wanted"),
        ),
    ],
)
def test_a_canary_counts_every_row_that_a_person_may_have_got(
    canary: Canary, seen: Counts, expected: int | Hold
) -> None:
    """A word is waited for whatever was delivered, and the reason says what is wanted."""
    assert CanaryWatch(canary).room(seen, released=False, now=5.0) == expected


def test_a_message_that_was_read_was_delivered() -> None:
    """And enough of them end a canary before its last row was sent."""
    watch, enough = CanaryWatch(DELIVERED), counts(sent=9, delivered=5)
    enough.reached["read"] = 4

    room = watch.room(enough, released=False, now=0)

    assert isinstance(room, int)
    assert room >= 10**9


def test_the_time_of_a_canary_begins_with_its_last_row() -> None:
    """It is over at the moment that was set, not before, and earlier rows do not count."""
    watch = CanaryWatch(DELIVERED)
    full, late = counts(sent=10, delivered=8), ", after 600 s"

    assert watch.room(counts(sent=9, delivered=8), released=False, now=0) == 1
    holds = [watch.room(full, released=False, now=now) for now in (100.0, 699.9, 700.0)]

    reason = "8 of the first 10 rows were delivered, of 90% wanted"
    assert holds == [
        Hold("canary", reason),
        Hold("canary", reason),
        Hold("canary", reason + late, pauses=True),
    ]


def test_rows_that_are_sent_again_begin_the_time_of_a_canary_anew() -> None:
    """Refused rows go back to pending long after the canary was full: its messages are not late then."""
    watch = CanaryWatch(DELIVERED)

    assert isinstance(watch.room(counts(sent=2, refused=8), released=False, now=0), Hold)
    assert watch.room(counts(sent=2, pending=8), released=False, now=5000) == 8
    holds = [watch.room(counts(sent=10), released=False, now=now) for now in (5001.0, 5600.9, 5601.0)]

    assert [isinstance(hold, Hold) and hold.pauses for hold in holds] == [False, False, True]


@pytest.mark.parametrize(
    ("states", "room", "pauses"),
    [
        ({"sent": 1, "ended": 1, "cost": "0.49"}, 1, None),
        ({"sent": 1, "ended": 1, "cost": "0.50"}, 1, None),
        ({"sent": 1, "ended": 1, "cost": "0.51"}, None, True),
        ({"sent": 1, "ended": 2}, 2, None),
        ({"unknown": 2}, None, True),
        ({"unknown": 1, "sending": 1}, None, False),
        ({"sent": 2}, None, False),
        ({"sent": 2, "ended": 1, "unknown": 1}, None, False),
    ],
)
def test_a_budget_of_two_rows(states: dict[str, Any], room: int | None, pauses: bool | None) -> None:
    """What may still end cheaper only waits; what is known, or will never be, pauses."""
    budget = Budget(Decimal(1), worst=Decimal("0.50"))

    found = budget.room(counts(pending=5, **states))

    assert found == room or (isinstance(found, Hold) and (found.by, found.pauses) == ("max_spend", pauses))


def test_a_budget_says_what_it_counts_in_its_own_currency() -> None:
    """The sum, what is open, the worst case, the limit, and what to do."""
    budget = Budget(Decimal(1), worst=Decimal("0.50"), currency="USD")
    seen = counts(sent=3, ended=3, unknown=1, cost="7")
    seen.cost["USD"] = "0.9"

    assert budget.bounds.spent(seen) == Decimal("0.9")
    assert budget.room(seen) == Hold(
        "max_spend",
        "0.9 USD were charged of 1 allowed, and 1 more row may cost up to 0.50"
        "; to go on, raise max_spend, end this run and start another",
        pauses=True,
    )
    others = {
        "the next row may cost up to 0.50": counts(sent=3, ended=3, cost="0.9"),
        "2 more rows may cost up to 0.50 each": counts(unknown=2, cost="0.9"),
    }
    for words, each in others.items():
        room = Budget(Decimal(1), worst=Decimal("0.50")).room(each)
        assert isinstance(room, Hold)
        assert f"0.9 EUR were charged of 1 allowed, and {words}; to go on" in room.reason
    assert Budget(Decimal(1), worst=Decimal(1)).bounds.spent(Counts(states={})) == 0


def test_each_kind_of_failure_has_its_own_share() -> None:
    """One that is not set is never too much; with `last=1` the first result decides."""
    both = AbortWatch(AbortIf(refused=1, unknown=0.5, last=2))
    unset = AbortWatch(AbortIf(refused=None, unknown=1, last=1))

    assert both.note("unknown") is None
    assert both.note("sent") == Hold(
        "abort_if", "1 of the last 2 rows are unknown, 50% is too much", pauses=True
    )
    assert [both.note("refused"), unset.note("refused")] == [None, None]
    assert unset.note("unknown") is not None
    both.clear()
    assert both.note("refused") is None
    assert both.note("refused") is not None


@pytest.mark.parametrize(
    ("rows", "total", "worst", "measured"),
    [(3, 4, Decimal(2), True), (3, 3, Decimal(1), False), (None, 4, Decimal(1), False)],
)
async def test_a_budget_is_measured_again_once_rows_were_added(
    rows: int | None, total: int, worst: Decimal, measured: bool
) -> None:
    """One of them may cost more than all before, and a list that stays is read once."""

    async def measure() -> tuple[Decimal, int]:
        return Decimal(2), total

    counts = Counts(states={"pending": total})
    budget = Budget(Decimal(9), worst=Decimal(1), rows=rows, measure=measure)
    unmeasured = Budget(Decimal(9), worst=Decimal(1), rows=rows)
    await budget.refresh(counts)
    await unmeasured.refresh(counts)

    assert (budget.bounds.worst, budget.bounds.rows) == (worst, total if measured else rows)
    assert (unmeasured.bounds.worst, unmeasured.bounds.rows) == (Decimal(1), rows)


def test_the_stricter_of_canary_and_budget_counts_and_the_first_hold_is_told() -> None:
    """Each of them alone counts as well."""
    canary, budget = CanaryWatch(WORD), Budget(Decimal(4), worst=Decimal(1))
    few, full = counts(sent=1, ended=1), counts(sent=10, ended=10, cost="4")

    def room(
        seen: Counts, *, released: bool = False, canaries: bool = True, budgets: bool = True
    ) -> int | Hold:
        both = Allowance(canary if canaries else None, budget if budgets else None)
        return both.room(seen, released=released, now=0)

    assert (room(few), room(few, budgets=False), room(few, canaries=False)) == (4, 9, 4)
    assert room(full) == Hold("canary", GO_ON)
    released = room(full, released=True)
    assert isinstance(released, Hold)
    assert released.by == "max_spend"


def test_claims_have_the_bounds_of_canary_and_budget_until_the_canary_passed() -> None:
    """Numbers are read first, and after a claim that brought less than it asked for."""
    money = Bounds(spend=Decimal(4), worst=Decimal(1), currency="EUR")
    both = Allowance(CanaryWatch(DELIVERED), Budget(Decimal(4), worst=Decimal(1)))
    alone = Allowance(CanaryWatch(WORD), None)

    assert both.bounds(released=False) == replace(money, sends=10)
    assert (alone.bounds(released=False), alone.bounds(released=True)) == (Bounds(sends=10), None)
    assert both.is_due
    both.claimed(less=False)
    assert not both.is_due
    both.claimed(less=True)
    assert both.is_due
    both.room(counts(sent=9, delivered=9, ended=9), released=False, now=0)
    assert both.bounds(released=False) == money

    for each in (alone, Allowance(None, Budget(Decimal(4), worst=Decimal(1)))):
        assert each.is_due
        each.claimed(less=True)
        assert each.is_due
    neither = Allowance(None, None)
    assert not neither.is_due
    neither.claimed(less=True)
    assert (neither.is_due, neither.bounds(released=False)) == (False, None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Budget(Decimal(0), worst=Decimal(1)), "max_spend must be above 0"),
        (lambda: Budget(Decimal(1), worst=Decimal(0)), "max_spend needs the most that a row can cost"),
    ],
)
def test_amounts_without_a_sense_are_refused(make: Callable[[], object], message: str) -> None:
    """An amount is above 0."""
    with pytest.raises(ConfigurationError, match=f"^{message}"):
        make()


def test_the_ends_of_each_range_are_taken() -> None:
    """One row, the whole share, the smallest amount, one result."""
    assert CanaryWatch(Canary(first=1, share=1)).room(counts(), released=False, now=0) == 1
    assert Budget(Decimal("0.01"), worst=Decimal("0.01")).room(counts()) == 1
    assert AbortWatch(AbortIf(refused=1, last=1)).note("sent") is None
