"""The cost of a workflow at best and at worst, computed from the caller's own price table.

The module contains no prices: KPN and Vonage agree them per customer. Amounts are `Decimal`, never floats.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import cast

from msgspec import Struct

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.requests import Step, Text
from nexmo_dispatch_async.models.several import several
from nexmo_dispatch_async.rules.specs import SPECS
from nexmo_dispatch_async.sms_segments import count_segments
from nexmo_dispatch_async.workflow import Workflow

__all__ = ["Cost", "Tariff"]

Price = Decimal | str


class Cost(Struct, frozen=True):
    """The bounds of the cost of a workflow, including the workflow fee.

    Attributes:
        best: Only the cheapest step is charged: the other steps fail before they cost anything.
        expected: Only the first step is charged: the first step meets its condition.
        worst: Every step is charged: each message is sent and only the last step reaches the recipient.
        steps: Price of each step alone, without the fee.
        currency: Currency of the tariff.
    """

    best: Decimal
    expected: Decimal
    worst: Decimal
    steps: tuple[Decimal, ...]
    currency: str


class Tariff:
    """Prices per channel and calling code.

    Args:
        prices: One price per channel, or prices by calling code with `""` for all others:
            `{"sms": {"31": "0.07", "": "0.11"}, "whatsapp": "0.05"}`. The price of an SMS is per segment.
        fee: Fee per workflow; captured reports contain 0.002 EUR (contract 5.4).
        currency: Name of the currency; only EUR is documented.

    Raises:
        ConfigurationError: A channel is unknown, or a price is not a Decimal or its text.
    """

    def __init__(
        self,
        prices: Mapping[str, Price | Mapping[str, Price]],
        *,
        fee: Price = "0.002",
        currency: str = "EUR",
    ) -> None:
        if unknown := sorted(prices.keys() - SPECS.keys()):
            raise ConfigurationError(f"no such channel in the tariff: {', '.join(unknown)}")
        self.currency = currency
        self.fee: Decimal = _amount(fee, "fee")
        self._prices = {
            channel: {code: _amount(price, channel) for code, price in entry.items()}
            if isinstance(entry, Mapping)
            else {"": _amount(entry, channel)}
            for channel, entry in prices.items()
        }

    @property
    def prices(self) -> dict[str, dict[str, Decimal]]:
        """The prices by channel and calling code, `""` for all other codes."""
        return {channel: dict(table) for channel, table in self._prices.items()}

    def price(self, step: Step) -> Decimal:
        """Return the price of one step that is charged: an SMS per segment, other channels per message.

        Args:
            step: The step.

        Raises:
            ConfigurationError: The tariff has no price for this channel and destination.
        """
        table = self._prices.get(step.channel, {})
        recipient = step.to.number if isinstance(step.to.number, str) else step.to.id
        digits = recipient if isinstance(recipient, str) else ""
        code = max((code for code in table if digits.startswith(code)), key=len, default=None)
        if code is None:
            raise ConfigurationError(
                f'the tariff has no price for this {step.channel} recipient; add one for ""'
            )
        content = step.message.content
        if step.channel == "sms" and isinstance(content, Text):
            return table[code] * count_segments(content.text).segments
        return table[code]

    def cost(self, workflow: Workflow, *, free: Collection[str] = ()) -> Cost:
        """Return the bounds of the cost of a workflow.

        Args:
            workflow: A workflow that passes `check()`.
            free: Channels that cost nothing now, such as `{"whatsapp"}` inside the Customer Care Window.

        Raises:
            ConfigurationError: The tariff has no price for a step, the workflow has no steps, or `free` is a
                mapping.
        """
        unpaid = several("free", free)
        steps = tuple(Decimal(0) if step.channel in unpaid else self.price(step) for step in workflow.steps)
        if not steps:
            raise ConfigurationError("a workflow without steps has no cost")
        return Cost(
            best=min(steps) + self.fee,
            expected=steps[0] + self.fee,
            worst=sum(steps, self.fee),
            steps=steps,
            currency=self.currency,
        )


def _amount(value: Price, where: str) -> Decimal:
    raw = cast("object", value)
    try:
        amount = Decimal(raw) if isinstance(raw, str | Decimal) else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or amount < 0:
        raise ConfigurationError(f'the price of {where} must be a Decimal or its text, for example "0.07"')
    return amount
