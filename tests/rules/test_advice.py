"""What a finding advises: which slip it is and what to write instead, and never what was written."""

from enum import Enum, StrEnum
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.models import Address, Audio, Link, Step, Template, TemplateBody, Text
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.workflow import Workflow

S: dict[str, Any] = {"from_": "31647356950", "to": "31617185666"}
W: dict[str, Any] = {"from_": "447418342140", "to": "918197792563"}
PICTURE = "https://media.example.com/a.png"
USER_ID = "NL.13491208655302741918"
SMS = sms.text("hi", **S)
QUIET = Rules(off=["single-step", "care-window"])


def advice(step: Step, rules: Rules = QUIET) -> list[str]:
    """Field and advice of every finding."""
    return [f"{finding.field} {finding.message}" for finding in Workflow.failover(step).lint(rules)]


def with_message(step: Step, **changes: Any) -> Step:
    return msgspec.structs.replace(step, message=msgspec.structs.replace(step.message, **changes))


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        ("+31617185666", "must be digits only; leave out the leading +"),
        (" +31617185666", "must be digits only; leave out the leading +"),
        ("0031617185666", "must begin with the country code; leave out the leading 00"),
        ("\t0031617185666", "must begin with the country code; leave out the leading 00"),
        (
            "0617185666",
            'must begin with the country code; NumberNormalizer("NL") adds it to a national number',
        ),
        ("$NUMBER", "must be digits only; this looks like a placeholder or a name"),
        ("$1", "must be digits only; this looks like a placeholder or a name"),
        ("to be done", "must be digits only; this looks like a placeholder or a name"),
        ("31-617-185666", "must be digits only; leave out blanks, dashes and brackets"),
        ("٣١٦١٧١٨٥٦٦٦", "must be digits only; leave out blanks, dashes and brackets"),
        ("3161718566612345", "must have at most 15 digits"),
        (USER_ID, "is a WhatsApp user id; it goes into id on the channel whatsapp, and nowhere else"),
    ],
)
def test_a_number_that_is_not_e164_gets_the_advice_for_its_slip(number: str, cure: str) -> None:
    """Contract 3.3, 9.22: each common spelling has its own cure."""
    step = msgspec.structs.replace(SMS, to=Address(type="sms", number=number))

    assert advice(step) == [f"to.number {cure}"]


@pytest.mark.parametrize(
    ("to", "cure"),
    [
        (
            Address("whatsapp", id="4477"),
            "to.id is no WhatsApp user id (two letters, a point, digits); a number goes into to.number",
        ),
        (
            Address("whatsapp", id="ir.13491208655302741918"),
            "to.id is of a person in Iran, where WhatsApp may not be used",
        ),
        (
            Address("whatsapp", number="5351234567"),
            "to.number is in Cuba, where WhatsApp may not be used; use SMS",
        ),
        (Address("whatsapp", number=""), "to.number is empty"),
        (
            Address("whatsapp", number="1234"),
            "to.number has fewer than 7 digits, too few for a country code and a number",
        ),
        (Address("whatsapp"), "to.number is missing"),
    ],
)
def test_a_recipient_on_whatsapp_who_cannot_be_reached_is_told_why(to: Address, cure: str) -> None:
    """Contract 5.5, 7.1."""
    assert advice(msgspec.structs.replace(whatsapp.text("hi", **W), to=to)) == [cure]


@pytest.mark.parametrize(
    ("sender", "cure"),
    [
        ("+31647356950", ["begins with +; write a number in digits only"]),
        ("+x31", ["is a name; in countries that forbid sender names the SMS fails with 1120"]),
        ("+", ["is a name; in countries that forbid sender names the SMS fails with 1120"]),
        ("MYBANK12345", ["is a name; in countries that forbid sender names the SMS fails with 1120"]),
        (
            "MYBANK123456",
            ["is a name of more than 11 characters, which carriers cut or refuse; shorten it"],
        ),
        ("3164735695012", []),
        ("٣١٦", ["is a name; in countries that forbid sender names the SMS fails with 1120"]),
        ("A" * 51, ["has more than 50 characters", "is a name of more than 11 characters, "]),
    ],
)
def test_a_name_as_the_sender_of_an_sms_gets_the_advice_for_its_kind(sender: str, cure: list[str]) -> None:
    """Contract 7.4, 9.22: eleven characters at most, and not everywhere."""
    found = advice(msgspec.structs.replace(SMS, from_=Address(type="sms", number=sender)))

    assert len(found) == len(cure)
    assert all(each.startswith(f"from.number {word}") for each, word in zip(found, cure, strict=True))


@pytest.mark.parametrize(
    ("to", "cure"),
    [
        (
            Address("sms", id="31617185666"),
            ["to.number is missing; SMS reads number, not id"],
        ),
        (
            Address("sms", number="31617185666", id="x"),
            ["to.id is ignored; SMS reads number"],
        ),
        (
            Address("sms", number="31617185666", id=None),  # type: ignore[arg-type]  # wrong on purpose
            ["to.id is ignored; SMS reads number", "to.id must be text"],
        ),
        (
            Address("sms", number=31617185666),
            ['to.number must be text; write it in quotes, for example "447700900123"'],
        ),
    ],
)
def test_an_address_in_the_wrong_member_is_told_the_right_one(to: Address, cure: list[str]) -> None:
    """Contract 3.3, 9.3: number or id, by the channel; both ends alike."""
    assert advice(msgspec.structs.replace(SMS, to=to)) == cure
    assert advice(msgspec.structs.replace(SMS, from_=to)) == [each.replace("to.", "from.") for each in cure]


@pytest.mark.parametrize(
    ("part", "cure"),
    [
        (7, "must be a Step; build it with sms.text(...), whatsapp.text(...) and so on"),
        ({}, "is a dict; write Step.from_json(…) of its JSON, or build it with sms.text(...) and so on"),
        ([SMS], "is a list; write Workflow.failover(*steps), with the star"),
        ((SMS, SMS), "is a tuple; write Workflow.failover(*steps), with the star"),
        (Workflow.failover(SMS), "is a workflow; write Workflow.failover(*workflow.steps), with the star"),
    ],
)
def test_what_is_no_step_is_told_how_to_become_one(part: Any, cure: str) -> None:
    assert advice(part) == [f" {cure}"]


def test_two_channels_in_one_step_are_both_named() -> None:
    """Contract 3.2."""
    step = msgspec.structs.replace(SMS, to=Address(type="whatsapp", number="31617185666"))

    assert advice(step) == ["to.type is WhatsApp while from.type is SMS; use one channel"]


@pytest.mark.parametrize(
    ("step", "cure"),
    [
        (
            with_message(messenger.text("x", from_="1", to="2"), content=Template(TemplateBody("x"))),
            (
                "is template, while Messenger carries audio or custom or file or image or text or video; "
                "use custom"
            ),
        ),
        (
            with_message(SMS, content=Template(TemplateBody("x"))),
            "is template, while SMS carries text",
        ),
        (
            with_message(viber.text("x", from_="V", to="447700900321"), content=Audio(Link(PICTURE))),
            "is audio, while Viber carries custom or image or text",
        ),
        (
            with_message(mms.image(PICTURE, from_="24273", to="12025550143"), content=Text("x")),
            "text on MMS is not in Dispatch's specification",
        ),
    ],
)
def test_content_that_a_channel_does_not_carry_is_told_what_it_carries(step: Step, cure: str) -> None:
    """Contract 3.4.1; a template has a way round where custom objects are carried."""
    assert advice(step) == [f"message.content.type {cure}"]


def test_segments_are_counted_on_sms_alone() -> None:
    """Contract 3.4.3: on other channels a long text costs no more."""
    rules = Rules(on=["sms-segments"], off=["single-step", "care-window"])

    assert advice(sms.text("a" * 160, **S), rules) == []
    assert advice(sms.text("a" * 161, **S), rules) == ["message.content.text takes 2 SMS in gsm-7"]
    assert advice(whatsapp.text("a" * 161, **W), rules) == []
    assert advice(with_message(SMS, content=Text(7)), rules) == ["message.content.text must be text"]  # type: ignore[arg-type]  # wrong on purpose


class Greeting(StrEnum):
    HELLO = "hello"


class Number(Enum):
    ONE = 1


class Shout(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (Greeting.HELLO, []),
        (Number.ONE, ["must be text"]),
        (Shout("hello"), ["must be text"]),
        (b"hello", ["must be text"]),
        ("", ["is empty"]),
        ("x" * 1001, ["has 1001 characters; at most 1000 are taken"]),
        ("\ud800", ["holds half a surrogate pair, which is no character; repair the text"]),
    ],
)
def test_a_text_is_one_that_can_be_written_as_json(words: Any, cure: list[str]) -> None:
    """A member of an enumeration of texts is one; another kind of text cannot be written."""
    found = advice(with_message(SMS, content=Text(words)))

    assert found == [f"message.content.text {each}" for each in cure]


def test_a_template_without_a_name_is_told_so() -> None:
    """On WhatsApp the form is named, elsewhere there is none."""
    rules = Rules(off=["single-step", "care-window", "content-doubtful"])

    assert advice(viber.template("", from_="V", to="447700900321"), rules) == [
        "message.content.template.name is empty"
    ]
    assert advice(whatsapp.template("", locale="nl", **W)) == ["message.content.template.name is empty"]
    assert advice(whatsapp.template("x", locale="nl", **W)) == [
        "message.content.template.name must have the form namespace:name"
    ]
