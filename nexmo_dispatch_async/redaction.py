"""Takes personal data and secrets out of texts that are shown: error messages and log lines.

A service may repeat what it was sent. So two things are taken out: whatever looks like a telephone number,
and every value of the request itself, wherever it turns up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast
from urllib.parse import parse_qsl

from nexmo_dispatch_async.models.lenient import list_of, object_of, parse_object, text_of

__all__ = ["mask", "redact", "tail"]

# A run of digits that stands alone and is long enough to be a telephone number or a PSID, or digits in groups
# after a plus sign. Parts of ids such as `0b9e6d6e-8a55-…` have letters or dashes around them and stay.
_LONG_NUMBER = re.compile(r"(?<![0-9A-Za-z-])\+?\d{5,}(\d\d)(?![0-9A-Za-z-])")
_GROUPED_NUMBER = re.compile(r"\+\d[\d ().-]{4,}\d\d")

# Members whose values come from short public lists, or name things and not people.
_PUBLIC = frozenset({"type", "template", "condition_status", "category", "tag", "policy", "locale", "name"})

# Shorter values are no secret, and replacing them would tear unrelated words apart.
_SHORTEST = 4


def mask(text: str) -> str:
    """Return `text` with everything that could be a telephone number reduced to its last two digits."""
    if "+" in text:
        text = _GROUPED_NUMBER.sub(lambda found: "…" + re.sub(r"\D", "", found[0])[-2:], text)
    return _LONG_NUMBER.sub(r"…\1", text)


def redact(text: str, *, body: bytes | None = None, secret: str | None = None) -> str:
    """Return `text` without what the request held, telephone numbers masked.

    Args:
        text: What is to be shown.
        body: The body of the request, JSON or a form; it is read only here, when something went wrong.
        secret: The authorization that was sent.
    """
    for value in sorted(_values_of(body, secret), key=len, reverse=True):
        if value in text:
            text = text.replace(value, "…" + value[-2:] if value.isdecimal() else "…")
    return mask(text)


def tail(value: object) -> str:
    """Return the last two characters of a number or id: they tell recipients apart and reach nobody."""
    text = text_of(value)
    return f"…{text[-2:]}" if len(text) > _SHORTEST else "…"


def _values_of(body: bytes | None, secret: str | None) -> set[str]:
    values: set[str] = set()
    if secret:
        values.update((secret, secret.rpartition(" ")[2]))
    if body:
        fields = parse_object(body)
        values.update(_leaves(fields) if fields is not None else _form_values(body))
    # A text may come back as one line.
    values.update([" ".join(value.split()) for value in values])
    return {value for value in values if len(value) >= _SHORTEST}


def _form_values(body: bytes) -> Iterator[str]:
    return (value for name, value in parse_qsl(body.decode("utf-8", "replace")) if name not in _PUBLIC)


def _leaves(value: object) -> Iterator[str]:
    """Yield the texts and numbers at any depth whose member is not public."""
    if text := text_of(value):
        yield text
    for name, member in object_of(value).items():
        if name not in _PUBLIC or not isinstance(member, str):
            yield from _leaves(member)
    if isinstance(value, list):
        for item in list_of(cast("object", value)):
            yield from _leaves(item)
