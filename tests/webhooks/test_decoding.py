"""Bytes to a JSON object, and scalars to the types of the contract (5.11)."""

from decimal import Decimal
from typing import Any

import pytest

from nexmo_dispatch_webhooks.events.decoding import decode_object, to_decimal, to_float, to_int, to_text
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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((" a\t", "a"), ("", None), (" ", None), (None, None), (True, None), ([], None)),
        *(
            (447700900000, "447700900000"),
            (4.477e11, "447700000000"),
            (1.5, None),
            (float("inf"), None),
            (1e300, None),
        ),
        (10**40, "1" + "0" * 40),
    ],
)
def test_to_text(value: object, text: str | None) -> None:
    """Ids and addresses are trimmed; numbers become digits without exponent or fraction."""
    assert to_text(value) == text


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1, 1), ("2", 2), (" 3 ", 3), ("-4", -4), (5.0, 5), (True, None), (1.5, None), ("1.5", None)),
        *(
            ("", None),
            ("x", None),
            ("9" * 400, None),
            (10**400, None),
            (float("nan"), None),
            ("\u0661", None),
            (None, None),
        ),
    ],
)
def test_to_int(value: object, number: int | None) -> None:
    assert to_int(value) == number


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *((1, 1.0), (1.5, 1.5), ("52.3091", 52.3091), (" -33.8568 ", -33.8568), ("1e2", 100.0), (True, None)),
        *(("nan", None), ("inf", None), ("1_0", None), ("52,3", None), (10**400, None), (float("nan"), None)),
        *(("9" * 400, None), (None, None)),
    ],
)
def test_to_float(value: object, number: float | None) -> None:
    assert to_float(value) == number


@pytest.mark.parametrize(
    ("value", "price"),
    [
        *(
            ("0.0333", "0.0333"),
            ("0.0060", "0.0060"),
            ("1E-2", "0.01"),
            (" 1 ", "1"),
            (".5", "0.5"),
            ("-1", "-1"),
        ),
        *((0.0333, "0.0333"), (0.1, "0.1"), (3, "3"), (1e-7, "1E-7")),
    ],
)
def test_to_decimal_is_exact(value: object, price: str) -> None:
    """From text, or from the shortest text of a number (contract 5.11); digits are kept."""
    assert str(to_decimal(value)) == str(Decimal(price))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "free", "0,0333", "NaN", "Infinity", "1_000", "1E999999999", "\u0663", [], {}),
        *(float("nan"), float("inf"), 10**400, "9" * 400, "0x1"),
    ],
)
def test_to_decimal_is_none_not_zero(value: object) -> None:
    """A missing or unreadable price is None (contract 5.11)."""
    assert to_decimal(value) is None
