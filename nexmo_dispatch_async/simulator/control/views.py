"""The JSON schemas of the control API and of the page's events; `feed.py` creates them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from nexmo_dispatch_async.simulator.control.message_log import Moment, Reply
from nexmo_dispatch_async.simulator.control.preview import Content
from nexmo_dispatch_async.simulator.world.faults import Fault, Faults

__all__ = [
    "AccountView",
    "AnswerView",
    "ApplicationView",
    "CallView",
    "CallbackView",
    "Callbacks",
    "Calls",
    "ClockMoved",
    "ClockView",
    "FaultAdded",
    "FaultList",
    "FaultView",
    "Jumped",
    "MessageChanged",
    "MessageView",
    "Patch",
    "ReportView",
    "RequestView",
    "SampleView",
    "Snapshot",
    "StepView",
    "Totals",
    "WaitedUntilIdle",
    "WorkflowView",
    "fault_views",
]

# A body of `POST /dispatch`, whose schema is the service's own.
_Workflow = Annotated[
    dict[str, Any], msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/Workflow"})
]


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual clock; `speed` is null when time moves only with `advance()`."""

    now_ms: int
    time: str
    speed: float | None
    next_event_ms: int | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts and cost of all workflows since the start, or since the simulator was cleared."""

    accepted: int
    in_flight: int
    completed: int
    errors: int
    failed_over: int
    cost: str
    requests: int
    shown: int


class MessageView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message; `can` lists the statuses that can be set manually."""

    uuid: str
    sent_ms: int
    status: str | None = None
    code: int | None = None
    price: str | None = None
    history: list[Moment] = []
    replies: list[Reply] = []
    can: list[str] = []


class StepView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step; `phase` is waiting, current, passed (failed over), over or unused."""

    channel: str
    sender: str = msgspec.field(name="from")
    to: str
    content: Content
    phase: str
    client_ref: str | None = None
    condition_status: str | None = None
    expiry_time: float | None = None
    expired: bool = False
    message: MessageView | None = None


class ReportView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The last attempt to deliver the final report."""

    at_ms: int
    attempt: int
    status: int | None = None
    failure: str | None = None


class WorkflowView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One workflow; `deadline_ms` is the time of the next failover, `callbacks` a number of attempts."""

    uuid: str
    number: int
    application: str
    application_name: str
    accepted_ms: int
    steps: list[StepView]
    current: int
    ended_ms: int | None = None
    outcome: str | None = None
    deadline_ms: int | None = None
    cost: str | None = None
    report: ReportView | None = None
    inbound: bool = False
    callbacks: int = 0


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """The request to the receiver."""

    url: str
    headers: dict[str, str]
    body: str


class AnswerView(msgspec.Struct, frozen=True, kw_only=True):
    """The response of the receiver."""

    status: int
    body: str


class CallbackView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt to deliver a callback; without an `answer` there is a `failure`.

    `workflow` is the number of its workflow; for an inbound message, of the one that it answers.
    """

    id: int
    number: int
    attempt: int
    kind: str
    at_ms: int
    request: RequestView
    answer: AnswerView | None = None
    failure: str | None = None
    retry_at_ms: int | None = None
    dispatch_uuid: str = ""
    workflow: int | None = None
    message_uuid: str = ""
    about: str = ""
    channel: str = ""


class FaultView(Fault, frozen=True, kw_only=True, omit_defaults=False, forbid_unknown_fields=False):
    """An armed fault; `met` counts its matches, `hits` what it hit; a fault that is `spent` hits no more."""

    id: int
    met: int
    hits: int
    spent: bool


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of the page, newest first."""

    clock: ClockView
    totals: Totals
    limit: int
    workflows: list[WorkflowView]
    callbacks: list[CallbackView]
    faults: list[FaultView]


class Patch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The changes since the previous snapshot or patch."""

    clock: ClockView
    totals: Totals
    workflows: list[WorkflowView] = []
    callbacks: list[CallbackView] = []
    faults: list[FaultView] | msgspec.UnsetType = msgspec.UNSET


class ClockMoved(msgspec.Struct, frozen=True, kw_only=True):
    """The clock after a call."""

    clock: ClockView


class WaitedUntilIdle(ClockMoved, frozen=True, kw_only=True):
    """The clock after a wait; `idle` is false if the limit came first."""

    idle: bool


class Jumped(ClockMoved, frozen=True, kw_only=True):
    """The clock after a jump; `jumped` is false when no event was due."""

    jumped: bool


class MessageChanged(ClockMoved, frozen=True, kw_only=True):
    """The clock and the workflow of a message after a change by hand."""

    workflow: WorkflowView


class Callbacks(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts to deliver callbacks, newest first; `total` is the number of all records, the largest id."""

    total: int
    callbacks: list[CallbackView]


class FaultList(msgspec.Struct, frozen=True, kw_only=True):
    """The armed faults."""

    faults: list[FaultView]


class FaultAdded(FaultList, frozen=True, kw_only=True):
    """The armed faults, with the id of the added one."""

    id: int


class CallView(msgspec.Struct, frozen=True, kw_only=True):
    """One call of the control API."""

    method: str
    path: str
    summary: str


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """Every call of the control API, and the path of its OpenAPI description."""

    routes: list[CallView]
    description: str


class ApplicationView(msgspec.Struct, frozen=True, kw_only=True):
    """One application; an empty URL receives no callbacks."""

    id: str
    name: str
    status_url: str
    inbound_url: str


class AccountView(msgspec.Struct, frozen=True, kw_only=True):
    """The simulated account, newest application first; `application` is the default one."""

    base_url: str
    token_url: str
    client_id: str
    client_secret: str
    signature_secrets: str
    applications: list[ApplicationView]
    application: str | None


class SampleView(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow to begin with, and the shell command that sends it."""

    application: str
    body: _Workflow
    curl: str


def fault_views(faults: Faults) -> list[FaultView]:
    """Return the armed faults with their counts, in the order of their addition."""
    return msgspec.convert(faults.to_builtins(), list[FaultView])
