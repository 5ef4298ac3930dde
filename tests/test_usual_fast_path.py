"""The first look at a workflow never lets through what a rule would refuse."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexmo_dispatch_async.channels import sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules
from nexmo_dispatch_async.rules.checks import find
from nexmo_dispatch_async.rules.usual_fast_path import is_usual
from nexmo_dispatch_async.workflow import Workflow

FIRST = whatsapp.text("Zdraví tě ☀ 😀", from_="447418342140", to="918197792563").until("read", within=600)
LAST = sms.text("Hello", from_="31647356950", to="31617185666", client_ref="order-17")
PLACES: dict[str, tuple[str, ...]] = {
    "from": ("from_", "number"),
    "from id": ("from_", "id"),
    "from channel": ("from_", "type"),
    "to": ("to", "number"),
    "to id": ("to", "id"),
    "to channel": ("to", "type"),
    "text": ("message", "content", "text"),
    "content": ("message", "content"),
    "viber": ("message", "viber_service_msg"),
    "messenger": ("message", "messenger"),
    "whatsapp": ("message", "whatsapp"),
    "message": ("message",),
    "failover": ("failover",),
    "expiry": ("failover", "expiry_time"),
    "condition": ("failover", "condition_status"),
    "ref": ("client_ref",),
    "sender": ("from_",),
    "recipient": ("to",),
}
ODD: list[Any] = [
    *("", "0", "015", "123456789012345", "1234567890123456", "٣١", "+31", "Ö", "\ud800", "x" * 1001),
    *("249", "531", "9812345678", "8501", "9631", "7365", "380651", "380692", "sms", "whatsapp", "mms"),
    *("KPN", "x" * 4097, "read", "delivered", "opened"),
    *("x" * 41, "ö" * 41, "ö" * 1000, 0, 14, 15, 86_400, 86_401, 600.0, "600"),
    *(None, True, [], {}, (), b"31", msgspec.UNSET, FIRST, FIRST.message, FIRST.failover, FIRST.to, LAST.to),
]  # fmt: skip


def changed(value: Any, place: tuple[str, ...], odd: Any) -> Any:
    """Return a copy of a struct with another value at a place, as far as the place is there."""
    if not place:
        return odd
    if not isinstance(value, msgspec.Struct) or not hasattr(value, place[0]):
        return value
    return msgspec.structs.replace(value, **{place[0]: changed(getattr(value, place[0]), place[1:], odd)})


changes = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(sorted(PLACES)), st.sampled_from(ODD)), max_size=3
)


@given(st.lists(st.sampled_from([FIRST, LAST]), max_size=3), changes)
@settings(max_examples=150)
def test_what_is_usual_breaks_no_rule(steps: list[Any], odd: list[tuple[int, str, Any]]) -> None:
    """Whatever is put into the fields of two good steps, in whatever order they stand."""
    for index, place, value in odd:
        if index < len(steps):
            steps[index] = changed(steps[index], PLACES[place], value)

    assert not is_usual(tuple(steps)) or find(tuple(steps), DEFAULT_RULES, errors_only=True) == []


@pytest.mark.parametrize("place", sorted(PLACES))
def test_one_odd_value_at_every_place(place: str) -> None:
    """Each in the first step and in the last."""
    for odd in ODD:
        for steps in (
            (changed(FIRST, PLACES[place], odd), LAST),
            (FIRST, changed(LAST, PLACES[place], odd)),
        ):
            assert not is_usual(steps) or find(steps, DEFAULT_RULES, errors_only=True) == [], odd


@pytest.mark.parametrize(
    "place",
    [(), ("from_",), ("to",), ("message",), ("message", "content"), ("failover",)],
    ids=lambda place: ".".join(place) or "step",
)
def test_added_members_are_looked_at(place: tuple[str, ...]) -> None:
    """Nothing is known of them: they may be misspelt, or no JSON at all (contract 9.30)."""
    steps = (changed(FIRST, (*place, "extra"), {"x": float("nan")}), LAST)

    assert not is_usual(steps)
    assert [finding.rule for finding in find(steps, DEFAULT_RULES, errors_only=True)] == ["custom-json"]


@pytest.mark.parametrize(
    "steps",
    [
        *((FIRST, LAST), (LAST,), (FIRST, FIRST, LAST)),
        (FIRST, LAST.until("delivered", within=15), LAST),
        (sms.text("x" * 1000, from_="1", to="2"),),
        (whatsapp.text("x" * 4096, from_="1", to="2"),),
    ],
)
def test_texts_with_conditions_are_usual(steps: tuple[Step, ...]) -> None:
    """Or the look would be in vain."""
    assert is_usual(steps)


@pytest.mark.parametrize("steps", [(), [], None, "steps", (None,), [FIRST, LAST]])
def test_what_is_no_tuple_of_steps_is_not_usual(steps: Any) -> None:
    assert not is_usual(steps)


@pytest.mark.parametrize(
    ("steps", "rules"),
    [
        ((LAST,), Rules(errors=["single-step"])),
        (
            (FIRST, sms.text("x" * 161, from_="1", to="2")),
            Rules(on=["sms-segments"], errors=["sms-segments"]),
        ),
        ((FIRST, sms.text("😀" * 501, from_="1", to="2")), Rules(count="utf-16")),
    ],
    ids=["single-step", "sms-segments", "utf-16"],
)
def test_stricter_rules_look_twice(steps: tuple[Step, ...], rules: Rules) -> None:
    assert is_usual(steps)

    with pytest.raises(InvalidWorkflowError):
        Workflow(steps).check(rules)


def test_what_is_not_usual_is_checked_as_ever() -> None:
    step = viber.text("Hello", from_="VSM-ID", to="447700900321")

    assert not is_usual((step,))
    Workflow.failover(step).check()
    with pytest.raises(InvalidWorkflowError, match="e164"):
        Workflow.failover(sms.text("Hello", from_="1", to="0044")).check()
