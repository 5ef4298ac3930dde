"""The short way of reading a usual status gives what the long way gives, and leaves the rest to it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks import MessageStatus, parse_event
from nexmo_dispatch_webhooks.events.decoding import decode_object
from nexmo_dispatch_webhooks.events.parsing import _classify
from nexmo_dispatch_webhooks.events.usual import read_usual_status
from tests.webhooks.payloads import encode, files, status_body

LINKS = {"dispatch": {"href": "v0.1/dispatch/d", "dispatch_uuid": "d"}}
ODD: list[object] = [
    None,
    "",
    " ",
    " x ",
    "sms",
    "read",
    1,
    1.5,
    True,
    [],
    {},
    "EUR",
    "0.0333",
    "messenger",
    {"a": 1},
]

texts = st.sampled_from(["m", " m ", "", " ", "ä\u2028", "0"])
address = st.fixed_dictionaries(
    {"type": st.sampled_from(["sms", "mms", "whatsapp", "viber_service_msg", "messenger", "SMS", "fax"])},
    optional={"number": texts, "id": texts},
)
bodies = st.fixed_dictionaries(
    {
        "message_uuid": texts,
        "to": address,
        "from": address,
        "timestamp": st.sampled_from(
            [
                *("2020-01-01T14:00:00.000Z", "2020-01-01 14:00:00 UTC", "soon", "1600000000"),
                f"2020-01-01T14:00:00.{'0' * 43}Z",
                f"2020-01-01T14:00:00.{'0' * 44}Z",
            ]
        ),
        "status": st.sampled_from(["delivered", "read", "Read", "teleported", " read"]),
    },
    optional={
        "usage": st.sampled_from(
            [{"price": "0.0333", "currency": "EUR"}, {"price": "x", "currency": "EUR"}, None]
        ),
        "client_ref": st.sampled_from(["r", "", None, 5]),
        "_links": st.sampled_from(
            [
                LINKS,
                {"workflow": LINKS["dispatch"]},
                LINKS | {"more": 1},
                {"dispatch": {"dispatch_uuid": ""}},
                None,
            ]
        ),
        "dispatch_uuid": texts,
        "error": st.sampled_from([{"code": 1, "reason": "r"}, None]),
        "direction": st.sampled_from(["inbound", "outbound"]),
        "channel": st.sampled_from(["sms", "viber_service"]),
    },
)


def long_way(body: bytes) -> Any:
    raw, clean = decode_object(body)
    return _classify(raw, [] if clean else ["body: not strict JSON"])


def same(body: bytes) -> None:
    short = read_usual_status(decode_object(body)[0])

    if short is not None:
        assert short == long_way(body)
        assert type(short) is MessageStatus
        assert msgspec.structs.asdict(short)["oddities"] == ()


@files()
def test_every_example_reads_the_same(path: Path) -> None:
    """Documented bodies of every kind and format."""
    same(path.read_bytes())


@given(bodies)
def test_any_mixture_reads_the_same(body: dict[str, Any]) -> None:
    """Whatever the short way accepts, it reads as the long way does, oddities included."""
    same(encode(body))


@given(
    st.sampled_from(["message_uuid", "to", "from", "timestamp", "status", "usage", "_links", "new"]),
    st.sampled_from(ODD),
)
def test_any_odd_member_reads_the_same(member: str, value: Any) -> None:
    """One member of a usual body is of another type, or not known."""
    same(encode(status_body(_links=LINKS, usage={"price": "1", "currency": "EUR"}) | {member: value}))


@pytest.mark.parametrize("digits", [42, 43, 44, 45, 500])
def test_a_long_fraction_reads_the_same(digits: int) -> None:
    """The limit of a timestamp is the same on both ways (contract 5.7)."""
    same(encode(status_body(timestamp=f"2020-01-01T14:00:00.{'0' * digits}Z")))


def test_the_usual_body_takes_the_short_way() -> None:
    """Otherwise the short way would be there for nothing."""
    body = encode(status_body(_links=LINKS, usage={"price": "0.0333", "currency": "EUR"}, client_ref="r"))

    assert read_usual_status(decode_object(body)[0]) == long_way(body)
    assert parse_event(body).kind == "message-status"
