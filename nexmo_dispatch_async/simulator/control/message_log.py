"""The log of each message: its statuses and replies, collected from the records on demand.

It reads the history only in `catch_up()`, so that an unwatched simulator has no cost.
"""

from __future__ import annotations

from typing import cast

import msgspec

from nexmo_dispatch_async.simulator.engine import Engine
from nexmo_dispatch_async.simulator.world.history import (
    CallbackAttempt,
    Record,
    StatusReached,
    StepExpired,
    StepSent,
    WorkflowEnded,
)

__all__ = ["MessageLog", "Moment", "Reply", "as_object", "decoded"]


class Moment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A status of a message, with its time."""

    at_ms: int
    status: str
    code: int | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply of a recipient."""

    at_ms: int
    text: str


class MessageLog:
    """Statuses, expiries and replies by message.

    Args:
        engine: The engine with the messages and the history.
        keep: Maximum number of messages; the oldest are dropped first.
    """

    def __init__(self, engine: Engine, *, keep: int = 20_000) -> None:
        self._engine = engine
        self._keep = keep
        self._seen = 0
        self._moments: dict[str, list[Moment]] = {}
        self._replies: dict[str, list[Reply]] = {}
        self._expired: dict[tuple[str, int], None] = {}
        self._reports: dict[str, CallbackAttempt] = {}
        # the message that a customer probably answers: the newest one between the two addresses
        self._threads: dict[tuple[str, str, str], str] = {}

    def catch_up(self) -> None:
        """Read the records since the last call."""
        history = self._engine.history
        if history.total == self._seen:
            return
        for record in history.since(self._seen):
            self._read(record)
        self._seen = history.total
        for memory in (self._moments, self._replies, self._expired, self._reports, self._threads):
            while len(memory) > self._keep:
                del memory[next(iter(memory))]  # type: ignore[arg-type]  # each round is about one of the five

    def moments(self, message_uuid: str) -> list[Moment]:
        """Return the statuses of a message, oldest first."""
        return self._moments.get(message_uuid, [])

    def replies(self, message_uuid: str) -> list[Reply]:
        """Return the replies to a message, oldest first."""
        return self._replies.get(message_uuid, [])

    def expired(self, dispatch_uuid: str, step: int) -> bool:
        """Return whether a step has expired."""
        return (dispatch_uuid, step) in self._expired

    def report(self, dispatch_uuid: str) -> CallbackAttempt | None:
        """Return the last attempt to deliver a workflow's final report."""
        return self._reports.get(dispatch_uuid)

    def about(self, record: Record) -> str:
        """Return the dispatch_uuid of the workflow of a record, empty if there is none."""
        match record:
            case StepSent() | StepExpired() | StatusReached():
                return record.dispatch_uuid
            case CallbackAttempt(kind="inbound-message"):
                message = self._engine.messages.get(self._answered(decoded(record.body)))
                return "" if message is None else message.run.dispatch_uuid
            case CallbackAttempt(kind="final-report"):
                return str(decoded(record.body).get("dispatch_uuid", ""))
            case WorkflowEnded():
                return record.dispatch_uuid
            case _:
                return ""

    def _read(self, record: Record) -> None:
        match record:
            case StepSent():
                message = self._engine.messages.get(record.message_uuid)
                if message is not None:
                    step = message.step
                    key = (step.channel, _address(step.sender), step.address.strip())
                    self._threads.pop(
                        key, None
                    )  # the newest goes to the end, so that the oldest is forgotten
                    self._threads[key] = record.message_uuid
            case StatusReached():
                moment = Moment(at_ms=record.at_ms, status=record.status, code=record.code)
                self._moments.setdefault(record.message_uuid, []).append(moment)
            case StepExpired():
                self._expired[record.dispatch_uuid, record.step] = None
            case CallbackAttempt(kind="inbound-message", attempt=1):
                body = decoded(record.body)
                uuid = self._answered(body)
                if uuid:
                    content = as_object(as_object(body.get("message")).get("content"))
                    text = content.get("text")
                    shown = text if isinstance(text, str) else f"({content.get('type')})"
                    self._replies.setdefault(uuid, []).append(Reply(at_ms=record.at_ms, text=shown))
            case CallbackAttempt(kind="final-report"):
                self._reports[self.about(record)] = record
            case _:
                pass

    def _answered(self, body: dict[str, object]) -> str:
        business, customer = as_object(body.get("to")), as_object(body.get("from"))
        key = (str(business.get("type")), _address(business), _address(customer).strip())
        return self._threads.get(key, "")


def decoded(body: str) -> dict[str, object]:
    """Return the body of a callback."""
    return as_object(msgspec.json.decode(body))  # composed by the engine: always JSON


def as_object(value: object) -> dict[str, object]:
    """Return a JSON object; an empty one for any other value."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _address(end: dict[str, str] | dict[str, object]) -> str:
    return str(end.get("number") or end.get("id") or "")
