"""A template gives each row the bytes that the builders and the rules would give it."""

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.templates.rendering import Route
from nexmo_dispatch_async.bulk.templates.template import FunctionTemplate, WorkflowTemplate
from nexmo_dispatch_async.channels import messenger, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.workflow import Workflow

WHATSAPP, SMS, PERSON = "447418342140", "31647356950", "31617185666"


def row(fields: Mapping[str, Any], **more: Any) -> Recipient:  # Any: rows of users hold anything
    return Recipient(key="k", address="", fields=dict(fields), bucket="", **more)


@cache
def two_steps() -> WorkflowTemplate:
    return WorkflowTemplate(
        whatsapp.template(
            "ns:spring", ["{name}", "{code} / {name|x}"], from_=WHATSAPP, to="{phone}", locale="nl"
        ).until("read", within=600),
        sms.text("Hi {name}, \"{code}\" {{1}} {'{'}{name}{'}'}", from_=SMS, to="{phone}"),
    )


def by_builders(name: str, code: str, phone: str, ref: str | None) -> Workflow:
    return Workflow.failover(
        whatsapp.template(
            "ns:spring",
            [name, f"{code} / {name}"],
            from_=WHATSAPP,
            to=phone,
            locale="nl",
            client_ref=ref,
        ).until("read", within=600),
        sms.text(f'Hi {name}, "{code}" {{{{1}}}} {{{name}}}', from_=SMS, to=phone, client_ref=ref),
    )


VALUES = st.text(min_size=1, max_size=40).filter(lambda text: not text.isspace()) | st.sampled_from(
    ['"', "\\", "{name}", "a\u2028b", "é", "😀", "\x00", "\ud800", "x" * 1000]
)
NUMBERS = st.sampled_from(
    [PERSON, f" {PERSON}", "+31617185666", "NL.13491208655302741918", "5355512345", "123", "0"]
)


@given(name=VALUES, code=VALUES, phone=NUMBERS, ref=st.none() | st.sampled_from(["ab-1", "x" * 41, 'q"ü']))
@example(name="Ann", code="7", phone=PERSON, ref="c0ffee-12")
def test_a_rendered_row_equals_the_workflow_of_the_builders(
    name: str, code: str, phone: str, ref: str | None
) -> None:
    """The bytes are those of `to_json()`, and a row is refused if and only if `check()` refuses it."""
    expected = by_builders(name, code, phone, ref)
    refused = None
    try:
        expected.check()
    except InvalidWorkflowError as error:
        refused = error.findings[0]
    recipient = row({"name": name, "code": code, "phone": phone})

    if refused is not None:
        with pytest.raises(RowError) as caught:
            two_steps().render(recipient, ref)
        assert caught.value.rule == refused.rule
        return
    rendered = two_steps().render(recipient, ref)
    assert rendered.body == expected.to_json()
    assert rendered.channels == ("whatsapp", "sms")
    assert rendered.client_refs == expected.client_refs
    assert rendered.summary() == expected.summary()
    assert two_steps().workflow(recipient, ref) == expected


STEPS: list[tuple[Step, Step]] = [
    (
        viber.text("{a}", from_="12345", to="{phone}", category="promotion"),
        viber.text("A", from_="12345", to=PERSON, category="promotion"),
    ),
    (
        viber.image("https://example.com/{a}.png", from_="12345", to="{phone}", to_as="id"),
        viber.image("https://example.com/A.png", from_="12345", to=PERSON, to_as="id"),
    ),
    (messenger.text("{a}", from_="1", to="{psid}"), messenger.text("A", from_="1", to="9876")),
    (
        whatsapp.custom({"type": "x", "deep": [{"b": "{a}"}], "n": 1}, from_=WHATSAPP, to="{phone}"),
        whatsapp.custom({"type": "x", "deep": [{"b": "A"}], "n": 1}, from_=WHATSAPP, to=PERSON),
    ),
    (
        sms.text("x", from_="{sender}", to="{phone}", client_ref="order-{a}"),
        sms.text("x", from_=SMS, to=PERSON, client_ref="order-A"),
    ),
    (
        whatsapp.template("ns:{a}", from_=WHATSAPP, to="{phone}", locale="{locale|nl}"),
        whatsapp.template("ns:A", from_=WHATSAPP, to=PERSON, locale="nl"),
    ),
    (
        whatsapp.image("https://example.com/x.png", caption="{a}", from_=WHATSAPP, to="{user}"),
        whatsapp.image(
            "https://example.com/x.png", caption="A", from_=WHATSAPP, to="NL.13491208655302741918"
        ),
    ),
    (
        sms.text("x", from_=SMS, to="{phone}", extra={"message": {"sms": {"content_id": "{a}"}}}),
        sms.text("x", from_=SMS, to=PERSON, extra={"message": {"sms": {"content_id": "A"}}}),
    ),
    (sms.text("{a|}{missing|}!", from_=SMS, to="{phone}"), sms.text("A!", from_=SMS, to=PERSON)),
    (sms.text("{'{'}a{'}'}", from_=SMS, to="{phone}"), sms.text("{a}", from_=SMS, to=PERSON)),
]


@pytest.mark.parametrize(("step", "expected"), STEPS, ids=lambda step: repr(step))
@pytest.mark.parametrize("ref", [None, "r-1"])
def test_fields_stand_in_every_text_of_a_step(step: Step, expected: Step, ref: str | None) -> None:
    """Texts, URLs, captions, parameters, senders, custom objects, extra members: all take fields."""
    fields = {
        "a": "A",
        "phone": PERSON,
        "psid": " 9876 ",
        "sender": f" {SMS} ",
        "user": "NL.13491208655302741918",
    }
    workflow = Workflow.failover(expected)
    if ref is not None:
        workflow = workflow.with_client_ref(ref)

    rendered = WorkflowTemplate(step).render(row(fields), ref)

    assert rendered.body == workflow.to_json()
    assert rendered.client_refs == workflow.client_refs


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hi {name", "brace"),
        ("Hi name}", "brace"),
        ("Hi {{name}}", "two braces"),
        ("{price:.2f}", "without formats"),
        ("{name!r}", "without formats"),
        ("{__import__('os')}", "without formats"),
        ("{name[0]}", "without formats"),
        ("{}", "brace"),
    ],
)
def test_a_text_that_is_no_template_is_refused_at_once(text: str, words: str) -> None:
    """A typing error in a brace is found before the first row, with its place."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        WorkflowTemplate(sms.text(text, from_=SMS, to="{phone}"))

    assert "message 1, message.content.text" in str(caught.value)


def test_a_language_in_two_spellings_is_refused() -> None:
    """One of the two messages would be left out in silence."""
    with pytest.raises(ConfigurationError, match="message 1, en_GB: the language comes twice"):
        WorkflowTemplate(
            {
                "en-gb": sms.text("Colour", from_=SMS, to="{phone}"),
                "en_GB": sms.text("Color", from_=SMS, to="{phone}"),
            }
        )


@pytest.mark.parametrize("to", [PERSON, "31{phone}", "{phone|31617185666}", "{a}{b}"])
def test_the_recipient_is_one_field(to: str) -> None:
    """A template that would send every row to one person is refused."""
    with pytest.raises(ConfigurationError, match="same person"):
        WorkflowTemplate(sms.text("x", from_=SMS, to=to))


@pytest.mark.parametrize(
    ("fields", "field", "rule", "words"),
    [
        ({"phone": PERSON}, "name", "field-missing", "no column"),
        ({"phone": PERSON, "Name": "Ann"}, "name", "field-missing", "did you mean 'Name'"),
        ({"phone": PERSON, "name": " "}, "name", "field-empty", "name|…"),
        ({"phone": PERSON, "name": ""}, "name", "field-empty", "fill it in"),
        ({"phone": PERSON, "name": 7}, "name", "type", "not a int"),
        ({"phone": "0617185666", "name": "Ann"}, "phone", "e164", "country code"),
        ({"phone": "NL.13491208655302741918", "name": "Ann"}, "phone", "e164", "user id"),
        ({"phone": PERSON, "name": "x" * 1000}, "name", "text-length", "at most 1000"),
        ({"phone": PERSON, "name": "\udc00"}, "name", "surrogate", "repair"),
    ],
)
def test_a_row_that_breaks_a_rule_names_field_rule_and_cure(
    fields: dict[str, Any], field: str, rule: str, words: str
) -> None:
    """The error says which column is wrong and never what it holds."""
    template = WorkflowTemplate(sms.text("Hi {name}", from_=SMS, to="{phone}"))

    with pytest.raises(RowError, match=words) as caught:
        template.render(row(fields))

    assert (caught.value.field, caught.value.rule) == (field, rule)
    assert "Ann" not in str(caught.value)
    assert PERSON not in str(caught.value)


def test_what_no_row_can_mend_is_refused_when_the_template_is_made() -> None:
    """Rules that do not depend on fields are checked once."""
    with pytest.raises(InvalidWorkflowError, match="client-ref-length"):
        WorkflowTemplate(
            sms.text("{a}", from_=SMS, to="{phone}", client_ref="x" * 41).until("delivered", within=1),
            whatsapp.text("{a}", from_=WHATSAPP, to="{phone}"),
        )


def languages() -> WorkflowTemplate:
    return WorkflowTemplate(
        whatsapp.template("ns:x", from_=WHATSAPP, to="{phone}", locale="nl").until("read", within=60),
        {
            "en": sms.text("Hello", from_=SMS, to="{phone}").until("delivered", within=90),
            "nl": sms.text("Hallo", from_=SMS, to="{phone}").until("delivered", within=90),
        },
        default_language="en",
    )


@pytest.mark.parametrize(
    ("language", "text"),
    [("", "Hello"), ("nl", "Hallo"), ("NL_be", "Hallo"), ("nl-BE", "Hallo"), ("fr", "Hello")],
)
def test_a_row_chooses_its_language(language: str, text: str) -> None:
    """A region falls back to its language, and an unknown language to the default."""
    workflow = languages().render(row({"phone": PERSON}, language=language)).workflow

    assert workflow.steps[1].message.content == sms.text(text, from_=SMS, to=PERSON).message.content


def test_a_row_chooses_its_channels_and_their_order() -> None:
    """Conditions follow the order: the last step has none."""
    template = languages()
    phone = {"phone": PERSON}

    turned = template.render(row(phone, channels=("sms", "whatsapp")))
    alone = template.render(row(phone, channels=("sms",)))

    assert turned.channels == ("sms", "whatsapp")
    assert (
        turned.workflow.steps[0].failover
        == languages().workflow(row(phone, channels=turned.channels)).steps[0].failover
    )
    assert turned.workflow.steps[0].failover is not msgspec.UNSET
    assert alone.workflow.steps[0].failover is msgspec.UNSET
    assert template.route(row(phone)).bucket == f"whatsapp|{WHATSAPP}"
    assert template.route(row(phone, channels=("sms",))).bucket == f"sms|{SMS}"
    for channels, rule in [(("mms",), "channel"), (("sms", "sms"), "channel")]:
        with pytest.raises(RowError) as caught:
            template.render(row(phone, channels=channels))
        assert caught.value.rule == rule


def test_a_message_without_a_condition_can_only_be_last() -> None:
    """An order that needs a condition where there is none is the row's error, with its cure."""
    template = two_steps()

    with pytest.raises(RowError, match=r"\.until") as caught:
        template.render(row({"phone": PERSON, "name": "a", "code": "b"}, channels=("sms", "whatsapp")))

    assert caught.value.rule == "failover-missing"


def test_a_language_without_a_message_is_an_error_without_a_default() -> None:
    """Nothing is guessed: without a default a row must name a language that is there."""
    template = WorkflowTemplate({"nl": sms.text("Hallo", from_=SMS, to="{phone}")})

    assert template.languages == {"nl"}
    for language in ("", "fr"):
        with pytest.raises(RowError) as caught:
            template.render(row({"phone": PERSON}, language=language))
        assert caught.value.rule == "language"
    with pytest.raises(ConfigurationError, match="default_language"):
        WorkflowTemplate({"nl": sms.text("Hallo", from_=SMS, to="{phone}")}, default_language="en")


def test_a_sender_from_the_row_makes_its_bucket() -> None:
    """Rows may have senders of their own, and many of them cost no more than a few."""
    template = WorkflowTemplate(sms.text("Hi {name}", from_="{sender|31647356950}", to="{phone}"))

    for number in range(600):
        fields = {"phone": PERSON, "name": "Ann", "sender": f"4477009{number:05}"}
        assert template.route(row(fields)).bucket == f"sms|{fields['sender']}"
        assert fields["sender"].encode() in template.render(row(fields)).body

    assert len(template._compiled) <= 256
    assert template.route(row({"phone": PERSON, "name": "Ann"})).bucket == f"sms|{SMS}"


@pytest.mark.parametrize("wrong", ["KPN", "07418342140"])
def test_a_sender_that_breaks_a_rule_is_that_of_its_column(wrong: str) -> None:
    """What decides which rules apply is told with its column as well, each time."""
    template = WorkflowTemplate(whatsapp.text("x", from_="{sender}", to="{phone}"))

    for _ in range(2):
        with pytest.raises(RowError) as caught:
            template.render(row({"phone": PERSON, "sender": wrong}))
        assert (caught.value.field, caught.value.rule) == ("sender", "e164")
        assert wrong not in str(caught.value)


def test_variants_have_templates_of_their_own() -> None:
    """A row of a named variant gets its template, every other row the main one."""
    other = WorkflowTemplate(sms.text("B {more}", from_=SMS, to="{phone}"))
    template = WorkflowTemplate(sms.text("A", from_=SMS, to="{phone}"), variants={"b": other})
    fields = {"phone": PERSON, "more": "!"}

    assert b'"A"' in template.render(row(fields, variant="a")).body
    assert b'"B !"' in template.render(row(fields, variant="b")).body
    assert template.fields == template.required == {"phone", "more"}
    assert template.numbers == {"phone"}


def test_rules_that_are_made_errors_are_held_for_every_row() -> None:
    """The first look never hides what stricter rules would say."""
    strict = Rules(on=["sms-segments"], errors=["sms-segments"])
    template = WorkflowTemplate(sms.text("{a}", from_=SMS, to="{phone}"), rules=strict)

    template.render(row({"a": "x" * 160, "phone": PERSON}))
    with pytest.raises(RowError) as caught:
        template.render(row({"a": "x" * 161, "phone": PERSON}))
    assert caught.value.rule == "sms-segments"

    utf16 = WorkflowTemplate(sms.text("{a}", from_=SMS, to="{phone}"), rules=Rules(count="utf-16"))
    utf16.render(row({"a": "x" * 1000, "phone": PERSON}))
    with pytest.raises(RowError) as caught:
        utf16.render(row({"a": "😀" * 501, "phone": PERSON}))
    assert caught.value.rule == "text-length"


def test_the_fingerprint_tells_templates_apart_and_is_stable() -> None:
    """Another text, another language or another order gives another hash."""
    assert two_steps().fingerprint == two_steps().fingerprint
    assert len({two_steps().fingerprint, languages().fingerprint}) == 2


def test_warnings_that_hold_for_every_row_are_told_once() -> None:
    """Free text on WhatsApp is doubtful for every row; what an example value looks like is not told."""
    template = WorkflowTemplate(
        whatsapp.image("{link}", from_=WHATSAPP, to="{phone}").until("read", within=60),
        {each: sms.text("x", from_="{shop|KPN}", to="{phone}") for each in ("en", "nl")},
        variants={"b": WorkflowTemplate(sms.text("x", from_="KPN", to="{phone}"))},
    )

    told = [(finding.step, finding.rule) for finding in template.findings]

    assert told == [(1, "care-window"), (None, "single-step"), (1, "sms-sender")]


def test_a_function_makes_workflows_too() -> None:
    """Any function of a row will do, and what it raises is an error of the row without what it said."""

    def make(each: Any) -> Workflow:
        if each.fields["name"] == "bad":
            raise ValueError(each.fields["phone"])
        if each.fields["name"] == "none":
            return None  # type: ignore[return-value] # what a function of a user's may do
        return Workflow.failover(sms.text(each.fields["text"], from_=SMS, to=each.fields["phone"]))

    template = FunctionTemplate(make, numbers=frozenset({"phone"}))
    good = {"name": "Ann", "phone": PERSON, "text": "Hi"}

    assert template.render(row(good), "r-1").body == (
        Workflow.failover(sms.text("Hi", from_=SMS, to=PERSON, client_ref="r-1")).to_json()
    )
    assert template.route(row(good)) == Route("sms", SMS, "", PERSON)
    for fields, field, rule in [
        ({**good, "name": "bad"}, "", "function"),
        ({**good, "name": "none"}, "", "function"),
        ({"name": "Ann", "phone": PERSON}, "text", "field-missing"),
        ({**good, "text": ""}, "", "text-length"),
    ]:
        with pytest.raises(RowError) as caught:
            template.render(row(fields))
        assert (caught.value.field, caught.value.rule) == (field, rule)
        assert PERSON not in str(caught.value)
        assert caught.value.__cause__ is None


def test_rendering_costs_a_fraction_of_building_and_checking() -> None:
    """A row is rendered in less than half of the time that the builders and the rules take."""
    template = two_steps()
    recipient = row({"name": "Ann", "code": "7", "phone": PERSON})

    def build() -> None:
        workflow = by_builders("Ann", "7", PERSON, "c0ffee-12")
        workflow.check()
        workflow.to_json()

    def best(work: Any) -> float:
        times: list[float] = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(2000):
                work()
            times.append(time.process_time() - began)
        return min(times)

    assert best(lambda: template.render(recipient, "c0ffee-12")) < best(build) / 2
