"""The usual message-status, read in one step by a typed decoder: most callbacks look exactly like it.

It reads nothing that is odd: whatever departs from the documented form gives None, and `parsing` reads it
with every tolerance. Both give the same event for the same body; a test compares them.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.decoding import to_decimal
from nexmo_dispatch_webhooks.events.timestamps import parse_timestamp

__all__ = ["read_usual_status"]


class _Address(Struct, forbid_unknown_fields=True):
    type: Literal["sms", "mms", "whatsapp", "viber_service_msg", "messenger"]
    number: str | UnsetType = UNSET
    id: str | UnsetType = UNSET


class _Usage(Struct, forbid_unknown_fields=True):
    price: str
    currency: Literal["EUR"]


class _Link(Struct, forbid_unknown_fields=True):
    dispatch_uuid: str
    href: str = ""


class _Links(Struct, forbid_unknown_fields=True):
    dispatch: _Link


class _Status(Struct, forbid_unknown_fields=True):
    message_uuid: str
    to: _Address
    from_: _Address = msgspec.field(name="from")
    timestamp: str
    status: Literal["submitted", "delivered", "read", "rejected", "undeliverable", "accepted", "seen"]
    usage: _Usage | None = None
    client_ref: str | None = None
    links: _Links | None = msgspec.field(name="_links", default=None)


_decode_usual = msgspec.json.Decoder(_Status).decode
_decode_any = msgspec.json.Decoder(dict).decode


def read_usual_status(body: bytes | str) -> e.MessageStatus | None:
    """A status as contract 5.2 documents it, or None for anything else."""
    try:
        status = _decode_usual(body)
    except (ValueError, RecursionError):
        return None
    message_uuid, to, sender = status.message_uuid.strip(), status.to, status.from_
    timestamp = parse_timestamp(status.timestamp)
    # an address has exactly one of number and id
    if (
        not message_uuid
        or timestamp is None
        or (to.number is UNSET) is (to.id is UNSET)
        or (sender.number is UNSET) is (sender.id is UNSET)
    ):
        return None
    usage, links, dispatch_uuid = status.usage, status.links, None
    paid: e.Usage | None = None
    if usage is not None:
        price = to_decimal(usage.price)
        if price is None:
            return None
        paid = e.Usage(price, "EUR")
    if links is not None:
        dispatch_uuid = links.dispatch.dispatch_uuid.strip()
        if not dispatch_uuid:
            return None
    channel, own = to.type, sender.type
    return e.MessageStatus(
        message_uuid,
        status.status,
        channel,
        e.Address(
            own,
            sender.number.strip() or None if sender.number is not UNSET else None,
            sender.id.strip() or None if sender.id is not UNSET else None,
            own in {"messenger", "viber_service_msg"},
        ),
        e.Address(
            channel,
            to.number.strip() or None if to.number is not UNSET else None,
            to.id.strip() or None if to.id is not UNSET else None,
            channel == "messenger",
        ),
        timestamp,
        status.timestamp,
        dispatch_uuid,
        None,
        paid,
        status.client_ref or None,
        None,
        (),
        _decode_any(body),
    )
