"""The JSON schemas of the control API and of the page's events; `feed.py` creates them."""

from __future__ import annotations

from typing import Any

import msgspec

from nexmo_dispatch_async.simulator.control.message_log import Moment, Reply
from nexmo_dispatch_async.simulator.control.preview import Content

__all__ = [
    "AccountView",
    "AnswerView",
    "ApplicationView",
    "CallbackView",
    "ClockView",
    "MessageView",
    "Patch",
    "ReportView",
    "RequestView",
    "SampleView",
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
    body: dict[str, Any]
    curl: str
