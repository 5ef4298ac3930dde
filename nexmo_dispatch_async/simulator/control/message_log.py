"""The log of each message: its statuses and replies, collected from the records on demand.

It reads the history only in `catch_up()`, so that an unwatched simulator has no cost.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from nexmo_dispatch_async.simulator.callbacks.composer import address_of
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

_MOST_ATTEMPTS: Final = 500  # of one workflow
_CALLBACKS_PER_MESSAGE: Final = 5


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
        self._cleared = engine.history.cleared
        self._moments: dict[str, list[Moment]] = {}
        self._replies: dict[str, list[Reply]] = {}
        self._expired: dict[tuple[str, int], None] = {}
        self._reports: dict[str, CallbackAttempt] = {}
        # the message that a customer probably answers: the newest one between the two addresses
        self._threads: dict[tuple[str, str, str], str] = {}
        # the places of a workflow's callbacks in the history; the workflow of each callback, by number
        self._attempts: dict[str, list[int]] = {}
        self._subjects: dict[int, str] = {}

    def catch_up(self) -> None:
        """Read the records since the last call; forget what was cleared."""
        history = self._engine.history
        memories: list[tuple[dict[Any, Any], int]] = [
            (memory, self._keep)
            for memory in (
                self._moments,
                self._replies,
                self._expired,
                self._reports,
                self._threads,
                self._attempts,
            )
        ]
        memories.append((self._subjects, self._keep * _CALLBACKS_PER_MESSAGE))
        if history.cleared != self._cleared:
            self._cleared = history.cleared
            for memory, _ in memories:
                memory.clear()
        if history.total == self._seen:
            return
        fresh = history.since(self._seen)
        for place, record in enumerate(fresh, history.total - len(fresh) + 1):
            self._read(record, place)
        self._seen = history.total
        for memory, keep in memories:
            while len(memory) > keep:
                del memory[next(iter(memory))]

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

    def attempts(self, dispatch_uuid: str) -> list[int]:
        """Return the places in the history of the newest callback attempts of a workflow, oldest first."""
        return self._attempts.get(dispatch_uuid, [])

    def about(self, record: Record) -> str:
        """Return the dispatch_uuid of the workflow of a record, empty if there is none."""
        match record:
            case StepSent() | StepExpired() | StatusReached():
                return record.dispatch_uuid
            case CallbackAttempt():
                return self._subjects.get(record.number, "")
            case WorkflowEnded():
                return record.dispatch_uuid
            case _:
                return ""

    def _read(self, record: Record, place: int) -> None:
        match record:
            case StepSent():
                message = self._engine.messages.get(record.message_uuid)
                if message is not None:
                    step = message.step
                    key = (step.channel, address_of(step.sender), step.address.strip())
                    # the newest goes to the end, so that the oldest is forgotten
                    self._threads.pop(key, None)
                    self._threads[key] = record.message_uuid
            case StatusReached():
                moment = Moment(at_ms=record.at_ms, status=record.status, code=record.code)
                self._moments.setdefault(record.message_uuid, []).append(moment)
            case StepExpired():
                self._expired[record.dispatch_uuid, record.step] = None
            case CallbackAttempt():
                self._read_attempt(record, place)
            case _:
                pass

    def _read_attempt(self, record: CallbackAttempt, place: int) -> None:
        uuid = self._subjects.get(record.number)
        if uuid is None:
            uuid = self._subjects[record.number] = self._subject(record)
        if not uuid:
            return
        attempts = self._attempts.setdefault(uuid, [])
        attempts.append(place)
        del attempts[:-_MOST_ATTEMPTS]
        if record.kind == "final-report":
            self._reports[uuid] = record

    def _subject(self, record: CallbackAttempt) -> str:
        """Return the dispatch_uuid of the workflow of a callback; keep the text of a reply."""
        body = decoded(record.body)
        if record.kind == "final-report":
            return str(body.get("dispatch_uuid", ""))
        answered = self._threads.get(_thread(body), "")
        uuid = answered if record.kind == "inbound-message" else str(body.get("message_uuid"))
        if answered and record.kind == "inbound-message":
            reply = Reply(at_ms=record.at_ms, text=_text(body))
            self._replies.setdefault(answered, []).append(reply)
        message = self._engine.messages.get(uuid)
        if message is not None:
            return message.run.dispatch_uuid
        links = as_object(body.get("_links"))
        link = as_object(links.get("dispatch") or links.get("workflow"))
        return str(link.get("dispatch_uuid") or "")


def _thread(body: dict[str, object]) -> tuple[str, str, str]:
    """Return channel, business and customer of an inbound message, in v0.1 or in v1 (contract 5.5, 5.8)."""
    business, customer = body.get("to"), body.get("from")
    if isinstance(business, str):
        channel = str(body.get("channel"))
        channel = "viber_service_msg" if channel == "viber_service" else channel
        return channel, business, str(customer).strip()
    end, other = as_object(business), as_object(customer)
    return str(end.get("type")), _address(end), _address(other).strip()


def _text(body: dict[str, object]) -> str:
    content = as_object(as_object(body.get("message")).get("content")) or body
    text = content.get("text")
    return text if isinstance(text, str) else f"({content.get('type') or content.get('message_type')})"


def decoded(body: str) -> dict[str, object]:
    """Return the body of a callback."""
    return as_object(msgspec.json.decode(body))  # composed by the engine: always JSON


def as_object(value: object) -> dict[str, object]:
    """Return a JSON object; an empty one for any other value."""
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _address(end: dict[str, object]) -> str:
    return str(end.get("number") or end.get("id") or "")
