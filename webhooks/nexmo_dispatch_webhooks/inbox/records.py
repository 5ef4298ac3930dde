"""The data of the inbox: what is stored of an event, what the scheduler holds, and what an operator sees.

It stores nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Literal, get_args
from zlib import crc32

import msgspec

from nexmo_dispatch_webhooks.events import Event, FinalReport, InboundMessage, MessageStatus
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.safe_traces import own_words, trace
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.signature import Claims

__all__ = [
    "STATES",
    "UNPARSABLE",
    "FailureTally",
    "HandlerGroup",
    "InboxHealth",
    "NewRecord",
    "PendingEvent",
    "Record",
    "RecordCounts",
    "RecordState",
    "StoredFailure",
    "make_record",
]

#: `pending`: to be handled; `quarantined`: left to an operator; `handled`: done, and kept for some time;
#: `forgotten`: the content is deleted, the de-duplication key remains.
RecordState = Literal["pending", "quarantined", "handled", "forgotten"]
STATES: tuple[RecordState, ...] = get_args(RecordState)
#: Events that share places: the kind of an event, and the names of the handlers that are to run.
HandlerGroup = tuple[str, ...]
#: The kind of an authentic body that is no JSON object.
UNPARSABLE = "unparsable"


class StoredFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A handler that failed in the last attempt, with the class of its exception."""

    handler: str
    error: str
    #: The message of an exception of this package; other messages may quote a customer.
    message: str = ""
    #: Where it was raised, outermost first: `file:line in function`, without arguments and variables.
    trace: tuple[str, ...] = ()

    @classmethod
    def of(cls, handler: str, error: BaseException) -> StoredFailure:
        """Return the storable part of an exception that a handler raised."""
        return cls(handler, type(error).__qualname__, own_words(error), trace(error))

    def __repr__(self) -> str:
        return f"Failure(handler={self.handler!r}, error={self.error!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("handler", self.handler), ("error", self.error)]


class FailureTally(msgspec.Struct, frozen=True):
    """The number of records of one state and kind in which one handler raised one class of exception."""

    state: RecordState
    kind: str
    #: None for a body that could not be read, so that no handler ran.
    handler: str | None
    error: str | None
    count: int
    #: When the oldest record arrived.
    oldest: datetime


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event, for operators: `list` returns it without the body, `show` with the body."""

    id: int
    state: RecordState
    #: The kind of the event, or `unparsable`.
    kind: str
    received_at: datetime
    #: The path below the mount point.
    path: str
    #: Bytes of the body.
    size: int
    #: Number of failed attempts.
    attempts: int = 0
    #: Names of the handlers that succeeded, which are not run again.
    done: tuple[str, ...] = ()
    failed: tuple[StoredFailure, ...] = ()
    #: When the next attempt is due; None before the first failure.
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None
    claims: Claims | None = None
    body: bytes | None = None

    def __repr__(self) -> str:
        return (
            f"Record(id={self.id}, state={self.state!r}, kind={self.kind!r}, size={self.size}, "
            f"attempts={self.attempts}, failed={self.failed!r})"
        )

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for name in ("id", "state", "kind", "size", "attempts", "failed")]


class RecordCounts(msgspec.Struct, frozen=True):
    """The numbers of pending and quarantined records."""

    pending: int = 0
    quarantined: int = 0
    #: When the oldest pending record arrived, in epoch seconds.
    oldest: float | None = None
    #: Pending records that wait for their next attempt, as far as the store counts them.
    retrying: int = 0


class InboxHealth(msgspec.Struct, frozen=True):
    """The state and the numbers of an inbox; without personal data."""

    #: `running`; `standby`: stores, while another process handles; `draining`; `closed`; `failed`: a bug.
    state: str
    #: False when the last attempt to store failed, and for ten seconds after each that found no room.
    storing: bool
    #: Pending events, including those that wait for another attempt.
    pending: int
    retrying: int
    #: Seconds since the oldest pending event arrived.
    lag: float
    #: Quarantined events, including those of earlier runs.
    quarantined: int
    #: Since the start: duplicates, and events that no handler matched.
    duplicates: int
    unhandled: int
    #: True while `max_pending` events are pending, so that further events are refused.
    full: bool
    #: Since the start: events that could not be stored, and were answered with 503.
    not_stored: int = 0

    @property
    def ready(self) -> bool:
        """Whether new events can be stored."""
        return self.storing and not self.full and self.state in {"running", "standby"}


class NewRecord(msgspec.Struct, eq=False, gc=False):
    """What a store keeps of a request; `event` and `context` stay in memory."""

    #: 16 bytes, equal for two deliveries of one event of one account (contract 5.10).
    key: bytes
    #: Equal for the events of one conversation, which are handled in order.
    lane: int
    #: False for a body that is quarantined at once.
    parsable: bool
    kind: str
    received_at: float
    path: str
    claims: bytes
    body: bytes
    event: Event | None
    context: Context

    def __repr__(self) -> str:
        return f"NewRecord(kind={self.kind!r}, {len(self.body)} bytes)"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("kind", self.kind), ("size", len(self.body))]


class PendingEvent(msgspec.Struct, eq=False, gc=False):
    """A pending event, as the scheduler sees it.

    `event` is None when it has to be read from the store: after a restart, or when many events are pending.
    """

    id: int
    lane: int
    #: Epoch seconds, as stored; no wait uses them, since the wall clock may jump.
    received_at: float
    attempts: int = 0
    #: When the next attempt is due, in epoch seconds, as stored; 0 for at once.
    due: float = 0.0
    done: Sequence[str] = ()
    kind: str = ""
    event: Event | None = None
    context: Context | None = None
    #: Set while the event is handled; None before the event is read.
    group: HandlerGroup | None = None
    #: On the monotonic clock: since when the event waits, at least, and when its next attempt is due.
    since: float = 0.0
    ready_at: float = 0.0
    #: Proves to a shared store which claim a result is of; 0 where one process handles all events.
    token: int = 0
    #: What a shared store handed out together with the claim.
    content: Record | None = None


def make_record(request: RawRequest, context: Context, event: Event | None) -> NewRecord:
    """Make the record of an authentic request; `event` is None for a body that is no JSON object."""
    received_at = context.timestamp or 0.0
    # an event that one account signed must not count as an event of another account
    account = () if context.claims is None else (context.claims.api_key,)
    if event is None:
        key = sha256(request.body + b"".join(b"\0" + _bytes(part) for part in account)).digest()[:16]
        kind, lane = UNPARSABLE, crc32(key)  # no conversation can be identified, so it gets a lane of its own
    else:
        kind, lane = event.kind, lane_of(event)
        parts = event.dedup_key + account
        name = "\0".join(parts)
        if name.count("\0") >= len(parts):  # an id holds a NUL: two lists of parts must not become one name
            name = repr(parts)
        key = blake2b(_bytes(name), digest_size=16).digest()
    return NewRecord(
        key,
        lane,
        event is not None,
        kind,
        received_at,
        # half surrogates cannot be stored
        path if (path := request.path).isascii() else path.encode("utf-8", "backslashreplace").decode(),
        b"" if context.claims is None else _encode(context.claims),
        request.body,
        event,
        context,
    )


def lane_of(event: Event) -> int:
    """Return the lane of an event's conversation: its workflow, else its two addresses, else its message.

    The lane is a checksum, small to store and quick to compute. Two conversations may share a lane by chance;
    then their events wait for each other.
    """
    name: str | None = None
    if isinstance(event, MessageStatus):
        name = event.dispatch_uuid or event.message_uuid
    elif isinstance(event, FinalReport):
        name = event.dispatch_uuid
    elif isinstance(event, InboundMessage):
        sender, own = event.from_, event.to.address
        # A customer with a WhatsApp user id has it in every message, and the number in some (contract 5.5).
        customer = (event.channel == "whatsapp" and sender.id) or sender.address
        name = f"{event.channel}\0{customer}\0{own}" if customer else event.message_uuid
    name = "\0".join(event.dedup_key) if name is None else name.lower()
    return crc32(_bytes(name))


_encode = msgspec.json.Encoder().encode


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half surrogates must not lose a message (contract 5.11)
