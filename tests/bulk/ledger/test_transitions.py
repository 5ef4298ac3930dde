"""What results and callbacks do to a row and to the counts: the rules that every store applies."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.bulk.ledger.records import Counts, News, Result, State
from nexmo_dispatch_async.bulk.ledger.transitions import (
    OPT_OUT_CODES,
    Tally,
    amount,
    is_of_other_ledger,
    merge,
    normal_uuid,
    proven_state,
    require_droppable,
    require_resendable,
    row_of_ref,
    settle,
)
from nexmo_dispatch_async.exceptions import CampaignError, LedgerError

Outcome = Literal["sent", "refused", "unknown", "pending"]
OUTCOMES: tuple[Outcome, ...] = ("sent", "refused", "unknown", "pending")


def result(state: Outcome, attempts: int = 2) -> Result:
    return Result(id=1, state=state, at=0.0, attempts=attempts)


@pytest.mark.parametrize("attempts", [0, 2])
@pytest.mark.parametrize("state", OUTCOMES)
def test_the_result_of_the_present_claim_counts(state: Outcome, attempts: int) -> None:
    """Unless a callback has proved more; a result that names no claim is of the present one."""
    told = result(state, attempts)

    assert settle("sending", 2, told, proven=False) == state
    assert settle("sending", 2, told, proven=True) == "sent"


@pytest.mark.parametrize("state", OUTCOMES)
def test_the_result_of_an_earlier_claim_settles_no_row_that_was_claimed_again(state: Outcome) -> None:
    """Its worker was taken for dead, and another one sends the row now; `sent` is kept as a proof."""
    kept = "sending" if state == "sent" else None

    assert settle("sending", 2, result(state, 1), proven=False) == kept


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (result("sent", 1), "sent"),
        (result("sent"), "sent"),
        (result("refused"), "refused"),
        (result("refused", 0), "refused"),
        (result("refused", 1), None),
        (result("unknown"), None),
        (result("pending"), None),
    ],
)
def test_a_late_result_says_what_became_of_an_unknown_row(told: Result, expected: State | None) -> None:
    """Sent is sent, in whichever claim; refused counts for the last one, and nothing goes back to pending."""
    assert settle("unknown", 2, told, proven=False) == expected


@pytest.mark.parametrize("state", ["pending", "sent", "refused", "skipped"])
@pytest.mark.parametrize("attempts", [0, 1, 2])
@pytest.mark.parametrize("told", OUTCOMES)
def test_no_result_sends_a_row_once_more_that_is_not_under_way(
    state: State, attempts: int, told: Outcome
) -> None:
    """It stays as it is; only `sent`, of whichever claim, proves that the person has the message."""
    expected = "sent" if told == "sent" and state != "sent" else None

    assert settle(state, 2, result(told, attempts), proven=True) == expected


@pytest.mark.parametrize("state", ["pending", "sending", "sent", "skipped", ""])
def test_only_unknown_and_refused_rows_are_sent_again(state: str) -> None:
    """Any other row may have reached its person, or goes out anyway."""
    for allowed in ("unknown", "refused"):
        require_resendable(allowed)
    with pytest.raises(LedgerError, match="'unknown' or 'refused'"):
        require_resendable(state)


@pytest.mark.parametrize("state", ["refused", "sending", "sent", "skipped", ""])
def test_only_unknown_and_pending_rows_are_given_up(state: str) -> None:
    """Any other row goes nowhere, or is under way."""
    for allowed in ("unknown", "pending"):
        require_droppable(allowed)
    with pytest.raises(LedgerError, match="'unknown' or 'pending'"):
        require_droppable(state)


def test_a_callback_proves_that_a_row_was_sent() -> None:
    """Whatever its state; a row under way waits for its result."""
    states: tuple[State, ...] = ("pending", "sending", "sent", "refused", "unknown", "skipped")

    assert [proven_state(state) for state in states] == ["sent", "sending", "sent", "sent", "sent", "sent"]


@pytest.mark.parametrize(
    ("client_ref", "row"),
    [
        ("a-b-17", 17),
        (" a-b-17 ", 17),
        ("a-b-0", 0),
        ("a-b-" + "9" * 18, 10**18 - 1),
        ("a-b-" + "9" * 19, None),
        ("a-b-", None),
        ("a-b-x", None),
        ("a-b-\u0661\u0667", None),
        ("a-b--1", None),
        ("a-17", None),
        ("x-a-b-17", None),
        ("", None),
    ],
)
def test_a_reference_names_a_row_of_its_ledger_alone(client_ref: str, row: int | None) -> None:
    """Other programs have references, too: what is not exactly ours is no row."""
    assert row_of_ref("a-b", client_ref) == row


@pytest.mark.parametrize(
    ("client_ref", "other"),
    [
        ("0123456789abcdef-1", False),
        ("fedcba9876543210-1", True),
        (" fedcba9876543210-1 ", True),
        ("fedcba9876543210-test", False),
        ("fedcba9876543210", False),
        ("order-1", False),
        ("fedcba98765432100-1", False),
        ("", False),
    ],
)
def test_a_row_of_another_ledger_is_known_by_its_reference(client_ref: str, other: bool) -> None:
    """And no reference of another program is taken for one."""
    assert is_of_other_ledger("0123456789abcdef", client_ref) is other


def test_ids_are_compared_without_case_and_blanks() -> None:
    """Contract 5.11."""
    assert normal_uuid(" AB-c\n") == "ab-c"


@pytest.mark.parametrize(("cost", "value"), [("", "0"), ("0.0523", "0.0523"), ("-1", "-1"), ("1e2", "100")])
def test_a_cost_is_an_exact_number(cost: str, value: str) -> None:
    """No cost is 0."""
    assert amount(cost) == Decimal(value)


@pytest.mark.parametrize(
    ("cost", "message"),
    [
        ("dear", r"^News\.cost is no decimal number: give text such as 0\.0523$"),
        ("NaN", r"^News\.cost is no finite number: give text such as 0\.0523$"),
        ("Infinity", r"^News\.cost is no finite number"),
    ],
)
def test_a_cost_that_is_no_number_is_refused(cost: str, message: str) -> None:
    """Before it makes a sum worthless."""
    with pytest.raises(CampaignError, match=message) as caught:
        amount(cost)
    assert caught.value.__cause__ is None


EARLY = News(
    dispatch_uuid=" B", client_ref="r-1", at=1, reached="read", channel="viber", delivered_at=5, read_at=9
)
LATE = News(
    dispatch_uuid="A",
    client_ref="r-2",
    at=2,
    ended=True,
    reached="delivered",
    channel="sms",
    delivered_at=4,
    cost="0.07",
    currency="EUR",
    code="1190",
    steps=b"x",
)


def test_of_two_news_without_facts_each_member_is_the_one_that_says_most() -> None:
    """The newest code, the dearest cost, the furthest status with its channel, the earliest times."""
    merged = merge(merge(None, EARLY), LATE)

    assert merged == News(
        dispatch_uuid="a",
        client_ref="r-2",
        at=2,
        ended=True,
        reached="read",
        channel="viber",
        delivered_at=4,
        read_at=9,
        cost="0.07",
        currency="EUR",
        code="1190",
        steps=b"x",
    )
    assert merge(None, EARLY).dispatch_uuid == "b"
    assert merge(merge(None, LATE), EARLY) == merge(merge(None, EARLY), LATE)


news = st.builds(
    News,
    dispatch_uuid=st.sampled_from(["", "a", " A", "b"]),
    at=st.sampled_from([1.0, 2.0]),
    client_ref=st.sampled_from(["", "r-1"]),
    ended=st.booleans(),
    reached=st.sampled_from(["", "delivered", "read"]),
    channel=st.sampled_from(["", "sms", "viber"]),
    delivered_at=st.sampled_from([None, 1.0, 2.0]),
    read_at=st.sampled_from([None, 1.0, 2.0]),
    cost=st.sampled_from(["", "0.07", "0.5", "0.50"]),
    currency=st.sampled_from(["", "EUR", "USD"]),
    code=st.sampled_from(["", "1190"]),
    steps=st.sampled_from([b"", b"x", b"yy"]),
)


@given(news, news, news)
def test_news_come_in_any_order_and_number(one: News, two: News, three: News) -> None:
    """Merging is commutative, associative and idempotent, also for news without facts."""
    a, b, c = (merge(None, each) for each in (one, two, three))

    assert merge(a, b) == merge(b, a)
    assert merge(merge(a, b), c) == merge(a, merge(b, c))
    assert merge(merge(a, b), b) == merge(a, b)


def test_counts_follow_each_change_and_its_opposite() -> None:
    """Rows, reasons, news and costs; what is zero is left out, and a sum is exact text."""
    tally, change = Tally(), Tally()
    tally.add("pending", n=3)
    tally.add("skipped", "capped")
    tally.move("pending", "sent", 2)
    tally.news(LATE)
    tally.news(None)
    change.move("sent", "refused")
    change.add("skipped", "dropped", 2)
    change.news(EARLY)
    change.pay("0.03", "EUR")
    change.pay("", "USD")

    before = tally.counts()
    tally.include(change)
    after = tally.counts()
    tally.include(change.negative())

    assert before == Counts(
        states={"pending": 1, "sent": 2, "skipped": 1},
        skipped={"capped": 1},
        ended=1,
        reached={"delivered": 1},
        cost={"EUR": "0.07"},
    )
    assert after == Counts(
        states={"pending": 1, "refused": 1, "sent": 1, "skipped": 3},
        skipped={"capped": 1, "dropped": 2},
        ended=1,
        reached={"delivered": 1, "read": 1},
        cost={"EUR": "0.1"},
    )
    assert tally.counts() == before
    alone = Tally()
    alone.include(change)
    assert alone.counts() == change.counts()
    tally.news(News(dispatch_uuid="a", at=1.0))
    assert tally.counts() == before
    tally.news(LATE, -1)
    assert (tally.counts().ended, tally.counts().cost, tally.counts().reached) == (0, {}, {})


def test_counts_are_in_the_order_of_their_names() -> None:
    """Two stores with the same rows print the same."""
    tally = Tally()
    for state in ("unknown", "pending", "refused"):
        tally.add(state)
    tally.pay("1", "USD")
    tally.pay("1", "EUR")

    assert [*tally.counts().states, *tally.counts().cost] == ["pending", "refused", "unknown", "EUR", "USD"]


def test_the_codes_of_people_who_want_no_more_messages() -> None:
    """Contract 6.1."""
    assert {"1050", "1240"} == OPT_OUT_CODES
