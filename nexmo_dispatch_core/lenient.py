"""Readers for JSON from a peer: any value gives text, a number, an object, a list or nothing, never an error.

The tolerance rules are those of contract 5.11; no reader knows what a member means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, cast

import msgspec

__all__ = [
    "UNREADABLE",
    "kind_in_words",
    "parse_object",
    "text_or_empty",
    "to_decimal",
    "to_float",
    "to_int",
    "to_list",
    "to_object",
    "to_text",
    "without_mark",
]

#: All exceptions of msgspec and of the conversions below for bytes from a peer.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)

_decode = msgspec.json.Decoder().decode
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_LONGEST_NUMBER = 64


def without_mark(data: bytes) -> bytes:
    """Return UTF-8 without the byte-order mark that some editors and shells write before it."""
    return data.removeprefix(b"\xef\xbb\xbf")


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in *body*, None if it holds anything else."""
    try:
        value = _decode(without_mark(body))
    except UNREADABLE:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def to_object(value: object) -> dict[str, Any]:
    """Return the object, or an empty one in place of anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def to_list(value: object) -> list[Any]:
    """Return the list; another value becomes a list of one, and `null` an empty list."""
    if isinstance(value, list):
        return [*cast("Sequence[Any]", value)]
    return [] if value is None else [value]


def text_or_empty(value: object) -> str:
    """Return trimmed text, any number as its text, and empty text for anything else.

    Use it for words that are shown or compared, and `to_text` for ids and addresses.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # more digits than Python converts
            return ""
    return ""


def to_text(value: object) -> str | None:
    """Return the text of an id, an address or a word: trimmed; a whole number as digits; else None.

    Numbers lose exponent and fraction (contract 5.11): `4.477e11` is the address `447700000000`.
    """
    if type(value) is str:
        return value.strip() or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if not value.is_integer() or abs(value) >= 1e16:  # beyond, a float no longer holds each digit
            return None
        value = int(value)
    try:
        return str(value)
    except ValueError:  # more digits than Python converts
        return None


def to_int(value: object) -> int | None:
    """Return an integer from a number or from text (contract 5.11), else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if abs(value) < 10**18 else None
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e16 else None
    if isinstance(value, str) and _INTEGER.fullmatch(text := value.strip()):
        return int(text)
    return None


def to_float(value: object) -> float | None:
    """Return a finite float from a number or from text (contract 9.9), else None."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _LONGEST_NUMBER or not _DECIMAL.fullmatch(text):
            return None
        value = text
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the floats
        return None
    return number if math.isfinite(number) else None


def to_decimal(value: object) -> Decimal | None:
    """Return an exact decimal from text, or from the shortest text of a number (contract 5.11), else None.

    Exponents have three digits at most: `1E999999999` is finite, and printing or rounding it would exhaust
    the memory.
    """
    if type(value) is not str:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if isinstance(value, int) and abs(value) >= 10**_LONGEST_NUMBER:
            return None
        value = repr(value)
    return _decimal_from_text(value) if len(value) <= _LONGEST_NUMBER else None


@lru_cache(maxsize=1024)  # prices repeat: a tariff has few
def _decimal_from_text(value: str) -> Decimal | None:
    text = value.strip()
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def kind_in_words(value: object) -> str:
    """Return the type of a value in words; the value itself may be a token or a text of a customer."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
