"""Members that the package does not know: sent on purpose, kept on request, and named (contract 9.30)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async import (
    ConfigurationError,
    InvalidWorkflowError,
    Workflow,
    messenger,
    mms,
    sms,
    viber,
    whatsapp,
)
from nexmo_dispatch_async.cli.send import run
from nexmo_dispatch_async.models import (
    Address,
    Failover,
    Media,
    Message,
    MessengerOptions,
    Step,
    Template,
    TemplateBody,
    Text,
    ViberOptions,
    WhatsAppOptions,
)
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.simulator.api.validation import parse_dispatch

INDIA = {"message": {"sms": {"content_id": "1107457532145798767", "entity_id": "1101456324675322134"}}}
ENDS: Any = {"from_": "31647356950", "to": "447700900123"}
BUILDERS: list[Callable[..., Step]] = [
    lambda **more: sms.text("Hi", **ENDS, **more),
    lambda **more: mms.image("https://x.test/i.png", from_="24273", to="12025550143", **more),
    lambda **more: viber.text("Hi", **ENDS, **more),
    lambda **more: viber.image("https://x.test/i.png", **ENDS, **more),
    lambda **more: viber.template("t", ["a"], **ENDS, **more),
    lambda **more: viber.custom({"a": 1}, **ENDS, **more),
    lambda **more: whatsapp.text("Hi", **ENDS, **more),
    lambda **more: whatsapp.image("https://x.test/i.png", **ENDS, **more),
    lambda **more: whatsapp.audio("https://x.test/i.mp3", **ENDS, **more),
    lambda **more: whatsapp.video("https://x.test/i.mp4", **ENDS, **more),
    lambda **more: whatsapp.file("https://x.test/i.pdf", **ENDS, **more),
    lambda **more: whatsapp.template("ns:t", ["a"], **ENDS, **more),
    lambda **more: whatsapp.custom({"a": 1}, **ENDS, **more),
    lambda **more: messenger.text("Hi", **ENDS, **more),
    lambda **more: messenger.image("https://x.test/i.png", **ENDS, **more),
    lambda **more: messenger.audio("https://x.test/i.mp3", **ENDS, **more),
    lambda **more: messenger.video("https://x.test/i.mp4", **ENDS, **more),
    lambda **more: messenger.file("https://x.test/i.pdf", **ENDS, **more),
    lambda **more: messenger.custom({"a": 1}, **ENDS, **more),
]


def wire(step: Step) -> Any:
    return msgspec.json.decode(step.to_json())


def fields(workflow: Workflow, rule: str = "extra-member") -> list[tuple[int | None, str]]:
    return [(found.step, found.field) for found in workflow.lint() if found.rule == rule]


@pytest.mark.parametrize("build", BUILDERS)
def test_every_builder_sends_what_it_does_not_know(build: Callable[..., Step]) -> None:
    """Beside what is known, which stays as it is; nothing is there that was not given."""
    plain = wire(build(client_ref="r"))

    sent = wire(build(client_ref="r", extra={"trace": "t", "to": {"region": "EU"}}))

    assert sent == {**plain, "trace": "t", "to": {**plain["to"], "region": "EU"}}
    assert build(extra=None) == build(extra={}) == build()


def test_senders_to_india_can_send() -> None:
    """`message.sms` with `content_id` and `entity_id`: checked, warned about, and taken by the service."""
    step = sms.text("Hi", **ENDS, extra=INDIA)
    workflow = Workflow.failover(step)

    workflow.check()

    assert wire(step)["message"] == {"content": {"type": "text", "text": "Hi"}, **INDIA["message"]}
    assert [(found.rule, found.severity, found.field) for found in workflow.lint()] == [
        ("single-step", "warning", ""),
        ("extra-member", "warning", "message.sms"),
    ]
    assert parse_dispatch(workflow.to_json())[0].message["sms"] == INDIA["message"]["sms"]


def test_every_struct_takes_more() -> None:
    """A step, an address, a per-channel object, and all others: each finding names the place."""
    more: Any = {"extra": {"x": 1}}
    step = Step(
        Address("viber_service_msg", id="VSM", **more),
        Address("viber_service_msg", "447700900123", **more),
        Message(
            Text("Hi", **more),
            ViberOptions(ttl=60, **more),
            MessengerOptions(**more),
            WhatsAppOptions(**more),
            **more,
        ),
        Failover(60, "delivered", **more),
        **more,
    )
    places = ["from", "to", "message.content", "message.viber_service_msg", "message.messenger"]
    places += ["message.whatsapp", "message", "failover", ""]
    workflow = Workflow((step, step), extra={"x": 1})

    found = fields(workflow)

    expected = {f"{place}.x".removeprefix(".") for place in places}
    assert {field for number, field in found if number == 1} == expected
    assert len([field for number, field in found if number == 2]) == len(places)
    assert (None, "x") in found
    body = msgspec.json.decode(workflow.to_json())
    assert (body["x"], body["workflow"][0]["x"], body["workflow"][0]["message"]["whatsapp"]) == (
        1,
        1,
        {"x": 1},
    )
    assert "extra" not in str(body)


def test_objects_that_are_absent_are_made() -> None:
    """`extra` may have something for the options of a channel that were not given."""
    step = whatsapp.text("Hi", **ENDS, extra={"message": {"whatsapp": {"referral": {"a": [1]}}}})

    assert wire(step)["message"]["whatsapp"] == {"referral": {"a": [1]}}
    assert step.message.whatsapp == WhatsAppOptions(extra={"referral": {"a": [1]}})


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: sms.text("Hi", **ENDS, extra={"client_ref": "r"}), "client_ref"),
        (lambda: sms.text("Hi", **ENDS, extra={"from": {"number": "1"}}), "number"),
        (lambda: sms.text("Hi", **ENDS, extra={"to": "447700900124"}), "to"),
        (lambda: sms.text("Hi", **ENDS, extra={"message": {"content": {"type": "image"}}}), "type"),
        (lambda: sms.text("Hi", **ENDS, extra={"message": {"content": {"text": "Ho"}}}), "text"),
        (lambda: sms.text("Hi", **ENDS, extra={"failover": {"expiry_time": 60}}), "failover"),
        (lambda: Address("sms", "447700900123", extra={"id": "1"}), "id"),
        (lambda: ViberOptions(extra={"ttl": 60}), "ttl"),
        (lambda: Media("https://x.test", extra={"caption": "c"}), "caption"),
        (lambda: TemplateBody("t", extra={"parameters": []}), "parameters"),
        (lambda: Workflow((), extra={"workflow": []}), "workflow"),
        (lambda: Workflow.failover(extra={"template": "x"}), "template"),
        (lambda: msgspec.structs.replace(sms.text("Hi", **ENDS), extra={"message": 5}), "message"),
    ],
)
def test_what_is_known_is_given_in_its_own_place(build: Callable[[], object], name: str) -> None:
    """`extra` overrides nothing; the error names the member, and no value."""
    with pytest.raises(
        ConfigurationError, match=rf"^extra may not hold '{name}': \w+ has a member of this name"
    ) as caught:
        build()

    assert "4477" not in str(caught.value)


@pytest.mark.parametrize("extra", [["a"], "a", {("a", 1)}, 5])
def test_extra_is_a_mapping(extra: Any) -> None:
    with pytest.raises(
        ConfigurationError, match="extra must be a mapping from names of members to JSON values"
    ):
        sms.text("Hi", **ENDS, extra=extra)
    with pytest.raises(ConfigurationError, match="extra must be a mapping: its names are texts"):
        sms.text("Hi", **{**ENDS, "extra": {5: extra}})


@pytest.mark.parametrize(
    "value", [float("nan"), b"bytes", {"a": {5: 1}}, "\ud800", {"\ud800": 1}, object(), {1}]
)
def test_what_is_no_json_is_refused(value: Any) -> None:
    """Before the wire, at its place, also in a workflow of the usual kind."""
    for step in (sms.text("Hi", **ENDS, extra={"a": [value]}), sms.text("Hi", **ENDS, extra={"\ud800": 1})):
        with pytest.raises(InvalidWorkflowError) as caught:
            Workflow.failover(step).check()
        assert {found.rule for found in caught.value.findings} == {"custom-json"}


def test_what_contains_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    listed: list[Any] = []
    listed.append(listed)

    with pytest.raises(InvalidWorkflowError, match="nested more than 100 deep"):
        Workflow.failover(sms.text("Hi", **ENDS, extra={"a": loop})).check()
    template = whatsapp.template("ns:t", listed, **ENDS, locale="en")
    assert "type" in [found.rule for found in Workflow.failover(template).lint()]


PARTS = ("step", "from", "to", "message", "content", "failover", "workflow")


@pytest.mark.parametrize("place", PARTS)
def test_the_usual_kind_is_not_taken_for_checked(place: str) -> None:
    """A first look that knows plain texts must not pass what holds more."""
    bad: Any = {"extra": {"a": float("nan")}}
    given: dict[str, Any] = {name: {} for name in PARTS}
    given |= {place: bad}
    first, last = (
        Step(
            Address("sms", "31647356950", **given["from"]),
            Address("sms", "447700900123", **given["to"]),
            Message(Text("Hi", **given["content"]), **given["message"]),
            failover,
            **given["step"],
        )
        for failover in (Failover(60, "delivered", **given["failover"]), msgspec.UNSET)
    )

    with pytest.raises(InvalidWorkflowError, match=r"a: is not a finite number \[custom-json\]"):
        Workflow((first, last), **given["workflow"]).check()


def test_extra_is_not_shown_and_not_shared() -> None:
    """A `repr` says that there is more and not what; the caller's object may change afterwards."""
    mine: dict[str, Any] = {"message": {"sms": {"entity_id": ["secret"]}}}
    step = sms.text("Hi", **ENDS, extra=mine)
    mine["message"]["sms"]["entity_id"][0] = "changed"

    assert repr(step.message) == "Message(content, extra)"
    assert "secret" not in repr(Workflow.failover(step)) + repr(step) + str(Workflow.failover(step).lint())
    assert step.message.extra == {"sms": {"entity_id": ["secret"]}}


BODY: dict[str, Any] = {
    "template": "failover",
    "priority": {"level": None},
    "workflow": [
        {
            "from": {"type": "whatsapp", "number": "447418342140", "label": "shop"},
            "to": {"type": "whatsapp", "number": "918197792563"},
            "message": {
                "content": {
                    "type": "template",
                    "template": {"name": "ns:t", "parameters": [{"default": "a", "kind": 1}, "b"], "x": 1},
                },
                "whatsapp": {"locale": "en-GB", "extra": "a member of this name"},
                "sms": {"entity_id": "1"},
            },
            "failover": {"expiry_time": 60, "condition_status": "read", "x": []},
            "extra": {"extra": 1},
        },
        {
            "from": {"type": "sms", "number": "31647356950"},
            "to": {"type": "sms", "number": 447700900123},
            "message": {"content": {"type": "text", "text": 'an "extra": in the text', "lang": "en"}},
        },
    ],
}
PLACES = [
    (None, "priority"),
    (1, "from.label"),
    (1, "message.content.template.parameters[0].kind"),
    (1, "message.content.template.x"),
    (1, "message.whatsapp.extra"),
    (1, "message.sms"),
    (1, "failover.x"),
    (1, "extra"),
    (2, "message.content.lang"),
]


@pytest.mark.parametrize("form", [bytes, bytes.decode])
def test_unknown_members_are_kept_on_request(form: Any) -> None:
    """Reading and writing gives an equal JSON value, and a warning names each of them."""
    data = form(msgspec.json.encode(BODY))

    workflow = Workflow.from_json(data, extra=True)

    assert msgspec.json.decode(workflow.to_json()) == BODY
    assert sorted(fields(workflow), key=str) == sorted(PLACES, key=str)
    assert Workflow.from_json(workflow.to_json(), extra=True) == workflow
    with_ref = msgspec.json.decode(workflow.with_client_ref("r").to_json())
    assert (with_ref["priority"], with_ref["workflow"][0]["extra"]) == (BODY["priority"], {"extra": 1})


def test_unknown_members_are_refused_otherwise() -> None:
    """A misspelt member would be ignored by the service in silence; one called `extra` is as unknown."""
    with pytest.raises(InvalidWorkflowError) as caught:
        Workflow.from_json(msgspec.json.encode(BODY))

    refused = [(found.step, found.field) for found in caught.value.findings]
    assert sorted(refused, key=str) == sorted(PLACES, key=str)
    assert {found.rule for found in caught.value.findings} == {"unknown-member"}


@pytest.mark.parametrize("key", ["extra", "\\u0065xtra"])
@pytest.mark.parametrize("value", ['{"a": 1}', "{}", "5", "null"])
def test_a_member_called_extra_is_no_way_around(key: str, value: str) -> None:
    """What JSON calls `extra` is no `extra=`: neither in a workflow nor in a bare step."""
    address = f'{{"type": "sms", "number": "447700900123", "{key}": {value}}}'
    text = (
        f'{{"from": {address}, "to": {address}, "message": {{"content": {{"type": "text", "text": "x"}}}}}}'
    )
    for read in (Step.from_json, Workflow.from_json):
        with pytest.raises(InvalidWorkflowError, match=r"from.extra: is not a member of this object"):
            read(text)
    step = Step.from_json(text, extra=True)

    assert wire(step)["to"]["extra"] == msgspec.json.decode(value)
    assert Workflow.from_json(text, extra=True).steps == (step,)


def test_problems_of_known_members_are_found_beside_many_unknown_ones() -> None:
    """`extra=True` forgives what is unknown, and nothing else."""
    step = {
        **BODY["workflow"][1],
        "failover": {"expiry_time": True},
        **{f"m{index}": index for index in range(200)},
    }

    with pytest.raises(InvalidWorkflowError) as caught:
        Step.from_json(msgspec.json.encode(step), extra=True)

    assert [(found.rule, found.field) for found in caught.value.findings] == [
        ("type", "failover.expiry_time"),
        ("required", "failover.condition_status"),
    ]


def test_the_warning_is_a_rule_like_others() -> None:
    """It can be switched off, or made an error."""
    workflow = Workflow.failover(sms.text("Hi", **ENDS, extra=INDIA))

    assert [found.rule for found in workflow.lint(Rules(off="extra-member"))] == ["single-step"]
    with pytest.raises(InvalidWorkflowError, match=r"message.sms: .* \[extra-member\]"):
        workflow.check(Rules(errors="extra-member"))


def test_a_custom_object_may_have_a_member_called_extra() -> None:
    """It belongs to the channel's own API and is no `extra`."""
    step = viber.custom({"extra": {"a": 1}, "text": "x"}, **ENDS)

    assert wire(step)["message"]["content"]["custom"] == {"extra": {"a": 1}, "text": "x"}
    assert Step.from_json(step.to_json()) == step
    assert fields(Workflow.failover(step)) == []


async def test_the_command_sends_them_when_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`send --extra` warns of what `send` refuses."""
    file = tmp_path / "workflow.json"
    file.write_bytes(Workflow.failover(sms.text("Hi", **ENDS, extra=INDIA)).to_json())

    codes = [await run(file, check=True, extra=extra) for extra in (False, True)]

    assert codes == [1, 0]
    told = capsys.readouterr().err
    assert "message.sms: is not a member of this object" in told
    assert "warning: step 1, message.sms: is no member that this package knows" in told


def test_the_place_of_an_unknown_member_is_short_and_printable() -> None:
    """Its name is the caller's own; 60 characters of it are shown, and nothing that is no text."""
    step = sms.text("Hi", **ENDS, extra={"x" * 61: 1, "y" * 60: 1, "\ud800": 1})

    assert {field for _, field in fields(Workflow.failover(step))} == {"x" * 60, "y" * 60, "…"}
    assert fields(Workflow.failover(step), "custom-json") == [(1, "…")]


def test_parameters_that_contain_themselves_are_left_to_other_rules() -> None:
    """The look for unknown members ends all the same."""
    parameters: list[Any] = []
    parameters.append(parameters)
    body: Any = TemplateBody("ns:t", parameters)  # type: ignore[arg-type]  # wrong on purpose
    step = whatsapp.template("ns:t", locale="nl", **ENDS, extra={"trace": "t"})
    broken = msgspec.structs.replace(step, message=Message(Template(body), whatsapp=step.message.whatsapp))

    assert fields(Workflow.failover(broken)) == [(1, "trace")]
    assert fields(Workflow.failover(broken), "type") == [(1, "message.content.template.parameters[0]")]
