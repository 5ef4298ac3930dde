"""The counts and the cost of all workflows since the start, or since the simulator was cleared."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from nexmo_dispatch_async.simulator.world.runs import Run

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """Counts of workflows, also of those that are no longer in memory.

    Attributes:
        accepted: Workflows accepted.
        completed: Workflows that ended with `completed`.
        errors: Workflows that ended with `error`.
        failed_over: Workflows that sent a second step.
        cost: Prices of the messages, and the fee of each workflow that was charged or has ended.
    """

    accepted: int = 0
    completed: int = 0
    errors: int = 0
    failed_over: int = 0
    cost: Decimal = Decimal(0)

    def charge(self, run: Run, price: Decimal, fee: Decimal) -> None:
        """Add the price of a message, and with the first price of a workflow its fee."""
        self.cost += price
        if not run.fee_charged:
            run.fee_charged = True
            self.cost += fee

    def end(self, run: Run, status: str, fee: Decimal) -> None:
        """Count the outcome of a workflow; one without a price costs its fee."""
        if status == "completed":
            self.completed += 1
        else:
            self.errors += 1
        self.charge(run, Decimal(0), fee)
