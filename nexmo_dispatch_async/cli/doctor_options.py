"""The options of `nexmo-dispatch doctor`; the imports of its work would slow down every command."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

__all__ = ["DoctorOptions", "Part"]


class Part(StrEnum):
    """A part of the examination."""

    SETTINGS = "settings"
    SERVICE = "service"
    CALLBACKS = "callbacks"
    STORE = "store"
    VERSIONS = "versions"


class DoctorOptions(Struct, frozen=True, kw_only=True):
    """What to look at, and how to print it.

    Attributes:
        parts: What to look at.
        store: The file or the URL of a store; `""` for none.
        json: Whether to print JSON.
        strict: Whether risks end the command with 1 as well.
    """

    parts: frozenset[Part] = frozenset(Part)
    store: str = ""
    json: bool = False
    strict: bool = False
