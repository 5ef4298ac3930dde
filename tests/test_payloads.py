"""The recorded bodies of the service: each is listed, and each that is a callback is an event."""

import json
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks import UnknownEvent, parse_event
from tests.support.paths import PAYLOADS

CALLBACKS = [
    *sorted((PAYLOADS / "webhooks").glob("*/*.json")),
    *sorted((PAYLOADS / "observed").glob("[is]*.json")),
]


def test_the_index_lists_every_file_once() -> None:
    """What a body shows stands in the index, so that none is there without a reason."""
    listed = [entry["file"] for entry in json.loads((PAYLOADS / "index.json").read_bytes())["files"]]

    there = [path.relative_to(PAYLOADS).as_posix() for path in PAYLOADS.rglob("*.json")]

    assert sorted(listed) == sorted(set(there) - {"index.json"})


@pytest.mark.parametrize("path", CALLBACKS, ids=lambda path: path.stem)
def test_every_recorded_callback_is_an_event_of_a_known_kind(path: Path) -> None:
    """Contract 5.2, 5.4, 5.5 and 5.8: whatever form it comes in."""
    event = parse_event(path.read_bytes())

    assert not isinstance(event, UnknownEvent)
    assert event.timestamp is not None
