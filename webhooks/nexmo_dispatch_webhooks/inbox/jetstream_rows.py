"""Conversion between events with their states and messages in the streams of JetStream.

An event is one message, whose sequence is its id: `<space>.inbox.<key>.e`, or `.u` for a body that is no JSON
object. When its content is forgotten, `<space>.inbox.<key>.f.<id>` takes its place: so its key stays known.
States are in a key-value bucket: `open.<group>.<id>` after a failed attempt, `done.<group>.<id>` in the end;
the newest of the two counts, and an event without either is to be handled for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from nexmo_dispatch_core.jetstream.stream import Message, Shape
from nexmo_dispatch_webhooks.inbox.jetstream_settings import JetStreamSettings
from nexmo_dispatch_webhooks.inbox.records import (
    UNPARSABLE,
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.signature import Claims

__all__ = [
    "Ages",
    "Forgotten",
    "Handled",
    "Names",
    "OpenState",
    "Report",
    "StoredEvent",
    "counts_of",
    "forgotten_record",
    "new_record",
    "pending_event",
    "record_of",
    "tallies",
]

#: Ids of one group are listed together.
_GROUP: Final = 1000
#: The part of `max_bytes` that events may fill; the rest is for the keys of what is forgotten.
_FOR_EVENTS: Final = 0.9

_decode_claims = msgspec.json.Decoder(Claims).decode


class StoredEvent(msgspec.Struct, array_like=True, frozen=True):
    """The content of an event, as a message holds it."""

    kind: str
    lane: int
    received_at: float
    path: str
    claims: bytes
    body: bytes
    #: Both ages of the inbox at the arrival, see `InboxStore.age`.
    measured: float
    by_clock: float
    #: By which an attempt recognises its own message.
    mark: bytes


class Forgotten(msgspec.Struct, array_like=True, frozen=True):
    """What remains of an event without its content."""

    kind: str
    received_at: float
    measured: float


class OpenState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of an event after a failed attempt, or after an operator retried it."""

    kind: str
    lane: int
    received_at: float
    quarantined: bool = False
    attempts: int = 0
    due: float = 0.0
    done: tuple[str, ...] = ()
    failed: tuple[StoredFailure, ...] = ()


class Handled(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a handled event."""

    at: float
    attempts: int = 0
    done: tuple[str, ...] = ()


class Ages(msgspec.Struct, frozen=True):
    """Both ages of the inbox, and when time was added to them."""

    measured: float = 0.0
    by_clock: float = 0.0
    at: float | None = None


class Report(msgspec.Struct, frozen=True):
    """What the process that handles events tells the others with its lease.

    Attributes:
        floor: Ids up to this one are handled, have a state, or are forgotten.
        pending: Events that are to be handled.
        quarantined: Events that are left to an operator.
        oldest: When the oldest pending one arrived.
        retrying: Pending events between two attempts.
    """

    floor: int = 0
    pending: int = 0
    quarantined: int = 0
    oldest: float | None = None
    retrying: int = 0


class Names:
    """The names of streams and subjects of one space."""

    def __init__(self, space: str) -> None:
        self.events: str = f"{space}_inbox"
        self._events = f"{space}.inbox"
        self.states: str = f"KV_{space}_inbox"
        self._states = f"$KV.{space}_inbox"
        #: All events with their content.
        self.contents: str = f"{self._events}.*.*"
        #: Those that are no JSON objects, and those whose content is forgotten.
        self.unparsable: str = f"{self._events}.*.u"
        self.forgotten: str = f"{self._events}.*.f.*"
        #: States.
        self.all_open: str = f"{self._states}.open.*.*"
        self.all_done: str = f"{self._states}.done.*.*"
        #: Single keys of the bucket.
        self.lease: str = f"{self._states}.lease"
        self.ages: str = f"{self._states}.ages"
        self.retried: str = f"{self._states}.retried"
        #: Hints, which are not stored.
        self.hints: str = f"{space}.hints.inbox"

    def shapes(self, settings: JetStreamSettings) -> tuple[Shape, Shape]:
        """Return what the two streams are to be."""
        most = -1 if settings.max_bytes is None else int(settings.max_bytes / _FOR_EVENTS)
        return (
            Shape(
                self.events, (f"{self._events}.>",), replicas=settings.replicas, max_bytes=most, single=False
            ),
            Shape(self.states, (f"{self._states}.>",), replicas=settings.replicas),
        )

    def event(self, record: NewRecord) -> tuple[str, str]:
        """Return the subject of a new event, and the filter that finds all of its key."""
        key = f"{self._events}.{record.key.hex()}"
        return f"{key}.{'e' if record.parsable else 'u'}", f"{key}.>"

    def tombstone(self, message: Message) -> str:
        """Return the subject that takes the place of an event."""
        return f"{message.subject.rpartition('.')[0]}.f.{message.seq}"

    def tombstone_of(self, record_id: int) -> str:
        """Return the filter that finds what remains of an event."""
        return f"{self._events}.*.f.{record_id}"

    def open(self, record_id: int) -> str:
        """Return the key of the state after a failed attempt."""
        return f"{self._states}.open.{record_id // _GROUP}.{record_id}"

    def done(self, record_id: int) -> str:
        """Return the key of the state in the end."""
        return f"{self._states}.done.{record_id // _GROUP}.{record_id}"

    def state(self, record_id: int) -> str:
        """Return the filter that finds the newest state."""
        return f"{self._states}.*.{record_id // _GROUP}.{record_id}"

    def done_groups(self, first: int, last: int) -> list[str]:
        """Return filters that find which of a range of ids are handled."""
        return [f"{self._states}.done.{n}.*" for n in range(first // _GROUP, last // _GROUP + 1)]


def has_content(message: Message | None) -> bool:
    """Return whether a message is an event, and not what remains of one."""
    return message is not None and message.subject.endswith((".e", ".u"))


def id_of(subject: str) -> int:
    """Return the id at the end of a subject."""
    return int(subject.rpartition(".")[2])


def encoded(record: NewRecord, ages: Ages, mark: bytes) -> bytes:
    """Return the message of a new event."""
    return msgspec.msgpack.encode(
        StoredEvent(
            record.kind,
            record.lane,
            record.received_at,
            record.path,
            record.claims,
            record.body,
            ages.measured,
            ages.by_clock,
            mark,
        )
    )


event_in: Callable[[bytes], StoredEvent] = msgspec.msgpack.Decoder(StoredEvent).decode
forgotten_in: Callable[[bytes], Forgotten] = msgspec.msgpack.Decoder(Forgotten).decode
ages_in: Callable[[bytes], Ages] = msgspec.json.Decoder(Ages).decode
report_in: Callable[[bytes], Report | None] = msgspec.json.Decoder(Report | None).decode
_open_in: Callable[[bytes], OpenState] = msgspec.json.Decoder(OpenState).decode
_handled_in: Callable[[bytes], Handled] = msgspec.json.Decoder(Handled).decode


def state_in(message: Message | None, event: StoredEvent) -> OpenState | Handled:
    """Return the state of an event, from its newest state message."""
    if message is None:
        return OpenState(event.kind, event.lane, event.received_at, quarantined=event.kind == UNPARSABLE)
    if ".done." in message.subject:
        return _handled_in(message.data)
    return _open_in(message.data)


def open_in(message: Message | None) -> OpenState | None:
    """Return the state in a message; None for a handled event."""
    if message is None or ".done." in message.subject:
        return None
    return _open_in(message.data)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _claims(stored: bytes) -> Claims | None:
    try:
        return _decode_claims(stored) if stored else None
    except msgspec.DecodeError:  # of another version; the event is more important
        return None


def record_of(record_id: int, event: StoredEvent, state: OpenState | Handled, *, body: bool) -> Record:
    """Return an event with its state."""
    shared: dict[str, Any] = {  # Any: fields of Record
        "id": record_id,
        "kind": event.kind,
        "received_at": _moment(event.received_at),
        "path": event.path,
        "size": len(event.body),
        "claims": _claims(event.claims),
        "body": event.body if body else None,
    }
    if isinstance(state, Handled):
        return Record(
            state="handled",
            finished_at=_moment(state.at),
            attempts=state.attempts,
            done=state.done,
            **shared,
        )
    found: RecordState = "quarantined" if state.quarantined else "pending"
    return Record(
        state=found,
        attempts=state.attempts,
        done=state.done,
        failed=state.failed,
        next_attempt_at=_moment(state.due) if state.due else None,
        **shared,
    )


def forgotten_record(message: Message) -> Record:
    """Return what remains of an event."""
    kept = forgotten_in(message.data)
    return Record(
        id=id_of(message.subject),
        state="forgotten",
        kind=kept.kind,
        received_at=_moment(kept.received_at),
        path="",
        size=0,
    )


def pending_event(record_id: int, state: OpenState) -> PendingEvent:
    """Return a pending event as the scheduler sees it."""
    return PendingEvent(
        record_id, state.lane, state.received_at, state.attempts, state.due, state.done, state.kind
    )


def new_record(key: str, event: StoredEvent) -> NewRecord:
    """Return the record of an event that another process stored; the scheduler parses its body."""
    context = Context(event.path, event.received_at, _claims(event.claims))
    return NewRecord(
        bytes.fromhex(key),
        event.lane,
        True,
        event.kind,
        event.received_at,
        event.path,
        event.claims,
        event.body,
        None,
        context,
    )


def counts_of(states: Iterable[OpenState]) -> RecordCounts:
    """Count the states of pending and quarantined events, which come in the order of the ids."""
    found = list(states)
    pending = [one for one in found if not one.quarantined]
    oldest = pending[0].received_at if pending else None
    retrying = sum(one.due > 0 for one in pending)
    return RecordCounts(len(pending), len(found) - len(pending), oldest, retrying)


def tallies(states: Iterable[OpenState]) -> list[FailureTally]:
    """Count failures by state, kind, handler and error."""
    moments: dict[tuple[RecordState, str, str | None, str | None], list[float]] = {}
    for one in states:
        state: RecordState = "quarantined" if one.quarantined else "pending"
        names: list[tuple[str | None, str | None]] = [
            (failure.handler, failure.error) for failure in one.failed
        ]
        if one.quarantined and not names:
            names = [(None, None)]
        for handler, error in names:
            moments.setdefault((state, one.kind, handler, error), []).append(one.received_at)
    return [FailureTally(*key, len(found), _moment(min(found))) for key, found in moments.items()]
