# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""Readers that note each oddity that they tolerate, by place and without the value, for counts and logs.

A note never quotes the body. `parse_event(strict=True)` raises an error for any note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from nexmo_dispatch_core.lenient import to_text
from nexmo_dispatch_webhooks.events.timestamps import has_zone, parse_timestamp

__all__ = ["Odd", "note_members", "noted", "plain", "read_object", "read_time", "required", "verbatim"]

Odd = list[str]
JSONObject = dict[str, Any]
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)

T = TypeVar("T")


def noted(source: object, value: T | None, where: str, odd: Odd) -> T | None:
    """Return *value*; note a source from which no value could be read."""
    if value is None and source is not None:
        odd.append(f"{where}: missing or unreadable")
    return value


def verbatim(value: object, where: str, odd: Odd) -> str | None:
    """Return text unchanged; empty text is missing; a number becomes text (contract 5.11)."""
    if value is None:
        return None
    if type(value) is str:
        return value or None
    odd.append(f"{where}: not text")
    return to_text(value)


def plain(value: object, where: str, odd: Odd) -> str | None:
    """Return the text of an id or an address, trimmed (contract 5.11); note any other form."""
    if value is None:
        return None
    text = to_text(value)
    if text != value:
        odd.append(f"{where}: not plain text")
    return text


def required(value: object, where: str, odd: Odd) -> str | None:
    """Return the text of a required id or address; note when it is missing."""
    if value is None:
        odd.append(f"{where}: missing")
    return plain(value, where, odd)


def read_time(value: object, odd: Odd) -> tuple[datetime | None, str | None]:
    """Return a timestamp and its original text (contract 5.7); note every undocumented form."""
    moment = parse_timestamp(value)
    if type(value) is str:
        if moment is None:
            odd.append("timestamp: unknown form")
        elif value[-1:] != "Z" and not has_zone(value):
            odd.append("timestamp: no zone")
        return moment, value
    odd.append(f"timestamp: {'missing' if value is None else 'unknown form'}")
    # A number with a fraction is not text by contract 5.11, but its original is kept.
    return moment, repr(value) if (text := to_text(value)) is None and type(value) is float else text


def read_object(value: object, known: frozenset[str] | None, where: str, odd: Odd) -> JSONObject:
    """Return an object, empty when it is missing; *known* are its members, None if they are undocumented."""
    if type(value) is dict:
        if known is not None:
            note_members(value, known, where, odd)
        return value
    if value is not None:
        odd.append(f"{where}: not an object")
    return {}


def note_members(raw: Mapping[str, Any], known: frozenset[str], where: str, odd: Odd) -> None:
    """Note unknown members; a name is quoted only if it cannot be a number or an address."""
    if known.issuperset(raw):  # nearly always true, and faster than a difference
        return
    for name in raw.keys() - known:
        shown = f" {name}" if _PLAIN_NAME.fullmatch(name) else ""
        odd.append(f"{where}: unknown member{shown}")
