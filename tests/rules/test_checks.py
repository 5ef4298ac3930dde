"""Each rule: what breaks it, what does not, and the switches (contract 3 and 7, docs/rules.md)."""

from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.models import (
    Address,
    Audio,
    Custom,
    File,
    Link,
    Media,
    Message,
    MessengerOptions,
    Step,
    Template,
    TemplateBody,
    Text,
    ViberOptions,
    Video,
    WhatsAppOptions,
)
from nexmo_dispatch_async.rules import RULES, Rules, lint_application
from nexmo_dispatch_async.workflow import Workflow

S: dict[str, Any] = {"from_": "31647356950", "to": "31617185666"}
W: dict[str, Any] = {"from_": "447418342140", "to": "918197792563"}
V: dict[str, Any] = {"from_": "VSM-ID", "to": "447700900321"}
M: dict[str, Any] = {"from_": "118820033417905", "to": "2903557611987403"}
PICTURE = "https://media.example.com/a.png"
SMS = sms.text("hi", **S)
# What almost every step breaks is looked at in tests of its own.
QUIET = Rules(off=["single-step", "care-window"])


def with_message(step: Step, **changes: Any) -> Step:
    """A step whose message has other members, whatever the type checker thinks of them."""
    return msgspec.structs.replace(step, message=msgspec.structs.replace(step.message, **changes))


def carrying(step: Step, content: Any) -> Step:
    return with_message(step, content=content)


def found(*steps: Any, rules: Rules = QUIET) -> set[tuple[str, str]]:
    """Rule and field of every finding."""
    return {(finding.rule, finding.field) for finding in Workflow.failover(*steps).lint(rules)}


NUMBER, ID = "to.number", "to.id"
VSM = "message.viber_service_msg"

BREACHES: list[tuple[str, str, Step]] = [
    # addresses (contract 3.3, 7.1, 7.4)
    *[
        ("e164", NUMBER, msgspec.structs.replace(SMS, to=Address(type="sms", number=to)))
        for to in [
            "+31617185666",
            "0031617185666",
            "0617185666",
            "$TO_NUMBER",
            "31-617",
            "1" * 16,
            "٣١٦",
            "²",
        ]
    ],
    (
        "e164",
        "from.number",
        msgspec.structs.replace(
            whatsapp.text("hi", from_="447418342140", to="918197792563"),
            from_=Address(type="whatsapp", number="+447418342140"),
        ),
    ),
    ("e164", ID, viber.text("hi", from_="VSM-ID", to="TO_NUMBER", to_as="id")),
    ("short-number", NUMBER, sms.text("hi", from_="31647356950", to="316171")),
    ("short-number", NUMBER, whatsapp.text("hi", from_="447418342140", to="5")),
    ("short-number", ID, viber.text("hi", from_="VSM-ID", to="999", to_as="id")),
    ("address-length", NUMBER, sms.text("hi", from_="31647356950", to="")),
    ("address-length", "from.number", sms.text("hi", from_="1" * 51, to="31617185666")),
    ("address-length", ID, messenger.text("hi", from_="1", to="9" * 51)),
    ("address-member", NUMBER, msgspec.structs.replace(SMS, to=Address(type="sms"))),
    ("address-member", NUMBER, msgspec.structs.replace(SMS, to=Address(type="sms", id="31617185666"))),
    ("address-extra", ID, msgspec.structs.replace(SMS, to=Address(type="sms", number="31617185666", id="x"))),
    ("type", NUMBER, msgspec.structs.replace(SMS, to=Address(type="sms", number=31617185666))),
    ("sms-sender", "from.number", sms.text("hi", from_="BISTRO12", to="31617185666")),
    ("sms-sender", "from.number", sms.text("hi", from_="BISTRO AMSTERDAM", to="31617185666")),
    (
        "sms-sender",
        "from.number",
        msgspec.structs.replace(SMS, from_=Address(type="sms", number="+31647356950")),
    ),
    ("mms-numbers", "from.number", mms.image(PICTURE, from_="12025550143", to="12025550143")),
    ("mms-numbers", NUMBER, mms.image(PICTURE, from_="24273", to="31617185666")),
    *[
        ("whatsapp-country", NUMBER, whatsapp.text("hi", from_="447418342140", to=to))
        for to in ["5351234567", "989123456789", "8501912345678", "963944567890"]
    ],
    *[
        ("whatsapp-crimea", NUMBER, whatsapp.text("hi", from_="447418342140", to=to))
        for to in ["73652123456", "78692123456", "79781234567", "380652123456", "380692123456"]
    ],
    # steps
    (
        "channel",
        "to.type",
        msgspec.structs.replace(SMS, to=Address(type="viber_service_message", number="31617")),
    ),
    (
        "channel-mismatch",
        "to.type",
        msgspec.structs.replace(SMS, to=Address(type="whatsapp", number="31617185666")),
    ),
    ("client-ref-length", "client_ref", sms.text("hi", client_ref="x" * 41, **S)),
    ("type", "client_ref", msgspec.structs.replace(SMS, client_ref=7)),
    # content (contract 3.4)
    ("text-length", "message.content.text", sms.text("", **S)),
    ("text-length", "message.content.text", sms.text("x" * 1001, **S)),
    ("text-length", "message.content.text", viber.text("x" * 1001, **V)),
    ("text-length", "message.content.text", messenger.text("x" * 641, **M)),
    ("text-length", "message.content.text", whatsapp.text("é" * 4097, **W)),
    ("surrogate", "message.content.text", sms.text("half \ud83d", **S)),
    ("type", "message.content.text", carrying(SMS, Text(7))),  # type: ignore[arg-type]  # wrong on purpose
    ("content-channel", "message.content.type", carrying(SMS, Custom({}))),
    ("content-channel", "message.content.type", carrying(viber.text("x", **V), Audio(Link(PICTURE)))),
    (
        "content-channel",
        "message.content.type",
        carrying(messenger.text("x", **M), Template(TemplateBody("x"))),
    ),
    ("content-doubtful", "message.content.type", viber.template("x", **V)),
    (
        "content-doubtful",
        "message.content.type",
        carrying(mms.image(PICTURE, from_="24273", to="12025550143"), Text("x")),
    ),
    ("url-length", "message.content.image.url", whatsapp.image("", **W)),
    ("url-length", "message.content.video.url", whatsapp.video("https://" + "x" * 2000, **W)),
    ("url-form", "message.content.file.url", messenger.file("media.example.com/a.pdf", **M)),
    ("caption-length", "message.content.image.caption", whatsapp.image(PICTURE, caption="", **W)),
    ("caption-length", "message.content.file.caption", whatsapp.file(PICTURE, caption="x" * 3001, **W)),
    (
        "caption-channel",
        "message.content.file.caption",
        carrying(messenger.text("x", **M), File(Media(PICTURE, "x"))),
    ),
    ("template-name", "message.content.template.name", whatsapp.template("", locale="nl", **W)),
    ("template-name", "message.content.template.name", whatsapp.template("verify", locale="nl", **W)),
    ("template-name", "message.content.template.name", whatsapp.template("ns:", locale="nl", **W)),
    (
        "template-parameter",
        "message.content.template.parameters[1]",
        whatsapp.template("a:b", ["x", ""], locale="nl", **W),
    ),
    (
        "template-parameter",
        "message.content.template.parameters[0]",
        carrying(whatsapp.text("x", locale="nl", **W), Template(TemplateBody("a:b", ("x",)))),
    ),
    ("type", "message.content.template.parameters[0]", whatsapp.template("a:b", [7], locale="nl", **W)),  # type: ignore[list-item]  # wrong on purpose
    ("custom-json", "message.content.custom.a[1]", whatsapp.custom({"a": [1, float("nan")]}, **W)),
    ("custom-json", "message.content.custom.a", whatsapp.custom({"a": b"x"}, **W)),
    ("custom-json", "message.content.custom.a", whatsapp.custom({"a": "\ud800"}, **W)),
    ("custom-json", "message.content.custom.a", whatsapp.custom({"a": 10**4000}, **W)),
    ("custom-json", "message.content.custom", whatsapp.custom({1: 2}, **W)),  # type: ignore[dict-item]  # wrong on purpose
    # options (contract 3.4.3)
    ("viber-category", "message.viber_service_msg.category", viber.text("x", category="spam", **V)),  # type: ignore[arg-type]  # wrong on purpose
    ("viber-ttl", "message.viber_service_msg.ttl", viber.text("x", ttl=29, **V)),
    ("viber-ttl", "message.viber_service_msg.ttl", viber.text("x", ttl=259_201, **V)),
    ("viber-ttl-long", "message.viber_service_msg.ttl", viber.text("x", ttl=86_401, **V)),
    ("viber-ttl-long", "message.viber_service_msg.ttl", viber.text("x", ttl=259_200, **V)),
    ("type", "message.viber_service_msg.ttl", viber.text("x", ttl=True, **V)),
    ("messenger-category", "message.messenger.category", messenger.text("x", category="spam", **M)),  # type: ignore[arg-type]  # wrong on purpose
    ("messenger-tag", "message.messenger.tag", messenger.text("x", category="message_tag", **M)),
    ("messenger-tag", "message.messenger.tag", messenger.text("x", category="message_tag", tag="", **M)),
    (
        "messenger-tag-unknown",
        "message.messenger.tag",
        messenger.text("x", category="message_tag", tag="PROMO", **M),
    ),
    ("messenger-tag-unused", "message.messenger.tag", messenger.text("x", tag="ACCOUNT_UPDATE", **M)),
    ("whatsapp-policy", "message.whatsapp.policy", whatsapp.text("x", policy="fallback", **W)),
    ("whatsapp-locale", "message.whatsapp.locale", whatsapp.template("a:b", **W)),
    ("whatsapp-locale", "message.whatsapp.locale", whatsapp.template("a:b", policy="deterministic", **W)),
    ("type", "message.whatsapp.locale", whatsapp.text("x", locale=7, **W)),  # type: ignore[arg-type]  # wrong on purpose
    ("options-channel", "message.whatsapp", with_message(SMS, whatsapp=WhatsAppOptions("deterministic"))),
    ("options-channel", "message.messenger", with_message(SMS, messenger=MessengerOptions("update"))),
    (
        "options-channel",
        "message.viber_service_msg",
        with_message(SMS, viber_service_msg=ViberOptions(ttl=600)),
    ),
]


@pytest.mark.parametrize(
    ("rule", "field", "step"), BREACHES, ids=[f"{b[0]} {n}" for n, b in enumerate(BREACHES)]
)
def test_breach_is_found_alone(rule: str, field: str, step: Step) -> None:
    """The breach is reported once, under its rule and field, and nothing else is."""
    findings = found(step)

    assert findings == {(rule, field)}


@pytest.mark.parametrize(("rule", "field", "step"), [b for b in BREACHES if not RULES[b[0]].fixed])
def test_every_breach_can_be_switched_off_turned_up_and_turned_down(
    rule: str, field: str, step: Step
) -> None:
    """One switch changes one rule."""
    workflow = Workflow.failover(step)

    severities = [
        {finding.severity for finding in workflow.lint(rules) if finding.rule == rule}
        for rules in (Rules(off=[rule]), Rules(errors=[rule]), Rules(warnings=[rule]))
    ]

    assert severities == [set(), {"error"}, {"warning"}]


@pytest.mark.parametrize(
    "step",
    [
        sms.text("x" * 1000, from_="31647356950", to="3161718"),
        sms.text("é😀", client_ref="x" * 40, **S),
        whatsapp.text("x" * 4096, from_="447418342140", to="540000000000"),
        whatsapp.text("x", from_="447418342140", to="79991234567"),
        sms.text("x", from_="31647356950", to="5351234567"),
        sms.text("x", from_="31647356950", to="316171856612345"),
        messenger.text("x" * 640, category="message_tag", tag="ticket_update", **M),
        messenger.text("x", category="response", from_="1", to="9" * 50),
        messenger.text("x", category="update", **M),
        viber.text("x", category="transaction", **V),
        viber.text("x", category="promotion", **V),
        viber.text("x", ttl=30, **V),
        viber.text("x", ttl=86_400, **V),
        whatsapp.image("HTTPS://media.example.com/" + "x" * 1974, caption="x" * 3000, **W),
        whatsapp.custom({"a": [None, True, 1, 1.5, "é", {"b": ()}]}, **W),
        messenger.video("http://media.example.com/a", **M),
    ],
    ids=lambda step: repr(step),
)
def test_edges_that_are_allowed(step: Step) -> None:
    """The documented limits themselves pass."""
    assert found(step) == set()


@pytest.mark.parametrize(
    ("step", "rule", "field"),
    [
        (SMS, "failover-missing", "failover"),
        (SMS.until("delivered", within=14), "expiry", "failover.expiry_time"),
        (SMS.until("delivered", within=86_401), "expiry", "failover.expiry_time"),
        (SMS.until("delivered", within=15.5), "expiry", "failover.expiry_time"),
        (SMS.until("delivered", within=True), "expiry", "failover.expiry_time"),
        (SMS.until("seen", within=60), "condition", "failover.condition_status"),  # type: ignore[arg-type]  # wrong on purpose
        (SMS.until("read", within=60), "condition-read", "failover.condition_status"),
        (
            viber.text("x", ttl=599, **V).until("read", within=600),
            "viber-ttl-trap",
            "message.viber_service_msg.ttl",
        ),
    ],
)
def test_conditions_are_checked(step: Step, rule: str, field: str) -> None:
    """Expiry, status and what they mean on the channel (contract 3.5, 7.2)."""
    assert found(step, SMS) == {(rule, field)}


@pytest.mark.parametrize("within", [15, 86_400])
def test_edges_of_the_expiry_pass(within: int) -> None:
    """15 to 86400, both included (contract 9.23)."""
    assert found(viber.text("x", ttl=86_400, **V).until("read", within=within), SMS) == set()


def test_last_step_must_not_fail_over() -> None:
    """Every step but the last has failover, the last never does (contract 3.1)."""
    assert found(SMS.until("delivered", within=60)) == {("failover-last", "failover")}


def test_one_step_is_a_warning_and_none_is_an_error() -> None:
    """A workflow of one step is legal and has nothing to fail over to (contract 3.1)."""
    assert [str(f) for f in Workflow.failover(SMS).lint()] == [
        "workflow: has one step, so there is nothing to fail over to; add a step, say an SMS [single-step]"
    ]
    assert [f.rule for f in Workflow.failover().lint()] == ["steps"]
    Workflow.failover(SMS).check()


WRONG: Any = object()


@pytest.mark.parametrize(
    ("step", "field"),
    [
        (WRONG, ""),
        (msgspec.structs.replace(SMS, from_=WRONG), "from"),
        (msgspec.structs.replace(SMS, to=None), "to"),
        (msgspec.structs.replace(SMS, message=WRONG), "message"),
        (msgspec.structs.replace(SMS, failover=WRONG), "failover"),
        (carrying(SMS, WRONG), "message.content"),
        (carrying(whatsapp.text("x", **W), File(WRONG)), "message.content.file"),
        (carrying(whatsapp.text("x", **W), Video(WRONG)), "message.content.video"),
        (carrying(whatsapp.text("x", **W), Template(WRONG)), "message.content.template"),
        (
            carrying(whatsapp.text("x", locale="nl", **W), Template(TemplateBody("a:b", WRONG))),
            "message.content.template.parameters",
        ),
        (
            carrying(whatsapp.text("x", locale="nl", **W), Template(TemplateBody(WRONG))),
            "message.content.template.name",
        ),
        (
            with_message(
                messenger.text("x", **M), messenger=MessengerOptions(category="message_tag", tag=WRONG)
            ),
            "message.messenger.tag",
        ),
        (carrying(whatsapp.text("x", **W), Custom(WRONG)), "message.content.custom"),
        (with_message(viber.text("x", **V), viber_service_msg=WRONG), "message.viber_service_msg"),
        (with_message(messenger.text("x", **M), messenger=WRONG), "message.messenger"),
        (with_message(whatsapp.text("x", **W), whatsapp=WRONG), "message.whatsapp"),
        (
            with_message(viber.text("x", **V), viber_service_msg=ViberOptions(type=WRONG)),
            "message.viber_service_msg.type",
        ),
    ],
)
def test_parts_of_another_type_are_named(step: Any, field: str) -> None:
    """Whatever stands where a part belongs, lint() says so instead of failing."""
    last = None if field == "failover" else step

    findings = found(*([step, SMS] if last is None else [SMS.until("delivered", within=60), last]))

    assert findings == {("type", field)}


def test_a_condition_is_checked_whatever_its_message_is() -> None:
    """Neither a message of another type nor options without a ttl can be compared with the expiry."""
    waiting = SMS.until("delivered", within=60)
    viber_step = viber.text("x", category="promotion", **V).until("read", within=60)

    assert found(msgspec.structs.replace(waiting, message=WRONG), SMS) == {("type", "message")}
    assert found(viber_step, SMS) == set()


def test_steps_must_be_a_sequence() -> None:
    workflow = Workflow(steps=WRONG)

    assert [(finding.rule, finding.field) for finding in workflow.lint()] == [("type", "workflow")]


def test_unknown_channel_does_not_hide_other_problems() -> None:
    """What holds on every channel is checked without a known one."""
    address = Address(type="fax", number="1")
    step = Step(address, address, Message(Text("x" * 5000)), client_ref="x" * 41)

    assert found(step) == {
        ("channel", "from.type"),
        ("channel", "to.type"),
        ("text-length", "message.content.text"),
        ("client-ref-length", "client_ref"),
    }
    assert found(carrying(step, Audio(Link("x")))) >= {("url-form", "message.content.audio.url")}
    wrong: list[Any] = [WRONG, []]
    for kind in wrong:
        assert found(msgspec.structs.replace(SMS, from_=Address(type=kind), to=Address(type=kind))) == {
            ("channel", "from.type"),
            ("channel", "to.type"),
        }
    waiting = msgspec.structs.replace(SMS, from_=address, to=address).until("read", within=60)
    optioned = with_message(carrying(step, Text("x" * 4096)), whatsapp=WhatsAppOptions("deterministic"))
    for each in (waiting, msgspec.structs.replace(optioned, client_ref=msgspec.UNSET)):
        last = [SMS] if each is waiting else []
        assert found(each, *last) == {("channel", "from.type"), ("channel", "to.type")}


def test_custom_objects_that_contain_themselves_are_refused() -> None:
    """Depth is bounded, so a loop ends."""
    loop: dict[str, Any] = {}
    loop["a"] = loop

    (finding,) = found(whatsapp.custom(loop, **W))

    assert finding[0] == "custom-json"


# --- one account per platform (contract 4.4, 7.5) ---


def test_several_senders_on_one_platform_are_named() -> None:
    """Within one workflow, and over the workflows of one application."""
    first = viber.text("x", **V).until("read", within=60)
    second = viber.text("x", from_="OTHER", to="447700900321").until("read", within=60)
    again = viber.text("x", from_="VSM-ID", to="447700900321")

    (finding,) = lint_application([Workflow.failover(first, SMS), Workflow.failover(second, SMS)])

    advice = "workflow: uses 2 Viber senders; an application has one Viber account, so use one [one-account]"
    assert str(finding) == advice
    assert [str(f) for f in Workflow.failover(first, second, again).lint()] == [advice]
    Workflow.failover(first, second, again).check()
    assert lint_application([Workflow.failover(first, again), Workflow.failover(SMS)]) == []
    assert lint_application([Workflow.failover(first, second)], Rules(off=["one-account"])) == []


def test_senders_that_cannot_be_read_do_not_count() -> None:
    """SMS has no account limit, and broken steps are named by other rules."""
    broken: list[Any] = [
        WRONG,
        SMS,
        sms.text("x", from_="OTHER", to="31617185666"),
        msgspec.structs.replace(SMS, from_=None),
        msgspec.structs.replace(SMS, from_=Address(type="whatsapp")),
        msgspec.structs.replace(SMS, from_=Address(type="whatsapp", number=WRONG)),
    ]

    assert lint_application([Workflow(steps=tuple(broken))]) == []
