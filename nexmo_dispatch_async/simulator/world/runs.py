"""The state of a workflow in flight and of its messages.

The transitions are in `engine.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from nexmo_dispatch_async.failover import FailoverState
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication
from nexmo_dispatch_async.simulator.world.steps import SimulatedStep

__all__ = ["Message", "Run"]


@dataclass(slots=True, eq=False)
class Message:
    """One message, sent for a step."""

    uuid: str
    run: Run
    index: int
    step: SimulatedStep
    sent_ms: int
    status: str | None = None
    price: Decimal | None = None
    #: a status was set manually: later statuses of the script must not contradict it
    by_hand: bool = False


@dataclass(slots=True, eq=False)
class Run:
    """One accepted workflow."""

    number: int
    dispatch_uuid: str
    application: SimulatedApplication
    steps: tuple[SimulatedStep, ...]
    failover: FailoverState
    accepted_ms: int
    messages: list[Message] = field(default_factory=list[Message])
    ended_ms: int | None = None
    #: whether the final report has been created
    reported: bool = False
    #: whether the tally contains its fee
    fee_charged: bool = False
