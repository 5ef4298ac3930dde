"""Limits of the rules, each at its border: the last value that is let through and the first that is not."""

from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.channels import mms, sms, viber, whatsapp
from nexmo_dispatch_async.models import Address, Step
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.workflow import Workflow

W: dict[str, Any] = {"from_": "447418342140", "to": "918197792563"}
QUIET = Rules(off=["single-step", "care-window"])
PICTURE = "https://media.example.com/a.png"


def found(step: Step, rules: Rules = QUIET) -> set[tuple[str, str]]:
    """Rule and field of every finding."""
    return {(finding.rule, finding.field) for finding in Workflow.failover(step).lint(rules)}


@pytest.mark.parametrize(
    ("sender", "refused"),
    [
        ("12345", False),
        ("123456", False),
        ("1234", True),
        ("1234567", True),
        ("abcde", True),
        ("abcdef", True),
        ("1234a", True),
    ],
)
def test_an_mms_is_sent_from_five_or_six_digits(sender: str, refused: bool) -> None:
    """Contract 7.4: a US short code."""
    step = mms.image(PICTURE, from_=sender, to="15551230001")

    assert (("mms-numbers", "from.number") in found(step)) is refused


@pytest.mark.parametrize(
    ("to", "refused"),
    [
        ("15551230001", False),
        ("1555123000", True),
        ("155512300012", True),
        ("25551230001", True),
        ("1555123000x", True),
    ],
)
def test_an_mms_goes_to_1_and_ten_digits(to: str, refused: bool) -> None:
    """Contract 7.4: a number of the US."""
    step = msgspec.structs.replace(
        mms.image(PICTURE, from_="24273", to="15551230001"), to=Address(type="mms", number=to)
    )

    assert (("mms-numbers", "to.number") in found(step)) is refused


@pytest.mark.parametrize(
    "step",
    [
        sms.text("x", from_="31647356950", to="249912345678"),
        viber.text("x", from_="VSM-ID", to="249912345678"),
        viber.text("x", from_="VSM-ID", to="249912345678", to_as="id"),
        whatsapp.text("x", from_="447418342140", to="249912345678"),
        msgspec.structs.replace(
            whatsapp.text("x", **W),
            from_=Address(type="whatsapp", number="none"),
            to=Address(type="whatsapp", number="249912345678"),
        ),
    ],
)
def test_sanctions_hold_on_every_channel_and_beside_other_findings(step: Step) -> None:
    """Contract 6.2, for those who ask."""
    rules = Rules(on=["sanctioned-country"], off=["single-step", "care-window"])

    assert "sanctioned-country" in {rule for rule, _ in found(step, rules)}
    assert "sanctioned-country" not in {rule for rule, _ in found(step)}


@pytest.mark.parametrize(("length", "refused"), [(1999, False), (2000, False), (2001, True)])
def test_a_url_has_at_most_2000_characters(length: int, refused: bool) -> None:
    """Contract 3.4.2."""
    step = whatsapp.image("https://".ljust(length, "x"), **W)

    assert (("url-length", "message.content.image.url") in found(step)) is refused


@pytest.mark.parametrize(
    ("url", "refused"),
    [
        (PICTURE, False),
        (f"{PICTURE}#page", False),
        (f"{PICTURE}?size=1#page", False),
        (f"{PICTURE}#page?x", False),
        ("https://media.example.com/A.PNG", False),
        ("https://media.example.com/a#b.png", True),
        ("https://media.example.com/a?b.png", True),
        ("https://media.example.com/a", True),
    ],
)
def test_the_extension_of_a_url_is_that_of_its_path(url: str, refused: bool) -> None:
    """Neither the query nor the fragment is asked for one."""
    rules = Rules(on=["media-extension"], off=["single-step", "care-window"])

    assert (
        ("media-extension", "message.content.image.url") in found(whatsapp.image(url, **W), rules)
    ) is refused


def test_a_caption_without_a_known_channel_is_still_measured() -> None:
    """An unknown channel hides no other problem, and is no reason to fail."""
    step = whatsapp.image(PICTURE, caption="x" * 3001, **W)
    unknown = msgspec.structs.replace(step, from_=Address(type="fax"), to=Address(type="fax"))

    findings = found(unknown)

    assert ("caption-length", "message.content.image.caption") in findings
    assert ("caption-channel", "message.content.image.caption") not in findings
    assert ("channel", "to.type") in findings


@pytest.mark.parametrize(("length", "refused"), [(1023, False), (1024, False), (1025, True)])
def test_a_template_makes_at_most_1024_characters(length: int, refused: bool) -> None:
    """Contract 7.1: the body, with its parameters in it."""
    rules = Rules(templates={"ns:hello": "{{1}}"}, off=["single-step", "care-window"])
    step = whatsapp.template("ns:hello", ["x" * length], locale="nl", **W)

    assert (("template-length", "message.content.template.parameters") in found(step, rules)) is refused


def nested(depth: int) -> dict[str, Any]:
    """An object in which another one stands, so many times."""
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def nested_list(depth: int) -> list[Any]:
    """A list in which another one stands, so many in all."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("custom", "refused"),
    [
        (nested(100), False),
        (nested(101), True),
        ({"x": nested_list(100)}, False),
        ({"x": nested_list(101)}, True),
        ({"x": 2**10_000 - 1}, False),
        ({"x": 2**10_000}, True),
        ({"x": -(2**10_000)}, True),
    ],
)
def test_a_custom_object_has_a_size_that_can_be_written(custom: dict[str, Any], refused: bool) -> None:
    """100 objects in one another, and integers of some 3000 digits."""
    rules = {rule for rule, _ in found(whatsapp.custom(custom, **W))}

    assert ("custom-json" in rules) is refused
