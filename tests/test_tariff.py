"""Costs at best and at worst, in decimals."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.channels import messenger, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.requests import Address, Custom, Message, Step
from nexmo_dispatch_async.tariff import Cost, Tariff
from nexmo_dispatch_async.workflow import Workflow

TARIFF = Tariff(
    {"whatsapp": "0.0500", "sms": {"31": "0.07", "3161": "0.06", "": "0.11"}, "messenger": Decimal(0)}
)
WHATSAPP = whatsapp.text("hi", from_="447418342140", to="31617185666").until("read", within=600)


def test_bounds_include_the_workflow_fee() -> None:
    """The fee of 0.002 EUR that captures show is added once (contract 5.4)."""
    workflow = Workflow.failover(WHATSAPP, sms.text("hi", from_="31647356950", to="447700900123"))

    cost = TARIFF.cost(workflow)

    assert cost == Cost(
        best=Decimal("0.0520"),
        expected=Decimal("0.0520"),
        worst=Decimal("0.1620"),
        steps=(Decimal("0.0500"), Decimal("0.11")),
        currency="EUR",
    )


def custom_sms() -> Step:
    """An SMS with content that no rule lets through; the tariff is asked all the same."""
    text = sms.text("hi", from_="31647356950", to="31617185666")
    return msgspec.structs.replace(text, message=Message(content=Custom(custom={"text": "a" * 500})))


@pytest.mark.parametrize(
    ("to", "text", "price"),
    [
        ("31617185666", "hi", "0.06"),
        ("31201234567", "hi", "0.07"),
        ("447700900123", "hi", "0.11"),
        ("31617185666", "a" * 161, "0.12"),
        ("31617185666", "я" * 71, "0.12"),
    ],
)
def test_sms_is_priced_by_longest_prefix_and_segments(to: str, text: str, price: str) -> None:
    """The most specific calling code wins, and each segment is charged."""
    assert TARIFF.price(sms.text(text, from_="31647356950", to=to)) == Decimal(price)


@pytest.mark.parametrize(
    ("step", "price"),
    [
        (whatsapp.text("a" * 1000, from_="447418342140", to="31617185666"), "0.05"),
        (messenger.text("a" * 500, from_="1", to="2"), "0"),
        (custom_sms(), "0.06"),
    ],
)
def test_whatever_is_no_sms_text_costs_one_message(step: Step, price: str) -> None:
    """Only an SMS is cut into segments, and only a text can be counted before it is sent."""
    assert TARIFF.price(step) == Decimal(price)


def test_best_case_is_the_cheapest_step_alone() -> None:
    """Steps before it may fail without a charge."""
    workflow = Workflow.failover(WHATSAPP, messenger.text("hi", from_="1", to="2"))

    cost = TARIFF.cost(workflow)

    assert (cost.best, cost.expected) == (Decimal("0.002"), Decimal("0.0520"))


def test_channels_that_are_free_now_cost_nothing() -> None:
    """Inside of the Customer Care Window WhatsApp is free (documentation)."""
    assert TARIFF.cost(Workflow.failover(WHATSAPP), free={"whatsapp"}).worst == Decimal("0.002")


def test_missing_price_is_an_error_without_the_number() -> None:
    """A price that is not known is never zero."""
    step = viber.text("hi", from_="id", to="31617185666", to_as="id")

    with pytest.raises(
        ConfigurationError, match='no price for this viber_service_msg recipient; add one for ""'
    ):
        TARIFF.price(step)
    assert Tariff({"viber_service_msg": {"31": "1"}}).price(step) == 1


def test_workflow_without_steps_has_no_cost() -> None:
    with pytest.raises(ConfigurationError, match="without steps"):
        TARIFF.cost(Workflow.failover())


@pytest.mark.parametrize("price", [0.07, 1, "seven", "NaN", "-1", None])
def test_prices_are_decimals_or_their_text(price: Any) -> None:
    """Floats would lose cents."""
    with pytest.raises(ConfigurationError, match="the price of sms must be a Decimal or its text"):
        Tariff({"sms": price})


def test_unknown_channels_are_refused() -> None:
    """All of them are named, in an order of their own."""
    with pytest.raises(ConfigurationError, match="no such channel in the tariff: fax, pager, telex"):
        Tariff({"telex": "1", "pager": "1", "sms": "1", "fax": "1"})


def test_a_wrong_argument_is_named() -> None:
    """`free` as a mapping would take a channel whose value is False."""
    wrong: Any = {"whatsapp": False}

    with pytest.raises(ConfigurationError, match="the price of fee must be a Decimal or its text"):
        Tariff({}, fee="gratis")
    with pytest.raises(ConfigurationError, match=r"^free must be a text, or a list, tuple or set"):
        TARIFF.cost(Workflow.failover(WHATSAPP), free=wrong)


def test_a_step_without_a_recipient_costs_what_all_other_destinations_cost() -> None:
    """A missing number is for the rules to report; the tariff needs none."""
    step = msgspec.structs.replace(WHATSAPP, to=Address(type="sms"))

    assert Tariff({"sms": {"31": "0.07", "": "0.11"}}).price(step) == Decimal("0.11")


def test_the_prices_of_a_tariff_can_be_read() -> None:
    """What was given comes back by channel and calling code, and changing it changes nothing."""
    tariff = Tariff({"whatsapp": "0.05", "sms": {"31": "0.07"}})

    prices = tariff.prices
    prices["sms"]["31"] = Decimal(9)

    assert tariff.prices == {"whatsapp": {"": Decimal("0.05")}, "sms": {"31": Decimal("0.07")}}
