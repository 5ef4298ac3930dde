"""The usual message-status, read in one step by a typed conversion: most callbacks look exactly like it.

It reads nothing that is odd: whatever departs from the documented form gives None, and `parsing` reads it
with every tolerance. Both give the same event for the same body; a test compares them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from nexmo_dispatch_core.lenient import to_decimal
from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.timestamps import LONGEST

__all__ = ["read_usual_status"]


class _Address(Struct, forbid_unknown_fields=True):
    type: Literal["sms", "mms", "whatsapp", "viber_service_msg", "messenger"]
    number: str | None = None
    id: str | None = None


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


_convert = msgspec.convert
_read_time = datetime.fromisoformat
_BY_ID = frozenset({"messenger", "viber_service_msg"})


def read_usual_status(raw: dict[str, Any]) -> e.MessageStatus | None:
    """A status as contract 5.2 documents it, or None for anything else."""
    try:
        status = _convert(raw, _Status)
        timestamp = _read_time(status.timestamp)
    except ValueError:
        return None
    message_uuid, to, sender, usage, links = (
        status.message_uuid,
        status.to,
        status.from_,
        status.usage,
        status.links,
    )
    paid: e.Usage | None = None
    dispatch_uuid: str | None = None
    if usage is not None:
        price = to_decimal(usage.price)
        if price is None:
            return None
        paid = e.Usage(price, "EUR")
    if links is not None:
        dispatch_uuid = links.dispatch.dispatch_uuid
        if not dispatch_uuid or dispatch_uuid != dispatch_uuid.strip():
            return None
    recipient, origin = to.number or to.id, sender.number or sender.id
    # an address has exactly one of number and id; a time has a zone and is not the short form of a number;
    # nothing that names something is blank or has blanks around it
    if (
        not message_uuid
        or not recipient
        or not origin
        or timestamp.tzinfo is not UTC
        or status.timestamp[4] != "-"
        or len(status.timestamp) > LONGEST
        or (to.number is None) is (to.id is None)
        or (sender.number is None) is (sender.id is None)
        or message_uuid != message_uuid.strip()
        or recipient != recipient.strip()
        or origin != origin.strip()
        # a WhatsApp user id in the place of a number
        or recipient[2:3] == "."
        or origin[2:3] == "."
    ):
        return None
    channel, own = to.type, sender.type
    return e.MessageStatus(
        message_uuid,
        status.status,
        channel,
        e.Address(own, sender.number, sender.id, own in _BY_ID),
        e.Address(channel, to.number, to.id, channel == "messenger"),
        timestamp,
        status.timestamp,
        dispatch_uuid,
        None,
        paid,
        status.client_ref or None,
        None,
        None,
        (),
        raw,
    )
