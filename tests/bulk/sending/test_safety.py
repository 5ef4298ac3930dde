"""Canary, budget and abort: numbers in, how many rows may go out."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.bulk.sending.safety import AbortWatch, Budget, CanaryWatch, Hold
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


@pytest.mark.parametrize(
    "make",
    [
        lambda: CanaryWatch(Canary(first=0)),
        lambda: CanaryWatch(Canary(first=1, share=90)),
        lambda: Budget(Decimal(0), worst=Decimal(1)),
        lambda: Budget(Decimal(1), worst=Decimal(0)),
        lambda: AbortWatch(AbortIf(last=0)),
        lambda: AbortWatch(AbortIf(unknown=20)),
    ],
)
def test_numbers_without_a_sense_are_refused(make: object) -> None:
    """A share is from 0 to 1, a number of rows at least 1, an amount above 0."""
    assert callable(make)
    with pytest.raises(ConfigurationError):
        make()
