"""The data of the inbox: what is stored of an event, what waits, and what an operator sees.

It stores nothing and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Literal, get_args
from zlib import crc32

import msgspec

from nexmo_dispatch_webhooks.events import Event, FinalReport, InboundMessage, MessageStatus
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.signature import Claims
from nexmo_dispatch_webhooks.traces import own_words, trace

__all__ = [
    "STATES",
    "UNPARSABLE",
    "FailureTally",
    "HandlerGroup",
    "NewRecord",
    "PendingEvent",
    "Record",
    "RecordCounts",
    "RecordState",
    "StoredFailure",
    "make_record",
]

#: `pending`: to be handled; `quarantined`: set aside for a human; `handled`: done, kept for a while;
#: `forgotten`: the content is gone, the de-duplication key is still known.
RecordState = Literal["pending", "quarantined", "handled", "forgotten"]
STATES: tuple[RecordState, ...] = get_args(RecordState)
#: What shares places with what: the kind of an event, and the handlers that are to run.
HandlerGroup = tuple[str, ...]
#: The kind of an authentic body that is no JSON object.
UNPARSABLE = "unparsable"


class StoredFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A handler that failed in the last attempt, and with what class of exception."""

    handler: str
    error: str
    #: The message of the exception where this package wrote it; other messages may quote a customer.
    message: str = ""
    #: Where it was raised, outermost first: `file:line in function`. No argument and no variable.
    trace: tuple[str, ...] = ()

    @classmethod
    def of(cls, handler: str, error: BaseException) -> StoredFailure:
        """What is kept of an exception that a handler raised."""
        return cls(handler, type(error).__qualname__, own_words(error), trace(error))

    def __repr__(self) -> str:
        return f"Failure(handler={self.handler!r}, error={self.error!r})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [("handler", self.handler), ("error", self.error)]


class FailureTally(msgspec.Struct, frozen=True):
    """Records that failed alike, for people: those of one state and kind, one handler and one exception."""

    state: RecordState
    kind: str
    #: None for a body that could not be read, so that no handler ran.
    handler: str | None
    error: str | None
    count: int
    #: When the oldest of them arrived.
    oldest: datetime


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A stored event, for people: `list` gives it without the body, `show` with it."""

    id: int
    state: RecordState
    #: The kind of the event, or `unparsable`.
    kind: str
    received_at: datetime
    #: The path below the mount point.
    path: str
    #: Bytes of the body.
    size: int
    #: Attempts that failed.
    attempts: int = 0
    #: Handlers that succeeded and are not run again.
    done: tuple[str, ...] = ()
    failed: tuple[StoredFailure, ...] = ()
    #: When the next attempt is due, after a failed one.
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
    """How many records there are in the states that matter to somebody."""

    pending: int = 0
    quarantined: int = 0
    #: When the oldest pending one arrived, in epoch seconds.
    oldest: float | None = None


@dataclass(slots=True, eq=False)
class NewRecord:
    """What a store has to keep of a request; `event` and `context` only travel along in memory."""

    #: 16 bytes that are equal for two deliveries of one event of one account (contract 5.10).
    key: bytes
    #: Equal for the events of one conversation, which are handled in order.
    lane: int
    #: False for what goes to quarantine at once.
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


@dataclass(slots=True, eq=False)
class PendingEvent:
    """An event that waits to be handled, as the worker sees it.

    `event` is None when it has to be read from the store first: after a restart, or when many wait.
    """

    id: int
    lane: int
    #: Epoch seconds, as stored; nothing waits by them, since the wall clock may jump.
    received_at: float
    attempts: int = 0
    #: When the next attempt is due, in epoch seconds, as stored; 0 for at once.
    due: float = 0.0
    done: Sequence[str] = ()
    kind: str = ""
    event: Event | None = None
    context: Context | None = None
    #: While it runs; None before it is known, since only the event tells it.
    group: HandlerGroup | None = None
    #: On the monotonic clock of the inbox: since when it waits, at least, and when its next attempt is due.
    since: float = 0.0
    ready_at: float = 0.0


def make_record(request: RawRequest, context: Context, event: Event | None) -> NewRecord:
    """What to store of an authentic request; `event` is None for a body that is no JSON object."""
    received_at = context.timestamp or 0.0
    # what one account signs must not pass for an event of another
    account = () if context.claims is None else (context.claims.api_key,)
    if event is None:
        key = sha256(request.body + b"".join(b"\0" + _bytes(part) for part in account)).digest()[:16]
        kind, lane = UNPARSABLE, crc32(key)  # nobody knows whose it is: it waits for nobody
    else:
        kind, lane = event.kind, lane_of(event)
        parts = event.dedup_key + account
        name = "\0".join(parts)
        if name.count("\0") >= len(parts):  # an id holds a NUL: no two lists of parts may look the same
            name = repr(parts)
        key = blake2b(_bytes(name), digest_size=16).digest()
    return NewRecord(
        key,
        lane,
        event is not None,
        kind,
        received_at,
        request.path.encode("utf-8", "backslashreplace").decode(),  # a half surrogate cannot be stored
        b"" if context.claims is None else _encode(context.claims),
        request.body,
        event,
        context,
    )


def lane_of(event: Event) -> int:
    """The conversation of an event: its workflow, else its two addresses, else its message.

    A checksum: small to store and quick to make. That two conversations share one by chance does no harm,
    they only wait for each other.
    """
    name: str | None = None
    if isinstance(event, MessageStatus):
        workflow = None if event.workflow is None else event.workflow.id  # the v1 format (contract 5.8)
        name = event.dispatch_uuid or workflow or event.message_uuid
    elif isinstance(event, FinalReport):
        name = event.dispatch_uuid
    elif isinstance(event, InboundMessage):
        sender, own = event.from_, event.to.address
        # A person with a WhatsApp user id has it in every message, and the number in some (contract 5.5).
        customer = (event.channel == "whatsapp" and sender.id) or sender.address
        name = f"{event.channel}\0{customer}\0{own}" if customer else event.message_uuid
    name = "\0".join(event.dedup_key) if name is None else name.lower()
    return crc32(_bytes(name))


_encode = msgspec.json.Encoder().encode


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # half surrogates must not lose a message (contract 5.11)
