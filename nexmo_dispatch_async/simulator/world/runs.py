"""A workflow in flight and its messages, as the engine keeps them.

They hold state only; what happens to them is in `engine.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from nexmo_dispatch_async.failover import FailoverState
from nexmo_dispatch_async.simulator.world.applications import Application
from nexmo_dispatch_async.simulator.world.steps import Step

__all__ = ["Message", "Run"]


@dataclass(slots=True, eq=False)
class Message:
    """One message that was sent for a step."""

    uuid: str
    run: Run
    index: int
    step: Step
    sent_ms: int
    status: str | None = None
    price: Decimal | None = None
    #: somebody took over by hand: what the script still holds must not contradict that
    by_hand: bool = False


@dataclass(slots=True, eq=False)
class Run:
    """One accepted workflow."""

    number: int
    dispatch_uuid: str
    application: Application
    steps: tuple[Step, ...]
    failover: FailoverState
    accepted_ms: int
    messages: list[Message] = field(default_factory=list[Message])
    ended_ms: int | None = None
    #: whether the final report has been made
    reported: bool = False
