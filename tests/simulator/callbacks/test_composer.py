"""Callbacks as the switches say: the flat form of v1, the misspelt channel, any content that comes in."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest

from nexmo_dispatch_async.simulator.callbacks.bodies import Answer
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, parse_event
from tests.simulator.support import Box, step


def bodies(parts: Box, seconds: float = 30) -> list[dict[str, Any]]:
    return [json.loads(delivery.body) for delivery in parts.run(seconds)]


def test_statuses_in_the_form_of_v1_are_understood(parts: Box) -> None:
    """Contract 5.8, 5.6: flat, an error with a type, what a carrier tells, and the price when submitted."""
    parts.settings.webhook_version = "v1"
    parts.accept(
        step("viber_service_msg", "999313000001", within=60, client_ref="r-1"), step("sms", "999000000001")
    )

    rejected, submitted, delivered, report = bodies(parts)

    assert (rejected["channel"], rejected["to"], rejected["from"]) == (
        "viber_service",
        "999313000001",
        "VSM-ID-40817",
    )
    assert rejected["workflow"] == {
        "id": report["dispatch_uuid"],
        "items_number": "1",
        "items_total": "2",
    }
    assert rejected["error"]["title"] == "1300"
    assert rejected["client_ref"] == "r-1"
    assert not {"destination", "sms", "usage"} & rejected.keys()
    assert submitted["usage"] == {"currency": "EUR", "price": "0.0333"}
    assert "usage" not in delivered
    for body in (submitted, delivered):
        assert body["destination"] == {"network_code": "00101"}
        assert body["sms"] == {"count_total": "1"}
    assert report["usage"]["price"] == "0.0353"
    events = [parse_event(json.dumps(body)) for body in (rejected, submitted, delivered, report)]
    assert [type(event) for event in events] == [MessageStatus, MessageStatus, MessageStatus, FinalReport]


@pytest.mark.parametrize("version", ["v0.1", "v1"])
@pytest.mark.parametrize(
    "content",
    [
        {"type": "text", "text": "Hi"},
        {"type": "image", "image": {"url": "https://example.com/a.jpg", "caption": "A"}},
        {"type": "location", "location": {"lat": "1.5", "long": "2.5"}},
        {"type": "unsupported"},
    ],
)
def test_a_customer_may_write_anything(parts: Box, version: str, content: dict[str, Any]) -> None:
    """Contract 5.5.2."""
    parts.settings.webhook_version = version  # type: ignore[assignment]  # one of the two
    run = parts.accept(step("whatsapp", "999500000001"))
    parts.run(1)

    parts.engine.reply(run.messages[0].uuid, content)
    (delivery,) = parts.run(1)

    event = parse_event(delivery.body)
    assert isinstance(event, InboundMessage)
    body = json.loads(delivery.body)
    assert (body if version == "v1" else body["message"]["content"]).get(content["type"]) == content.get(
        content["type"]
    )


def test_the_final_report_may_misspell_viber(parts: Box) -> None:
    """Contract 5.4."""
    parts.settings.report_viber_as = "viber_sevice_msg"
    parts.accept(step("viber_service_msg", "999000000001", within=60), step("sms", "999000000001"))

    report = bodies(parts)[-2]

    assert report["_links"]["messages"][0]["channel"] == "viber_sevice_msg"


def test_the_older_policy_tries_again_whatever_is_not_200(parts: Box) -> None:
    """Contract 5.10, 9.11."""
    parts.settings.retry_policy = "older"
    parts.accept(step("sms", "999500000001"))

    attempts = parts.run(2300, Answer(404))

    gaps = [b.at_ms - a.at_ms for a, b in pairwise(attempts)]
    assert gaps == [5_000, 60_000, 300_000, 900_000, 900_000]


def test_an_expiry_may_come_late(parts: Box) -> None:
    """Contract 10.2: at expiry, and up to 3 s later."""
    parts.settings.expiry_lag = 3
    runs = [parts.accept(step("sms", "999500000001", within=15), step("sms", "1")) for _ in range(20)]

    parts.run(20)

    sent = [run.messages[1].sent_ms for run in runs]
    assert all(15_000 <= at <= 18_000 for at in sent)
    assert len(set(sent)) > 10


@pytest.mark.parametrize(
    ("text", "count"), [("x" * 160, "1"), ("x" * 161, "2"), ("x" * 307, "3"), ("ж" * 71, "2")]
)
def test_v1_counts_the_segments_of_an_sms(parts: Box, text: str, count: str) -> None:
    """Contract 5.8: `sms.count_total` is text, and says what is charged."""
    parts.settings.webhook_version = "v1"
    parts.accept(step("sms", "999500000001", message={"content": {"type": "text", "text": text}}))

    (submitted,) = bodies(parts)

    assert submitted["sms"] == {"count_total": count}
    assert isinstance(parse_event(json.dumps(submitted)), MessageStatus)


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ("milliseconds", r"2025-01-01T00:00:00\.\d\d\dZ"),
        ("seconds", r"2025-01-01T00:00:00Z"),
    ],
)
def test_v1_tells_moments_in_both_forms(parts: Box, form: Any, pattern: str) -> None:
    """Contract 5.7: with milliseconds and without a fraction; a receiver has to read both."""
    parts.settings.webhook_version, parts.settings.v1_timestamps = "v1", form
    run = parts.accept(step("sms", "999500000001"))
    (submitted,) = bodies(parts, 0.9)
    parts.engine.reply(run.messages[0].uuid, "Hi")
    (inbound,) = bodies(parts, 0)

    for body in (submitted, inbound):
        event = parse_event(json.dumps(body))
        assert re.fullmatch(pattern, body["timestamp"])
        assert isinstance(event, MessageStatus | InboundMessage)
        assert event.timestamp is not None


@pytest.mark.parametrize(
    ("spelling", "names"),
    [
        ("id", ["id", "items_number", "items_total"]),
        ("workflow_id", ["workflow_id", "items_number", "items_total"]),
        ("item_number", ["id", "item_number", "total_items"]),
    ],
)
def test_v1_spells_the_place_in_a_workflow_in_three_ways(parts: Box, spelling: Any, names: list[str]) -> None:
    """Contract 5.8; the receiver understands each."""
    parts.settings.webhook_version, parts.settings.v1_workflow = "v1", spelling
    run = parts.accept(step("sms", "999500000001", within=60), step("sms", "999500000002"))

    (submitted,) = bodies(parts, 1)

    assert list(submitted["workflow"]) == names
    assert list(submitted["workflow"].values()) == [run.dispatch_uuid, "1", "2"]
    event = parse_event(json.dumps(submitted))
    assert isinstance(event, MessageStatus)
    assert event.workflow is not None
    assert (event.workflow.id, event.workflow.items_number, event.workflow.items_total) == (
        run.dispatch_uuid,
        1,
        2,
    )


def test_an_inbound_sms_of_v1_counts_its_parts(parts: Box) -> None:
    """Contract 5.8: what v0.1 has under `message.sms`, and the network it came from."""
    parts.settings.webhook_version = "v1"
    run = parts.accept(step("sms", "999500000001"))
    parts.run(1)
    parts.engine.reply(run.messages[0].uuid, "yes " + "x" * 160)

    (inbound,) = bodies(parts, 0)

    assert inbound["sms"] == {"num_messages": "2", "keyword": "YES"}
    assert inbound["usage"] == {"currency": "EUR", "price": "0.0120"}
    assert inbound["origin"] == {"network_code": "00101"}
    assert isinstance(parse_event(json.dumps(inbound)), InboundMessage)


def test_a_viber_ttl_that_runs_out_may_fail_over_at_once(parts: Box) -> None:
    """Contract 6.1: by the newer text the message is rejected, so that the next step need not wait."""
    parts.settings.viber_ttl = "rejected"
    first = step("viber_service_msg", "999500000001", within=600)
    first["message"]["viber_service_msg"] = {"ttl": 30}
    run = parts.accept(first, step("sms", "999000000001"))

    parts.run(40)

    assert [message.status for message in run.messages] == ["rejected", "delivered"]
    assert run.messages[1].sent_ms == 30_000
