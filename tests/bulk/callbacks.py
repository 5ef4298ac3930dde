"""Callbacks of campaigns as events: made as the service words them, in the v0.1 and the v1 form."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from nexmo_dispatch_webhooks.events import Event, parse_event

BEGIN = datetime(2026, 11, 2, 18, tzinfo=UTC).timestamp()


def uuid_of(number: int, kind: str = "d") -> str:
    """Return a uuid that tells by its end which one it is."""
    return f"00000000-0000-4000-8000-{ord(kind):04x}{number:08x}"


def stamp(seconds: float) -> str:
    return (
        datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def status(
    workflow: int,
    step: int,
    word: str,
    *,
    at: float,
    channel: str = "whatsapp",
    to: str = "999000000001",
    code: int | None = None,
    price: str = "",
    client_ref: str = "",
) -> Event:
    """Return a message status of the v0.1 form."""
    body: dict[str, Any] = {
        "message_uuid": uuid_of(workflow * 10 + step, "m"),
        "to": {"type": channel, "number": to},
        "from": {"type": channel, "number": "447418342140"},
        "timestamp": stamp(at),
        "status": word,
        "_links": {"dispatch": {"dispatch_uuid": uuid_of(workflow)}},
    }
    if code is not None:
        body["error"] = {"code": code, "reason": "…"}
    if price:
        body["usage"] = {"price": price, "currency": "EUR"}
    if client_ref:
        body["client_ref"] = client_ref
    return parse_event(msgspec.json.encode(body))


def status_v1(workflow: int, step: int, word: str, *, at: float, client_ref: str = "") -> Event:
    """Return a message status of the v1 form."""
    body = {
        "message_uuid": uuid_of(workflow * 10 + step, "m"),
        "to": "999000000001",
        "from": "447418342140",
        "timestamp": stamp(at),
        "status": word,
        "channel": "whatsapp",
        "workflow": {"id": uuid_of(workflow), "items_number": str(step), "items_total": "2"},
        **({"client_ref": client_ref} if client_ref else {}),
    }
    return parse_event(msgspec.json.encode(body))


def report(
    workflow: int, word: str, *entries: tuple[str, ...], at: float, price: str = "0.052", first: int = 1
) -> Event:
    """Return a final report whose entries are channel, status and perhaps price."""
    messages: list[dict[str, Any]] = []
    for n, (channel, last, *charged) in enumerate(entries):
        message_uuid = uuid_of(workflow * 10 + first + n, "m")
        entry: dict[str, Any] = {"message_uuid": message_uuid, "channel": channel, "status": last}
        if charged:
            entry["usage"] = {"price": charged[0], "currency": "EUR"}
        messages.append(entry)
    body = {
        "dispatch_uuid": uuid_of(workflow),
        "template": "failover",
        "status": word,
        "timestamp": stamp(at),
        "usage": {"price": price, "currency": "EUR"},
        "_links": {"messages": messages},
    }
    return parse_event(msgspec.json.encode(body))
