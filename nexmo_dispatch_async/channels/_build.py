"""Helpers of the channel modules, which build the parts of a step."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from msgspec import UNSET, UnsetType

from nexmo_dispatch_async.models.requests import (
    Address,
    Content,
    Custom,
    Media,
    Message,
    MessengerOptions,
    Parameter,
    Step,
    Template,
    TemplateBody,
    ViberOptions,
    WhatsAppOptions,
)
from nexmo_dispatch_async.models.several import is_sequence
from nexmo_dispatch_async.models.user_ids import is_user_id

T = TypeVar("T")


def given(value: T | None) -> T | UnsetType:
    """Return UNSET for None: the member is omitted from the JSON."""
    return UNSET if value is None else value


def number(channel: str, value: str) -> Address:
    """Build an address with a number in any spelling with its country code, or with the name of a sender."""
    return Address(type=channel, number=_spelt(value))


def identity(channel: str, value: str) -> Address:
    """Build an address with an id."""
    return Address(type=channel, id=_trim(value))


def person(value: str) -> Address:
    """Build a recipient on WhatsApp: a number, or the user id of a person who hides the number (5.5)."""
    address = number("whatsapp", value)
    return identity("whatsapp", value) if is_user_id(address.number) else address


def media(url: str, caption: str | None = None) -> Media:
    """Build a URL with an optional caption."""
    return Media(url=url, caption=given(caption))


def template(name: str, parameters: Sequence[str]) -> Template:
    """Build a template; its parameters become `{"default": …}` objects (contract 9.4)."""
    raw = cast("object", parameters)
    if not is_sequence(raw):
        # Iterating a text gives letters, a mapping keys, a set no order: it is kept, and lint() reports it.
        return Template(template=TemplateBody(name=name, parameters=cast("Any", raw)))
    values = tuple(Parameter(default=value) for value in parameters)
    return Template(template=TemplateBody(name=name, parameters=values or UNSET))


def custom(content: Mapping[str, Any]) -> Custom:
    """Build a custom object, passed unchanged to the channel's own API (contract 3.4.2)."""
    raw = cast("object", content)
    # Any value but a mapping is kept, and lint() reports it.
    return Custom(custom=dict(content) if isinstance(raw, Mapping) else cast("dict[str, Any]", content))


def step(
    content: Content,
    from_: Address,
    to: Address,
    client_ref: str | None,
    extra: Mapping[str, Any] | None,
    *,
    viber: ViberOptions | None = None,
    messenger: MessengerOptions | None = None,
    whatsapp: WhatsAppOptions | None = None,
) -> Step:
    """Build the step; an options object without members is omitted."""
    message = Message(
        content=content,
        viber_service_msg=UNSET if viber is None or viber == ViberOptions() else viber,
        messenger=UNSET if messenger is None or messenger == MessengerOptions() else messenger,
        whatsapp=UNSET if whatsapp is None or whatsapp == WhatsAppOptions() else whatsapp,
    )
    more = UNSET if extra is None or extra == {} else cast("dict[str, Any]", extra)
    return Step(from_=from_, to=to, message=message, client_ref=given(client_ref), extra=more)


def _trim(value: str) -> str:
    # The service neither trims nor refuses spaces around an address (contract 3.3).
    raw = cast("object", value)
    return raw.strip() if isinstance(raw, str) else value


def _spelt(value: str) -> str:
    raw = cast("object", value)
    if not isinstance(raw, str):
        return value
    # Digits alone, and the name of a sender, are the usual case, which needs no tables.
    if raw.isalnum() and raw[:2] != "00":
        return raw
    from nexmo_dispatch_async.phone_numbers.normalizer import as_digits

    return as_digits(raw)
