"""The compiled bytes of a row are those of its workflow; no rule looks at what is right at a glance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from nexmo_dispatch_async.bulk.ledger.records import Recipient
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.channels import messenger, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.rules.registry import RULES
from nexmo_dispatch_async.workflow import Workflow

WHATSAPP, SMS, PERSON = "447418342140", "31647356950", "31617185666"
USER, BARRED_USER = "NL.13491208655302741918", "CU.13491208655302741918"


def row(fields: Mapping[str, str]) -> Recipient:
    return Recipient(key="k", address="", fields={"phone": PERSON, **fields}, bucket="")


# Each field with its name and what stands instead, and each literal with what it means.
FIELDS = {
    "{a}": ("a", None),
    "{b}": ("b", None),
    '{b|"}': ("b", '"'),
    "{c|}": ("c", ""),
    "{c| d }": ("c", " d "),
}
LITERALS = {
    "Hi ": "Hi ",
    "\\": "\\",
    "é😀\u2028": "é😀\u2028",
    "{{1}}": "{{1}}",
    "{'{'}": "{",
    "00000@": "00000@",
}

PIECES = st.lists(st.sampled_from([*FIELDS, *LITERALS]), min_size=1, max_size=5)
VALUES = st.sampled_from(
    [*(" ", " Ann ", '"\\/', "{a}", "{{2}}", "a\u2028b", "é", "😀", "\x00\x1f\x7f", "\ud800", "😀\udc00")]
) | st.builds(
    "x".__mul__,
    st.sampled_from(
        [0, 1, 199, 200, 201, 249, 250, 333, 334, 499, 500, 501, 640, 641, 999, 1000, 1001, 3001]
    ),
)

Place = Callable[[str, str], Step]
PLACES: list[Place] = [
    lambda text, to: sms.text(text, from_=SMS, to=to),
    lambda text, to: sms.text(text, from_=SMS, to=to, client_ref="order-7"),
    lambda text, to: sms.text("x", from_=SMS, to=to, client_ref=text),
    lambda text, to: sms.text("x", from_=SMS, to=to, extra={"message": {"sms": {"content_id": text}}}),
    lambda text, to: whatsapp.text(text, from_=WHATSAPP, to=to),
    lambda text, to: whatsapp.template("ns:x", [text, "y", text], from_=WHATSAPP, to=to, locale="nl"),
    lambda text, to: whatsapp.image("https://e.example/x.png", caption=text, from_=WHATSAPP, to=to),
    lambda text, to: whatsapp.custom({"caption": text, "url": [text]}, from_=WHATSAPP, to=to),
    lambda text, to: viber.text(text, from_="12345", to=to, category="promotion"),
    lambda text, to: messenger.text(text, from_="1", to=to),
]


STRICT = [
    Rules(count="utf-16"),
    *(Rules(errors=[rule.id]) for rule in RULES.values() if rule.severity == "warning"),
]


def meaning(pieces: list[str], fields: Mapping[str, str]) -> str | None:
    """Return the text of a row, or `None` when a value is missing."""
    texts: list[str | None] = []
    for piece in pieces:
        name, default = FIELDS.get(piece, ("", LITERALS.get(piece)))
        texts.append(fields[name] if fields.get(name, "").strip() else default)
    return None if None in texts else "".join(filter(None, texts))


def chain(places: list[Place], texts: list[str], to: str) -> list[Step]:
    """Return one step per place; the last one has no condition."""
    steps = [place(text, to) for place, text in zip(places, texts, strict=False)]
    return [*(step.until("delivered", within=600) for step in steps[:-1]), steps[-1]]


@given(
    places=st.lists(
        st.sampled_from(PLACES), min_size=1, max_size=2, unique_by=lambda it: it("x", "1").channel
    ),
    pieces=st.tuples(PIECES, PIECES),
    fields=st.fixed_dictionaries({"a": VALUES, "b": VALUES}, optional={"c": VALUES}),
    phone=st.just(PERSON) | st.sampled_from([f" +{PERSON} ", USER, BARRED_USER, "5355512345", "x" * 51]),
    ref=st.sampled_from([None, "r-1", "x" * 41, 'q"ü', '"']),
    rules=st.just(DEFAULT_RULES) | st.sampled_from(STRICT),
)
@example(
    [PLACES[0], PLACES[4]],
    (["{a}"], ["{b}"]),
    {"a": "x" * 1000, "b": "x" * 1001},
    PERSON,
    "r-1",
    DEFAULT_RULES,
)
@example(
    [PLACES[5], PLACES[0]],
    (["{a}"], ["{a}", "Hi ", "{a}"]),
    {"a": " Ann ", "b": "x"},
    PERSON,
    None,
    DEFAULT_RULES,
)
@example(
    [PLACES[1], PLACES[8]],
    (["{c| d }"], ["{c|}", '{b|"}']),
    {"a": "x", "b": " "},
    PERSON,
    "r-1",
    DEFAULT_RULES,
)
@example([PLACES[8], PLACES[0]], (["{a}"], ["{c|}"]), {"a": "x", "b": "x"}, PERSON, None, DEFAULT_RULES)
def test_compiled_bytes_are_those_of_the_workflow_of_the_row(
    places: list[Place],
    pieces: tuple[list[str], list[str]],
    fields: Mapping[str, str],
    phone: str,
    ref: str | None,
    rules: Rules,
) -> None:
    """Any text takes any field any number of times; a row is refused exactly when `check()` refuses it."""
    try:
        template = WorkflowTemplate(
            *chain(places, ["".join(each) for each in pieces], "{phone}"), rules=rules
        )
    except InvalidWorkflowError:
        assume(rules is DEFAULT_RULES)  # a stricter rule may refuse what the template says itself
        raise
    recipient = row({**fields, "phone": phone})
    texts = [meaning(each, fields) for each in pieces[: len(places)]]
    refused = "field-empty" if None in texts else None
    expected = Workflow(tuple(chain(places, [text or "" for text in texts], phone)))
    if ref is not None:
        expected = expected.with_client_ref(ref)
    try:
        expected.check(rules)
    except InvalidWorkflowError as error:
        refused = refused or error.findings[0].rule

    if refused is not None:
        with pytest.raises(RowError) as caught:
            template.render(recipient, ref)
        assert caught.value.rule in (refused, refused.replace("empty", "missing"))
        return
    rendered = template.render(recipient, ref)
    assert rendered.body == expected.to_json()
    assert rendered.client_refs == expected.client_refs


@pytest.mark.parametrize(
    ("steps", "fields", "rules"),
    [
        ([sms.text("{a}", from_=SMS, to="{phone}")], {"a": "x" * 1000}, DEFAULT_RULES),
        ([sms.text("{a}{a}y", from_=SMS, to="{phone}")], {"a": "x" * 499}, DEFAULT_RULES),
        ([sms.text("{a}", from_=SMS, to="{phone}")], {"a": "é" * 500}, Rules(count="utf-16")),
        (
            [
                whatsapp.text("{a}", from_=WHATSAPP, to="{phone}").until("read", within=60),
                viber.text("{b}", from_="12345", to="{phone}"),
            ],
            {"a": "x" * 4096, "b": "x" * 1000},
            DEFAULT_RULES,
        ),
        ([messenger.text("{a|Hi}", from_="1", to="{user}")], {"user": "9" * 50}, DEFAULT_RULES),
    ],
)
def test_no_rule_looks_at_a_row_that_is_right_at_a_glance(
    steps: list[Step], fields: dict[str, str], rules: Rules, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A text may be as long as its channel allows, and is still rendered without building its workflow."""
    template = WorkflowTemplate(*steps, rules=rules)
    expected = template.workflow(row(fields), "r-1")
    expected.check(rules)
    monkeypatch.delattr(Workflow, "check")

    assert template.render(row(fields), "r-1").body == expected.to_json()


@pytest.mark.parametrize(
    ("step", "fields", "client_ref", "told"),
    [
        (whatsapp.text("{a}", from_=WHATSAPP, to="{phone}"), {"phone": BARRED_USER}, None, "phone"),
        (
            whatsapp.template("ns:x", ["{b}", "{a}"], from_=WHATSAPP, to="{phone}", locale="nl"),
            {"a": "\ud800"},
            None,
            "a",
        ),
        (sms.text("{a}", from_=SMS, to="{phone}"), {}, "x" * 41, ""),
    ],
)
def test_the_error_of_a_row_names_the_field_behind_it(
    step: Step, fields: dict[str, str], client_ref: str | None, told: str
) -> None:
    """The field is that of the parameter or address, and none for what comes from no field."""
    with pytest.raises(RowError) as caught:
        WorkflowTemplate(step).render(row({"a": "x", "b": "y", **fields}), client_ref)

    assert caught.value.field == told


def test_references_of_the_template_stay_beside_that_of_the_row() -> None:
    """A step with a reference keeps it; the others get the row's, and each is told once."""
    template = WorkflowTemplate(
        whatsapp.text("{a}", from_=WHATSAPP, to="{phone}", client_ref="own").until("read", within=60),
        viber.text("{a}", from_="12345", to="{phone}").until("read", within=60),
        sms.text("{a}", from_=SMS, to="{phone}"),
    )

    assert template.render(row({"a": "x"}), "r-1").client_refs == ("own", "r-1")
    assert template.render(row({"a": "x"})).client_refs == ("own",)
    assert template.render(row({"a": "x"}), "own").client_refs == ("own",)
