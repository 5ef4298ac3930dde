"""What a workflow cost, from whatever names a price."""

from decimal import Decimal
from itertools import permutations

import pytest

from nexmo_dispatch_async.tracking import Money
from tests.support.callbacks import WHATSAPP_THEN_SMS, report, result_of, status


def test_without_a_total_the_cost_is_what_the_steps_cost() -> None:
    """Contract 5.4: the report lists the price of each message, and its own total may be missing."""
    result = result_of(
        report("completed", 9, ("a", "whatsapp", "delivered", "0.0625"), ("b", "sms", "delivered", "0.0333")),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert result.cost == Decimal("0.0958")
    assert result.cost == sum(step.price.amount for step in result.steps if step.price)


def test_without_a_total_a_message_is_paid_once() -> None:
    """Its status and the report both name the price."""
    result = result_of(
        status("a", "delivered", 1, price="0.06"),
        report("completed", 9, ("a", "sms", "delivered", "0.06"), ("b", "sms", "delivered", "0.03")),
    )

    assert result.cost == Decimal("0.09")


def test_the_sum_does_not_depend_on_the_order() -> None:
    """Not even where the numbers have more digits than a Decimal keeps by default."""
    events = [
        status(message, "delivered", 1, price=price)
        for message, price in (("a", "1E20"), ("b", "4E-8"), ("c", "4E-8"))
    ]

    costs = {result_of(*order).cost for order in permutations(events)}

    assert costs == {Decimal("100000000000000000000.00000008")}


def test_of_several_prices_of_a_message_the_highest_counts() -> None:
    """Two statuses of one message may name two prices (contract 5.2): what is known is never too little."""
    dear, cheap = status("a", "submitted", 0, price="0.06"), status("a", "delivered", 5, price="0.04")

    result = result_of(dear, cheap, workflow=WHATSAPP_THEN_SMS)

    assert result.cost == Decimal("0.06")
    assert [step.price.amount for step in result.steps if step.price] == [Decimal("0.06")]


def test_equal_prices_are_shown_alike_in_any_order() -> None:
    """`0.1` and `0.10` are one amount; which of them is shown does not depend on what came first."""
    events = [status("a", "submitted", 0, price="0.1"), status("a", "delivered", 5, price="0.10")]

    shown = {str(step.price) for order in permutations(events) for step in result_of(*order).steps}

    assert len(shown) == 1
    assert "0.10" in shown.pop()


def test_of_equal_prices_the_one_with_a_currency_is_shown() -> None:
    """Two statuses of one message (contract 5.2), whichever of them came first."""
    events = [
        status("a", "submitted", 0, usage={"price": "0.1"}),
        status("a", "delivered", 5, usage={"price": "0.1", "currency": "EUR"}),
    ]

    shown = [step.price for order in permutations(events) for step in result_of(*order).steps]

    assert shown == [Money(Decimal("0.1"), "EUR")] * 2


def test_a_price_without_currency_counts_in_the_currency_of_the_others() -> None:
    """Only two that are named make no sum."""
    bare = status("b", "delivered", 1, usage={"price": "0.03"})

    result = result_of(status("a", "delivered", 1, price="0.06"), bare)

    assert (result.cost, result.currency) == (Decimal("0.09"), "EUR")


@pytest.mark.parametrize(
    ("prices", "cost"),
    [
        ({9: "0.06"}, "0.07"),  # in the moment of the report: included
        ({9.001: "0.06"}, "0.13"),
        ({5: "0.06", 20: "0.06"}, "0.07"),  # said again later
        ({5: None, 20: "0.06"}, "0.13"),  # a status without a price tells nothing about prices
        ({None: "0.06"}, "0.07"),
    ],
)
def test_a_total_that_lists_nothing_holds_what_had_a_price_by_then(
    prices: dict[float | None, str | None], cost: str
) -> None:
    """Contract 5.4: the total is of the messages that were charged when the report was made."""
    names = iter(("submitted", "delivered"))
    events = [status("a", next(names), at, price=price) for at, price in prices.items()]

    assert result_of(*events, report("completed", 9, total="0.07")).cost == Decimal(cost)


def test_a_total_without_a_time_holds_every_price() -> None:
    """Nothing says that a message was charged after it."""
    assert result_of(
        status("a", "delivered", 5, price="0.06"), report("completed", None, total="0.07")
    ).cost == Decimal("0.07")
