"""Reading of JSON that somebody else wrote: any bytes give a value or nothing, never an exception.

The tolerance rules are those of contract 5.11; nothing here knows what the members mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

__all__ = [
    "UNREADABLE",
    "integer_of",
    "kind_in_words",
    "list_of",
    "object_of",
    "parse_object",
    "text_of",
    "without_mark",
]

# All that msgspec and the conversions below raise for bytes somebody else wrote.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)

_decode = msgspec.json.Decoder().decode


def without_mark(data: bytes) -> bytes:
    """Return UTF-8 without the byte-order mark that some editors and shells write before it."""
    return data.removeprefix(b"\xef\xbb\xbf")


def parse_object(body: bytes) -> dict[str, Any] | None:
    """Return the JSON object in `body`, or `None` if it holds anything else."""
    try:
        value = _decode(without_mark(body))
    except UNREADABLE:
        return None
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def object_of(value: object) -> dict[str, Any]:
    """Return the object, or an empty one in place of anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """Return the list; one value where a list is expected is a list of one, `null` is an empty one."""
    if isinstance(value, list):
        return [*cast("Sequence[Any]", value)]
    return [] if value is None else [value]


def text_of(value: object) -> str:
    """Return text trimmed, a number as decimal text, and empty text for anything else."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # more digits than Python converts
            return ""
    return ""


def integer_of(value: object) -> int | None:
    """Return a whole number given as number or text, or `None`."""
    try:
        return int(text_of(value)[:20])
    except ValueError:
        return None


def kind_in_words(value: object) -> str:
    """Return what something is, in words, without showing it: it may be a token or a text."""
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
