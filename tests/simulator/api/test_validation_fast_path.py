"""The quick reader takes what is usual, and reads it just as the patient one does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.simulator.api.validation import parse_unusual
from nexmo_dispatch_async.simulator.api.validation_fast_path import read_usual
from nexmo_dispatch_async.simulator.world.violations import InvalidBody
from tests.simulator.support import step, workflow

channels = st.sampled_from(["sms", "mms", "whatsapp", "viber_service_msg", "messenger", "fax"])
addresses = st.sampled_from(["447700900123", "+44770", "00447", "", "x" * 51, "\t447", 447, None, "9" * 50])
ends = st.fixed_dictionaries({"type": channels}, optional={"number": addresses, "id": addresses})
texts = st.sampled_from(["Hi", "", "x" * 641, "x" * 1001, "x" * 4096, "x" * 4097, "й", None, 3])
contents = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image", "template"])}, optional={"text": texts}
)
OPTIONS = ("whatsapp", "viber_service_msg", "messenger")
messages: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"content": contents}, optional={name: st.sampled_from([None, {}, 3]) for name in OPTIONS}
)
failovers = st.fixed_dictionaries(
    {},
    optional={
        "expiry_time": st.sampled_from([15, 600, 86400, 14, 86401, "600", 600.0, True, None]),
        "condition_status": st.sampled_from(["delivered", "read", "seen", None]),
    },
)
refs = st.sampled_from(["order-1", "x" * 41, 3, None])
raw_steps = st.fixed_dictionaries(
    {"from": ends, "to": ends, "message": messages},
    optional={"failover": failovers | st.none(), "client_ref": refs},
)


@st.composite
def likely_steps(draw: st.DrawFn) -> dict[str, Any]:
    """Return a step that is right but for a detail, or right altogether."""
    channel = draw(st.sampled_from(["sms", "mms", "whatsapp", "viber_service_msg", "messenger"]))
    within = draw(st.sampled_from([None, 15, 86400, 600.0]))
    built = step(channel, "447700900123", within=within)
    for name in draw(st.sets(st.sampled_from(["client_ref", "message", "to", "from"]), max_size=1)):
        built[name] = draw({"client_ref": refs, "message": messages, "to": ends, "from": ends}[name])
    return built


@given(
    st.lists(raw_steps | likely_steps(), max_size=3), st.sampled_from(["failover", "failover", "other", None])
)
def test_both_readers_agree(steps: list[dict[str, Any]], template: str | None) -> None:
    text = json.dumps({"template": template, "workflow": steps})
    body = text.encode()

    usual = read_usual(body, text)

    if usual is not None:
        assert usual == parse_unusual(body, text)
        assert [s.message["content"] for s in usual] == [raw["message"]["content"] for raw in steps]


@pytest.mark.parametrize("channel", ["sms", "mms", "whatsapp", "viber_service_msg", "messenger"])
def test_a_plain_workflow_is_usual(channel: str) -> None:
    text = json.dumps(workflow(step(channel, "447700900123", within=60, client_ref="7"), step("sms", "4479")))

    usual = read_usual(text.encode(), text)

    assert usual is not None
    assert [s.channel for s in usual] == [channel, "sms"]
    assert usual[0].body is usual[1].body


BODIES = [b"", b"{", b"[]", b'{"template":"failover","workflow":[]}', b"\xff", b"[" * 9999]


@pytest.mark.parametrize("body", BODIES)
def test_what_is_not_usual_is_left_to_the_other(body: bytes) -> None:
    text = body.decode(errors="replace")

    assert read_usual(body, text) is None
    with pytest.raises(InvalidBody):
        parse_unusual(body, text)
