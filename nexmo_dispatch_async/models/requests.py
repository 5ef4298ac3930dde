"""The body of `POST /dispatch`, as typed structs with the API's own field names (contract 3).

It does not judge values: `nexmo_dispatch_async.rules` does. A field that was not given is `UNSET` and is
absent from the JSON, so there are never nulls or invented members. What lenient senders write (numbers as
JSON integers, template parameters as plain strings, "600") is kept as it is, so that reading and writing
gives an equal JSON value (contract 3.3, 3.5, 9.4).
"""

from datetime import timedelta
from typing import Any, ClassVar, Literal, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from nexmo_dispatch_async.models.extras import encode, place_extra
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_async.models.structure import decode

__all__ = [
    "Address",
    "Audio",
    "Content",
    "Custom",
    "Failover",
    "File",
    "Image",
    "Link",
    "Media",
    "Message",
    "MessengerOptions",
    "Parameter",
    "Step",
    "Template",
    "TemplateBody",
    "Text",
    "ViberOptions",
    "Video",
    "WhatsAppOptions",
]


class _Wire(AsShown, Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the request structs; their `repr` shows which fields are set, but not the values.

    Attributes:
        extra: Members that this package does not know, sent as they are (contract 9.30).
    """

    # Classes of optional members, which are created if `extra` has members for them.
    _empty: ClassVar[dict[str, type[Struct]]] = {}

    extra: dict[str, Any] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.extra is not UNSET:
            place_extra(self, self._empty)

    def __repr__(self) -> str:
        names = [name for name in self.__struct_fields__ if getattr(self, name) is not UNSET]
        return f"{type(self).__name__}({', '.join(names)})"


class Address(_Wire, frozen=True):
    """A sender or recipient: the channel, and a `number` or an `id` (contract 3.3)."""

    type: str
    number: str | int | UnsetType = UNSET
    id: str | int | UnsetType = UNSET


class Link(_Wire, frozen=True):
    """URL of audio or video (contract 3.4.2)."""

    url: str


class Media(_Wire, frozen=True):
    """URL and caption of an image or a file (contract 3.4.2)."""

    url: str
    caption: str | UnsetType = UNSET


class Parameter(_Wire, frozen=True):
    """One positional template parameter: the first fills `{{1}}` (contract 7.1)."""

    default: str


class TemplateBody(_Wire, frozen=True):
    """A template's name, `namespace:name` on WhatsApp, and its parameters (contract 3.4.2)."""

    name: str
    parameters: tuple[Parameter | str, ...] | UnsetType = UNSET


class Text(_Wire, frozen=True, tag_field="type", tag="text"):
    """Text content."""

    text: str


class Image(_Wire, frozen=True, tag_field="type", tag="image"):
    """An image by URL."""

    image: Media


class Audio(_Wire, frozen=True, tag_field="type", tag="audio"):
    """Audio by URL."""

    audio: Link


class Video(_Wire, frozen=True, tag_field="type", tag="video"):
    """A video by URL."""

    video: Link


class File(_Wire, frozen=True, tag_field="type", tag="file"):
    """A file by URL."""

    file: Media


class Template(_Wire, frozen=True, tag_field="type", tag="template"):
    """A message template (MTM, formerly HSM)."""

    template: TemplateBody


class Custom(_Wire, frozen=True, tag_field="type", tag="custom"):
    """An object that the service passes unchanged to the channel's own API."""

    custom: dict[str, Any]


Content = Text | Image | Audio | Video | File | Template | Custom


class ViberOptions(_Wire, frozen=True):
    """Options of Viber Service Messages (contract 3.4.3)."""

    category: str | UnsetType = UNSET
    ttl: int | UnsetType = UNSET
    type: str | UnsetType = UNSET


class MessengerOptions(_Wire, frozen=True):
    """Options of Facebook Messenger (contract 3.4.3)."""

    category: str | UnsetType = UNSET
    tag: str | UnsetType = UNSET


class WhatsAppOptions(_Wire, frozen=True):
    """Options of WhatsApp (contract 3.4.3)."""

    policy: str | UnsetType = UNSET
    locale: str | UnsetType = UNSET


class Message(_Wire, frozen=True):
    """The content and the options of the channel (contract 3.4)."""

    content: Content
    viber_service_msg: ViberOptions | UnsetType = UNSET
    messenger: MessengerOptions | UnsetType = UNSET
    whatsapp: WhatsAppOptions | UnsetType = UNSET

    _empty: ClassVar[dict[str, type[Struct]]] = {
        "viber_service_msg": ViberOptions,
        "messenger": MessengerOptions,
        "whatsapp": WhatsAppOptions,
    }


class Failover(_Wire, frozen=True):
    """Condition of the failover: `condition_status` is not reached within `expiry_time` (contract 3.5)."""

    expiry_time: int | str
    condition_status: str


class Step(_Wire, frozen=True):
    """One message of a workflow (contract 3.2). The channel modules build it, for example `sms.text(...)`."""

    from_: Address = field(name="from")
    to: Address
    message: Message
    failover: Failover | UnsetType = UNSET
    client_ref: str | UnsetType = UNSET

    @property
    def channel(self) -> str:
        """The channel of the recipient: `sms`, `mms`, `whatsapp`, `viber_service_msg` or `messenger`."""
        return self.to.type

    def until(self, status: Literal["delivered", "read"], *, within: float | timedelta) -> "Step":
        """Fail over to the next step unless the message reaches a status in time (contract 3.5).

        Args:
            status: `delivered`, or `read` on channels that report it (WhatsApp, Viber, Messenger).
            within: Seconds, or a timedelta; the service takes whole seconds from 15 to 86400.

        Returns:
            A copy of this step with that condition. The last step of a workflow must have none.
        """
        expiry = cast("object", within.total_seconds() if isinstance(within, timedelta) else within)
        if isinstance(expiry, float) and expiry.is_integer():
            expiry = int(expiry)
        # Other values are kept, so that lint() reports them with the other problems.
        condition = Failover(expiry_time=cast("int", expiry), condition_status=status)
        return msgspec.structs.replace(self, failover=condition)

    @classmethod
    def from_json(cls, data: bytes | str, *, extra: bool = False) -> "Step":
        """Read one bare step, `{"from": …, "to": …, "message": …}` (contract 9.1).

        Args:
            data: The JSON.
            extra: Keep members that this package does not know instead of refusing them (contract 9.30).

        Raises:
            InvalidWorkflowError: The JSON is malformed or has another shape; every problem is named.
        """
        return decode(data, cls, extra=extra)

    def to_json(self) -> bytes:
        """Return this step alone as JSON."""
        return encode(self)

    def __repr__(self) -> str:
        return f"<Step {describe(self)}>"


def describe(step: object) -> str:
    """Describe a step without numbers or texts, for example `whatsapp text until read within 600 s`."""
    # An unchecked step may have any value, and a repr must not raise.
    content: object = getattr(getattr(step, "message", None), "content", None)
    failover: object = getattr(step, "failover", None)
    words = [_word(getattr(getattr(step, "to", None), "type", None))]
    words.append(type(content).__name__.lower() if isinstance(content, Struct) else "?")
    if isinstance(failover, Failover):
        words.append(f"until {_word(failover.condition_status)} within {_word(failover.expiry_time)} s")
    return " ".join(words)


def _word(value: object) -> str:
    """Return an identifier or a small number as text, `?` for any other value."""
    if isinstance(value, int):
        return str(value) if abs(value) < 1_000_000 else "?"
    known = {"sms", "mms", "whatsapp", "viber_service_msg", "messenger", "delivered", "read"}
    return value if isinstance(value, str) and value in known else "?"
