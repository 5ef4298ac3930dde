"""What contract 5 does not document is noted at any depth, by place and without the value (contract 5.11)."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks import InvalidBodyError, RawRequest, Receiver, Router, parse_event
from tests.webhooks.payloads import encode, inbound_body, report_body, status_body

UUID = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
TEXT = {"type": "text", "text": "x"}
REPORTED = {"message_uuid": "m", "channel": "sms", "status": "delivered"}
V1 = {"message": None, "direction": None, "channel": "whatsapp", "to": "1", "from": "2"}


def of(kind: str, value: Any, *beside: Any) -> dict[str, Any]:
    """An inbound-message with a content of this kind."""
    return inbound_body({"type": kind, kind: value, **dict.fromkeys(beside, 1)})


def sms(value: Any) -> dict[str, Any]:
    return inbound_body(None, message={"content": TEXT, "sms": value})


def check(body: dict[str, Any], *notes: str) -> None:
    """The body has these notes and no other; `strict=True` refuses it for them."""
    event = parse_event(encode(body))

    assert event.oddities == notes
    if notes:
        with pytest.raises(InvalidBodyError) as refused:
            parse_event(encode(body), strict=True)
        assert str(refused.value) == "not as documented: " + "; ".join(notes)
    else:
        assert parse_event(encode(body), strict=True) == event


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({"message_uuid": 7}, ["message_uuid: not plain text"]),
        ({"message_uuid": " 7 "}, ["message_uuid: not plain text"]),
        ({"dispatch_uuid": 7}, ["dispatch_uuid: not plain text"]),
        ({"to": {"type": "sms", "number": " "}}, ["to: not exactly one of number and id as text"]),
        ({"to": {"type": "sms", "number": ""}}, ["to: not exactly one of number and id as text"]),
        ({"to": {"type": "sms", "number": " 1"}}, ["to: not exactly one of number and id as text"]),
        ({"from": {"type": "messenger", "id": "1 "}}, ["from: not exactly one of number and id as text"]),
        ({"timestamp": "2020-01-01T14:00:00"}, ["timestamp: no zone"]),
        ({"timestamp": "1577887200"}, ["timestamp: no zone"]),
        ({"timestamp": 1577887200.5}, ["timestamp: unknown form"]),
        ({"error": {"code": "1300", "reason": "r"}}, ["error.code: not a number"]),
        (
            {"error": {"code": 1300, "type": 1, "detail": 2, "instance": 3}},
            ["error.type: not plain text", "error.detail: not text", "error.instance: not text"],
        ),
        (
            {"error": {"code": 1300, "reason": "r"}, "errors": {"code": 1, "reason": "r"}},
            ["errors: beside error"],
        ),
        ({"error": {"code": 1300, "reason": "r", "x": 1}}, ["error: unknown member x"]),
        ({"usage": 5}, ["usage: not an object"]),
        ({"usage": {"price": "words", "currency": "EUR"}}, ["usage.price: not a decimal in text"]),
        ({"usage": {"price": 0.5, "currency": "EUR"}}, ["usage.price: not a decimal in text"]),
        ({"usage": {"price": "0.5"}}, ["usage.currency: missing"]),
        ({"client_ref": 5}, ["client_ref: not text"]),
        ({"channel": "sms", "to": {"type": 5, "number": "1"}}, ["to.type: unknown value"]),
        ({"_links": {"dispatch": {"dispatch_uuid": "d", "x": 1}}}, ["_links.dispatch: unknown member x"]),
        ({"workflow": {"id": "w", "x": 1}}, ["workflow: unknown member x"]),
        (
            {"workflow": {"id": 7, "items_number": "one", "items_total": []}},
            [
                "workflow.items_number: missing or unreadable",
                "workflow.items_total: missing or unreadable",
                "workflow.id: not plain text",
            ],
        ),
        ({"sms": 1}, ["sms: not an object"]),
        ({"sms": {"count_total": 1, "x": 1}}, ["sms: unknown member x"]),
        ({"destination": {"network": 1}}, ["destination: unknown member network"]),
        ({"whatsapp": {"x": {}}}, ["whatsapp: unknown member x"]),
        ({"channel": ""}, ["channel: missing"]),
        (
            {"_links": {"workflow": {"dispatch_uuid": "d", "x": 1}}},
            ["_links.workflow: unknown member x"],
        ),
        ({"_links": {"workflow": 1}}, ["_links.workflow: not an object"]),
        ({"_links": {"dispatch": {"href": UUID}}}, ["_links.dispatch.dispatch_uuid: missing"]),
        ({"_links": {"dispatch": {"dispatch_uuid": 7}}}, ["_links.dispatch.dispatch_uuid: not plain text"]),
        (
            {"_links": {"dispatch": {"dispatch_uuid": " d"}}},
            ["_links.dispatch.dispatch_uuid: not plain text"],
        ),
        (
            {"_links": {"dispatch": {"dispatch_uuid": "d", "href": 1}}},
            ["_links.dispatch.href: not plain text"],
        ),
        (
            {"_links": {"dispatch": {"dispatch_uuid": "d"}, "workflow": {"dispatch_uuid": "d"}}},
            ["_links: neither dispatch nor workflow alone"],
        ),
    ],
)
def test_oddities_of_a_status(changes: dict[str, Any], notes: list[str]) -> None:
    """Contract 5.2, 5.6, 5.7, and 5.8 for the v1 format."""
    check(status_body(**changes), *notes)


@pytest.mark.parametrize(
    ("body", "notes"),
    [
        (inbound_body(None, message={"content": TEXT, "x": 1}), ["message: unknown member x"]),
        (of("text", "x", "x"), ["message.content: unknown member x"]),
        (of("unsupported", None, "text"), ["message.content: unknown member text"]),
        (of("text", 5), ["message.content.text: not text"]),
        (inbound_body({"type": " TEXT ", "text": "x"}), ["message.content.type: unknown value"]),
        (of("image", {"url": "u", "x": 1}), ["message.content.image: unknown member x"]),
        (of("audio", {"url": "u", "caption": "c"}), ["message.content.audio: unknown member caption"]),
        (of("image", {}), ["message.content.image.url: missing"]),
        (of("video", {"url": 5}), ["message.content.video.url: not plain text"]),
        (of("file", {"url": " "}), ["message.content.file.url: not plain text"]),
        (of("file", {"url": "u", "caption": 5}), ["message.content.file.caption: not text"]),
        (of("image", None), ["message.content.image: missing"]),
        (of("image", "u"), ["message.content.image: not an object"]),
        (
            of("button", {}),
            ["message.content.button.payload: missing", "message.content.button.text: missing"],
        ),
        (of("button", {"payload": "p", "text": 5}), ["message.content.button.text: not text"]),
        (
            of("location", {"lat": "x", "latitude": "1", "long": "2"}),
            ["message.content.location.lat: not a number"],
        ),
        (inbound_body(TEXT, usage=5), ["usage: not an object"]),
        (inbound_body(TEXT, client_ref=5), ["client_ref: not text"]),
        (inbound_body(TEXT, profile={"name": 5}), ["profile.name: not text"]),
        (inbound_body(TEXT, profile={"username": 5}), ["profile.username: not text"]),
        (sms({"keyword": 5}), ["sms.keyword: not text"]),
        (sms("x"), ["sms: not an object"]),
        (sms({"x": 1}), ["sms: unknown member x"]),
        (sms({"num_messages": 2}), ["sms.num_messages: not text"]),
        (sms({"num_messages": "two"}), ["sms.num_messages: missing or unreadable"]),
        (inbound_body(TEXT, profile=5), ["profile: not an object"]),
        (inbound_body(TEXT, profile={"name": "n", "x": 1}), ["profile: unknown member x"]),
        (inbound_body(TEXT, context=5), ["context: not an object"]),
        (inbound_body(TEXT, context={"message_uuid": 5}), ["context.message_uuid: not plain text"]),
        (inbound_body(TEXT, direction="sideways"), ["direction: unknown value"]),
        (inbound_body(TEXT, direction=[]), ["direction: unknown value"]),
        (inbound_body(TEXT, direction=" INBOUND "), ["direction: unknown value"]),
        (inbound_body(TEXT, colour="red"), ["body: unknown member colour"]),
        (inbound_body(None, **V1 | {"to": 1}, message_type="text", text="x"), ["to: not plain text"]),
        (inbound_body(None, **V1, message_type="text", text=5), ["body.text: not text"]),
        (inbound_body(None, **V1, message_type="text", text="x", sms=5), ["sms: not an object"]),
        (
            inbound_body(None, **V1 | {"channel": None}, message_type="text", text="x"),
            ["to.type: missing", "from.type: missing"],
        ),
    ],
)
def test_oddities_of_an_inbound_message(body: dict[str, Any], notes: list[str]) -> None:
    """Contract 5.5, and 5.8 for the v1 format."""
    check(body, *notes)


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({"colour": "red"}, ["body: unknown member colour"]),
        ({"dispatch_uuid": " d"}, ["dispatch_uuid: not plain text"]),
        ({"status": " Completed"}, ["status: unknown value"]),
        ({"template": "FAILOVER"}, ["template: unknown value"]),
        ({"_links": {"messages": [REPORTED], "x": 1}}, ["_links: unknown member x"]),
        ({"_links": {"messages": [None, 1, REPORTED]}}, ["_links.messages: not objects only"]),
        ({"_links": {"messages": REPORTED}}, ["_links.messages: not a list"]),
        (
            {"_links": {"messages": [{"status": "read"}]}},
            ["_links.messages.channel: missing", "_links.messages.message_uuid: missing"],
        ),
        (
            {"_links": {"messages": [REPORTED | {"message_uuid": 7, "href": 5}]}},
            ["_links.messages.message_uuid: not plain text", "_links.messages.href: not plain text"],
        ),
        ({"usage": 5}, ["usage: not an object"]),
        ({"usage": None}, []),
        ({"dispatch_uuid": None}, ["dispatch_uuid: missing or unreadable"]),
        ({"status": None}, ["status: missing"]),
        ({"template": 5}, ["template: unknown value"]),
        ({"_links": {"messages": [REPORTED | {"status": None}]}}, ["_links.messages.status: missing"]),
        (
            {"_links": {"messages": [REPORTED | {"channel": "fax"}]}},
            ["_links.messages.channel: unknown value"],
        ),
        ({"_links": {"messages": [REPORTED | {"usage": 5}]}}, ["_links.messages.usage: not an object"]),
        ({"_links": {"messages": [REPORTED | {"x": 1}]}}, ["_links.messages: unknown member x"]),
        (
            {"_links": {"messages": [REPORTED | {"status": "READ"}]}},
            ["_links.messages.status: unknown value"],
        ),
        (
            {"_links": {"messages": [REPORTED | {"usage": {"price": "1", "currency": "SEK"}}]}},
            ["_links.messages.usage.currency: unknown value"],
        ),
        (
            {"dispatch_uuid": None, "_links": {"messages": [REPORTED], "dispatch": {"dispatch_uuid": "d"}}},
            ["_links: unknown member dispatch"],
        ),
    ],
)
def test_oddities_of_a_report(changes: dict[str, Any], notes: list[str]) -> None:
    """Contract 5.4."""
    check(report_body(**changes), *notes)


@pytest.mark.parametrize(
    "body",
    [
        status_body(timestamp="2020-01-01 14:00:00 UTC"),
        status_body(timestamp="2020-01-01T14:00:00Z"),
        status_body(timestamp="2020-01-01T15:00:00+01:00"),
        status_body(error={"type": "https://x#1000", "title": 1000, "detail": "d", "instance": "i"}),
        status_body(error={"code": 1300, "reason": "r"}, errors=None),
        status_body(dispatch_uuid="d"),
        status_body(_links={"workflow": {"dispatch_uuid": "d"}, "dispatch": None}),
        status_body(workflow={"id": "w", "items_number": 1, "items_total": "2"}),
        status_body(sms={"count_total": "2"}, destination={"network_code": "1"}, context={"x": 1}),
        status_body(whatsapp={"conversation": {"x": 1}, "pricing": {"y": 1}}),
        of("location", {"lat": "1", "long": "2", "url": "u"}),
        of("location", {"latitude": 1, "longitude": -2.5}),
        sms({"num_messages": "2", "keyword": "STOP"}),
        inbound_body(TEXT, direction=None),
        inbound_body(None, **V1, message_type="text", text="x", sms={"count_total": 3}),
        inbound_body(None, **V1, message_type="unsupported", profile={"name": "n"}, context={"x": 1}),
        report_body(_links={"messages": [REPORTED | {"channel": "viber_sevice_msg", "href": UUID}]}),
    ],
)
def test_what_is_documented_in_two_ways_is_odd_in_neither(body: dict[str, Any]) -> None:
    """Contract 5.2 and 9.2, 5.5.2 and 9.9, 5.6, 5.7, 5.8."""
    check(body)


async def test_oddities_are_counted_for_every_kind() -> None:
    """An operator sees that the service has changed, at any depth (contract 5.11)."""
    bodies = [
        status_body(to={"type": "sms", "number": "1", "x": 1}),
        inbound_body(TEXT, x=1),
        inbound_body(None, message={"content": TEXT, "x": 1}),
        report_body(x=1),
        report_body(_links={"messages": [REPORTED | {"x": 1}, REPORTED | {"x": 1}]}),
        {"x": 1},
    ]

    async with Receiver(Router(), verification=None) as receiver:
        for body in bodies:
            await receiver.handle(RawRequest({}, encode(body)))

    assert receiver.statistics().oddities == {
        "to: unknown member x": 1,
        "body: unknown member x": 2,
        "message: unknown member x": 1,
        "_links.messages: unknown member x": 2,
        "body: fits no kind": 1,
    }
