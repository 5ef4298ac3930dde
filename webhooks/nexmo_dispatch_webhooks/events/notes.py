"""Notes of what was tolerated: by place, without values, so that they can be counted and logged.

A note never quotes the body. It changes nothing: `parse_event(strict=True)` makes errors of notes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from nexmo_dispatch_webhooks.events.decoding import to_text

__all__ = ["Odd", "note_members", "note_timestamp", "noted", "verbatim"]

Odd = list[str]
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)

T = TypeVar("T")


def noted(source: object, value: T | None, where: str, odd: Odd) -> T | None:
    """Pass `value` on; note when there was a source and nothing could be read from it."""
    if value is None and source is not None:
        odd.append(f"{where}: missing or unreadable")
    return value


def verbatim(value: object, where: str, odd: Odd) -> str | None:
    """Text exactly as it came; empty is missing; a number becomes text (contract 5.11)."""
    if value is None:
        return None
    if type(value) is str:
        return value or None
    odd.append(f"{where}: not text")
    return to_text(value)


def note_timestamp(value: object, odd: Odd) -> str | None:
    """The original text of a timestamp that is missing, unreadable or a number."""
    odd.append(f"timestamp: {'missing' if value is None else 'unknown form'}")
    return value if type(value) is str else to_text(value)


def note_members(raw: Mapping[str, Any], known: frozenset[str], where: str, odd: Odd) -> None:
    """Note unknown members; a name is repeated only if it cannot be a number or an address."""
    for name in raw.keys() - known:
        shown = f" {name}" if _PLAIN_NAME.fullmatch(name) else ""
        odd.append(f"{where}: unknown member{shown}")
