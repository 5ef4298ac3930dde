"""What a workflow cost, from whatever names a price."""

from decimal import Decimal
from itertools import permutations

from tests.support.callbacks import WHATSAPP_THEN_SMS, outcome, report, status


def test_without_a_total_the_cost_is_what_the_steps_cost() -> None:
    """Contract 5.4: the report lists the price of each message, and its own total may be missing."""
    result = outcome(
        report("completed", 9, ("a", "whatsapp", "delivered", "0.0625"), ("b", "sms", "delivered", "0.0333")),
        workflow=WHATSAPP_THEN_SMS,
    )

    assert result.cost == Decimal("0.0958")
    assert result.cost == sum(step.price.amount for step in result.steps if step.price)


def test_without_a_total_a_message_is_paid_once() -> None:
    """Its status and the report both name the price."""
    result = outcome(
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

    costs = {outcome(*order).cost for order in permutations(events)}

    assert costs == {Decimal("100000000000000000000.00000008")}
