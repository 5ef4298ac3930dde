"""Members of a request unknown to this package, sent on purpose with `extra=` (contract 9.30).

It knows no member of any struct: it asks the structs which ones they have.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from msgspec import UNSET, Struct, structs

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_core.lenient import kind_in_words

__all__ = [
    "encode",
    "extra_of",
    "has_extra",
    "known_members",
    "may_have_extra",
    "place_extra",
    "plain_json",
    "to_wire",
]

#: Return a struct as JSON, provided that neither it nor one inside of it has unknown members.
plain_json: Callable[[object], bytes] = msgspec.json.Encoder().encode
_PLAIN = frozenset({str, int, dict, type(UNSET)})
# Maximum depth of structs and lists of a request; a caller's value may contain itself.
_DEEPEST_STRUCT = 10
# Deeper values are kept and refused by a check.
_DEEPEST = 100


def place_extra(struct: Struct, empty: Mapping[str, type[Struct]]) -> None:
    """Move the members of `extra` to their places, during the construction of the struct.

    An object under the name of a known object is merged into that object:
    `Step(…, extra={"message": {"sms": {"content_id": "…"}}})`.

    Args:
        struct: A struct with `extra`.
        empty: Classes of optional members, which are created if `extra` has members for them.

    Raises:
        ConfigurationError: `extra` is no mapping, or would replace a member that has a place of its own.
    """
    given: object = getattr(struct, "extra", UNSET)
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"extra must be a mapping from names of members to JSON values, not {kind_in_words(given)}"
        )
    known, own = known_members(type(struct)), dict[str, Any]()
    for name, value in cast("Mapping[object, object]", given).items():
        if not isinstance(name, str):
            raise ConfigurationError("extra must be a mapping: its names are texts, as in JSON")
        if name not in known:
            own[name] = _copied(value)
            continue
        attribute = known[name]
        inner: object = getattr(struct, attribute, None)
        if inner is UNSET and attribute in empty:
            inner = empty[attribute]()
        if not isinstance(inner, Struct) or not isinstance(value, Mapping):
            raise ConfigurationError(
                f"extra may not hold {name[:60]!r}: {type(struct).__name__} has a member of this name, "
                "and it is given there"
            )
        more = {**extra_of(inner), **cast("Mapping[str, Any]", value)}
        structs.force_setattr(struct, attribute, structs.replace(inner, extra=more))
    structs.force_setattr(struct, "extra", UNSET if given and not own else own)


@lru_cache(maxsize=64)
def known_members(kind: type[Struct]) -> dict[str, str]:
    """Return the known members of a struct: names in JSON to attributes; the tag to an empty text."""
    names = zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True)
    known = {encoded: name for encoded, name in names if name != "extra"}
    tag = kind.__struct_config__.tag_field
    return known if tag is None else {tag: "", **known}


def extra_of(struct: object) -> dict[str, Any]:
    """Return the unknown members of a struct."""
    extra: object = getattr(struct, "extra", UNSET)
    return cast("dict[str, Any]", extra) if isinstance(extra, dict) else {}


def has_extra(value: object, depth: int = 0) -> bool:
    """Return whether a struct, or one inside of it, has `extra`, even if empty."""
    if depth > _DEEPEST_STRUCT:
        return False
    if isinstance(value, Struct):
        if getattr(value, "extra", UNSET) is not UNSET:
            return True
        items: Sequence[object] = [getattr(value, name) for name in value.__struct_fields__]
    elif isinstance(value, tuple | list):
        items = cast("Sequence[object]", value)
    else:
        return False
    return any(type(item) not in _PLAIN and has_extra(item, depth + 1) for item in items)


def may_have_extra(data: bytes | str) -> bool:
    """Return whether JSON may have a member named `extra`: a quick test before a thorough one."""
    if isinstance(data, str):
        return "extra" in data or "\\u" in data
    return b"extra" in data or b"\\u" in data


def to_wire(value: object) -> object:
    """Return a struct as JSON values, unknown members included."""
    if isinstance(value, tuple | list):
        return [to_wire(item) for item in cast("Sequence[object]", value)]
    if not isinstance(value, Struct):
        return value
    config = value.__struct_config__
    written: dict[str, object] = {} if config.tag_field is None else {config.tag_field: config.tag}
    for encoded, name in known_members(type(value)).items():
        if name and (item := getattr(value, name)) is not UNSET:
            written[encoded] = to_wire(item)
    return {**extra_of(value), **written}


def encode(struct: Struct) -> bytes:
    """Return a struct as JSON, unknown members included."""
    data = plain_json(struct)
    # Most requests have none. A custom object may have a member of this name, too.
    return plain_json(to_wire(struct)) if b'"extra":' in data else data


def _copied(value: object, depth: int = 0) -> object:
    """Return a copy of a value that the caller cannot change."""
    if depth < _DEEPEST and isinstance(value, dict):
        items = cast("dict[object, object]", value).items()
        return {name: _copied(item, depth + 1) for name, item in items}
    if depth < _DEEPEST and isinstance(value, list | tuple):
        return [_copied(item, depth + 1) for item in cast("Sequence[object]", value)]
    return value
