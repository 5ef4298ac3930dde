"""A simulated Dispatch service: real HTTP, real callbacks, a virtual clock that the test moves.

It needs no account and no network beyond loopback; it is not exact where the contract is silent.
"""

from nexmo_dispatch_async.simulator.simulator import Simulator
from nexmo_dispatch_async.simulator.world.applications import SimulatedApplication
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
    "CallbackAttempt",
    "Fault",
    "Faults",
    "People",
    "Person",
    "Record",
    "RequestSeen",
    "Settings",
    "SimulatedApplication",
    "Simulator",
    "StatusReached",
    "StepExpired",
    "StepSent",
    "WorkflowEnded",
]
