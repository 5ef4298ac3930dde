"""Each rule: what breaks it, what does not, and the switches (contract 3 and 7, docs/rules.md)."""

from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
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
        messenger.text("x" * 640, category="message_tag", tag="ticket_update", **M),
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
    assert found(waiting, SMS) == {("channel", "from.type"), ("channel", "to.type")}


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
    ]

    assert lint_application([Workflow(steps=tuple(broken))]) == []


# --- switches ---


def test_check_raises_errors_only() -> None:
    """Warnings do not stop a send, unless they are made errors."""
    workflow = Workflow.failover(sms.text("hi", from_="BISTRO12", to="31617185666"))

    workflow.check()

    with pytest.raises(InvalidWorkflowError, match="sms-sender"):
        workflow.check(Rules(errors=["sms-sender"]))


def test_optional_rules_are_off_until_named() -> None:
    """Extensions, segments and sanctions on every channel are for those who ask."""
    steps = [
        whatsapp.image("https://media.example.com/a.gif?x=.png", **W).until("read", within=60),
        sms.text("x" * 161, from_="31647356950", to="249912345678"),
    ]
    optional = {rule.id for rule in RULES.values() if rule.optional}

    findings = Workflow.failover(*steps).lint(Rules(on=optional, off=["care-window"]))

    assert found(*steps) == set()
    assert sorted(map(str, findings)) == [
        "step 1, message.content.image.url: does not end in .jpg .jpeg .png [media-extension]",
        "step 2, message.content.text: takes 2 SMS in gsm-7 [sms-segments]",
        "step 2, to.number: is in Sudan, which is under sanctions [sanctioned-country]",
    ]
    assert found(SMS, rules=Rules(on=optional, off=["single-step"])) == set()


def test_characters_may_be_counted_in_utf_16() -> None:
    """Code points by default, UTF-16 units by switch (contract 9.24)."""
    step = messenger.text("😀" * 400, **M)

    assert found(step) == set()
    assert found(step, rules=Rules(off=["single-step", "care-window"], count="utf-16")) == {
        ("text-length", "message.content.text")
    }


def test_parameters_are_compared_with_a_known_text() -> None:
    """Too few or too many parameters fail with 1022 (contract 7.1)."""
    rules = Rules(off=["single-step"], templates={"ns:code": "{{1}} code: {{2}}."})

    def with_parameters(*parameters: str) -> set[tuple[str, str]]:
        return found(whatsapp.template("ns:code", parameters, locale="nl", **W), rules=rules)

    field = "message.content.template.parameters"
    assert with_parameters("Bank", "1234") == set()
    assert with_parameters("Bank") == {("template-count", field)}
    assert with_parameters() == {("template-count", field)}
    assert with_parameters("Bank", "1234", "x") == {("template-count", field)}
    assert with_parameters("x" * 1020, "1234") == {("template-length", field)}
    assert found(whatsapp.template("ns:other", ["x"], locale="nl", **W), rules=rules) == set()


@pytest.mark.parametrize("switch", ["on", "off", "errors", "warnings"])
def test_unknown_rules_are_refused(switch: str) -> None:
    """A misspelt switch must not look as if it worked."""
    wrong: dict[str, Any] = {switch: ["e163"]}

    with pytest.raises(ConfigurationError, match=r"no such rule: e163; docs/rules\.md lists them all"):
        Rules(**wrong)


@pytest.mark.parametrize("count", ["utf16", "UTF-16", None])
def test_unknown_ways_to_count_are_refused(count: Any) -> None:
    """A misspelt one must not count in another way."""
    with pytest.raises(ConfigurationError, match='count must be "code points" or "utf-16", not'):
        Rules(count=count)


def test_senders_and_page_scoped_ids_may_be_short() -> None:
    """Short codes are senders, and an id is no number."""
    assert found(mms.image(PICTURE, from_="24273", to="12025550143")) == set()
    assert found(messenger.text("hi", from_="1", to="2")) == set()


@pytest.mark.parametrize("switch", ["off", "warnings"])
def test_fixed_rules_cannot_be_switched_off(switch: str) -> None:
    """Without them there would be no request to send."""
    wrong: dict[str, Any] = {switch: ["failover-last"]}

    with pytest.raises(ConfigurationError, match="cannot be switched off: failover-last"):
        Rules(**wrong)


def test_repr_of_rules_shows_what_was_changed() -> None:
    assert repr(Rules()) == "<Rules default>"
    assert repr(Rules(off=["e164"], on=["sms-segments"], errors=["single-step"])) == (
        "<Rules e164=off, sms-segments=warning, single-step=error>"
    )
