"""The typed events: message-status, inbound-message, final-report, and unknown objects.

It holds data only; `parsing` reads bodies into it. Every event keeps its whole `raw` record, and no
`repr` shows a text, a number, an address or a reference.

Values that are enumerations stay text, because the service may add some: known ones are in the
spelling of the contract (lower case), unknown ones as they came, trimmed (contract 5.11).
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from msgspec import Struct

from nexmo_dispatch_core.vocabulary import FAILED_STATUSES, TERMINAL_STATUSES, ErrorClass, classify_error

__all__ = [
    "Address",
    "AudioContent",
    "ButtonContent",
    "Content",
    "Event",
    "FileContent",
    "FinalReport",
    "ImageContent",
    "InboundMessage",
    "Kind",
    "LocationContent",
    "MessageError",
    "MessageStatus",
    "ReplyContent",
    "ReportedMessage",
    "TextContent",
    "UnknownContent",
    "UnknownEvent",
    "UnsupportedContent",
    "Usage",
    "VideoContent",
    "WhatsAppUser",
    "WorkflowPosition",
]

Kind = Literal["message-status", "inbound-message", "final-report", "unknown"]

JSONObject = dict[str, Any]


# gc=False, here and for the structs of a request and a record: none contains itself, so reference counts free
# all of them, and the garbage collector, which runs after a number of new objects, runs less often.
class _Quiet(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A struct whose `repr` shows only the fields named in `_shown`."""

    _shown: ClassVar[tuple[str, ...]] = ()

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        values = ((name, getattr(self, name)) for name in self._shown)
        return [(name, value) for name, value in values if value is not None and value != ()]

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"


class Address(_Quiet, frozen=True):
    """One end of a message: the channel as `type`, and a `number`, an `id`, or both (contract 5.5.1).

    On WhatsApp an `id` is a user id, such as `NL.13491208655302741918`: of a person who hides the number, or
    beside the number (contract 5.5).
    """

    _shown = ("type",)

    type: str
    number: str | None = None
    id: str | None = None
    #: True where the tables 3.3 and 5.5.1 name this end by `id`: Messenger, and your own end on Viber.
    by_id: bool = False

    @property
    def address(self) -> str | None:
        """The one of `number` and `id` that the channel uses, else the other one."""
        return (self.id or self.number) if self.by_id else (self.number or self.id)


class Usage(_Quiet, frozen=True):
    """A price. `price` is None when it is missing or unreadable, never zero for it (contract 5.11)."""

    _shown = ("price", "currency")

    price: Decimal | None = None
    currency: str | None = None


class WhatsAppUser(_Quiet, frozen=True):
    """The customer as `whatsapp.sender` and `whatsapp.recipient` name them, who may hide the number.

    Attributes:
        user_id: Two letters, a point, letters and digits.
        parent_user_id: The same person for all businesses of one group.
        wa_id: The number, where it is known (contract 5.5).
    """

    user_id: str | None = None
    parent_user_id: str | None = None
    wa_id: str | None = None


class MessageError(_Quiet, frozen=True):
    """Why a message failed, from any of the three shapes of contract 5.6."""

    _shown = ("code", "error_class")

    code: int | None = None
    reason: str | None = None

    @property
    def error_class(self) -> ErrorClass:
        """`temporary`, `permanent`, `configuration`, `request` or `unknown` (contract 6.1)."""
        return classify_error(self.code)


class WorkflowPosition(_Quiet, frozen=True):
    """`workflow` of a v1-format status: which of how many items this message is (contract 5.8)."""

    _shown = ("id", "items_number", "items_total")

    id: str | None = None
    items_number: int | None = None
    items_total: int | None = None


class TextContent(_Quiet, frozen=True):
    """A text as the customer wrote it; it may hold half surrogates (contract 5.11)."""

    type: ClassVar[str] = "text"
    text: str


class _Media(_Quiet, frozen=True):
    """Media by URL, usable for 48 hours (contract 5.5.2)."""

    url: str | None = None
    caption: str | None = None
    name: str | None = None


class ImageContent(_Media, frozen=True):
    """An image."""

    type: ClassVar[str] = "image"


class AudioContent(_Media, frozen=True):
    """A sound."""

    type: ClassVar[str] = "audio"


class VideoContent(_Media, frozen=True):
    """A video."""

    type: ClassVar[str] = "video"


class FileContent(_Media, frozen=True):
    """A document."""

    type: ClassVar[str] = "file"


class LocationContent(_Quiet, frozen=True):
    """A place. Coordinates are None when unreadable; `raw` is the object as it came (contract 9.9)."""

    type: ClassVar[str] = "location"
    latitude: float | None = None
    longitude: float | None = None
    name: str | None = None
    address: str | None = None
    url: str | None = None
    raw: Any = None


class ButtonContent(_Quiet, frozen=True):
    """A tap on a quick-reply button of WhatsApp, or the answer to a WhatsApp Flow (contract 5.5.2).

    Attributes:
        payload: The payload of the button in the sent message; None for a Flow.
        text: The label of the button.
        flow: The values that the customer filled in, by field of the Flow; None for a button.
        subtype: `flow` for a Flow.
    """

    type: ClassVar[str] = "button"
    payload: str | None = None
    text: str | None = None
    flow: JSONObject | None = None
    subtype: str | None = None


class ReplyContent(_Quiet, frozen=True):
    """A choice from a list or of a button, in the v1 format only."""

    type: ClassVar[str] = "reply"
    id: str | None = None
    title: str | None = None
    description: str | None = None


class UnsupportedContent(_Quiet, frozen=True):
    """A message of a type that the service does not forward."""

    type: ClassVar[str] = "unsupported"


class UnknownContent(_Quiet, frozen=True):
    """A content type that the contract does not name for inbound messages; `raw` is the whole object."""

    _shown = ("type",)

    type: str
    raw: Any = None


Content = (
    TextContent
    | ImageContent
    | AudioContent
    | VideoContent
    | FileContent
    | LocationContent
    | ButtonContent
    | ReplyContent
    | UnsupportedContent
    | UnknownContent
)


class _Event(_Quiet, frozen=True):
    """The members of all events."""

    kind: ClassVar[Kind]

    @property
    def dedup_key(self) -> tuple[str, ...]:
        """Equal for two deliveries of the same event (contract 5.10); ids compare without case (5.11)."""
        raise NotImplementedError

    def __hash__(self) -> int:
        return hash(self.dedup_key)


class MessageStatus(_Event, frozen=True):
    """The state of one message (contract 5.2, and 5.8 for the v1 format)."""

    kind: ClassVar[Kind] = "message-status"
    _shown = ("status", "channel", "message_uuid", "dispatch_uuid", "timestamp", "error")

    message_uuid: str
    status: str
    channel: str
    from_: Address
    to: Address
    timestamp: datetime | None = None
    timestamp_raw: str | None = None
    #: In both formats; None for a message that is not part of a workflow.
    dispatch_uuid: str | None = None
    error: MessageError | None = None
    usage: Usage | None = None
    client_ref: str | None = None
    workflow: WorkflowPosition | None = None
    #: WhatsApp: the ids of a customer, who may hide the number; `to` has the address for a reply.
    whatsapp_user: WhatsAppUser | None = None
    #: Tolerated oddities, by place, without values; empty for a body that keeps the contract.
    oddities: tuple[str, ...] = ()
    raw: JSONObject = {}

    @property
    def recipient(self) -> str | None:
        """The customer's number, or the id where there is none, whatever the shape of the body."""
        return self.to.address

    @property
    def is_final(self) -> bool:
        """Whether the status ends the message; an unknown one does not (contract 5.3)."""
        return self.status in TERMINAL_STATUSES

    @property
    def is_failed(self) -> bool:
        """Whether the message was rejected or undeliverable."""
        return self.status in FAILED_STATUSES

    @property
    def dedup_key(self) -> tuple[str, ...]:
        """Kind and ids; contract 5.10."""
        return (self.kind, self.message_uuid.lower(), self.status.lower())

    def __hash__(self) -> int:
        return hash(self.dedup_key)


class InboundMessage(_Event, frozen=True):
    """A message from a customer (contract 5.5, and 5.8 for the v1 format)."""

    kind: ClassVar[Kind] = "inbound-message"
    _shown = ("channel", "content", "message_uuid", "timestamp")

    message_uuid: str
    channel: str
    from_: Address
    to: Address
    content: Content
    timestamp: datetime | None = None
    timestamp_raw: str | None = None
    usage: Usage | None = None
    client_ref: str | None = None
    #: SMS: how many parts were joined, and the first word in upper case.
    num_messages: int | None = None
    keyword: str | None = None
    #: v1 format: the name that the customer shows, and the message that this one answers.
    profile_name: str | None = None
    reply_to: str | None = None
    #: WhatsApp: the name that the customer chose instead of a number, and the ids (contract 5.5).
    profile_username: str | None = None
    whatsapp_user: WhatsAppUser | None = None
    oddities: tuple[str, ...] = ()
    raw: JSONObject = {}

    @property
    def sender(self) -> str | None:
        """The customer's number, or the id where there is none, whatever the shape of the body.

        It is what to answer to: `whatsapp.text(…, to=event.sender)`. None when the body names no sender.
        """
        return self.from_.address

    @property
    def text(self) -> str | None:
        """The words of a text or of a button, else None."""
        return self.content.text if isinstance(self.content, TextContent | ButtonContent) else None

    @property
    def dedup_key(self) -> tuple[str, ...]:
        """Kind and ids; contract 5.10."""
        return (self.kind, self.message_uuid.lower())

    def __hash__(self) -> int:
        return hash(self.dedup_key)


class ReportedMessage(_Quiet, frozen=True):
    """One attempted message in a final report; its status may still change later (contract 5.4)."""

    _shown = ("message_uuid", "channel", "status", "usage")

    message_uuid: str | None = None
    channel: str | None = None
    status: str | None = None
    usage: Usage | None = None
    href: str | None = None


class FinalReport(_Event, frozen=True):
    """The end of a workflow (contract 5.4). Every member may be missing.

    `usage` is the total with the workflow fee, so it is not the sum over `messages`.
    """

    kind: ClassVar[Kind] = "final-report"
    _shown = ("status", "dispatch_uuid", "messages", "usage", "timestamp")

    dispatch_uuid: str | None = None
    status: str | None = None
    template: str | None = None
    timestamp: datetime | None = None
    timestamp_raw: str | None = None
    usage: Usage | None = None
    messages: tuple[ReportedMessage, ...] = ()
    oddities: tuple[str, ...] = ()
    raw: JSONObject = {}

    @property
    def dedup_key(self) -> tuple[str, ...]:
        """Kind, workflow and status; contract 5.10."""
        if self.dispatch_uuid is None:  # the workflow is unknown, so only equal bodies are equal
            return (self.kind, _digest(self.raw))
        return (self.kind, self.dispatch_uuid.lower(), (self.status or "").lower())

    def __hash__(self) -> int:
        return hash(self.dedup_key)


class UnknownEvent(_Event, frozen=True):
    """A JSON object that fits no kind: kept, acknowledged with 200 and passed to `@router.unknown()`."""

    kind: ClassVar[Kind] = "unknown"

    raw: JSONObject = {}
    oddities: tuple[str, ...] = ()

    @property
    def dedup_key(self) -> tuple[str, ...]:
        """Kind and ids; contract 5.10."""
        return (self.kind, _digest(self.raw))

    def __hash__(self) -> int:
        return hash(self.dedup_key)


Event = MessageStatus | InboundMessage | FinalReport | UnknownEvent


def _digest(raw: JSONObject) -> str:
    """Return a digest of an object, independent of member order; ASCII escapes keep half surrogates."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True).encode()).hexdigest()
