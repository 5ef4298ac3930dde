"""Bodies as the service posts them, for tests: documented, complete, and free of real numbers.

`testing` posts them; it has the names that users import.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast

from nexmo_dispatch_core.error_names import reason_for
from nexmo_dispatch_core.vocabulary import (
    BUILDER_NAMES,
    CHANNEL_NAMES,
    Channel,
    ReportStatus,
    Status,
)
from nexmo_dispatch_webhooks import events
from nexmo_dispatch_webhooks.events.whatsapp_users import is_user_id
from nexmo_dispatch_webhooks.exceptions import ConfigurationError
from nexmo_dispatch_webhooks.receiver import UNSET, Unset

__all__ = ["AddressLike", "Price", "inbound_body", "report_body", "status_body"]

Body = dict[str, Any]
#: A number or an id, or the whole object of contract 5.2.
AddressLike = str | Mapping[str, Any]
Price = Decimal | str | None

# Numbers of ranges that are reserved for fiction; ids are invented.
_CUSTOMER = {"messenger": "9000000000000001", "mms": "12025550143"}
_OWN = {"messenger": "900000000000002", "viber_service_msg": "VSM-ID-1", "mms": "24273"}
_PRICE = "0.0333"
_FEE = Decimal("0.002")  # contract 5.4: the total is the sum and a fee
# The channel of a status where none is named, and the code of a failure: such as the service reports
# (contract 5.3, 6.1). No SMS or MMS is ever read, and 1300, "not a user of the channel", is none of theirs.
_USUAL_CHANNEL = {"read": "whatsapp", "rejected": "whatsapp"}
_CODES = {"rejected": 1300, "undeliverable": 1260}
_REJECTED_BY_CARRIER = 1330


def status_body(
    status: Status | str = "delivered",
    *,
    channel: Channel | str | None = None,
    message_uuid: str | None = None,
    dispatch_uuid: str | Unset | None = UNSET,
    to: AddressLike | None = None,
    from_: AddressLike | None = None,
    price: Price | Unset = UNSET,
    error: int | Mapping[str, Any] | Unset | None = UNSET,
    client_ref: str | None = None,
    timestamp: datetime | str | None = None,
    **fields: Any,
) -> Body:
    """The body of a message-status (contract 5.2), in the form of real traffic.

    Args:
        status: `submitted`, `delivered`, `read`, `rejected`, `undeliverable`, or a word yet unknown.
        channel: The channel of both ends; `viber` is `viber_service_msg`. When None, one that reports the
            status: `whatsapp` for `read` and `rejected`, otherwise `sms`.
        message_uuid: A new one when None.
        dispatch_uuid: The workflow, a new one when not given; None for a message without a workflow.
        to: The customer; a fictional number or id when None.
        from_: Your own number or id.
        price: In EUR; when not given, a `delivered` has one and other statuses do not.
        error: A code of contract 6.1 or the whole object; when not given, `undeliverable` has 1260, and
            `rejected` 1300, or 1330 on `sms` and `mms`.
        client_ref: The echo of your reference.
        timestamp: When; now when None.
        fields: Further members as on the wire, or others for those above; None removes a member.
    """
    channel = channel or _USUAL_CHANNEL.get(status, "sms")
    channel = BUILDER_NAMES.get(channel, channel)
    if isinstance(price, Unset):
        price = _PRICE if status == "delivered" else None
    if isinstance(error, Unset):
        error = _CODES.get(status)
        if status == "rejected" and channel in {"sms", "mms"}:
            error = _REJECTED_BY_CARRIER
    if isinstance(dispatch_uuid, Unset):
        dispatch_uuid = str(uuid.uuid4())
    body = {
        "message_uuid": message_uuid or str(uuid.uuid4()),
        "to": _address(channel, to, _customer(channel)),
        "from": _address(channel, from_, _own(channel), own=True),
        "timestamp": _moment(timestamp),
        "status": status,
        "error": {"code": error, "reason": reason_for(error)} if isinstance(error, int) else error,
        "usage": _usage(price),
        "client_ref": client_ref,
        "_links": dispatch_uuid
        and {"dispatch": {"href": f"v0.1/dispatch/{dispatch_uuid}", "dispatch_uuid": dispatch_uuid}},
    }
    return _without_none(body | fields)


def inbound_body(
    text: str | None = None,
    *,
    content: events.Content | Mapping[str, Any] | None = None,
    channel: Channel | str = "whatsapp",
    message_uuid: str | None = None,
    from_: AddressLike | None = None,
    to: AddressLike | None = None,
    timestamp: datetime | str | None = None,
    **fields: Any,
) -> Body:
    """The body of an inbound-message (contract 5.5).

    Args:
        text: What the customer wrote; "Hello" when there is no *content* either.
        content: Instead of *text*: a struct such as `ImageContent(url=…)`, or the object on the wire.
        channel: The channel of both ends; `viber` is `viber_service_msg`.
        message_uuid: A new one when None.
        from_: The customer; a fictional number or id when None.
        to: Your own number or id.
        timestamp: When; now when None.
        fields: Further members as on the wire, or others for those above; None removes a member.

    Raises:
        TypeError: Both *text* and *content* were given.
    """
    if text is not None and content is not None:
        raise TypeError("give text or content, not both")
    channel = BUILDER_NAMES.get(channel, channel)
    if content is None:
        content = events.TextContent("Hello" if text is None else text)
    message: Body = {"content": _content(content)}
    if CHANNEL_NAMES.get(channel, channel) == "sms":
        message["sms"] = {"num_messages": "1"}
    body = {
        "message_uuid": message_uuid or str(uuid.uuid4()),
        "to": _address(channel, to, _own(channel), own=True),
        "from": _address(channel, from_, _customer(channel)),
        "timestamp": _moment(timestamp),
        "direction": "inbound",
        "message": message,
    }
    return _without_none(body | fields)


def report_body(
    status: ReportStatus | str = "completed",
    *,
    dispatch_uuid: str | None = None,
    messages: Sequence[tuple[str, str] | Mapping[str, Any]] | None = None,
    price: Price | Unset = UNSET,
    timestamp: datetime | str | None = None,
    **fields: Any,
) -> Body:
    """The body of a final-report (contract 5.4).

    Args:
        status: `completed` or `error`.
        dispatch_uuid: The workflow; a new one when None.
        messages: Those that were attempted, in order: `("whatsapp", "submitted")`, or the object on the
            wire. When None, one SMS that fits the status.
        price: The total in EUR; when not given, the sum and the workflow fee.
        timestamp: When; now when None.
        fields: Further members as on the wire, or others for those above; None removes a member.
    """
    if messages is None:
        messages = [("sms", "delivered" if status == "completed" else "undeliverable")]
    in_order = isinstance(messages, list | tuple)
    if not in_order or not all(isinstance(item, Mapping) or _is_pair(item) for item in messages):
        raise ConfigurationError(
            'messages are pairs, ("whatsapp", "submitted"), or the objects on the wire, in a list'
        )
    reported = [dict(item) if isinstance(item, Mapping) else _reported(*item) for item in messages]
    if isinstance(price, Unset):
        price = sum((Decimal(m["usage"]["price"]) for m in reported if m.get("usage")), _FEE)
    body = {
        "template": "failover",
        "status": status,
        "timestamp": _moment(timestamp),
        "usage": _usage(price),
        "dispatch_uuid": dispatch_uuid or str(uuid.uuid4()),
        "_links": {"messages": reported},
    }
    return _without_none(body | fields)


def _is_pair(item: object) -> bool:
    return isinstance(item, tuple | list) and len(cast("Sequence[object]", item)) == 2


def _reported(channel: str, status: str) -> Body:
    name, channel = str(uuid.uuid4()), BUILDER_NAMES.get(channel, channel)
    message = {"message_uuid": name, "href": f"v0.1/messages/{name}", "channel": channel, "status": status}
    return {**message, "usage": _usage(_PRICE)} if status in {"delivered", "read"} else message


def _customer(channel: str) -> str:
    return _CUSTOMER.get(channel, "447700900123")


def _own(channel: str) -> str:
    return _OWN.get(CHANNEL_NAMES.get(channel, channel), "447700900800")


def _address(channel: str, given: AddressLike | None, default: str, *, own: bool = False) -> Body:
    """Return one end of a message: by id on Messenger, a WhatsApp user id, your own end on Viber."""
    if isinstance(given, Mapping):
        return {"type": channel, **given}
    known = CHANNEL_NAMES.get(channel, channel)
    by_id = known == "messenger" or (own and known == "viber_service_msg")
    by_id = by_id or (known == "whatsapp" and given is not None and is_user_id(given))
    return {"type": channel, "id" if by_id else "number": default if given is None else given}


def _content(content: events.Content | Mapping[str, Any]) -> Body:
    """Return the object of contract 5.5.2."""
    if isinstance(content, Mapping):
        return dict(content)
    kind = content.type
    if isinstance(content, events.UnsupportedContent):
        return {"type": kind}
    if isinstance(content, events.TextContent):
        return {"type": kind, kind: content.text}
    if isinstance(content, events.UnknownContent):
        return {"type": kind, kind: content.raw}
    if isinstance(content, events.LocationContent):
        place = {"lat": content.latitude, "long": content.longitude}
        payload: Body = {name: None if value is None else str(value) for name, value in place.items()}
        payload |= {"url": content.url, "address": content.address, "name": content.name}
    elif isinstance(content, events.ButtonContent):
        answer = content.payload if content.flow is None else content.flow
        subtype = content.subtype or (None if content.flow is None else "flow")
        payload = {"payload": answer, "subtype": subtype, "text": content.text}
    else:
        payload = {name: getattr(content, name) for name in content.__struct_fields__}
    return {"type": kind, kind: _without_none(payload)}


def _moment(value: datetime | str | None) -> str:
    """Return a timestamp in the form of real traffic (contract 5.7): UTC, milliseconds, `Z`."""
    if isinstance(value, str):
        return value
    moment = datetime.now(UTC) if value is None else value.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _usage(price: Price) -> Body | None:
    return None if price is None else {"price": str(price), "currency": "EUR"}


def _without_none(body: Body) -> Body:
    return {name: value for name, value in body.items() if value is not None}
