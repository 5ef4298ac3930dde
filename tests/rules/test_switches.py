"""The switches of the rules: which of them apply, how severely, and by which count (docs/rules.md)."""

from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.channels import messenger, mms, sms, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.models import Step, Template, TemplateBody
from nexmo_dispatch_async.rules import RULES, Rules
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_core.documentation import read_on

S: dict[str, Any] = {"from_": "31647356950", "to": "31617185666"}
W: dict[str, Any] = {"from_": "447418342140", "to": "918197792563"}
M: dict[str, Any] = {"from_": "118820033417905", "to": "2903557611987403"}
PICTURE = "https://media.example.com/a.png"
SMS = sms.text("hi", **S)
# What almost every step breaks is looked at in tests of its own.
QUIET = Rules(off=["single-step", "care-window"])
WRONG: Any = object()


def found(*steps: Any, rules: Rules = QUIET) -> set[tuple[str, str]]:
    """Rule and field of every finding."""
    return {(finding.rule, finding.field) for finding in Workflow.failover(*steps).lint(rules)}


def carrying(step: Step, content: Any) -> Step:
    return msgspec.structs.replace(step, message=msgspec.structs.replace(step.message, content=content))


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
    broken: list[Any] = [WRONG, [WRONG, "1234"]]
    for parameters in broken:
        unreadable = Template(TemplateBody("ns:code", parameters))
        assert ("template-count", field) not in found(
            carrying(whatsapp.text("x", locale="nl", **W), unreadable), rules=rules
        )
    assert found(whatsapp.template("ns:other", ["x"], locale="nl", **W), rules=rules) == set()


@pytest.mark.parametrize("switch", ["on", "off", "errors", "warnings"])
def test_unknown_rules_are_refused(switch: str) -> None:
    """A misspelt switch must not look as if it worked."""
    wrong: dict[str, Any] = {switch: ["e163"]}

    with pytest.raises(ConfigurationError, match=rf"no such rule: e163; {read_on('rules')} lists them all"):
        Rules(**wrong)


@pytest.mark.parametrize("switch", ["on", "off", "errors", "warnings"])
def test_a_switch_that_is_no_list_is_named(switch: str) -> None:
    """A mapping would switch what its values deny."""
    wrong: dict[str, Any] = {switch: {"e164": False}}

    with pytest.raises(ConfigurationError, match=f"^{switch} must be a text, or a list, tuple or set"):
        Rules(**wrong)


@pytest.mark.parametrize(
    ("switches", "stricter"),
    [
        ({}, False),
        ({"off": ["e164"]}, False),
        ({"warnings": ["e164"]}, False),
        ({"errors": ["e164"]}, False),
        ({"on": ["sms-segments"]}, False),
        ({"errors": ["sms-segments"]}, True),
        ({"errors": ["single-step"]}, True),
        ({"on": ["sanctioned-country"]}, True),
        ({"on": ["sanctioned-country"], "warnings": ["sanctioned-country"]}, False),
        ({"count": "utf-16"}, True),
    ],
)
def test_rules_that_refuse_more_than_the_table_know_it(switches: dict[str, Any], stricter: bool) -> None:
    """Then the first look at a workflow does not suffice."""
    assert Rules(**switches).no_stricter is not stricter


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
