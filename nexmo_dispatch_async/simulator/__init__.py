"""The Dispatch service in a box: real HTTP, real callbacks, a clock you move yourself.

It needs no account and no network beyond loopback; it is not exact where the contract is silent.
"""

from nexmo_dispatch_async.simulator.simulator import Simulator
from nexmo_dispatch_async.simulator.world.applications import Application
from nexmo_dispatch_async.simulator.world.faults import Fault, Faults
from nexmo_dispatch_async.simulator.world.history import (
    CallbackAttempt,
    Record,
    RequestSeen,
    StatusReached,
    StepExpired,
    StepSent,
    WorkflowEnded,
)
from nexmo_dispatch_async.simulator.world.people import People, Person
from nexmo_dispatch_async.simulator.world.settings import Settings

__all__ = [
    "Application",
    "CallbackAttempt",
    "Fault",
    "Faults",
    "People",
    "Person",
    "Record",
    "RequestSeen",
    "Settings",
    "Simulator",
    "StatusReached",
    "StepExpired",
    "StepSent",
    "WorkflowEnded",
]
