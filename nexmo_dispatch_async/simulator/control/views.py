"""The JSON schemas of the control API and of the page's events; `feed.py` creates them."""

from __future__ import annotations

import msgspec

from nexmo_dispatch_async.simulator.control.message_log import Moment, Reply
from nexmo_dispatch_async.simulator.control.preview import Content

__all__ = [
    "AnswerView",
    "CallbackView",
    "ClockView",
    "MessageView",
    "Patch",
    "ReportView",
    "RequestView",
    "Snapshot",
    "StepView",
    "Totals",
    "WorkflowView",
]


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """The virtual clock; `speed` is null when time moves only with `advance()`."""

    now_ms: int
    time: str
    speed: float | None
    next_event_ms: int | None


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start."""

    accepted: int
    in_flight: int
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
    """One workflow; `deadline_ms` is the time of the next failover."""

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
    """One attempt to deliver a callback; without an `answer` there is a `failure`."""

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
    message_uuid: str = ""
    about: str = ""
    channel: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The whole state of the page, newest first."""

    clock: ClockView
    totals: Totals
    limit: int
    workflows: list[WorkflowView]
    callbacks: list[CallbackView]
    faults: list[dict[str, object]]


class Patch(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The changes since the previous snapshot or patch."""

    clock: ClockView
    totals: Totals
    workflows: list[WorkflowView] = []
    callbacks: list[CallbackView] = []
    faults: list[dict[str, object]] | msgspec.UnsetType = msgspec.UNSET
