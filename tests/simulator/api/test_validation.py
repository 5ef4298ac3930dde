"""What `POST /dispatch` accepts, and how a violation is named (contract 3)."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.failover import FailoverCondition
from nexmo_dispatch_async.simulator.api.validation import parse_dispatch
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.violations import InvalidBody
from tests.simulator.support import step, workflow

REQUESTS = Path(__file__).parents[2] / "data" / "payloads" / "requests"
BARE = {path for path in REQUESTS.glob("*.json") if "workflow" not in json.loads(path.read_bytes())}
PLACEHOLDERS = {path for path in REQUESTS.glob("*.json") if b"$TO_NUMBER" in path.read_bytes()}
WHOLE = sorted(set(REQUESTS.glob("*.json")) - BARE - PLACEHOLDERS)


def parse(body: object, **switches: bool) -> Any:
    return parse_dispatch(json.dumps(body).encode(), Settings(**switches))  # type: ignore[arg-type]  # switches


def names(body: object) -> list[str]:
    """Return the names of the violations of a body."""
    with pytest.raises(InvalidBody) as caught:
        parse(body)
    return [violation.name for violation in caught.value.violations]


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_every_documented_workflow_is_accepted(path: Path) -> None:
    document = json.loads(path.read_bytes())

    steps = parse_dispatch(path.read_bytes())

    assert [s.channel for s in steps] == [raw["from"]["type"] for raw in document["workflow"]]
    assert [s.condition is None for s in steps] == [False] * (len(steps) - 1) + [True]


@pytest.mark.parametrize("path", sorted(BARE), ids=lambda path: path.stem)
def test_a_bare_step_is_refused_unless_switched_on(path: Path) -> None:
    """Contract 9.1."""
    body = path.read_bytes().replace(b'"TO_NUMBER"', b'"447700900123"')
    body = body.replace(b'"WHATSAPP_NUMBER"', b'"447700900800"')

    with pytest.raises(InvalidBody, match="bare step"):
        parse_dispatch(body)
    assert len(parse_dispatch(body, Settings(accept_bare_step=True))) == 1


@pytest.mark.parametrize("path", sorted(PLACEHOLDERS), ids=lambda path: path.stem)
def test_a_placeholder_is_not_a_number(path: Path) -> None:
    """Neither for a recipient nor, on WhatsApp, for the sender."""
    found = names(json.loads(path.read_bytes()))

    assert [name for name in found if name.endswith("to.number")] == [
        "workflow[0].to.number",
        "workflow[1].to.number",
    ]
    assert ("workflow[0].from.number" in found) == (b"WHATSAPP_NUMBER" in path.read_bytes())


def test_what_is_accepted_is_understood() -> None:
    first = step("viber_service_msg", "447700900321", within=600, until="read", client_ref="order-1")
    first["message"]["viber_service_msg"] = {"category": "promotion", "ttl": 60}

    viber, sms = parse(workflow(first, step("sms", "447700900123")))

    assert viber.sender == {"type": "viber_service_msg", "id": "VSM-ID-40817"}
    assert viber.recipient == {"type": "viber_service_msg", "number": "447700900321"}
    assert viber.condition == FailoverCondition("read", 600)
    assert (viber.client_ref, viber.ttl) == ("order-1", 60)
    assert (sms.address, sms.content_type, sms.client_ref) == ("447700900123", "text", None)


def test_numbers_may_be_numbers_and_times_may_be_text() -> None:
    """Contract 3.3, 3.5: shell variables unquoted, and a tutorial that sends "600"."""
    first = step("sms", "1", within=1)
    first["to"]["number"], first["from"]["number"], first["client_ref"] = 447700900123, 3197010299901, 7
    for expiry in ("600", 600.0, 600):
        first["failover"]["expiry_time"] = expiry

        parsed = parse(workflow(first, step("sms", "447700900124")))[0]

        assert parsed.condition == FailoverCondition("delivered", 600)
        assert (parsed.address, parsed.sender["number"]) == ("447700900123", "3197010299901")
        assert parsed.client_ref == "7"


def test_a_viber_recipient_may_be_a_number_or_an_id_and_the_number_wins() -> None:
    """Contract 9.3."""
    one = step("viber_service_msg", "447700900321")
    one["to"]["id"] = "NL.customer"
    other = step("viber_service_msg", "447700900321")
    other["to"] = {"type": "viber_service_msg", "id": "447700900321"}

    assert parse(workflow(one))[0].recipient == {"type": "viber_service_msg", "number": "447700900321"}
    assert parse(workflow(other))[0].recipient == {"type": "viber_service_msg", "id": "447700900321"}


def test_unknown_fields_and_nulls_are_ignored() -> None:
    """Contract 3.1."""
    only = step("sms", "447700900123", failover=None, client_ref=None, colour="red")
    only["from"]["nickname"] = only["message"]["viber_service_msg"] = 3

    assert len(parse({**workflow(only), "urgent": True})) == 1


def with_message(channel: str, content: object, **options: object) -> dict[str, Any]:
    return workflow(step(channel, "447700900123", message={"content": content, **options}))


def sent_from(number: object) -> dict[str, Any]:
    return workflow({**step("sms", "1"), "from": {"type": "sms", "number": number}})


def without_id() -> dict[str, Any]:
    return workflow({**step("messenger", "1"), "to": {"type": "messenger", "number": "1"}})


LONG = "x" * 5000
ODD_PARAMETERS = {"name": "n", "parameters": [{}, "x", []]}
CONTENT = "workflow[0].message.content"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"workflow": [step("sms", "1")]}, ["template"]),
        ({"template": "failover"}, ["workflow"]),
        ({"template": "failover", "workflow": []}, ["workflow"]),
        ({"template": "fail", "workflow": {}}, ["template", "workflow"]),
        (workflow(3), ["workflow[0]"]),  # type: ignore[arg-type]  # on purpose
        (workflow({}), ["workflow[0].from", "workflow[0].to"]),
        (workflow({"from": 1, "to": {"type": "fax"}}), ["workflow[0].from", "workflow[0].to.type"]),
        (workflow({"from": {}, "to": {"type": []}}), ["workflow[0].from.type", "workflow[0].to.type"]),
        (workflow({**step("sms", "1"), "to": {"type": "mms", "number": "1"}}), ["workflow[0].to.type"]),
        (workflow({**step("sms", "1"), "message": "Hello"}), ["workflow[0].message"]),
        (workflow({**step("sms", "1"), "from": {"type": "sms"}}), ["workflow[0].from.number"]),
        (sent_from(""), ["workflow[0].from.number"]),
        (sent_from("x" * 51), ["workflow[0].from.number"]),
        (sent_from(True), ["workflow[0].from.number"]),
        (sent_from(1.5), ["workflow[0].from.number"]),
        (workflow(step("sms", "+447700900123")), ["workflow[0].to.number"]),
        (workflow(step("sms", "00447700900123")), ["workflow[0].to.number"]),
        (workflow(step("sms", "07700900123")), ["workflow[0].to.number"]),
        (workflow(step("sms", "4" * 16)), ["workflow[0].to.number"]),
        (workflow(step("sms", "4" * 50)), ["workflow[0].to.number"]),
        (workflow(step("mms", "4" * 50)), ["workflow[0].to.number"]),
        (workflow(step("whatsapp", "4" * 50)), ["workflow[0].to.number"]),
        (workflow(step("viber_service_msg", "4" * 50)), ["workflow[0].to.number"]),
        (workflow(step("sms", "44 7700 900123")), ["workflow[0].to.number"]),
        (workflow(step("sms", "٤٤٧٧٠٠")), ["workflow[0].to.number"]),
        (workflow(step("viber_service_msg", "+44")), ["workflow[0].to.number"]),
        (without_id(), ["workflow[0].to.id"]),
        (workflow(step("sms", "1", client_ref="x" * 41)), ["workflow[0].client_ref"]),
        (workflow(step("sms", "1", client_ref={})), ["workflow[0].client_ref"]),
        (workflow(step("sms", "1", within=60)), ["workflow[0].failover"]),
        (workflow(step("sms", "1"), step("sms", "1")), ["workflow[0].failover"]),
        (workflow(step("sms", "1", within=14), step("sms", "1")), ["workflow[0].failover.expiry_time"]),
        (workflow(step("sms", "1", within=86401), step("sms", "1")), ["workflow[0].failover.expiry_time"]),
        (workflow(step("sms", "1", failover={}), step("sms", "1")),
         ["workflow[0].failover.expiry_time", "workflow[0].failover.condition_status"]),
        (workflow(step("sms", "1", within=True, until="seen"), step("sms", "1")),
         ["workflow[0].failover.expiry_time", "workflow[0].failover.condition_status"]),
        (workflow(step("sms", "1", within="1e3", until="read"), step("sms", "1")),
         ["workflow[0].failover.expiry_time"]),
        (with_message("sms", None), [CONTENT]),
        (with_message("sms", {"type": "fax"}), [f"{CONTENT}.type"]),
        (with_message("sms", {"type": []}), [f"{CONTENT}.type"]),
        (with_message("sms", {"type": "image", "image": {"url": "http://x/y.png"}}), [f"{CONTENT}.type"]),
        (with_message("messenger", {"type": "template", "template": {"name": "x"}}), [f"{CONTENT}.type", ]),
        (with_message("sms", {"type": "text"}), [f"{CONTENT}.text"]),
        (with_message("sms", {"type": "text", "text": ""}), [f"{CONTENT}.text"]),
        (with_message("sms", {"type": "text", "text": "x" * 1001}), [f"{CONTENT}.text"]),
        (with_message("whatsapp", {"type": "text", "text": "x" * 4097}), [f"{CONTENT}.text"]),
        (with_message("whatsapp", {"type": "image"}), [f"{CONTENT}.image"]),
        (with_message("whatsapp", {"type": "image", "image": {}}), [f"{CONTENT}.image.url"]),
        (with_message("whatsapp", {"type": "file", "file": {"url": LONG, "caption": LONG}}),
         [f"{CONTENT}.file.url", f"{CONTENT}.file.caption"]),
        (with_message("whatsapp", {"type": "custom", "custom": []}), [f"{CONTENT}.custom"]),
        (with_message("whatsapp", {"type": "template", "template": {"parameters": 3}}),
         [f"{CONTENT}.template.name", f"{CONTENT}.template.parameters"]),
        (with_message("whatsapp", {"type": "template", "template": ODD_PARAMETERS}),
         [f"{CONTENT}.template.parameters[0]", f"{CONTENT}.template.parameters[2]"]),
        (with_message("viber_service_msg", {"type": "text", "text": "x"}, viber_service_msg=3),
         ["workflow[0].message.viber_service_msg"]),
        (with_message("viber_service_msg", {"type": "text", "text": "x"},
                      viber_service_msg={"category": "spam", "ttl": 29}),
         ["workflow[0].message.viber_service_msg.category", "workflow[0].message.viber_service_msg.ttl"]),
        (with_message("whatsapp", {"type": "text", "text": "x"}, whatsapp={"policy": "loose", "locale": 3}),
         ["workflow[0].message.whatsapp.policy", "workflow[0].message.whatsapp.locale"]),
    ],
)  # fmt: skip
def test_a_violation_is_named(body: object, expected: list[str]) -> None:
    assert names(body) == expected


@pytest.mark.parametrize("options", [{"category": "message_tag"}, {"tag": ""}, {"tag": 3}])
def test_a_message_tag_needs_its_tag(options: dict[str, object]) -> None:
    """Contract 3.4.3."""
    only = step("messenger", "2903557611987403")
    only["message"]["messenger"] = options

    assert names(workflow(only)) == ["workflow[0].message.messenger.tag"]


def test_all_violations_are_named_at_once() -> None:
    body = workflow(step("sms", "+1"), step("whatsapp", "1", within=3))

    assert names(body) == [
        "workflow[0].failover",
        "workflow[0].to.number",
        "workflow[1].failover",
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'"\\ud800"',
        b"NaN",
        b"9" * 400,
    ],
)
def test_what_is_no_json_object_has_no_violations_to_name(body: bytes) -> None:
    with pytest.raises(InvalidBody, match="not a JSON object") as caught:
        parse_dispatch(body)

    assert caught.value.violations == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "template",
                    "workflow",
                    "from",
                    "to",
                    "message",
                    "failover",
                    "type",
                    "number",
                    "id",
                    "content",
                    "text",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    try:
        steps = parse_dispatch(body, Settings(accept_bare_step=True))
    except InvalidBody:
        return
    assert steps


@given(json_values, st.sampled_from(["from", "to", "message", "failover", "client_ref"]))
def test_any_value_in_place_of_a_part_is_accepted_or_named(value: object, part: str) -> None:
    body = workflow(step("whatsapp", "447700900123", within=60), step("sms", "447700900123"))
    body["workflow"][0][part] = value

    found: list[object] = []
    try:
        found.extend(parse(body))
    except InvalidBody as error:
        found.extend(error.violations)

    assert found
