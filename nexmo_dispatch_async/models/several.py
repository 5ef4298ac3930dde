"""Arguments of several values; text and mappings are refused, since iterating them gives letters and keys.

It looks at the collection; what the values may be is for the caller to say.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

from nexmo_dispatch_async.exceptions import ConfigurationError

__all__ = ["in_order", "is_sequence", "several"]

_BYTES = (bytes, bytearray, memoryview)


def is_sequence(value: object) -> bool:
    """Return whether a value is an ordered collection, but not text."""
    return isinstance(value, Sequence) and not isinstance(value, (str, *_BYTES))


def in_order(name: str, value: object) -> list[Any]:  # Any: what the items may be, the caller says
    """Return the items of an ordered argument.

    Raises:
        ConfigurationError: It is no list, tuple or other sequence, or it is a text.
    """
    if not is_sequence(value):
        raise ConfigurationError(f"{name} must be a list or a tuple, not {_kind(value)}")
    return [*cast("Sequence[Any]", value)]


def several(name: str, value: object) -> list[Any]:  # Any: what the items may be, the caller says
    """Return the items of a setting of one or several texts, in any order.

    Raises:
        ConfigurationError: It is a mapping, bytes, or nothing that has items.
    """
    if isinstance(value, str):
        return [value]
    given = _kind(value)
    if isinstance(value, (Mapping, *_BYTES)) or not _has_items(value):
        raise ConfigurationError(f"{name} must be a text, or a list, tuple or set of them, not {given}")
    return [*cast("Iterable[Any]", value)]


def _has_items(value: object) -> bool:
    return isinstance(value, Iterable)


def _kind(value: object) -> str:
    """Describe an argument without its value."""
    if isinstance(value, Mapping):
        return "a mapping, whose names would be taken"
    if isinstance(value, AbstractSet):
        return "a set, which has no order"
    if isinstance(value, str):
        return "a text, whose letters would be taken"
    return f"a {type(value).__name__}"
