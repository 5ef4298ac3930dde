"""The Dispatch service in a box: real HTTP, real callbacks, a clock you move yourself.

It needs no account and no network beyond loopback; it is not exact where the contract is silent.
"""

from nexmo_dispatch_async.simulator.applications import Application
from nexmo_dispatch_async.simulator.faults import Fault, Faults
from nexmo_dispatch_async.simulator.people import People, Person
from nexmo_dispatch_async.simulator.records import (
    CallbackAttempt,
    Record,
    RequestSeen,
    StatusReached,
    StepExpired,
    StepSent,
    WorkflowEnded,
)
from nexmo_dispatch_async.simulator.settings import Settings
from nexmo_dispatch_async.simulator.simulator import Simulator

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
