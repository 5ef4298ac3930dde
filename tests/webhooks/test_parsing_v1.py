"""`parse_event` of bodies in the v1 format (contract 5.8)."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks import (
    Address,
    InboundMessage,
    MessageError,
    MessageStatus,
    WorkflowPosition,
    parse_event,
)
from tests.support.paths import PAYLOADS
from tests.webhooks.payloads import encode, inbound, status


def test_v1_status() -> None:
    """The flat form: channel and addresses as text, error in v1 form, position in the workflow."""
    body = {
        "channel": "viber_service",
        "message_uuid": "m",
        "to": "447700900000",
        "from": "VSM",
        "timestamp": "2025-02-03T12:14:25Z",
        "status": "rejected",
        "client_ref": "r",
        "error": {
            "type": "https://x/api-errors/messages#1300",
            "title": 1300,
            "detail": "no",
            "instance": "i",
        },
        "usage": {"currency": "EUR", "price": "0.0333"},
        "destination": {"network_code": "12345"},
        "workflow": {
            "id": "3TcNjguHxr2vcCZ9Ddsnq6tw8yQUpZ9rMHv9QXSxLan5ibMxqSzLdx9",
            "items_number": "1",
            "items_total": "2",
        },
    }

    event = parse_event(encode(body), strict=True)

    assert isinstance(event, MessageStatus)
    assert (event.channel, event.status) == ("viber_service_msg", "rejected")
    assert (event.to.address, event.from_.address, event.from_.id) == ("447700900000", "VSM", "VSM")
    assert event.error == MessageError(1300, "no")
    assert event.workflow is not None
    assert (event.workflow.items_number, event.workflow.items_total) == (1, 2)


@pytest.mark.parametrize(
    "spelling",
    [
        ("id", "items_number", "items_total"),
        ("workflow_id", "items_number", "items_total"),
        ("id", "item_number", "items_total"),
        ("id", "item_number", "total_items"),
    ],
)
def test_v1_workflow_in_each_of_the_spellings(spelling: tuple[str, str, str]) -> None:
    """The service itself spells it in three ways, and each names workflow, place and number of items."""
    body = {**in_v1(), "workflow": dict(zip(spelling, ("3TcN", "1", "2"), strict=True))}

    event = parse_event(encode(body), strict=True)

    assert isinstance(event, MessageStatus)
    assert event.workflow == WorkflowPosition("3TcN", 1, 2)
    assert event.dispatch_uuid == "3TcN"  # one name in both formats


def test_v1_status_with_everything_that_was_observed() -> None:
    """A body of the service: a position in the second spelling, and a `submitted` with an error."""
    observed = PAYLOADS / "observed" / "s03_v1_submitted_with_error_workflow_id.json"

    event = parse_event(observed.read_bytes())

    assert isinstance(event, MessageStatus)
    assert event.workflow == WorkflowPosition("3TcNjguHxr2vcCZ9Ddsnq6tw8yQ", 1, 2)
    assert event.error == MessageError(1000, "Throttled")
    assert event.oddities == ()


def in_v1() -> dict[str, Any]:
    """A status of the v1 format."""
    return {
        "channel": "sms",
        "message_uuid": "m",
        "to": "447700900000",
        "from": "447700900112",
        "timestamp": "2025-02-03T12:14:25Z",
        "status": "submitted",
    }


def test_v1_workflow_that_is_no_object_is_left_out() -> None:
    assert status(workflow="x").workflow is None


@pytest.mark.parametrize(
    ("message_type", "payload", "expected"),
    [
        ("text", "hello", {"text": "hello"}),
        ("image", {"url": "https://x/i.png", "caption": "c"}, {"url": "https://x/i.png", "caption": "c"}),
        ("file", {"url": "u", "name": "n.pdf"}, {"url": "u", "name": "n.pdf"}),
        ("location", {"lat": 40.5, "long": -74}, {"latitude": 40.5, "longitude": -74.0}),
        (
            "reply",
            {"id": "1", "title": "t", "description": "d"},
            {"id": "1", "title": "t", "description": "d"},
        ),
        ("button", {"payload": "p", "text": "t"}, {"payload": "p", "text": "t"}),
        ("unsupported", None, {"type": "unsupported"}),
    ],
)
def test_v1_inbound(message_type: str, payload: Any, expected: dict[str, Any]) -> None:
    """The payload is at the top level, under the name of its type."""
    body = {
        "channel": "whatsapp",
        "message_uuid": "m",
        "to": "1",
        "from": "2",
        "timestamp": "2025-02-03T12:14:25Z",
        "message_type": message_type,
        "profile": {"name": "Jane"},
        "context": {"message_uuid": "o"},
        **({} if payload is None else {message_type: payload}),
    }

    event = parse_event(encode(body), strict=True)

    assert isinstance(event, InboundMessage)
    assert (event.channel, event.from_.address, event.profile_name, event.reply_to) == (
        "whatsapp",
        "2",
        "Jane",
        "o",
    )
    assert {name: getattr(event.content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("channel", "sender", "to"),
    [
        ("viber_service", Address("viber_service_msg", None, "1"), Address("viber_service_msg", "2", None)),
        ("messenger", Address("messenger", None, "1"), Address("messenger", None, "2")),
        ("sms", Address("sms", "1", None), Address("sms", "2", None)),
    ],
)
def test_v1_addresses_are_texts_and_the_channel_tells_what_they_are(
    channel: str, sender: Address, to: Address
) -> None:
    """Contract 3.3, 5.8: a business is an id on Viber, both ends are on Messenger, the rest are numbers."""
    event = status(channel=channel, **{"from": "1", "to": "2"})

    for found, expected in ((event.from_, sender), (event.to, to)):
        assert (found.type, found.number, found.id) == (expected.type, expected.number, expected.id)
        assert found.address == (expected.id or expected.number)


def test_an_address_without_a_type_is_of_the_channel_of_its_body() -> None:
    """Contract 5.11: the body says it, so nothing is odd; its own type counts more."""
    typeless, typed = {"number": "1"}, {"type": "mms", "number": "1"}

    events = [status(channel="sms", to=end) for end in (typeless, typed)]

    assert [event.to.type for event in events] == ["sms", "mms"]
    assert events[0].oddities == events[1].oddities == ()


def test_v1_messenger_addresses_are_ids() -> None:
    body = {
        "channel": "messenger",
        "message_uuid": "m",
        "to": "page",
        "from": "psid",
        "message_type": "text",
        "text": "x",
    }

    event = parse_event(encode(body))

    assert isinstance(event, InboundMessage)
    assert (event.from_, event.to) == (
        Address("messenger", None, "psid", by_id=True),
        Address("messenger", None, "page", by_id=True),
    )


def test_sms_details_of_both_formats() -> None:
    """`num_messages` is text in v0.1, `count_total` its name in v1 (contract 5.5, 5.8)."""
    old = inbound(
        None,
        message={
            "content": {"type": "text", "text": "STOP"},
            "sms": {"num_messages": "2", "keyword": "STOP"},
        },
    )
    new = inbound(None, message=None, message_type="text", text="STOP", sms={"count_total": 3})
    both = inbound(
        None, message=None, message_type="text", text="x", sms={"num_messages": None, "count_total": 3}
    )
    other = inbound(None, message=None, message_type="text", text="x", sms={"total_count": 3})

    assert (old.num_messages, old.keyword, new.num_messages, new.text) == (2, "STOP", 3, "STOP")
    assert both.num_messages == other.num_messages == 3
