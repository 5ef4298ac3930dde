"""What an examination found: of a store, of the settings, or of the service. Nothing is examined here."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["Finding", "Level", "bad", "good", "skipped", "warning"]

Level = Literal["good", "warning", "bad", "skipped"]


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        level: `good`; `warning`: it works, with a risk; `bad`: messages or events may be lost or doubled, or
            nothing works; `skipped`: it was not looked at.
        code: The stable name of what is wrong, for scripts and for the table of the documentation; of the
            others, what was looked at or skipped.
        text: What was found, and why it is so. It never holds a secret, a number or the URL of a store.
        cure: What to do; `""` where nothing is to be done.
    """

    level: Level
    code: str
    text: str
    cure: str = ""


def good(code: str, text: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding("good", code, text)


def skipped(code: str, text: str) -> Finding:
    """Return what was not looked at, and why."""
    return Finding("skipped", code, text)


def warning(code: str, text: str, cure: str) -> Finding:
    """Return a finding about a risk."""
    return Finding("warning", code, text, cure)


def bad(code: str, text: str, cure: str) -> Finding:
    """Return a finding about a failure."""
    return Finding("bad", code, text, cure)
