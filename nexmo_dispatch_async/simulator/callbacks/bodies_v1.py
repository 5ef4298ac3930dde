"""Builds statuses and inbound messages in the flat form of Messages v1 (contract 5.8).

An application whose Messages version is v1 may receive these for v0.1 workflows. Final reports have no v1
form.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

import msgspec

from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.simulator.callbacks.bodies import INBOUND_SMS
from nexmo_dispatch_async.sms_segments import count_segments

__all__ = ["inbound_body_v1", "status_body_v1"]

_encode = msgspec.json.Encoder().encode
_ERRORS: Final = "https://developer.vonage.com/api-errors/messages"

Spelling = Literal["id", "workflow_id", "item_number"]

_PLACES: Final[dict[Spelling, tuple[str, str, str]]] = {
    "id": ("id", "items_number", "items_total"),
    "workflow_id": ("workflow_id", "items_number", "items_total"),
    "item_number": ("id", "item_number", "total_items"),
}
# Messages on these channels have the code of their carrier; this one is reserved for tests.
_OVER_CARRIERS: Final = frozenset({"sms", "mms"})
_NETWORK: Final = "00101"


def status_body_v1(
    *,
    channel: str,
    message_uuid: str,
    to: str,
    from_: str,
    timestamp: str,
    status: str,
    dispatch_uuid: str,
    place: tuple[int, int],
    error: tuple[int, str] | None = None,
    client_ref: str | None = None,
    price: Decimal | None = None,
    segments: int | None = None,
    spelling: Spelling = "id",
) -> bytes:
    """Return a message-status body.

    Args:
        channel: Name of the channel in v0.1.
        message_uuid: The message.
        to: Address of the customer.
        from_: Address of the business.
        timestamp: The formatted time of the status.
        status: The status of the message.
        dispatch_uuid: The workflow.
        place: Number of the step, from 1, and number of steps.
        error: Code and reason of a failure.
        client_ref: The client_ref of the step.
        price: Price of the message, None if unknown.
        segments: Number of SMS segments; None on other channels.
        spelling: Spelling of the place in the workflow, one of three that the provider uses.
    """
    body = _head(channel, message_uuid, to, from_, timestamp)
    body["status"] = status
    if error is not None:
        code, reason = error
        body["error"] = {
            "type": f"{_ERRORS}#{code}",
            "title": str(code),
            "detail": reason,
            "instance": message_uuid,
        }
    if client_ref is not None:
        body["client_ref"] = client_ref
    if price is not None:
        body["usage"] = _usage(price)
    if channel in _OVER_CARRIERS:
        body["destination"] = {"network_code": _NETWORK}
    if segments is not None:
        body["sms"] = {"count_total": str(segments)}
    if is_user_id(to):
        body["whatsapp"] = {"recipient": {"user_id": to}}
    number, total = place
    names = _PLACES[spelling]
    body["workflow"] = dict(zip(names, (dispatch_uuid, str(number), str(total)), strict=True))
    return _encode(body)


def inbound_body_v1(
    *, channel: str, message_uuid: str, to: str, from_: str, timestamp: str, content: Mapping[str, object]
) -> bytes:
    """Return an inbound-message body, with the members of v0.1's `message.content` at the top level."""
    body = _head(channel, message_uuid, to, from_, timestamp)
    kind = str(content.get("type", "unsupported"))
    body["message_type"] = kind
    if kind in content:
        body[kind] = content[kind]
    if channel in _OVER_CARRIERS:
        body["origin"] = {"network_code": _NETWORK}
    if channel == "sms":
        text = str(content.get("text", ""))
        parts = count_segments(text).segments
        body["sms"] = {"num_messages": str(parts), "keyword": text.upper().partition(" ")[0]}
        body["usage"] = _usage(INBOUND_SMS * parts)
    if is_user_id(from_):
        body["whatsapp"] = {"sender": {"user_id": from_}}
    return _encode(body)


def _usage(price: Decimal) -> dict[str, str]:
    return {"currency": "EUR", "price": f"{price:f}"}


def _head(channel: str, message_uuid: str, to: str, from_: str, timestamp: str) -> dict[str, object]:
    return {
        "channel": "viber_service" if channel == "viber_service_msg" else channel,
        "message_uuid": message_uuid,
        "to": to,
        "from": from_,
        "timestamp": timestamp,
    }
