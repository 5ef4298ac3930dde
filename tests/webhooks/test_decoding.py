"""Bytes to a JSON object (contract 5.11)."""

from typing import Any

import pytest

from nexmo_dispatch_webhooks.events.decoding import decode_object
from nexmo_dispatch_webhooks.exceptions import InvalidBodyError


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        ("{}", {}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"n": %s}' % (b"9" * 400), {"n": int("9" * 400)}),
    ],
)
def test_strict_json_is_strict(body: bytes | str, value: dict[str, Any]) -> None:
    """Of repeated members the last one counts; long integers are exact."""
    assert decode_object(body) == (value, True)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        ("\ufeff{}", {}),
        (b'{"a": "\\ud800"}', {"a": "\ud800"}),
        (b'{"a": "\xed\xa0\x80"}', {"a": "\ud800"}),
        ('{"a": "\ud800"}', {"a": "\ud800"}),
        (b'{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}),
        (b'{"a": 1e999}', {"a": float("inf")}),
    ],
)
def test_no_message_is_lost_to_a_strict_parser(body: bytes | str, value: dict[str, Any]) -> None:
    """Byte-order marks, half surrogates and impossible numbers are read a second time (contract 5.11)."""
    assert decode_object(body) == (value, False)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"[]", b"null", b'"text"', b"1", b"{", b"{}x", b"\xff\xfe{\x00}\x00", b'{"a": "\xff"}'),
        *(b"\x00", b"a=b", b"[" * 1_000_000, b'{"a":' * 200_000, "[" * 1000, "\ud800"),
        b'{"n": %s}' % (b"9" * 5000),
        b'{"a":' * 101 + b"1" + b"}" * 101,
        b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
        b"\xef\xbb\xbf" + b"[" * 1_000_000,
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_object_is_refused(body: bytes | str) -> None:
    """Parser recursion, nesting and over-long integers are contained (contract 5.11)."""
    with pytest.raises(InvalidBodyError):
        decode_object(body)


def test_flat_bodies_of_any_size_are_accepted() -> None:
    """Many brackets side by side are not deep."""
    body = b'{"a":[' + b",".join([b"{}"] * 1000) + b"]}"

    value, _ = decode_object(body)

    assert len(value["a"]) == 1000
