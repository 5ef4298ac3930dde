"""Texts with fields: `Hello {name}`, and with a default: `Hello {name|customer}`.

A field is only looked up: there are no formats, attributes, conditions or calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Field", "Pieces", "PlaceholderError", "parse"]

_TOKEN = re.compile(
    r"""
      (?P<channel>\{\{[0-9]{1,4}\}\})               # {{1}}: a parameter of the channel's own template, kept
    | \{\s*(?P<name>\w[\w .-]*?)\s*(?:\|(?P<default>[^{}]*))?\}
    | \{'(?P<brace>[{}])'\}                         # {'{'}: a brace as it is
    | (?P<double>\{\{\s*\w[\w .-]*\s*\}\})
    | (?P<alone>[{}])
    """,
    re.VERBOSE,
)


class Field(NamedTuple):
    """One field of a text.

    Attributes:
        name: Name of the column.
        default: Replacement of an empty or missing value; with `None` such a value is an error.
    """

    name: str
    default: str | None = None


Pieces = tuple[str | Field, ...]


class PlaceholderError(ValueError):
    """A text has a brace outside a field; the text of the error says what to write."""


def parse(text: str) -> Pieces:
    """Return the literal parts and the fields of a text, in order.

    Raises:
        PlaceholderError: A brace is unbalanced, or a field has a format.
    """
    if "{" not in text and "}" not in text:
        return (text,) if text else ()
    pieces: list[str | Field] = []
    end = 0
    for token in _TOKEN.finditer(text):
        pieces.append(text[end : token.start()])
        end = token.end()
        kind = token.lastgroup
        if kind in ("name", "default"):
            pieces.append(Field(token["name"], token["default"]))
        elif kind == "double":
            raise PlaceholderError("has two braces around a field; write {name} with one")
        elif kind == "alone":
            raise PlaceholderError(
                "has a brace that is no part of a field; write {name} or {name|instead}, without formats, "
                "and {'{'} or {'}'} for the character itself"
            )
        else:
            pieces.append(token["brace"] or token[0])
    pieces.append(text[end:])
    return _joined(pieces)


def _joined(pieces: Iterable[str | Field]) -> Pieces:
    """Return the pieces with adjacent literals joined."""
    joined: list[str | Field] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    return tuple(joined)
