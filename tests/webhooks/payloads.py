"""The example payloads of the contract, as parameters of tests."""

import json
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, parse_event

ROOT = Path(__file__).parent.parent / "data" / "payloads"
WEBHOOKS = ROOT / "webhooks"
VECTORS: dict[str, Any] = json.loads((ROOT / "auth" / "signed_webhook_vectors.json").read_text("utf-8"))
SECRETS: dict[str, str] = {VECTORS["claims"]["api_key"]: VECTORS["signature_secret"]}
#: Long enough for a secret in a URL.
PATH_SECRET = "example-path-secret-for-tests"
NOW: float = VECTORS["claims"]["iat"] + 1.0


def files(*kinds: str) -> pytest.MarkDecorator:
    """Parametrise over every webhook body, or those of some kinds."""
    paths = sorted(path for path in WEBHOOKS.rglob("*.json") if not kinds or path.parent.name in kinds)
    assert paths
    return pytest.mark.parametrize("path", paths, ids=lambda path: f"{path.parent.name}/{path.stem}")


def status_body(**changes: Any) -> dict[str, Any]:
    """A documented message-status (contract 5.2) with some members changed; None removes one."""
    body: dict[str, Any] = {
        "message_uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
        "to": {"type": "sms", "number": "447700900000"},
        "from": {"type": "sms", "number": "447700900001"},
        "timestamp": "2020-01-01T14:00:00.000Z",
        "status": "delivered",
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def inbound_body(content: Any, **changes: Any) -> dict[str, Any]:
    """A documented inbound-message (contract 5.5) with a content and some members changed."""
    body: dict[str, Any] = {
        "message_uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
        "to": {"type": "whatsapp", "number": "447700900000"},
        "from": {"type": "whatsapp", "number": "447700900001"},
        "timestamp": "2020-01-01T14:00:00.000Z",
        "direction": "inbound",
        "message": {"content": content},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def report_body(**changes: Any) -> dict[str, Any]:
    """A documented final-report (contract 5.4) with some members changed."""
    body: dict[str, Any] = {
        "dispatch_uuid": "dddddddd-bbbb-cccc-dddd-0123456789ab",
        "template": "failover",
        "status": "completed",
        "timestamp": "2020-01-01T14:00:00.000Z",
        "usage": {"price": "0.0353", "currency": "EUR"},
        "_links": {"messages": [{"message_uuid": "m", "channel": "sms", "status": "delivered"}]},
        **changes,
    }
    return {name: value for name, value in body.items() if value is not None}


def encode(body: Any) -> bytes:
    return json.dumps(body).encode()


def status(**changes: Any) -> MessageStatus:
    event = parse_event(encode(status_body(**changes)))
    assert isinstance(event, MessageStatus)
    return event


def inbound(content: Any, **changes: Any) -> InboundMessage:
    event = parse_event(encode(inbound_body(content, **changes)))
    assert isinstance(event, InboundMessage)
    return event


def report(**changes: Any) -> FinalReport:
    event = parse_event(encode(report_body(**changes)))
    assert isinstance(event, FinalReport)
    return event
