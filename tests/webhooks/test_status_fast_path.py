"""The fast path of a documented status gives what `parsing` gives, and leaves every other body to it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks import parse_event
from nexmo_dispatch_webhooks.events import parsing
from nexmo_dispatch_webhooks.events.status_fast_path import read_documented_status
from tests.webhooks.payloads import encode, files, status_body

LINKS = {"dispatch": {"href": "v0.1/dispatch/d", "dispatch_uuid": "d"}}
FULL = status_body(_links=LINKS, usage={"price": "0.0333", "currency": "EUR"}, client_ref="r")

names = st.sampled_from(["m", "NL.13491208655302741918", " m ", "", " ", "ä\u2028", None, 5])
addresses = st.fixed_dictionaries(
    {"type": st.sampled_from(["sms", "whatsapp", "viber_service_msg", "messenger", "viber", "SMS", None])},
    optional={"number": names, "id": names, "new": names},
)
link_objects: list[object] = [
    LINKS,
    {"workflow": LINKS["dispatch"]},
    {"dispatch": LINKS["dispatch"], "more": 1},
    {"dispatch": {"dispatch_uuid": "d", "href": None}},
    {"dispatch": {"dispatch_uuid": " d"}},
    {"dispatch": {"dispatch_uuid": ""}},
    [],
    None,
]
usages = st.sampled_from(
    [
        {"price": "0.0333", "currency": "EUR"},
        {"price": "NaN", "currency": "EUR"},
        {"price": 1, "currency": "EUR"},
        {"price": "1", "currency": "eur"},
        {"price": "1"},
        None,
    ]
)
times = st.sampled_from(
    [
        *("2020-01-01T14:00:00.000Z", "2020-01-01T14:00:00+00:00", "2020-01-01T14:00:00+01:00"),
        *(
            "2020-01-01T14:00:00",
            "2020-01-01 14:00:00 UTC",
            "20200101T140000Z",
            "1600000000",
            "soon",
            5,
            None,
        ),
        *(f"2020-01-01T14:00:00.{'0' * digits}Z" for digits in (43, 44, 500)),
    ]
)
#: One member in another form, absent, or not known.
changes = st.one_of(
    st.fixed_dictionaries({"message_uuid": names}),
    st.fixed_dictionaries({"to": st.one_of(addresses, names)}),
    st.fixed_dictionaries({"from": st.one_of(addresses, names)}),
    st.fixed_dictionaries({"timestamp": times}),
    st.fixed_dictionaries({"status": st.sampled_from(["read", "Read", " read", "teleported", "", 5, None])}),
    st.fixed_dictionaries({"usage": usages}),
    st.fixed_dictionaries({"_links": st.sampled_from(link_objects)}),
    st.fixed_dictionaries({"client_ref": names}),
    st.fixed_dictionaries({"error": st.sampled_from([{"code": 1, "reason": "r"}, None])}),
    st.fixed_dictionaries({"channel": st.sampled_from(["sms", "viber"])}),
    st.fixed_dictionaries({"dispatch_uuid": names}),
)


@given(changes, changes)
def test_both_ways_read_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """What the fast path accepts, the readers of `parsing` read as the same event, without any oddity."""
    body = encode(FULL | one | other)

    fast, event = read_documented_status(json.loads(body)), read_without_fast_path(body)

    assert fast is None or (fast == event and fast.oddities == ())
    assert parse_event(body) == event


@files()
def test_every_example_reads_the_same(path: Path) -> None:
    """The bodies of the contract give the same event in both ways."""
    assert parse_event(path.read_bytes()) == read_without_fast_path(path.read_bytes())


@pytest.mark.parametrize("absent", ["client_ref", "usage", "_links", None])
def test_documented_statuses_take_the_fast_path(absent: str | None) -> None:
    """A documented status is read in one conversion, with and without its optional members."""
    body = {name: value for name, value in FULL.items() if name != absent}

    assert read_documented_status(body) == read_without_fast_path(encode(body))


def read_without_fast_path(body: bytes) -> Any:
    """Read a body by the readers of `parsing` only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "read_documented_status", read_nothing)
        return parse_event(body)


def read_nothing(_: dict[str, Any]) -> None:
    """The fast path for a body that is not as documented."""
