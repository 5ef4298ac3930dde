"""What a redacted body keeps, it keeps by its place: no name of a member lets a customer's answer through."""

import json
from typing import Any, cast

import pytest

from nexmo_dispatch_async.cli.redactor import Redactor
from nexmo_dispatch_webhooks import ButtonContent, InboundMessage, MessageStatus, parse_event
from nexmo_dispatch_webhooks.testing import inbound_body, status_body
from tests.support.paths import PAYLOADS

# Members whose text is kept somewhere, filled in by a customer with what their forms allow.
ANSWERS = {
    "title": "123456",
    "status": "HIV-positive",
    "type": "Janssen",
    "code": "4711",
    "channel": "Vivienne",
    "template": "Amsterdam",
    "timestamp": "1984-02-29 10:00:00",
    "direction": "Muslim",
    "price": "1234.50",
    "currency": "Bitcoin",
    "name": "Jan Janssen",
    "message_type": "Widow",
    "context_status": "Divorced",
    "subtype": "Pregnant",
    "category": "Unemployed",
    "num_messages": "7",
    "items_total": "8",
    "message_uuid": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    "href": "v0.1/messages/aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
    "Janssen": True,
    "age": 42,
}


def values(item: Any) -> list[Any]:
    """Every value in a JSON value that is no object and no list."""
    if not isinstance(item, dict | list):
        return [item]
    members: list[Any] = list(cast("dict[str, Any]", item).values()) if isinstance(item, dict) else item
    return [value for member in members for value in values(member)]


def names(item: Any) -> set[str]:
    """Every name of a member in a JSON value."""
    if isinstance(item, dict):
        known = cast("dict[str, Any]", item)
        return {*known, *names(list(known.values()))}
    members: list[Any] = item if isinstance(item, list) else []
    return {name for member in members for name in names(member)}


def v1(message_type: str, **members: Any) -> dict[str, Any]:
    """An inbound message of the v1 format."""
    return {
        "channel": "whatsapp",
        "message_uuid": "11111111-2222-4333-8444-555555555501",
        "to": "447700900112",
        "from": "447700900111",
        "timestamp": "2026-08-03T12:14:25Z",
        "message_type": message_type,
        **members,
    }


def wrapped(answers: Any) -> dict[str, dict[str, Any]]:
    """Bodies with an object of any members where the service passes one on."""
    flow = {"payload": answers, "subtype": "flow", "text": "sent"}
    return {
        "v0.1 flow": inbound_body(content={"type": "button", "button": flow}),
        "v1 flow": v1("button", button=flow),
        "v1 content": v1("content", content=[{"type": "image", "url": "https://x.test/i", "more": answers}]),
        "v1 custom": v1("custom", custom=answers),
        "v0.1 custom": inbound_body(content={"type": "custom", "custom": answers}),
        "v0.1 unknown": inbound_body(content={"type": "form", "form": [answers]}),
        "v1 order": v1("order", order={"product_items": [answers]}),
        "v1 contact": v1("contact", contact=answers),
        "v1 referral": v1("text", text="hi", whatsapp={"referral": answers}),
        "v1 whatsapp": v1("text", text="hi", whatsapp={"anything": answers}),
        "v1 profile": v1("text", text="hi", profile={"name": "Jan Janssen", "more": answers}),
        "v1 provider": v1("text", text="hi", provider_message=answers),
        "v1 context": v1("text", text="hi", context={"whatsapp_referred_product": answers}),
        "link": {**status_body(), "_links": {"elsewhere": answers}},
        "error": status_body("rejected", error={"code": 1300, "reason": "no", "parameters": [answers]}),
        "unknown": {"data": answers},
        "a list": {"data": [[answers]]},
    }


@pytest.mark.parametrize("where", wrapped({}))
def test_answers_of_customers_leave_no_trace(where: str) -> None:
    """Whatever a member is called that a customer or a business fills in, neither name nor value is kept."""
    body = wrapped(ANSWERS)[where]

    redacted = Redactor().body(body)

    assert [value for value in values(redacted) if value in list(ANSWERS.values())] == []
    assert names(redacted) & {"Janssen", "age", "items_total", "category"} == set()
    assert len(values(redacted)) == len(values(body)), "it has the same shape"


def test_the_answer_of_the_service_that_was_observed_leaves_no_trace() -> None:
    """A recording of this body is still an answer to a Flow, of a customer who cannot be found."""
    raw = json.loads((PAYLOADS / "observed" / "i16_flow_answer.json").read_bytes())

    redacted = Redactor().body(raw)

    payload = raw["button"]["payload"]
    assert not [text for text in (*payload.values(), raw["from"]) if text in json.dumps(redacted)]
    event = parse_event(json.dumps(redacted))
    assert isinstance(event, InboundMessage)
    assert isinstance(event.content, ButtonContent)
    assert (event.content.subtype, len(event.content.flow or {})) == ("flow", len(payload))


def test_a_name_with_points_is_no_place() -> None:
    """A member called `usage.price` at the top is not the price."""
    assert "1234.50" not in values(Redactor().body({"usage.price": "1234.50"}))


def test_people_stay_apart_and_the_same_in_every_shape() -> None:
    """A user id becomes another one, wherever it stands, so that a replay has the same conversations."""
    ids = ["NL.13491208655302741918", "BE.13491208655302741918"]
    bodies = [v1("text", text="hi", whatsapp={"sender": {"user_id": ids[0], "wa_id": "447700900111"}})]
    bodies += [{**v1("text", text="hi"), "from": ident} for ident in ids]
    redactor = Redactor()

    events = [parse_event(json.dumps(redactor.body(body))) for body in bodies]

    named = [event.from_.id or "" for event in events if isinstance(event, InboundMessage)]
    assert named[0] == named[1] != named[2]
    assert all(name.startswith("XX.999") for name in named)
    assert not [name for name in named if "1349" in name]


def test_what_the_service_says_is_kept() -> None:
    """Position, error, price and kind of the v1 format are the same event after a redaction."""
    raw = json.loads((PAYLOADS / "observed" / "s03_v1_submitted_with_error_workflow_id.json").read_bytes())

    before, after = parse_event(json.dumps(raw)), parse_event(json.dumps(Redactor().body(raw)))

    assert isinstance(before, MessageStatus)
    assert isinstance(after, MessageStatus)
    assert after.workflow is not None
    assert (after.workflow.items_number, after.workflow.items_total) == (1, 2)
    assert (after.error and after.error.code, after.usage) == (1000, before.usage)
    assert after.raw["whatsapp"]["pricing"] == before.raw["whatsapp"]["pricing"]
    assert after.raw["error"]["type"] == before.raw["error"]["type"]
