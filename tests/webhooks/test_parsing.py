"""`parse_event`: every example of the contract, the order of shapes, the tolerance rules, and any bytes."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import (
    Address,
    FinalReport,
    InboundMessage,
    InvalidBodyError,
    MessageError,
    MessageStatus,
    UnknownEvent,
    Usage,
    parse_event,
)
from tests.webhooks.payloads import (
    encode,
    files,
    inbound,
    inbound_body,
    report,
    report_body,
    status,
    status_body,
)

VIBER = {"viber_sevice_msg": "viber_service_msg"}


def usage_of(raw: dict[str, Any]) -> tuple[Decimal, str] | None:
    return (Decimal(raw["usage"]["price"]), raw["usage"]["currency"]) if "usage" in raw else None


def read(usage: Usage | None) -> tuple[Decimal | None, str | None] | None:
    return None if usage is None else (usage.price, usage.currency)


def instant(raw: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(raw["timestamp"].replace(" UTC", "Z"))


# --- the examples of the contract ---


@files("message_status")
def test_message_status_says_what_its_body_says(path: Path) -> None:
    """Contract 5.2: ids, status, both ends, time, price, error and workflow, none invented."""
    raw = json.loads(path.read_bytes())

    event = parse_event(path.read_bytes(), strict=True)

    assert isinstance(event, MessageStatus)
    assert (event.kind, event.raw, event.oddities) == ("message-status", raw, ())
    assert (event.message_uuid, event.status, event.channel) == (
        raw["message_uuid"],
        raw["status"],
        raw["to"]["type"],
    )
    assert (event.to.number, event.to.id) == (raw["to"].get("number"), raw["to"].get("id"))
    assert (event.from_.number, event.from_.id) == (raw["from"].get("number"), raw["from"].get("id"))
    assert (event.timestamp, event.timestamp_raw) == (instant(raw), raw["timestamp"])
    assert read(event.usage) == usage_of(raw)
    assert event.dispatch_uuid == next(
        (link["dispatch_uuid"] for link in raw.get("_links", {}).values()), None
    )
    if "error" in raw:
        assert event.error == MessageError(raw["error"]["code"], raw["error"]["reason"])
        assert event.is_failed
    else:
        assert event.error is None


@files("inbound_message")
def test_inbound_message_says_what_its_body_says(path: Path) -> None:
    """Contract 5.5: the customer, your end, and the content by its type."""
    raw = json.loads(path.read_bytes())
    content = raw["message"]["content"]
    payload = content.get(content["type"])

    event = parse_event(path.read_bytes(), strict=True)

    assert isinstance(event, InboundMessage)
    assert (event.kind, event.raw, event.oddities) == ("inbound-message", raw, ())
    assert (event.message_uuid, event.channel) == (raw["message_uuid"], raw["from"]["type"])
    assert event.from_.address == raw["from"].get("number", raw["from"].get("id"))
    assert event.to.address == raw["to"].get("number", raw["to"].get("id"))
    assert (event.timestamp, event.timestamp_raw) == (instant(raw), raw["timestamp"])
    assert read(event.usage) == usage_of(raw)
    assert event.content.type == content["type"]
    assert str(event.num_messages) == raw["message"].get("sms", {}).get("num_messages", "None")
    if content["type"] == "text":
        assert event.text == payload
    elif content["type"] == "location":
        place = {name: getattr(event.content, name) for name in ("name", "address", "url", "raw")}
        assert place == {**{name: payload.get(name) for name in place}, "raw": payload}
        coordinates = [
            float(payload.get("lat", payload.get("latitude"))),
            float(payload.get("long", payload.get("longitude"))),
        ]
        assert [getattr(event.content, name) for name in ("latitude", "longitude")] == coordinates
    elif payload is not None:
        assert {name: getattr(event.content, name) for name in payload} == payload


@files("final_report")
def test_final_report_says_what_its_body_says(path: Path) -> None:
    """Contract 5.4: the workflow, its total, and every attempted message in order."""
    raw = json.loads(path.read_bytes())

    event = parse_event(path.read_bytes(), strict=True)

    assert isinstance(event, FinalReport)
    assert (event.kind, event.raw, event.oddities) == ("final-report", raw, ())
    assert (event.dispatch_uuid, event.status, event.template) == (
        raw["dispatch_uuid"],
        raw["status"],
        raw["template"],
    )
    assert (event.timestamp, event.timestamp_raw) == (instant(raw), raw["timestamp"])
    assert read(event.usage) == usage_of(raw)
    assert [(m.message_uuid, m.channel, m.status, m.href, read(m.usage)) for m in event.messages] == [
        (m["message_uuid"], VIBER.get(m["channel"], m["channel"]), m["status"], m["href"], usage_of(m))
        for m in raw["_links"]["messages"]
    ]


# --- which kind (contract 5.1) ---


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (status_body(), "message-status"),
        (status_body(dispatch_uuid="d"), "message-status"),
        (status_body(template="failover", _links={"messages": []}), "message-status"),
        (status_body(direction="inbound"), "inbound-message"),
        (status_body(direction=" Inbound "), "inbound-message"),
        (status_body(message={}), "inbound-message"),
        (status_body(message=None), "message-status"),
        (status_body(status=None, message_type="text"), "inbound-message"),
        (status_body(message_type="text"), "message-status"),
        (status_body(message_uuid=7), "message-status"),
        (status_body(status=7), "unknown"),
        (status_body(status=" "), "unknown"),
        (status_body(status=None), "unknown"),
        (status_body(status=None, _links={"messages": []}), "unknown"),
        (status_body(message_uuid=" "), "unknown"),
        ({"dispatch_uuid": "d"}, "final-report"),
        ({"template": "failover"}, "final-report"),
        ({"_links": {"messages": []}}, "final-report"),
        ({"_links": {"messages": None}}, "unknown"),
        ({"_links": []}, "unknown"),
        ({"message_uuid": None, "dispatch_uuid": "d"}, "final-report"),
        ({}, "unknown"),
    ],
)
def test_shape_decides_the_kind(body: dict[str, Any], kind: str) -> None:
    """In the order of contract 5.1, whatever the path was."""
    assert parse_event(encode(body)).kind == kind


def test_what_fits_no_kind_is_kept_whole() -> None:
    """An unknown object is acknowledged and kept, never an error (contract 5.1, step 5)."""
    event = parse_event(b'{"hello": ["world"]}')

    assert isinstance(event, UnknownEvent)
    assert event.raw == {"hello": ["world"]}


# --- workflow of a status (contract 5.2) ---


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"_links": {"dispatch": {"dispatch_uuid": "a", "href": "x"}, "workflow": {"dispatch_uuid": "b"}}},
            "a",
        ),
        ({"_links": {"workflow": {"dispatch_uuid": "b"}}}, "b"),
        ({"_links": {"dispach": {"dispatch_uuid": "c"}}}, "c"),
        ({"_links": {"self": {"href": "z"}, "dispach": {"dispatch_uuid": "c"}}, "dispatch_uuid": "d"}, "c"),
        ({"dispatch_uuid": " d "}, "d"),
        ({"_links": {"dispatch": {"dispatch_uuid": ""}}, "dispatch_uuid": "d"}, "d"),
        ({"_links": {"dispatch": {"dispatch_uuid": " "}}, "dispatch_uuid": "d"}, "d"),
        (
            {"_links": {"dispatch": {"dispatch_uuid": " "}, "workflow": {"dispatch_uuid": "b"}}},
            "b",
        ),
        (
            {"_links": {"dispatch": {"href": "v0.1/dispatch/aaaaaaaa-bbbb-cccc-dddd-0123456789ab"}}},
            "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
        ),
        (
            {"_links": {"workflow": {"href": "/workflows/AAAAAAAA-bbbb-cccc-dddd-0123456789AB/"}}},
            "AAAAAAAA-bbbb-cccc-dddd-0123456789AB",
        ),
        ({"_links": {"workflow": {"href": "/workflows/none"}}}, None),
        ({"_links": {"dispatch": "x"}}, None),
        ({"_links": "x"}, None),
        ({"_links": {}}, None),
        ({}, None),
    ],
)
def test_dispatch_uuid_is_found(changes: dict[str, Any], found: str | None) -> None:
    """`dispatch`, `workflow`, any link, the top level, the end of an `href`: in this order."""
    assert status(**changes).dispatch_uuid == found


# --- errors (contract 5.6) ---


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"error": {"code": 1300, "reason": "not a user"}}, 1300, "not a user"),
        ({"error": {"code": " 1300 ", "reason": ""}}, 1300, None),
        (
            {"error": {"type": "https://x/api-errors/messages#1000", "title": "1010", "detail": "d"}},
            1010,
            "d",
        ),
        ({"error": {"type": "https://x/api-errors/messages#1000", "title": "Throttled"}}, 1000, "Throttled"),
        ({"error": {"title": 1020}}, 1020, "1020"),
        ({"errors": {"code": 1030, "reason": "r"}}, 1030, "r"),
        ({"errors": [{"code": 1040, "reason": "r"}, {"code": 1}]}, 1040, "r"),
        ({"errors": ["r", {"code": 1040, "reason": "r"}]}, 1040, "r"),
        ({"error": "1050"}, 1050, "1050"),
        ({"error": {"code": "x", "type": "no fragment", "reason": 5}}, None, "5"),
        ({"error": {}}, None, None),
    ],
)
def test_error_in_any_shape(changes: dict[str, Any], code: int | None, reason: str | None) -> None:
    """Code from `code`, digits of `title`, or the fragment of `type`; reason, detail, else title."""
    assert status(**changes).error == MessageError(code, reason)


@pytest.mark.parametrize("changes", [{"error": None}, {"errors": []}, {"error": True}])
def test_no_error_is_none(changes: dict[str, Any]) -> None:
    assert status(**changes).error is None


def test_error_has_a_class() -> None:
    """The table of contract 6.1."""
    event = status(error={"code": 1180, "reason": "Absent subscriber"}, status="undeliverable")

    assert event.error is not None
    assert event.error.error_class == "temporary"


# --- tolerance (contract 5.11) ---


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("delivered", "delivered"),
        (" Delivered\t", "delivered"),
        ("teleported", "teleported"),
        (" Raed ", "Raed"),
    ],
)
def test_statuses_are_open(text: str, read_as: str) -> None:
    """Known ones are normalised, unknown ones survive as text and end nothing."""
    event = status(status=text)

    assert event.status == read_as
    assert event.is_final == (read_as == "delivered")


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        *(("SMS", "sms"), (" whatsapp ", "whatsapp"), ("viber_sevice_msg", "viber_service_msg")),
        *(("viber_service", "viber_service_msg"), ("viber_service_message", "viber_service_msg")),
        *(
            ("rcs", "rcs"),
            ("viber", "viber_service_msg"),
            (None, "unknown"),
            ("", "unknown"),
            ([], "unknown"),
        ),
    ],
)
def test_channels_are_open(text: Any, read_as: str) -> None:
    """Every spelling of Viber is one channel; unknown channels survive."""
    address = {"type": text, "number": "1"}

    event = status(to=address, **{"from": address})

    assert event.channel == read_as


@pytest.mark.parametrize("channel", ["", " ", [], {}, True])
def test_a_channel_that_names_none_hides_no_type(channel: Any) -> None:
    """Empty text is missing (contract 5.11), so the channel is that of the addresses."""
    message = {"message_uuid": "m", "channel": channel, "status": "read"}

    assert status(channel=channel).channel == "sms"
    assert inbound({"type": "text", "text": ""}, channel=channel).channel == "whatsapp"
    assert report(_links={"messages": [message]}).messages[0].channel is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ({"type": "sms", "number": 447700900000}, Address("sms", "447700900000")),
        ({"type": "sms", "number": "\t4477 "}, Address("sms", "4477")),
        ({"type": "sms", "number": " "}, Address("sms")),
        ({"type": "sms", "number": "1", "id": "2"}, Address("sms", "1", "2")),
        ({"type": "sms", "id": 5, "colour": "red"}, Address("sms", None, "5")),
        ({"type": "messenger", "number": "1", "id": "2"}, Address("messenger", "1", "2", by_id=True)),
        ({"type": "messenger", "number": "1"}, Address("messenger", "1", None, by_id=True)),
        (None, Address("unknown")),
        ("447700900000", Address("unknown", "447700900000")),
    ],
)
def test_addresses_keep_what_is_there(address: Any, expected: Address) -> None:
    """Numbers as JSON numbers, white space, both of number and id, neither."""
    assert status(to=address).to == expected


def test_primary_address_follows_the_tables() -> None:
    """Contract 3.3 and 5.5.1: Messenger and your own end on Viber go by id, everything else by number."""
    both = {"type": "viber_service_msg", "number": "447700900000", "id": "VSM"}

    sent, received = (
        status(to=both, **{"from": both}),
        inbound({"type": "text", "text": ""}, to=both, **{"from": both}),
    )

    assert (sent.from_.address, sent.to.address) == ("VSM", "447700900000")
    assert (received.from_.address, received.to.address) == ("447700900000", "VSM")
    assert status(to={**both, "type": "messenger"}).to.address == "VSM"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"price": "0.0333", "currency": "EUR"}, Usage(Decimal("0.0333"), "EUR")),
        ({"price": 0.0333, "currency": " eur "}, Usage(Decimal("0.0333"), "EUR")),
        ({"price": "1E-2", "currency": "USD"}, Usage(Decimal("0.01"), "USD")),
        ({"price": "0,03", "currency": "EUR"}, Usage(None, "EUR")),
        ({"currency": "EUR", "vat": 1}, Usage(None, "EUR")),
        ({"price": "1"}, Usage(Decimal(1), None)),
        ("0.03", None),
        ([], None),
    ],
)
def test_prices_are_exact_or_none(usage: Any, expected: Usage | None) -> None:
    assert status(usage=usage).usage == expected


def test_unreadable_timestamp_keeps_its_text() -> None:
    """Order by receipt then; a number keeps every digit of its own (contract 5.7)."""
    values: list[Any] = ["soon", 1577887200, 1577887200.125, [], None]

    events = [status(timestamp=value) for value in values]

    assert [(event.timestamp is None, event.timestamp_raw) for event in events] == [
        *((True, "soon"), (False, "1577887200"), (False, "1577887200.125"), (True, None), (True, None)),
    ]


def test_client_ref_is_verbatim() -> None:
    """It is the caller's own text; a number becomes text."""
    assert [status(client_ref=ref).client_ref for ref in (" a ", 7, "", None)] == [" a ", "7", None, None]


def test_one_message_where_a_list_is_expected() -> None:
    """Contract 5.11: a list of one."""
    event = report(_links={"messages": {"message_uuid": "m", "channel": "viber_sevice_msg"}})

    assert [(m.message_uuid, m.channel, m.status) for m in event.messages] == [
        ("m", "viber_service_msg", None)
    ]


def test_a_report_without_anything_is_still_a_report() -> None:
    """No member of a final report is required (contract 5.4)."""
    event = parse_event(b'{"template": "failover", "_links": {"messages": [null, 1, {}]}}')

    assert isinstance(event, FinalReport)
    assert (event.dispatch_uuid, event.status, event.usage, len(event.messages)) == (None, None, None, 1)


def test_half_surrogates_survive() -> None:
    """Text is never altered, and never loses the message (contract 5.11)."""
    body = encode(inbound_body({"type": "text", "text": "a\ud800b\x00"}))

    event = parse_event(body)

    assert isinstance(event, InboundMessage)
    assert event.text == "a\ud800b\x00"


# --- strict ---


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"colour": "red"}, "body: unknown member colour"),
        ({"447700900000": "x"}, "body: unknown member$"),
        ({"status": "raed"}, "status: unknown value"),
        ({"status": "DELIVERED"}, "status: unknown value"),
        ({"timestamp": None}, "timestamp: missing"),
        ({"timestamp": "soon"}, "timestamp: unknown form"),
        ({"to": None}, "to: missing"),
        ({"to": {"type": "rcs", "number": "1"}}, "to.type: unknown value"),
        ({"to": {"type": "sms", "number": 1}}, "to: not exactly one of number and id as text"),
        ({"usage": {"price": 1, "currency": "EUR"}}, "usage.price: not a decimal in text"),
        (
            {"usage": {"price": "1", "currency": "USD", "x": 1}},
            "usage: unknown member x; usage.currency: unknown value",
        ),
        ({"usage": {"currency": ""}}, "usage.price: missing; usage.currency: missing"),
        ({"error": []}, "error: a list; error: not an object"),
        ({"error": {"reason": "r"}}, "error.code: missing or unreadable"),
        ({"_links": {"other": {}}}, "_links: neither dispatch nor workflow alone"),
        ({"_links": 1}, "_links: not an object"),
        ({"_links": {"dispatch": {"dispatch_uuid": "d"}, "x": 1}}, "_links: unknown member"),
        ({"client_ref": 1}, "client_ref: not text"),
        ({"workflow": 1}, "workflow: not an object"),
    ],
)
def test_strict_refuses_what_the_contract_does_not_say(changes: dict[str, Any], note: str) -> None:
    """Contract tests see each deviation by place; service keeps it in `oddities` and goes on."""
    body = encode(status_body(**changes))

    with pytest.raises(InvalidBodyError, match=f"^not as documented: {note}"):
        parse_event(body, strict=True)

    assert "; ".join(parse_event(body).oddities).startswith(note.rstrip("$"))


@pytest.mark.parametrize(
    "body", [b"{}", b'\xef\xbb\xbf{"template": "failover"}', encode(report_body(_links=None))]
)
def test_strict_refuses_odd_bodies(body: bytes) -> None:
    with pytest.raises(InvalidBodyError, match="not as documented"):
        parse_event(body, strict=True)
