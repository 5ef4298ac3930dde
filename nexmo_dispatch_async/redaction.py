"""Removes personal data and secrets from texts that are shown: error messages and log lines.

A service may quote the request, whole or in part, and in another spelling. Three things are removed:
everything that looks like a telephone number, every value of the request, and the whole text if a part of
such a value remains.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import cast
from urllib.parse import parse_qsl, urlsplit

from nexmo_dispatch_core.lenient import parse_object, text_or_empty, to_list, to_object

__all__ = ["folded", "mask", "redact", "redactor", "request_words", "tail"]

# A separate run of digits that is long enough for a telephone number or a PSID. Parts of ids, such as
# `0b9e6d6e-8a55-…`, are surrounded by letters or dashes and stay.
_LONG_NUMBER = re.compile(r"(?<![0-9A-Za-z-])\+?\d{5,}(\d\d)(?![0-9A-Za-z-])")
# Digits in groups. Without a plus sign more digits are required, or `15-86400` would be a phone number.
_GROUPED_NUMBER = re.compile(
    r"(?:\+|(?<![0-9A-Za-z.-])\(?)\d++(?:[\s./()\u2010-\u2015-]{1,3}\d++)++(?![A-Za-z]|-[0-9A-Za-z])"
)
# A WhatsApp user id (contract 5.5): the country in capitals, and the rest too long for a name.
_USER_ID = re.compile(
    r"(?<![0-9A-Za-z.-])[A-Z]{2}\.(?:[A-Z]+\.)*(?=[A-Za-z]*\d)[0-9A-Za-z]{4,}([0-9A-Za-z]{2})\b"
)
_DATE_OR_ADDRESS = re.compile(r"\d{4}-\d\d-\d\d(?: \d\d)?|\d{1,3}(?:\.\d{1,3}){3}")

# Members of a step, of a workflow and of an application whose values come from short public lists, or name
# things instead of people. The list is by place: a custom object may have members of any name (3.4.2).
_STEP = frozenset(
    {
        "from.type",
        "to.type",
        "message.content.type",
        "message.content.template.name",
        "message.messenger.category",
        "message.messenger.tag",
        "message.viber_service_msg.category",
        "message.viber_service_msg.type",
        "message.whatsapp.locale",
        "message.whatsapp.policy",
        "failover.condition_status",
    }
)
_PUBLIC = frozenset({"template", "name", "type", *_STEP, *(f"workflow.{place}" for place in _STEP)})

# Minimum length of a value to remove; the removal of shorter values would damage unrelated words.
_SHORTEST = 4
# Length of a part of a value that cannot be in a text by chance.
_PART = 8
# Texts are truncated to this length first; what is shown is much shorter.
_LONGEST = 4000


def mask(text: str) -> str:
    """Return `text` with everything that could be a telephone number reduced to its last two digits.

    Unprintable characters are replaced as well: a terminal must not interpret them.
    """
    if not text.isprintable():
        text = "".join(
            character if character.isprintable() else " " if character.isspace() else "\ufffd"
            for character in text
        )
    return _LONG_NUMBER.sub(r"…\1", _GROUPED_NUMBER.sub(_masked, _USER_ID.sub(r"…\1", text)))


def _masked(found: re.Match[str]) -> str:
    number = found[0]
    digits = re.sub(r"\D", "", number)
    few = len(digits) < (7 if number[0] == "+" else 9)
    return number if few or _DATE_OR_ADDRESS.fullmatch(number) else "…" + digits[-2:]


def redact(text: str, *, body: bytes | None = None, url: str = "", secret: str | None = None) -> str:
    """Return `text` without the values of the request, and with telephone numbers masked: see `redactor`."""
    return redactor(body=body, url=url, secret=secret)(text)


def redactor(*, body: bytes | None = None, url: str = "", secret: str | None = None) -> Callable[[str], str]:
    """Return a function that removes the values of a request from a text, and masks telephone numbers.

    A value in its original spelling is replaced by `…`. If a part of a value remains, in another case,
    escaped or truncated, the function returns `…` instead of the text.

    Args:
        body: Body of the request, JSON or a form; it is decoded here, after a failure, and nowhere else.
        url: URL of the request, for the values of its query.
        secret: The authorization of the request.
    """
    values = sorted(_values_of(body, url, secret), key=len, reverse=True)
    # Without the scheme: a URL in the text would have it in common with every URL of the request.
    parts = {value.partition("://")[2] or value for value in map(folded, values)}

    def hide(text: str) -> str:
        text = text[:_LONGEST]
        for value in values:
            if value in text:
                text = text.replace(value, "…" + value[-2:] if value.isdecimal() else "…")
        return "…" if _repeats(text, parts) else mask(text)

    return hide


def request_words(*, body: bytes | None, url: str = "") -> str:
    """Return every word of a request as `folded` text, one value per line: a response may quote them."""
    text = (body or b"").decode("utf-8", "replace")
    fields = parse_object(body or b"")
    values = [text] if fields is None else list(_texts(fields))
    for form in (urlsplit(url).query, "" if fields is not None else text):
        values += [part for pair in parse_qsl(form) for part in pair]
    return "\n".join(map(folded, values))


def folded(text: str) -> str:
    """Return `text` case-folded, on one line and without HTML escapes, for comparisons."""
    return " ".join(html.unescape(text).casefold().split())


def tail(value: object) -> str:
    """Return the last two characters of a number or id: just enough to distinguish recipients."""
    text = text_or_empty(value)
    return f"…{text[-2:]}" if len(text) > _SHORTEST else "…"


def _repeats(text: str, values: set[str]) -> bool:
    """Return whether `text` still contains one of the folded values, or a part of a long value."""
    text = folded(text)
    parts = {text[at : at + _PART] for at in range(len(text) - _PART + 1)}
    for value in values:
        if len(value) < _PART:
            if len(value) >= _SHORTEST and value in text:
                return True
        elif parts and any(value[at : at + _PART] in parts for at in range(len(value) - _PART + 1)):
            return True
    return False


def _values_of(body: bytes | None, url: str, secret: str | None) -> set[str]:
    values: set[str] = set()
    if secret:
        values.update((secret, secret.rpartition(" ")[2]))
    if body:
        fields = parse_object(body)
        values.update(
            _leaves(fields) if fields is not None else _form_values(body.decode("utf-8", "replace"))
        )
    if url:
        values.update(_form_values(urlsplit(url).query))
    # The service may quote a text on one line.
    values.update([" ".join(value.split()) for value in values])
    return {value for value in values if len(value) >= _SHORTEST}


def _form_values(form: str) -> Iterator[str]:
    return (value for name, value in parse_qsl(form) if name not in _PUBLIC)


def _leaves(value: object, place: str = "") -> Iterator[str]:
    """Yield the texts and numbers at any depth whose place is private; items have the place of their list."""
    if text := text_or_empty(value):
        yield text
    for name, member in to_object(value).items():
        # A member with a point in its name would have the place of another member.
        own = name.replace(".", "?")
        inside = f"{place}.{own}" if place else own
        if inside not in _PUBLIC or not isinstance(member, str):
            yield from _leaves(member, inside)
    if isinstance(value, list):
        for item in to_list(cast("object", value)):
            yield from _leaves(item, place)


def _texts(value: object) -> Iterator[str]:
    """Yield all texts and numbers at any depth, including the names of members."""
    if text := text_or_empty(value):
        yield text
    for name, member in to_object(value).items():
        yield name
        yield from _texts(member)
    if isinstance(value, list):
        for item in to_list(cast("object", value)):
            yield from _texts(item)
