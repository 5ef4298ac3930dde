"""Recordings hold no personal data, keep their shape, and can be read again."""

import json
import re
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.cli.recording import Recorded, Recorder, RecordingError, read
from nexmo_dispatch_async.cli.redactor import Redactor
from nexmo_dispatch_webhooks import Context, parse_event
from nexmo_dispatch_webhooks.testing import inbound_body, report_body, status_body
from tests.support.paths import WEBHOOKS

#: What the contract writes in words of its own, which a recording keeps.
ALLOWED = re.compile(
    r"[a-z_-]+|EUR|-?\d{1,6}(\.\d+)?|\d{4}-\d\d-\d\d[T ][\d:.]+ ?\S*|(v0\.1/\w+/)?[0-9a-f-]{36}"
    r"|999\d{12}|(text|id|member)-[0-9a-f]{16}|https://example\.com/[0-9a-f]{16}|/workflows/[0-9a-f-]{36}"
)


def texts(value: Any) -> list[str]:
    """Every text in a JSON value, and every name of a member."""
    if isinstance(value, dict):
        return [*value, *(text for item in value.values() for text in texts(item))]
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("path", sorted(WEBHOOKS.rglob("*.json")), ids=lambda path: path.stem)
def test_examples_keep_their_meaning_and_no_personal_data(path: Path) -> None:
    """The same event of the same kind, with other addresses and words."""
    raw = json.loads(path.read_bytes())

    redacted = Redactor().body(raw)

    before, after = parse_event(path.read_bytes()), parse_event(json.dumps(redacted))
    assert [text for text in texts(redacted) if not ALLOWED.fullmatch(text)] == []
    assert after.dedup_key == before.dedup_key
    assert [o for o in after.oddities if o not in before.oddities] == []
    for name in ("status", "channel", "timestamp", "usage", "dispatch_uuid", "messages"):
        assert getattr(after, name, None) == getattr(before, name, None)
    personal = {
        raw[end][which] for end in ("to", "from") for which in ("number", "id") if which in raw.get(end, {})
    }
    assert [text for text in texts(redacted) if text in personal] == []


def test_placeholders_are_stable_within_a_recording_only() -> None:
    """The same customer is the same placeholder, as text or as number; another recording has others."""
    one, other = Redactor(), Redactor()
    body = status_body(to="447700900123", from_="447700900123", client_ref="Jan Jansen")

    first, again = one.body(body), one.body(body)
    number = one.body(status_body(to={"number": 447700900123}, from_="+447700900123"))

    assert first == again
    assert first["to"]["number"] == first["from"]["number"] == number["from"]["number"]
    assert number["to"]["number"] == int(first["to"]["number"])
    assert first["to"] != other.body(body)["to"]
    assert first["client_ref"].startswith("text-")


def test_what_does_not_look_as_the_contract_says_is_replaced() -> None:
    """A name in the place of a status, a number in the place of an id, a member called like a customer."""
    raw = {
        "status": "Jan Jansen 447700900123",
        "message_uuid": "447700900123",
        "dispatch_uuid": "",
        "timestamp": "447700900123",
        "447700900123": {"447700900124": True},
        "usage": {"price": "447700900123", "currency": None},
        "error": {"code": 447700900123, "reason": "447700900123 is barred", "size": 17},
        "_links": {"dispatch": {"href": "https://example.net/447700900123"}},
        "lat": "52.1",
        "long": 4.7,
        "big": 10**5000,
        "to": ["447700900123", 10**5000, "Bank"],
        "flags": {"a": True, "b": 1.5, "c": " "},
    }

    redacted = Redactor().body(raw)

    assert "4477009001" not in json.dumps(redacted)
    assert "Jan" not in json.dumps(redacted)
    assert redacted["dispatch_uuid"] == ""
    assert redacted["message_uuid"].startswith("id-")
    assert (redacted["lat"], redacted["long"], redacted["big"]) == ("0", 0, 0)
    assert redacted["error"] | {"reason": ""} == {"code": 0, "reason": "", "size": 0}
    assert redacted["usage"]["currency"] is None
    assert list(redacted["flags"].values()) == [False, 0, " "]


def test_deep_bodies_are_cut() -> None:
    """No recursion of a stranger's choosing."""
    lists: Any = "x"
    objects: Any = "x"
    for _ in range(500):
        lists, objects = [lists], {"a": objects}

    assert len(json.dumps(Redactor().body({"lists": lists, "objects": objects}))) < 1500


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(
    raw=st.dictionaries(
        st.text() | st.sampled_from(["to", "number", "status", "lat"]), JSON_VALUES, max_size=4
    )
)
def test_any_object_can_be_redacted(raw: dict[str, Any]) -> None:
    """No digits of an address survive, whatever the shape."""
    redacted = Redactor(b"key").body(raw)

    json.dumps(redacted)
    for text in texts(redacted):
        assert not re.search(r"(?<!\d)\d{7,11}(?!\d)", re.sub("[0-9a-f]{16}", "", text))


# --- files ---


async def test_what_is_recorded_can_be_read(tmp_path: Path) -> None:
    """One line for each, appended over runs, with time and path."""
    file = tmp_path / "callbacks.jsonl"
    bodies = [status_body("read"), inbound_body("secret words"), report_body()]
    at = datetime(2025, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)

    async with Recorder(file) as recorder:
        for body in bodies[:2]:
            await recorder.write(parse_event(json.dumps(body)), Context("status", at.timestamp()))
    async with Recorder(file) as recorder:
        await recorder.write(parse_event(json.dumps(bodies[2])), Context("447700900123"))
    await recorder.__aexit__(None, None, None)  # again, without effect
    found = read(file)

    assert "secret words" not in file.read_text()
    assert [(item.path, item.at) for item in found] == [
        ("status", 1735732800.123),
        ("status", 1735732800.123),
        ("", None),
    ]
    assert [parse_event(item.body).kind for item in found] == [
        "message-status",
        "inbound-message",
        "final-report",
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(RuntimeError, match="not open"):
        await recorder.write(parse_event(b"{}"), Context())


def test_read_a_folder_or_one_body(tmp_path: Path) -> None:
    """Bodies as they are, sorted by their path."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.json").write_bytes(b'{"b": 1}')
    (tmp_path / "a.json").write_bytes(b'{\n"a": 1\n}\n')
    (tmp_path / "notes.txt").write_bytes(b"no")

    assert read(tmp_path) == [Recorded(b'{\n"a": 1\n}\n'), Recorded(b'{"b": 1}')]
    assert read(tmp_path / "a.json") == [Recorded(b'{\n"a": 1\n}\n')]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no callbacks"),
        (
            b'{"body": {}}\n\n{"path": "x"}\n',
            "line 3: no callback recorded by 'nexmo-dispatch listen --record'$",
        ),
        (
            b'{"record":"request","at_ms":0,"body":"{}"}\n{"record":"status","at_ms":100}\n',
            "line 1: no callback recorded by 'nexmo-dispatch listen --record'$",
        ),
        (b"[1]", "^recording, line 1: no callback"),
        (b"[" * 100_000, "^recording, line 1: no callback"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "recording"
    file.write_bytes(content)

    with pytest.raises(RecordingError, match=message):
        read(file)
    with pytest.raises(RecordingError, match=r"cannot read nothing: No such file"):
        read(tmp_path / "nothing")
