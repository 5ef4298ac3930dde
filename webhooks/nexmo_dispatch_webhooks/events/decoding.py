# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""Body bytes to one JSON object, and JSON scalars to the types of the contract.

It knows JSON and the tolerance rules of contract 5.11, not the events: those are in `parsing`.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from nexmo_dispatch_webhooks.exceptions import InvalidBodyError

__all__ = ["decode_object", "to_decimal", "to_float", "to_int", "to_text"]

#: Nesting deeper than this is refused: the deepest documented body has five levels, and a record
#: close to the interpreter's limit could be read here but not stored, printed or compared later.
DEEPEST = 100
#: Below this size a body cannot nest deeply enough to matter, and is not measured.
_SMALL = 512
_BOM = b"\xef\xbb\xbf"
_DECODER = msgspec.json.Decoder()
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_LONGEST_NUMBER = 64


def decode_object(body: bytes | str) -> tuple[dict[str, Any], bool]:
    """Decode a body that must be a JSON object.

    msgspec is fast and refuses what strict JSON refuses. A body that it refuses gets a second reading
    by the standard library, so that half surrogates, over-large exponents, NaN and a byte-order mark do
    not lose a message (contract 5.11).

    Args:
        body: the raw body.

    Returns:
        The object, and whether it was strict JSON.

    Raises:
        InvalidBodyError: the body is not a JSON object in UTF-8, nests too deeply, or holds an
            over-long integer.
    """
    strict = True
    try:
        value = _DECODER.decode(body)
    except RecursionError:
        raise InvalidBodyError("the body nests too deeply") from None
    except ValueError:  # msgspec's errors, and UnicodeError for broken UTF-8
        value = _decode_tolerantly(body)
        strict = False
    if type(value) is not dict:
        raise InvalidBodyError("the body is not a JSON object")
    if len(body) > _SMALL and _brackets(body) > DEEPEST and _depth(value) > DEEPEST:
        raise InvalidBodyError("the body nests too deeply")
    return value, strict


def _decode_tolerantly(body: bytes | str) -> Any:
    try:
        if isinstance(body, str):
            text = body.removeprefix("\ufeff")
        else:
            text = bytes(body).removeprefix(_BOM).decode("utf-8", "surrogatepass")
        # NaN and the infinities become the text that stood there, so that equal bodies stay equal.
        return json.loads(text, parse_constant=str)
    except RecursionError:
        raise InvalidBodyError("the body nests too deeply") from None
    except ValueError:  # no JSON, no UTF-8, or an integer over the interpreter's limit of digits
        raise InvalidBodyError("the body is not JSON in UTF-8") from None


def _brackets(body: bytes | str) -> int:
    """An upper bound of the depth that costs next to nothing."""
    if isinstance(body, str):
        return body.count("{") + body.count("[")
    return body.count(b"{") + body.count(b"[")


def _depth(value: object) -> int:
    """The depth of nesting, found level by level so that no recursion limit applies."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            break
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth


def to_text(value: object) -> str | None:
    """Text of an id, an address or a word: trimmed; a whole number as decimal digits; else None.

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
    return str(value)


def to_int(value: object) -> int | None:
    """An integer from a number or from text (contract 5.11), else None."""
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
    """A finite float from a number or from text (contract 9.9), else None."""
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
    """An exact decimal from text, or from the shortest text of a number (contract 5.11), else None.

    Exponents have three digits at most: `1E999999999` is finite, and would fill the memory of
    whoever prints or rounds it.
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
