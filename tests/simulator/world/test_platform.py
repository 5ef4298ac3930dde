"""What the platform does to a message by itself (contract 3.4.3, 7)."""

import json
from typing import Any

import pytest

from nexmo_dispatch_async.simulator.api.validation import SimulatedStep, parse_dispatch
from nexmo_dispatch_async.simulator.world.people import Act, Person
from nexmo_dispatch_async.simulator.world.platform import cut_by_ttl, is_charged, refusal, render
from nexmo_dispatch_async.simulator.world.settings import Settings
from tests.simulator.support import box, step, workflow

PATTERN = "{{1}} code: {{2}}. Valid for {{3}} minutes."
VERIFY = "whatsapp:hsm:technology:nexmo:verify"


def one(channel: str, to: str = "447700900123", **message: Any) -> SimulatedStep:
    raw = step(channel, to)
    raw["message"].update(message)
    return parse_dispatch(json.dumps(workflow(raw)).encode())[0]


def template(name: str, *parameters: object) -> dict[str, object]:
    return {"type": "template", "template": {"name": name, "parameters": list(parameters)}}


def code(step: SimulatedStep, settings: Settings | None = None, *, window_open: bool = False) -> int | None:
    refused = refusal(step, settings or Settings(), window_open=window_open)
    return None if refused is None else refused.code


def test_a_template_is_filled_in_by_position() -> None:
    """Contract 7.1."""
    assert render(PATTERN, ["Bank", "902417", "5"]) == "Bank code: 902417. Valid for 5 minutes."


def test_inserted_text_is_not_filled_in_again() -> None:
    assert render("{{1}}-{{2}}", ["{{2}}", "x"]) == "{{2}}-x"


@pytest.mark.parametrize("parameters", [[], ["a", "b"], ["a", "b", "c", "d"], ["a", "", "c"]])
def test_parameters_that_do_not_fit_are_told(parameters: list[str]) -> None:
    assert render(PATTERN, parameters) is None


def test_a_known_template_with_wrong_parameters_is_rejected() -> None:
    assert code(one("whatsapp", content=template(VERIFY, {"default": "Bank"}))) == 1022
    assert code(one("whatsapp", content=template(VERIFY, {"default": "Bank"}, "902417", 5))) is None


def test_an_unregistered_template_is_accepted() -> None:
    assert code(one("whatsapp", content=template("ns:other"))) is None


def test_the_withdrawn_policy_fails() -> None:
    """Contract 3.4.3: 1020 in the status webhook."""
    assert code(one("whatsapp", whatsapp={"policy": "fallback"})) == 1020


@pytest.mark.parametrize("number", ["5355512345", "989121234567", "8501234567", "963944123456"])
def test_barred_countries_are_barred_on_whatsapp_only(number: str) -> None:
    """Contract 7.1."""
    assert code(one("whatsapp", number)) == 1050
    assert code(one("sms", number)) is None


def test_free_content_outside_of_the_window_is_rejected() -> None:
    """Contract 7.1, 7.3: the service takes only templates and tagged messages to strangers."""
    custom: dict[str, Any] = {"type": "custom", "custom": {"type": "template", "template": {}}}
    tagged = {"category": "message_tag", "tag": "ACCOUNT_UPDATE"}

    assert code(one("whatsapp")) == 1340
    assert code(one("whatsapp"), window_open=True) is None
    assert code(one("whatsapp", content=template("ns:other"))) is None
    assert code(one("whatsapp", content=custom)) is None
    assert code(one("whatsapp", content={"type": "custom", "custom": {"type": "location"}})) == 1340
    assert code(one("messenger")) == 1340
    assert code(one("messenger", messenger={"category": "response"})) == 1340
    assert code(one("messenger"), window_open=True) is None
    assert code(one("messenger", messenger=tagged)) is None
    assert code(one("sms")) is code(one("viber_service_msg")) is None


@pytest.mark.parametrize("channel", ["whatsapp", "messenger"])
def test_the_window_is_a_switch(channel: str) -> None:
    """Tests of other things may send free content at any time."""
    assert code(one(channel), Settings(care_window=False)) is None


def test_a_ttl_that_passes_before_delivery_leaves_silence() -> None:
    """Contract 7.2: neither a callback nor a charge follows."""
    acts = [Act(100, "submitted"), Act(60_000, "delivered"), Act(70_000, "read")]

    assert cut_by_ttl(acts, 30, Settings()) == acts[:1]
    assert cut_by_ttl(acts, 60, Settings()) == acts
    assert cut_by_ttl(acts, None, Settings()) == acts


def test_a_ttl_that_passes_may_be_told() -> None:
    """Contract 6.1: current pages say rejected, with 1360; what was never sent does not expire."""
    told = Settings(viber_ttl="rejected")
    acts = [Act(100, "submitted"), Act(60_000, "delivered")]

    submitted, expired = cut_by_ttl(acts, 30, told)

    assert submitted == acts[0]
    assert (expired.after_ms, expired.status, expired.code) == (30_000, "rejected", 1360)
    assert expired.reason == "TTL was activated"
    assert cut_by_ttl(acts, 60, told) == acts
    refused = [Act(100, "rejected", 1300)]
    assert cut_by_ttl(refused, 30, told) == []


@pytest.mark.parametrize(
    ("channel", "settings", "charged"),
    [
        ("sms", Settings(), ["delivered"]),
        ("mms", Settings(), ["delivered"]),
        ("sms", Settings(webhook_version="v1"), ["submitted"]),
        ("mms", Settings(webhook_version="v1"), ["submitted"]),
        ("whatsapp", Settings(webhook_version="v1"), ["delivered"]),
        ("sms", Settings(charge_sms_at="submitted"), ["submitted"]),
        ("sms", Settings(webhook_version="v1", charge_sms_at="delivered"), ["delivered"]),
        ("messenger", Settings(charge_sms_at="submitted"), ["delivered"]),
    ],
)
def test_a_price_comes_with_the_status_that_is_charged(
    channel: str, settings: Settings, charged: list[str]
) -> None:
    """Contract 6.1: SMS and MMS when submitted, by current pages; the captures of v0.1 when delivered."""
    found: list[str] = []
    for status in ("submitted", "delivered", "read", "rejected"):
        if is_charged(channel, status, settings, before=bool(found)):
            found.append(status)

    assert found == charged


def test_a_delivery_without_a_submission_is_charged() -> None:
    assert is_charged("sms", "delivered", Settings(webhook_version="v1"), before=False)


def test_a_silenced_viber_message_fails_over_at_expiry_only() -> None:
    parts = box()
    parts.people["447700900123"] = Person(outcome_after=60)
    viber = step("viber_service_msg", "447700900123", within=600)
    viber["message"]["viber_service_msg"] = {"ttl": 30}

    parts.accept(viber, step("sms", "999000000001"))

    assert [what for _, what in parts.story(599)] == ["viber_service_msg submitted"]
    assert parts.story(10)[0][1] == "sms submitted"
