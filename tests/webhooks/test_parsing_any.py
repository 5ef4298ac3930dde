"""`parse_event` of any bytes: an event or our own error, the same for text and bytes."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks import InvalidBodyError, TextContent, parse_event
from tests.webhooks.payloads import WEBHOOKS, inbound

BODIES = [path.read_bytes() for path in sorted(WEBHOOKS.rglob("*.json"))]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.just("9" * 400),
    st.just(10**400),
)
NAMES = st.sampled_from(
    sorted({name for body in BODIES for name in json.loads(body)} | {"channel", "message_type", "text"})
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)


def check(body: bytes | str) -> None:
    """A value or our error; the value can be shown, hashed and compared."""
    try:
        event = parse_event(body)
    except InvalidBodyError:
        return
    assert event == parse_event(body)
    assert hash(event) == hash(parse_event(body))
    assert repr(event)
    assert event.dedup_key[0] == event.kind


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
@example(b"[" * 1_000_000)
@example(b"\xef\xbb\xbf")
@example(b'{"message_uuid": "\\udfff", "status": "\\ud800"}')
def test_any_bytes_give_a_value_or_our_error(body: bytes | str) -> None:
    check(body)


@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_any_object_gives_an_event(body: dict[str, Any]) -> None:
    """Every JSON object is accepted, whatever its members hold."""
    encoded = json.dumps(body).encode()

    parse_event(encoded)
    check(encoded)


@given(st.sampled_from(BODIES), st.data())
def test_examples_with_one_member_replaced_give_an_event(body: bytes, data: st.DataObject) -> None:
    """Close to the real thing is where a decoder would trip."""
    record = json.loads(body)
    target: Any = record
    while True:
        name = data.draw(st.sampled_from(sorted(target)))
        if not isinstance(target[name], dict) or data.draw(st.booleans()):
            break
        target = target[name]
    target[name] = data.draw(VALUES)

    check(json.dumps(record))
    parse_event(json.dumps(record))


def test_text_of_a_customer_is_in_no_repr() -> None:
    """Texts, numbers, addresses and references stay out of logs."""
    event = inbound({"type": "text", "text": "my secret"}, client_ref="ref 1")

    shown = repr([event, event.content, event.from_, event.__rich_repr__()])

    assert isinstance(event.content, TextContent)
    assert not [secret for secret in ("my secret", "4477009", "ref 1") if secret in shown]
