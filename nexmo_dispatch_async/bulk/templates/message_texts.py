"""The texts of a step by place, and a copy of the step with other texts.

The module checks no rules. Names of members and of channels are no texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import msgspec
from msgspec import UNSET, Struct

from nexmo_dispatch_async.bulk.templates.placeholders import Field, Pieces, PlaceholderError, parse
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.requests import Address, Step
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.phone_numbers.normalizer import as_digits

__all__ = ["SENDERS", "Texts", "fill", "texts_of", "tidy"]

T = TypeVar("T")
Texts = dict[str, Pieces]

#: Places of the sender. Addresses are trimmed, and numbers read, as in the builders.
SENDERS = ("from.number", "from.id")
_ADDRESSES = (*SENDERS, "to.number", "to.id")
_NUMBERS = ("from.number", "to.number")
# Members that decide which rules apply cannot come from a row.
_FIXED = ("from.type", "to.type")


def texts_of(step: Step, where: str) -> Texts:
    """Return the pieces of every text with fields, by its place, such as `message.content.text`.

    Args:
        step: A step whose texts may hold fields.
        where: Name of the step, for the error.

    Raises:
        ConfigurationError: A brace is unbalanced, or the channel is a field.
    """
    found: Texts = {}
    for place, text in _walk(step):
        try:
            pieces = parse(text)
        except PlaceholderError as error:
            raise ConfigurationError(f"{where}, {place}: {error}") from None
        if any(isinstance(piece, Field) for piece in pieces):
            if place in _FIXED:
                raise ConfigurationError(f"{where}, {place}: the channel cannot be a field; give it by name")
            found[place] = pieces
        elif "".join(cast("tuple[str, ...]", pieces)) != text:
            # Escaped braces without a field: the unescaped text is the same for every row.
            found[place] = pieces
    return found


def fill(step: Step, texts: dict[str, str]) -> Step:
    """Return a copy of a step with other texts in some places.

    A WhatsApp user id as recipient goes into `id`, as the builders put it there (contract 5.5).
    """
    if not texts:
        return step
    filled = _map(step, "", lambda place, text: texts.get(place, text))
    to = filled.to
    if to.type == "whatsapp" and is_user_id(to.number) and "to.number" in texts:
        user = Address(type=to.type, id=to.number, extra=to.extra)
        filled = msgspec.structs.replace(filled, to=user)
    return filled


def tidy(place: str, text: str) -> str:
    """Return a text as the builders would store it in a place."""
    if place in _NUMBERS:
        return as_digits(text)
    return text.strip() if place in _ADDRESSES else text


def _walk(step: Step) -> Iterator[tuple[str, str]]:
    found: list[tuple[str, str]] = []

    def note(place: str, text: str) -> str:
        found.append((place, text))
        return text

    _map(step, "", note)
    return iter(found)


def _map(value: T, place: str, change: Callable[[str, str], str]) -> T:
    """Return a copy with every text changed; other values stay."""
    # An unchecked step may have any value; the rules report values that are not text.
    raw = cast("object", value)
    if type(raw) is str:
        return cast("T", change(place, raw))
    if isinstance(raw, Struct):
        names = zip(raw.__struct_fields__, raw.__struct_encode_fields__, strict=True)
        old = {name: (member, getattr(raw, name)) for name, member in names}
        new = {
            name: _map(inner, member if not place else f"{place}.{member}", change)
            for name, (member, inner) in old.items()
            if inner is not UNSET
        }
        changed = {name: inner for name, inner in new.items() if inner is not old[name][1]}
        return cast("T", msgspec.structs.replace(raw, **changed)) if changed else value
    if isinstance(raw, dict):
        items = cast("dict[str, object]", raw).items()
        return cast("T", {name: _map(inner, f"{place}.{name}", change) for name, inner in items})
    if isinstance(raw, list | tuple):
        rows = [_map(inner, f"{place}[{n}]", change) for n, inner in enumerate(cast("Sequence[Any]", raw))]
        return cast("T", rows if isinstance(raw, list) else tuple(rows))
    return value
