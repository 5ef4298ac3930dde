"""The facts about one workflow, which only grow: `observe` an event, `merge` it with the known facts.

It draws no conclusions (`result` does) and has no clock, so the order and the number of deliveries do not
matter: merging is commutative, associative and idempotent, field by field. Sets are united; of two times the
earlier one counts, of two prices the higher one, of two final reports the later one; reports of the same time
are merged.

Callbacks come at least once and in any order (contract 5.10), and a final report may come before the last
`delivered` (contract 10.5). No fact depends on the time of arrival; only the timestamps of the service count.

No text, number, id of a recipient, reference or error reason is kept. To match messages with steps
(contract 9.29) a recipient is reduced to 16 bits, salted with the workflow: enough to distinguish a few
steps, and shared by some hundred thousand other numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct

from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.models.results import Money
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks.events import (
    CHANNEL_NAMES,
    Event,
    FinalReport,
    MessageStatus,
    Usage,
    WorkflowPosition,
)

__all__ = [
    "MessageFacts",
    "Money",
    "PlannedStep",
    "ReportFacts",
    "ReportedEntry",
    "StatusFacts",
    "WorkflowState",
    "observe",
    "planned",
]

T = TypeVar("T")

_BEGINNING = datetime.min.replace(tzinfo=UTC)
_LONGEST_WORD = 200
# More messages than a workflow has, and more statuses than a message: a peer may invent any number. The
# smallest names are kept, so that the order of merging makes no difference here either.
_MOST_NAMES = 200


class StatusFacts(Struct, frozen=True, omit_defaults=True):
    """One status of a message, merged from all its callbacks."""

    at: datetime | None = None
    price: Money | None = None
    code: int | None = None

    def merge(self, other: StatusFacts) -> StatusFacts:
        """Return the facts of both."""
        return StatusFacts(
            _join(min, self.at, other.at),
            _join(_dearer, self.price, other.price),
            _join(min, self.code, other.code),
        )


class MessageFacts(Struct, frozen=True, omit_defaults=True):
    """The facts about an attempted message, from its message-status callbacks (contract 5.2).

    Attributes:
        channel: The channel; None when no callback names one.
        recipient: 16 bits of the address.
        user: 16 bits of the customer's WhatsApp user id, where a callback has both (contract 5.5).
        position: The number of the step, from 1; in the v1 format only (contract 5.8).
        statuses: The facts about each status.
    """

    channel: str | None = None
    recipient: str | None = None
    position: int | None = None
    statuses: dict[str, StatusFacts] = {}
    user: str | None = None

    def merge(self, other: MessageFacts) -> MessageFacts:
        """Return the facts of both."""
        return MessageFacts(
            _join(min, self.channel, other.channel),
            _join(min, self.recipient, other.recipient),
            _join(min, self.position, other.position),
            _unite(self.statuses, other.statuses, StatusFacts.merge),
            _join(min, self.user, other.user),
        )


class ReportedEntry(Struct, frozen=True, omit_defaults=True):
    """One message of a final report (contract 5.4)."""

    message_uuid: str | None = None
    channel: str | None = None
    status: str | None = None
    price: Money | None = None


class ReportFacts(Struct, frozen=True, omit_defaults=True):
    """The facts of a final report (contract 5.4)."""

    at: datetime | None = None
    status: str | None = None
    total: Money | None = None
    messages: tuple[ReportedEntry, ...] = ()

    def merge(self, other: ReportFacts) -> ReportFacts:
        """Return the later report, which is more complete; for equal times, the facts of both."""
        one, two = self.at or _BEGINNING, other.at or _BEGINNING
        if one != two:
            return self if one > two else other
        return ReportFacts(
            _join(max, self.at, other.at),
            _join(max, self.status, other.status),
            _join(_dearer, self.total, other.total),
            # Not merged entry by entry: two orders of the steps would become an order that no report has.
            max(self.messages, other.messages, key=_knowledge),
        )


class PlannedStep(Struct, frozen=True, omit_defaults=True):
    """A step as it was sent: the channel, 16 bits of the address, and the status that it waits for."""

    channel: str
    recipient: str
    until: str | None = None


class WorkflowState(AsShown, Struct, frozen=True, omit_defaults=True):
    """All facts about one workflow.

    Attributes:
        dispatch_uuid: In lower case, since ids compare without case (contract 5.11).
        followed: Whether the workflow has a follower; otherwise only events of it are known.
        plan: The steps; empty when they are unknown.
        messages: The attempted messages, by message_uuid.
        report: The final report, None before it arrives.
    """

    dispatch_uuid: str
    followed: bool = False
    plan: tuple[PlannedStep, ...] = ()
    messages: dict[str, MessageFacts] = {}
    report: ReportFacts | None = None

    def merge(self, other: WorkflowState) -> WorkflowState:
        """Return the facts of both.

        Raises:
            ValueError: The states belong to two workflows.
        """
        if self.dispatch_uuid != other.dispatch_uuid:
            raise ValueError("these are the states of two workflows")
        return WorkflowState(
            self.dispatch_uuid,
            self.followed or other.followed,
            # One workflow has one plan; of two plans the same one is chosen every time.
            max(self.plan, other.plan, key=msgspec.json.encode),
            _unite(self.messages, other.messages, MessageFacts.merge),
            _join(ReportFacts.merge, self.report, other.report),
        )

    def __repr__(self) -> str:
        end = "ended" if self.report else "running"
        return f"<WorkflowState {self.dispatch_uuid!r}, {len(self.messages)} messages, {end}>"


def observe(event: Event) -> WorkflowState | None:
    """Return the facts of one event; None when it belongs to no workflow."""
    if isinstance(event, MessageStatus):
        if not event.dispatch_uuid:
            return None
        position = event.workflow or WorkflowPosition()
        key = ident(event.dispatch_uuid)
        seen = StatusFacts(event.timestamp, _money(event.usage), event.error.code if event.error else None)
        sent = MessageFacts(
            _channel(event.channel),
            _recipient(key, event.to.address),
            position.items_number,
            {ident(event.status): seen},
            _recipient(key, event.to.id if event.to.number else None),
        )
        return WorkflowState(key, messages={ident(event.message_uuid): sent})
    if isinstance(event, FinalReport) and event.dispatch_uuid:
        entries = tuple(
            ReportedEntry(
                entry.message_uuid and ident(entry.message_uuid),
                _channel(entry.channel),
                entry.status and ident(entry.status),
                _money(entry.usage),
            )
            for entry in event.messages
        )
        status = event.status and ident(event.status)
        report = ReportFacts(event.timestamp, status, _money(event.usage), entries)
        return WorkflowState(ident(event.dispatch_uuid), report=report)
    return None


def planned(dispatch_uuid: str, workflow: Workflow | None) -> WorkflowState:
    """Return the state of a followed workflow, with its steps if they are known."""
    key = ident(dispatch_uuid)
    steps = () if workflow is None else workflow.steps
    return WorkflowState(key, followed=True, plan=tuple(_plan(key, step) for step in steps))


def ident(text: str) -> str:
    """Return an id or a word of the service in the form for comparisons (contract 5.11)."""
    return _word(text.strip()).lower()


def _plan(key: str, step: Step) -> PlannedStep:
    # Number and id: the order of precedence of the receiver's `Address.address` (contract 3.3, 9.3).
    ends = [step.to.number, step.to.id]
    if step.channel == "messenger":
        ends.reverse()
    address = next((str(end) for end in ends if end is not UNSET), None)
    until = None if step.failover is UNSET else step.failover.condition_status
    return PlannedStep(_channel(step.channel) or "", _recipient(key, address) or "", until)


def _recipient(key: str, address: str | None) -> str | None:
    if not address:
        return None
    name = ident(address.strip().removeprefix("+"))
    return hashlib.blake2b(f"{key}\0{name}".encode(), digest_size=2).hexdigest()


def _channel(name: str | None) -> str | None:
    if name is None or name == "unknown":
        return None
    return CHANNEL_NAMES.get(name) or ident(name)


def _money(usage: Usage | None) -> Money | None:
    # An absurd amount is an error of the sender, and a sum of such amounts would raise decimal.Overflow.
    if usage is None or usage.price is None or abs(usage.price.adjusted()) > 20:
        return None
    return Money(usage.price, usage.currency and _word(usage.currency))


def _word(text: str) -> str:
    # Half surrogates and NULs survive parsing (contract 5.11), and not every store takes them.
    return text[:_LONGEST_WORD].encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def _dearer(one: Money, other: Money) -> Money:
    # "0.1" and "0.10" are equal; the text decides, so that the choice is always the same.
    return max(one, other, key=lambda money: (money.amount, str(money.amount), money.currency or ""))


def _knowledge(entries: tuple[ReportedEntry, ...]) -> tuple[int, bytes]:
    """Return the number of facts of a list, and its text, so that the choice of two is always the same."""
    facts = sum(fact is not None for entry in entries for fact in msgspec.structs.astuple(entry))
    return facts, msgspec.json.encode(entries)


def _join(pick: Callable[[T, T], T], one: T | None, other: T | None) -> T | None:
    if one is None or other is None:
        return other if one is None else one
    return pick(one, other)


def _unite(one: dict[str, T], other: dict[str, T], merge: Callable[[T, T], T]) -> dict[str, T]:
    united = {**one, **other}
    for key in one.keys() & other.keys():
        united[key] = merge(one[key], other[key])
    if len(united) <= _MOST_NAMES:
        return united
    return {key: united[key] for key in sorted(united)[:_MOST_NAMES]}
