# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""Decode the bytes of a body to one JSON object, by the tolerance rules of contract 5.11.

It knows nothing of events; `parsing` does.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from nexmo_dispatch_webhooks.exceptions import InvalidBodyError

__all__ = ["decode_object"]

#: Nesting deeper than this is refused: the deepest documented body has five levels, and a record
#: close to the interpreter's limit could be read here but not stored, printed or compared later.
DEEPEST = 100
#: A body below this size cannot nest deeply enough to matter, so its depth is not measured.
_SMALL = 512
_BOM = b"\xef\xbb\xbf"
_DECODER = msgspec.json.Decoder()


def decode_object(body: bytes | str) -> tuple[dict[str, Any], bool]:
    """Decode a body that must be a JSON object.

    msgspec is fast and accepts strict JSON only. The standard library reads a body that msgspec refuses, so
    that half surrogates, over-large exponents, NaN and a byte-order mark do not lose a message (contract
    5.11).

    Args:
        body: The raw body.

    Returns:
        The object, and whether it was strict JSON.

    Raises:
        InvalidBodyError: The body is not a JSON object in UTF-8, nests too deeply, or holds an
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
        # NaN and the infinities become text, as spelt in the body, so that equal bodies stay equal.
        return json.loads(text, parse_constant=str)
    except RecursionError:
        raise InvalidBodyError("the body nests too deeply") from None
    except ValueError:  # no JSON, no UTF-8, or an integer over the interpreter's limit of digits
        raise InvalidBodyError("the body is not JSON in UTF-8") from None


def _brackets(body: bytes | str) -> int:
    """Return an upper bound of the depth, at little cost."""
    if isinstance(body, str):
        return body.count("{") + body.count("[")
    return body.count(b"{") + body.count(b"[")


def _depth(value: object) -> int:
    """Return the depth of nesting, level by level, so that no recursion limit applies."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            break
        level = [child for item in level for child in (item.values() if isinstance(item, dict) else item)]
    return depth
