"""The request structs: they write what was given, read it back equal, and show nothing private."""

import importlib
import json
import pkgutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from rich.pretty import pretty_repr

import nexmo_dispatch_async
from nexmo_dispatch_async import Application, ApplicationPage, Dispatch, Problem, Request, Response
from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models import (
    Address,
    Custom,
    Failover,
    Image,
    Media,
    Message,
    Parameter,
    Step,
    Template,
    TemplateBody,
    Text,
)
from tests.support.paths import REQUESTS

STEPS = sorted(path for path in REQUESTS.glob("*.json") if "workflow" not in json.loads(path.read_bytes()))

KINDS = " or ".join(f'"{kind}"' for kind in ["text", "image", "audio", "video", "file", "template", "custom"])


def sms_step(**changes: Any) -> Step:
    address = Address(type="sms", number="447700900123")
    step = Step(from_=address, to=address, message=Message(content=Text("hello")))
    return msgspec.structs.replace(step, **changes)


def test_there_are_bare_steps() -> None:
    """The seed's three bare steps are among the data (contract 9.1)."""
    assert len(STEPS) == 3


@pytest.mark.parametrize("path", STEPS, ids=lambda path: path.stem)
def test_bare_step_round_trips(path: Path) -> None:
    """A bare step is written as it was read (contract 9.1)."""
    data = path.read_bytes()

    written = Step.from_json(data).to_json()

    assert json.loads(written) == json.loads(data)


def test_members_that_were_not_given_are_absent() -> None:
    """No nulls and no invented members (contract 3.1)."""
    written = sms_step().to_json()

    assert json.loads(written) == {
        "from": {"type": "sms", "number": "447700900123"},
        "to": {"type": "sms", "number": "447700900123"},
        "message": {"content": {"type": "text", "text": "hello"}},
    }


def test_structs_are_frozen() -> None:
    """A step cannot be changed after it was checked."""
    step = sms_step()

    with pytest.raises(AttributeError):
        step.client_ref = "other"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize("method", ["__repr__", "__rich_repr__"])
def test_nothing_shows_what_a_step_holds(method: str) -> None:
    """Numbers, texts and references stay out of logs and terminals."""
    step = Step(
        from_=Address(type="messenger", id="SECRET"),
        to=Address(type="messenger", number="SECRET", id="SECRET"),
        message=Message(content=Custom({"SECRET": "SECRET"})),
        failover=Failover(expiry_time="SECRET", condition_status="SECRET"),
        client_ref="SECRET",
    )
    template = Template(TemplateBody("SECRET", (Parameter("SECRET"),)))
    image = Image(Media("SECRET", "SECRET"))

    shown = [
        repr(getattr(part, method)())
        for part in (
            step,
            step.from_,
            step.to,
            step.message,
            step.failover,
            template,
            template.template,
            image,
        )
    ]

    assert "SECRET" not in "".join(shown)


def structs() -> list[type[Struct]]:
    """Return every struct of the SDK but those of the tracker, the simulator and the command line."""
    found: list[type[Struct]] = []
    for info in pkgutil.walk_packages(nexmo_dispatch_async.__path__, prefix="nexmo_dispatch_async."):
        if info.name.split(".")[1] not in ("tracking", "simulator", "cli") and "__main__" not in info.name:
            module = importlib.import_module(info.name)
            found += [
                member
                for member in vars(module).values()
                if isinstance(member, type) and issubclass(member, Struct) and member is not Struct
            ]
    return found


@pytest.mark.parametrize("struct", sorted(set(structs()), key=str), ids=lambda struct: struct.__name__)
def test_rich_shows_no_more_than_repr(struct: type[Struct]) -> None:
    """Msgspec hands `rich` every field: a field hidden from `repr` must be hidden there too."""
    hides = struct.__repr__ is not Struct.__repr__

    assert not hides or struct.__rich_repr__ is not Struct.__rich_repr__


@pytest.mark.parametrize(
    "value",
    [
        Application("7d1c", "Parcels", private_key="SECRET", raw={"keys": {"private_key": "SECRET"}}),
        ApplicationPage((Application("7d1c", private_key="SECRET"),), raw={"a": "SECRET"}),
        Request("POST", "https://h/SECRET", {"a": "SECRET"}, b"SECRET", "/t"),
        Response(200, {"a": "SECRET"}, b"SECRET"),
        Problem("text", title="Bad", text="SECRET"),
        Dispatch("7d1c", client_refs=("SECRET",)),
        Address(type="sms", number="SECRET"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_rich_shows_exactly_what_repr_shows(value: Struct) -> None:
    shown = pretty_repr(value, max_width=1000)

    assert shown == repr(value)
    assert "SECRET" not in shown


def test_rich_shows_a_step_in_words() -> None:
    assert pretty_repr(sms_step()) == "Step(sms text)"


def test_repr_of_step_says_channel_content_and_condition() -> None:
    """A developer recognises a step by its repr."""
    step = sms_step().until("delivered", within=60)

    assert repr(step) == "<Step sms text until delivered within 60 s>"
    assert repr(step.to) == "Address(type, number)"


@pytest.mark.parametrize("wrong", [None, 7, 10**9, "nonsense"])
def test_repr_never_fails(wrong: Any) -> None:
    """A step that was put together wrongly can still be shown."""
    parts = repr(Step(wrong, wrong, wrong)), repr(sms_step(failover=Failover(wrong, wrong)))

    assert parts[0] == "<Step ? ?>"
    assert "nonsense" not in parts[1]


@pytest.mark.parametrize(
    ("data", "rule", "field"),
    [
        (b"", "json", ""),
        (b"{", "json", ""),
        (b"\xff", "json", ""),
        (b'"\xed\xa0\x80"', "json", ""),
        ("\ud800", "json", ""),
        (b"[" * 1_000_000, "json", ""),
        (b"NaN", "json", ""),
        (b"9" * 5000, "json", ""),
        (b"9" * 400, "type", ""),
        (b"[]", "type", ""),
        (b"null", "type", ""),
        (
            b'{"from": true, "to": {"type": "sms"}, "message": {"content": {"type": "text", "text": ""}}}',
            "type",
            "from",
        ),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_bytes_that_are_no_step_are_refused(data: bytes | str, rule: str, field: str) -> None:
    """Whatever the bytes, the error is ours and says what is wrong."""
    with pytest.raises(InvalidWorkflowError) as caught:
        Step.from_json(data)

    assert [(finding.rule, finding.field) for finding in caught.value.findings] == [(rule, field)]


def test_every_structural_problem_is_named_at_once() -> None:
    """Step, field, rule and cure of each problem are in one error."""
    data = b"""{
        "from": {"type": 1, "number": true},
        "to": {"number": "447700900123", "name": null},
        "message": {
            "content": {"type": "template", "template": {"name": 1, "parameters": [1, {"defualt": "x"}]}}
        },
        "failover": {"expiry_time": 1.5, "condition_status": null},
        "client_reff": "x"
    }"""

    with pytest.raises(InvalidWorkflowError) as caught:
        Step.from_json(data)

    assert [str(finding) for finding in caught.value.findings] == [
        "step 1, from.type: must be text, not a number [type]",
        "step 1, from.number: must be text or a whole number, not true or false [type]",
        "step 1, to.type: is missing [required]",
        "step 1, to.name: is not a member of this object; known here: type, number, id [unknown-member]",
        "step 1, message.content.template.name: must be text, not a number [type]",
        "step 1, message.content.template.parameters[0]: must be an object or text, not a number [type]",
        "step 1, message.content.template.parameters[1].default: is missing [required]",
        (
            "step 1, message.content.template.parameters[1].defualt: is not a member of this object; "
            "did you mean `default`? [unknown-member]"
        ),
        "step 1, failover.expiry_time: must be a whole number or text, not a fraction [type]",
        "step 1, failover.condition_status: must be text, not null [type]",
        "step 1, client_reff: is not a member of this object; did you mean `client_ref`? [unknown-member]",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"text": "x"}, f"step 1, message.content.type: must be {KINDS} [required]"),
        ({"type": "fax"}, f"step 1, message.content.type: must be {KINDS} [type]"),
        (
            {"type": "custom", "custom": []},
            "step 1, message.content.custom: must be an object, not an array [type]",
        ),
        ({"type": "text", "text": {}}, "step 1, message.content.text: must be text, not an object [type]"),
        (
            {"type": "template", "template": {"name": "a:b", "parameters": "x"}},
            "step 1, message.content.template.parameters: must be an array, not text [type]",
        ),
    ],
)
def test_content_is_told_by_its_type(content: Any, line: str) -> None:
    """Content is a union told apart by `type` (contract 3.4)."""
    body = {"from": {"type": "sms"}, "to": {"type": "sms"}, "message": {"content": content}}

    with pytest.raises(InvalidWorkflowError) as caught:
        Step.from_json(json.dumps(body))

    assert [str(finding) for finding in caught.value.findings] == [line]


def test_findings_are_bounded() -> None:
    """A hostile body with a problem per byte gives a short error."""
    members = ",".join(f'"m{number}": 1' for number in range(10_000))

    with pytest.raises(InvalidWorkflowError) as caught:
        Step.from_json("{" + members + "}")

    assert len(caught.value.findings) == 100


def test_words_of_the_decoder_are_kept_when_the_walk_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error never comes without a finding."""
    monkeypatch.setattr("nexmo_dispatch_async.models._shape.problems", lambda *_, **__: [])

    with pytest.raises(InvalidWorkflowError, match=r"Expected `object`, got `array` \[type\]"):
        Step.from_json(b"[]")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["from", "to", "message", "content", "type", "text", "template", "number", "failover", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_step_or_our_error(data: bytes) -> None:
    """Reading is total: a step, or InvalidWorkflowError with findings."""
    try:
        step = Step.from_json(data)
    except InvalidWorkflowError as error:
        findings = error.findings
        assert findings
    else:
        assert Step.from_json(step.to_json()) == step
