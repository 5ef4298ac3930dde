"""A workflow: built, read and written without loss, and refused with all its problems at once."""

import json
import pickle
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError, InvalidWorkflowError
from nexmo_dispatch_async.models import Address, Step
from nexmo_dispatch_async.models.findings import rule_url
from nexmo_dispatch_async.rules import Rules
from nexmo_dispatch_async.workflow import Finding, Workflow
from tests.support.paths import REQUESTS

ALL = sorted(REQUESTS.glob("*.json"))
WHOLE = [path for path in ALL if "workflow" in json.loads(path.read_bytes())]
# Shell placeholders, and what only lenient senders write (contract 3.3, 3.5).
NOT_SENDABLE = {
    "seed_whatsapp_mtm_failover_sms",
    "seed_whatsapp_mtm_step",
    "seed_viber_text_step",
    "lenient_numbers_as_integers",
}

WHATSAPP = whatsapp.text("Your parcel is here", from_="447418342140", to="918197792563")
SMS = sms.text("Your parcel is here", from_="31647356950", to="31617185666")
NO_MEMBER = "is not a member of this object"
MADE: Any = Workflow  # Any: not every caller uses a type checker
WORKFLOW = Workflow.failover(WHATSAPP.until("read", within=600), SMS)


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_example_round_trips(path: Path) -> None:
    """Every request of the contract is written as it was read (contract 11)."""
    data = path.read_bytes()

    written = Workflow.from_json(data).to_json()

    assert json.loads(written) == json.loads(data)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_example_passes_the_rules(path: Path) -> None:
    """The documented requests may be sent, but for placeholders and what only lenient senders write."""
    workflow = Workflow.from_json(path.read_bytes())

    errors = [finding for finding in workflow.lint() if finding.severity == "error"]

    assert bool(errors) == (path.stem in NOT_SENDABLE), errors


def test_bare_step_becomes_a_workflow_of_one() -> None:
    """The seed's bare examples are steps, and the API takes workflows (contract 9.1)."""
    data = (REQUESTS / "seed_messenger_text_step.json").read_bytes()

    workflow = Workflow.from_json(data)

    assert workflow == Workflow.failover(Step.from_json(data))
    assert json.loads(workflow.to_json()) == {"template": "failover", "workflow": [json.loads(data)]}


def test_built_workflow_is_the_documented_one() -> None:
    """The documentation's WhatsApp-then-SMS example, from the builders."""
    verify = whatsapp.template(
        "whatsapp:hsm:technology:nexmo:verify",
        ["Nexmo Verification", "64873", "10"],
        from_="$WHATSAPP_NUMBER",
        to="$TO_NUMBER",
    )
    fallback = sms.text("This is an SMS sent via the Dispatch API", from_="$FROM_NUMBER", to="$TO_NUMBER")

    written = Workflow.failover(verify.until("read", within=600), fallback).to_json()

    assert json.loads(written) == json.loads((REQUESTS / "seed_whatsapp_mtm_failover_sms.json").read_bytes())


@pytest.mark.parametrize(
    ("within", "seconds"),
    [(600, 600), (600.0, 600), (timedelta(minutes=10), 600), (timedelta(seconds=1.5), 1.5), ("600", "600")],
)
def test_within_takes_seconds_or_a_timedelta(within: Any, seconds: Any) -> None:
    """Whole seconds are what the API takes; anything else is kept for lint() to name."""
    step = SMS.until("delivered", within=within)

    assert step.failover
    assert step.failover.expiry_time == seconds
    assert type(step.failover.expiry_time) is type(seconds)


def test_until_leaves_the_step_alone() -> None:
    """A step is a value: conditions make copies."""
    SMS.until("delivered", within=60)

    assert not SMS.failover


def test_repr_shows_channels_and_counts_only() -> None:
    """Numbers and texts stay out of logs."""
    shown = repr(WORKFLOW) + repr(WORKFLOW.__rich_repr__())

    assert repr(WORKFLOW) == "<Workflow of 2: whatsapp text until read within 600 s; sms text>"
    assert not any(secret in shown for secret in ("447418342140", "918197792563", "parcel"))


def test_workflows_are_values() -> None:
    """Equal workflows are equal and hash alike, and they survive pickling."""
    copy = pickle.loads(pickle.dumps(WORKFLOW))  # noqa: S301 - our own bytes

    assert copy == WORKFLOW
    assert hash(copy) == hash(WORKFLOW)


def test_worst_case_time_is_the_sum_of_the_expiries() -> None:
    """Every condition expires, then the last step leaves (contract 3.6)."""
    workflow = Workflow.failover(WHATSAPP.until("read", within=600), SMS.until("delivered", within=60), SMS)

    assert workflow.worst_case_time() == timedelta(seconds=660)
    assert Workflow.failover(SMS).worst_case_time() == timedelta(0)


# --- refused with every problem at once ---


def test_good_workflow_has_no_findings() -> None:
    assert WORKFLOW.lint(Rules(off=["care-window"])) == []
    WORKFLOW.check()


def test_all_problems_of_a_workflow_come_in_one_error() -> None:
    """Each line names the step, the field, what to do, and the rule."""
    first = whatsapp.text("", from_="447418342140", to="31617185666", client_ref="x" * 41)
    late = msgspec.structs.replace(
        viber.text("x" * 1001, from_="", to="31617185666", ttl=5),
        to=Address(type="viber_service_msg", number="31 617 185 666"),
    )
    workflow = Workflow.failover(
        # the builders would read these numbers
        msgspec.structs.replace(
            first,
            from_=Address(type="whatsapp", number="+447418342140"),
            to=Address(type="whatsapp", number="0031617185666"),
        ),
        late.until("seen", within=5),  # type: ignore[arg-type]  # a wrong status on purpose
        messenger.text("hi", from_="1", to="2", category="message_tag").until(
            "read", within=timedelta(days=2)
        ),
        mms.image("", from_="24273", to="12025550143", caption="").until("delivered", within=1.5),
        sms.text(7, from_="31647356950", to="x" * 51).until("delivered", within=600),  # type: ignore[arg-type]  # a wrong type on purpose
    )

    with pytest.raises(InvalidWorkflowError) as caught:
        workflow.check()

    assert str(caught.value).splitlines() == [
        "the workflow has 20 problems, nothing was sent:",
        "  step 1, from.number: must be digits only; leave out the leading + [e164]",
        "  step 1, to.number: must begin with the country code; leave out the leading 00 [e164]",
        "  step 1, message.content.text: is empty [text-length]",
        '  step 1, failover: is missing; add .until("delivered", within=600) [failover-missing]',
        "  step 1, client_ref: has more than 40 characters; shorten it [client-ref-length]",
        "  step 2, from.id: is empty [address-length]",
        "  step 2, to.number: must be digits only; leave out blanks, dashes and brackets [e164]",
        "  step 2, message.content.text: has 1001 characters; at most 1000 are taken [text-length]",
        "  step 2, message.viber_service_msg.ttl: must be 30 to 259200 seconds [viber-ttl]",
        "  step 2, failover.expiry_time: must be 15 to 86400 seconds [expiry]",
        "  step 2, failover.condition_status: must be delivered or read [condition]",
        "  step 3, message.messenger.tag: is missing; the category message_tag needs one [messenger-tag]",
        "  step 3, failover.expiry_time: must be 15 to 86400 seconds [expiry]",
        "  step 4, message.content.image.url: is empty [url-length]",
        "  step 4, message.content.image.caption: is empty [caption-length]",
        "  step 4, failover.expiry_time: must be a whole number of seconds, 15 to 86400 [expiry]",
        "  step 5, to.number: has more than 50 characters [address-length]",
        "  step 5, to.number: must be digits only; this looks like a placeholder or a name [e164]",
        "  step 5, message.content.text: must be text [type]",
        "  step 5, failover: must not be on the last step; leave out .until(...) [failover-last]",
    ]
    assert all(finding.severity == "error" and finding.url for finding in caught.value.findings)


def test_error_is_one_of_ours_and_survives_pickling() -> None:
    """Process pools hand errors around by pickling."""
    with pytest.raises(DispatchError) as caught:
        Workflow.failover().check()

    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert copy.findings == (
        Finding("steps", "error", None, "", "has no step; add at least one", rule_url("steps")),
    )
    assert (
        str(copy)
        == "the workflow has 1 problem, nothing was sent:\n  workflow: has no step; add at least one [steps]"
    )


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"[]", ["workflow: must be an object, not an array [type]"]),
        (b"{}", ["workflow, template: is missing [required]", "workflow, workflow: is missing [required]"]),
        (
            b'{"template": "parallel", "workflow": []}',
            ['workflow, template: must be "failover", not text [type]'],
        ),
        (
            b'{"template": "failover", "workflow": {}}',
            ["workflow, workflow: must be an array, not an object [type]"],
        ),
        (
            b'{"template": "failover", "workflow": [1, {}], "x": []}',
            [
                "step 1: must be an object, not a number [type]",
                "step 2, from: is missing [required]",
                "step 2, to: is missing [required]",
                "step 2, message: is missing [required]",
                f"workflow, x: {NO_MEMBER}; known here: template, workflow [unknown-member]",
            ],
        ),
        (b'{"to": {}}', ["step 1, from: is missing [required]", "step 1, to.type: is missing [required]"]),
    ],
)
def test_shape_problems_are_named(data: bytes, lines: list[str]) -> None:
    """Reading refuses another shape, naming every problem."""
    with pytest.raises(InvalidWorkflowError) as caught:
        Workflow.from_json(data)

    assert [str(finding) for finding in caught.value.findings][: len(lines)] == lines


@given(st.binary() | st.text().map(str.encode) | st.binary().map(lambda junk: WORKFLOW.to_json()[:80] + junk))
def test_any_bytes_give_a_workflow_or_our_error(data: bytes) -> None:
    """Reading is total."""
    try:
        workflow = Workflow.from_json(data)
    except InvalidWorkflowError as error:
        findings = error.findings
        assert findings
    else:
        workflow.lint()


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 1_000_000,
        b'{"workflow":' * 50_000,
        b'{"template": "failover", "workflow": NaN}',
        b'{"template": "failover", "workflow": ' + b"9" * 400 + b"}",
        b'{"template": "failover", "workflow": ' + b"9" * 5000 + b"}",
        b'{"template": "failover", "workflow": "\\ud800"}',
        '{"template": "\ud800"}',
    ],
    ids=["brackets", "objects", "nan", "400 digits", "5000 digits", "escaped surrogate", "surrogate"],
)
def test_hostile_bodies_are_refused(data: bytes | str) -> None:
    """Depth, long numbers and half surrogates are ours to name."""
    with pytest.raises(InvalidWorkflowError):
        Workflow.from_json(data)


def test_custom_object_keeps_its_numbers() -> None:
    """Passed unchanged means digit for digit (contract 3.4.2)."""
    body = {"a": 10**29 + 1, "b": [1.5, None, True, {"c": ""}]}
    workflow = Workflow.failover(whatsapp.custom(body, from_="447418342140", to="918197792563"))

    again = Workflow.from_json(workflow.to_json())

    assert again == workflow
    assert json.loads(workflow.to_json())["workflow"][0]["message"]["content"]["custom"] == body


texts = st.text(max_size=30)
digits = st.from_regex(r"[1-9][0-9]{0,14}", fullmatch=True)
steps = st.one_of(
    st.builds(lambda text, a, b: sms.text(text, from_=a, to=b), texts, texts, digits),
    st.builds(
        lambda text, a, b, ref: whatsapp.text(text, from_=a, to=b, client_ref=ref),
        texts,
        digits,
        digits,
        texts,
    ),
    st.builds(
        lambda name, parameters, a, b: whatsapp.template(name, parameters, from_=a, to=b, locale="nl"),
        texts,
        st.lists(texts, max_size=3),
        digits,
        digits,
    ),
    st.builds(
        lambda url, a, b, ttl: viber.image(url, from_=a, to=b, ttl=ttl), texts, texts, digits, st.integers()
    ),
    st.builds(lambda url, a, b, tag: messenger.file(url, from_=a, to=b, tag=tag), texts, texts, texts, texts),
    st.builds(
        lambda custom, a, b: messenger.custom(custom, from_=a, to=b),
        st.dictionaries(
            texts, st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts, max_size=3
        ),
        texts,
        texts,
    ),
)


@given(st.lists(st.tuples(steps, st.integers(0, 90_000)), min_size=1, max_size=4))
def test_built_workflows_round_trip(drawn: list[tuple[Step, int]]) -> None:
    """Whatever the builders make comes back equal from its own JSON."""
    workflow = Workflow.failover(*(step.until("delivered", within=within) for step, within in drawn))

    assert Workflow.from_json(workflow.to_json()) == workflow


junk: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.characters(categories=["Cs"]),
    st.binary(max_size=3),
    st.dictionaries(st.integers() | texts, st.floats() | st.binary(), max_size=2),
    st.lists(texts, max_size=2),
    st.just(msgspec.UNSET),
)


@given(data=st.data())
def test_what_passes_the_check_can_be_written(data: st.DataObject) -> None:
    """Any value at any place is either refused by check() or goes into JSON and comes back equal."""
    step: Any = data.draw(steps).until("delivered", within=60)
    path = data.draw(
        st.sampled_from(
            [
                ("from_",),
                ("to", "type"),
                ("to", "number"),
                ("to", "id"),
                ("message",),
                ("message", "content"),
                ("message", "viber_service_msg"),
                ("message", "messenger"),
                ("message", "whatsapp"),
                ("failover",),
                ("failover", "expiry_time"),
                ("failover", "condition_status"),
                ("client_ref",),
            ]
        )
    )
    value = data.draw(junk)
    if len(path) == 2:
        value = msgspec.structs.replace(getattr(step, path[0]), **{path[1]: value})
    broken = msgspec.structs.replace(step, **{path[0]: value})
    workflow = Workflow.failover(broken, SMS)
    repr(workflow)

    try:
        workflow.check()
    except InvalidWorkflowError:
        return
    assert Workflow.from_json(workflow.to_json()) == workflow


@pytest.mark.parametrize(("kind", "hint"), [("img", "; did you mean `image`?"), ("fax", "")])
def test_a_misspelt_kind_of_content_is_named_with_its_cure(kind: str, hint: str) -> None:
    """Contract 9.31: the provider's own snippet for MMS writes `img`."""
    body = {
        "from": {"type": "mms", "number": "24273"},
        "to": {"type": "mms", "number": "12025550143"},
        "message": {"content": {"type": kind, "image": {"url": "https://media.example.com/a.png"}}},
    }

    with pytest.raises(InvalidWorkflowError) as caught:
        Workflow.from_json(json.dumps(body))

    (finding,) = caught.value.findings
    assert (finding.rule, finding.field) == ("type", "message.content.type")
    assert finding.message.endswith(f'"custom"{hint}')


@pytest.mark.parametrize(
    ("make", "written"),
    [
        (lambda step: MADE(step), "write Workflow.failover(step)"),
        (lambda step: MADE({step}), "write Workflow.failover(first, second)"),
        (lambda step: MADE.failover([step, step]), "write Workflow.failover(*steps)"),
        (lambda step: MADE.failover((step,)), "write Workflow.failover(*steps)"),
        (lambda step: MADE.failover(MADE.failover(step)), "write Workflow.failover(*workflow.steps)"),
        (lambda step: MADE.failover(json.loads(step.to_json())), "Step.from_json(…)"),
    ],
)
def test_a_slip_with_the_steps_says_what_to_write(make: Callable[[Any], Workflow], written: str) -> None:
    """A step in the place of the steps, and a list in that of a step, are answered with the right call."""
    workflow = make(sms.text("Hi", from_="31647356950", to="31617185666"))

    with pytest.raises(InvalidWorkflowError, match=re.escape(written)):
        workflow.check()
    assert repr(workflow).startswith("<Workflow")


def test_two_steps_as_two_arguments_of_the_class_say_what_to_write() -> None:
    """The second argument of the class is `extra`: a step there is a slip."""
    step: Any = sms.text("Hi", from_="31647356950", to="31617185666")

    with pytest.raises(ConfigurationError, match=re.escape("write Workflow.failover(first, second)")):
        Workflow(step, step)
