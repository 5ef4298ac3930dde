"""Builds statuses and inbound messages in the flat form of Messages v1 (contract 5.8).

An application whose Messages version is v1 may get these for its v0.1 workflows; a final report has no such
form.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from nexmo_dispatch_async.models.user_ids import is_user_id

__all__ = ["inbound_body_v1", "status_body_v1"]

_encode = msgspec.json.Encoder().encode
_ERRORS = "https://developer.vonage.com/api-errors/messages"


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
) -> bytes:
    """Return a message-status body.

    Args:
        channel: As v0.1 names it.
        message_uuid: The message.
        to: The customer.
        from_: The business.
        timestamp: When, with milliseconds.
        status: What the message reached.
        dispatch_uuid: The workflow.
        place: Which step of how many, from 1.
        error: Code and reason of a failure.
        client_ref: What the step was sent with.
        price: What the message costs, once known.
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
        body["usage"] = {"currency": "EUR", "price": f"{price:f}"}
    if is_user_id(to):
        body["whatsapp"] = {"recipient": {"user_id": to}}
    number, total = place
    body["workflow"] = {"id": dispatch_uuid, "items_number": str(number), "items_total": str(total)}
    return _encode(body)


def inbound_body_v1(
    *, channel: str, message_uuid: str, to: str, from_: str, timestamp: str, content: Mapping[str, object]
) -> bytes:
    """Return an inbound-message body: what v0.1 has under `message.content` stands at the top."""
    body = _head(channel, message_uuid, to, from_, timestamp)
    kind = str(content.get("type", "unsupported"))
    body["message_type"] = kind
    if kind in content:
        body[kind] = content[kind]
    if is_user_id(from_):
        body["whatsapp"] = {"sender": {"user_id": from_}}
    return _encode(body)


def _head(channel: str, message_uuid: str, to: str, from_: str, timestamp: str) -> dict[str, object]:
    return {
        "channel": "viber_service" if channel == "viber_service_msg" else channel,
        "message_uuid": message_uuid,
        "to": to,
        "from": from_,
        "timestamp": timestamp[:19] + "Z",  # v1 has no fraction (contract 5.7)
    }
