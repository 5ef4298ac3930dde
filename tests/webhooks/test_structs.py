"""The structs themselves: frozen, quiet, hashable, and equal for one event."""

import copy
import gc
import pickle
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import (
    Address,
    FinalReport,
    InboundMessage,
    MessageStatus,
    TextContent,
    UnknownEvent,
    parse_event,
)
from tests.webhooks.payloads import encode, files, report_body, status_body


@files()
def test_events_are_frozen_values_that_show_no_personal_data(path: Path) -> None:
    """An event can be copied, pickled, hashed and put into a set, but not changed, and is safe to log.

    Its `repr` shows no number, id of a person, text, URL or reason of the body.
    """
    event = parse_event(path.read_bytes())

    assert parse_event(path.read_text("utf-8")) == event
    assert pickle.loads(pickle.dumps(event)) == event  # noqa: S301 - our own bytes
    assert len({event, copy.deepcopy(event)}) == 1
    with pytest.raises(AttributeError):
        event.oddities = ("x",)  # type: ignore[misc]  # the point of the test

    personal = [
        leaf for part in ("to", "from", "message", "error") for leaf in leaves(event.raw.get(part, {}))
    ]
    assert personal or event.kind == "final-report"
    assert not [value for value in personal if value in repr(event)]


def leaves(value: Any) -> list[str]:
    """Every text below a value, except the words that name a type."""
    if isinstance(value, dict):
        return [leaf for name, item in value.items() if name != "type" for leaf in leaves(item)]
    return [value] if isinstance(value, str) and len(value) > 1 else []


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (
            MessageStatus("AbC", "Odd", "sms", Address("sms"), Address("sms")),
            ("message-status", "abc", "odd"),
        ),
        (
            InboundMessage("AbC", "sms", Address("sms"), Address("sms"), TextContent("x")),
            ("inbound-message", "abc"),
        ),
        (FinalReport("AbC", "completed"), ("final-report", "abc", "completed")),
        (FinalReport("AbC"), ("final-report", "abc", "")),
    ],
)
def test_dedup_key(event: MessageStatus | InboundMessage | FinalReport, key: tuple[str, ...]) -> None:
    """Contract 5.10 names the parts; ids compare without case (5.11)."""
    assert event.dedup_key == key


def test_events_without_ids_are_told_apart_by_their_record() -> None:
    """Order of members does not count, values do."""
    one, same, other = (UnknownEvent(raw) for raw in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}))
    report = parse_event(encode(report_body(dispatch_uuid=None)))

    assert one.dedup_key == same.dedup_key != other.dedup_key
    assert report.dedup_key[0] == "final-report"


def test_the_base_names_no_key() -> None:
    """Each kind says itself what makes two deliveries one event."""
    base = MessageStatus.__mro__[1]

    with pytest.raises(NotImplementedError):
        base().dedup_key  # noqa: B018 - reading it is the point


def test_failed_and_final() -> None:
    """Contract 5.3."""
    states = {}
    for name in ("submitted", "delivered", "read", "rejected", "undeliverable", "teleported"):
        event = parse_event(encode(status_body(status=name)))
        assert isinstance(event, MessageStatus)
        states[name] = (event.is_final, event.is_failed)

    assert states == {
        "submitted": (False, False),
        "delivered": (True, False),
        "read": (True, False),
        "rejected": (True, True),
        "undeliverable": (True, True),
        "teleported": (False, False),
    }


def test_the_garbage_collector_visits_no_event() -> None:
    """Events of a burst live until their commit, so each collection would visit all of them in vain."""
    event = parse_event(encode(status_body()))
    assert isinstance(event, MessageStatus)
    assert not any(gc.is_tracked(part) for part in (event, event.to, event.from_, event.usage))
