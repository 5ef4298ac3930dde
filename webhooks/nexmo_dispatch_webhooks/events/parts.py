# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""The objects that bodies share: addresses, usage, errors, links.

Each reader takes any JSON value and gives a struct or None; it notes in `odd` what it tolerated.
"""

from __future__ import annotations

import re
from typing import Any

from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.decoding import to_decimal, to_int, to_text
from nexmo_dispatch_webhooks.events.notes import Odd, note_members, noted, verbatim
from nexmo_dispatch_webhooks.events.vocabulary import (
    ADDRESS_MEMBERS,
    CHANNEL_NAMES,
    ERROR_MEMBERS,
    LINK_MEMBERS,
    USAGE_MEMBERS,
)

__all__ = [
    "find_dispatch_uuid",
    "read_address",
    "read_channel",
    "read_error",
    "read_usage",
    "read_word",
    "read_workflow",
]

JSONObject = dict[str, Any]
_UUID_AT_END = re.compile(
    r"(?:^|/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$", re.ASCII | re.IGNORECASE
)


def read_address(value: object, channel: str | None, where: str, business: bool, odd: Odd) -> e.Address:
    """An address object of v0.1, or a bare text of v1 with the channel from elsewhere."""
    if type(value) is dict:
        named = value.get("type")
        kind = (CHANNEL_NAMES.get(named) if type(named) is str else None) or read_channel(
            channel if named is None and channel else named, f"{where}.type", odd
        )
        number, ident = value.get("number"), value.get("id")
        if len(value) == 2 and type(number) is str and kind != "messenger":  # the usual case, first
            return e.Address(kind, number.strip() or None, None, business and kind == "viber_service_msg")
        if len(value) != 2 or (type(number) is not str and type(ident) is not str):
            note_members(value, ADDRESS_MEMBERS, where, odd)
            if (number is None) == (ident is None) or not isinstance(number if ident is None else ident, str):
                odd.append(f"{where}: not exactly one of number and id as text")
        by_id = kind == "messenger" or (business and kind == "viber_service_msg")
        return e.Address(kind, to_text(number), to_text(ident), by_id)
    kind = channel or "unknown"
    by_id = kind == "messenger" or (business and kind == "viber_service_msg")
    text = to_text(value)
    if text is None or channel is None:
        odd.append(f"{where}: missing")
    return e.Address(kind, None, text, by_id) if by_id else e.Address(kind, text, None, by_id)


def read_channel(value: object, where: str, odd: Odd) -> str:
    """A channel in the spelling of contract 3.3; an unknown one as it came (contract 5.11)."""
    text = to_text(value)
    if text is None:
        odd.append(f"{where}: missing")
        return "unknown"
    if (known := CHANNEL_NAMES.get(text)) is not None and text == value:
        return known
    odd.append(f"{where}: unknown value")
    return CHANNEL_NAMES.get(text.lower(), text)


def read_word(value: object, known: dict[str, str], where: str, odd: Odd) -> str | None:
    """A word of an open enumeration: the known spelling, else the text as it came (contract 5.11)."""
    if type(value) is str and (found := known.get(value)) is not None:
        return found
    text = to_text(value)
    if text is None:
        odd.append(f"{where}: missing")
        return None
    odd.append(f"{where}: unknown value")
    return known.get(text.lower(), text)


def read_usage(value: object, where: str, odd: Odd) -> e.Usage | None:
    """A price and its currency (contract 5.2, 9.19)."""
    if type(value) is not dict:
        odd.append(f"{where}: not an object")
        return None
    price, currency = value.get("price"), value.get("currency")
    amount = to_decimal(price)
    if len(value) == 2 and currency == "EUR" and amount is not None and type(price) is str:
        return e.Usage(amount, "EUR")  # the usual case, first
    note_members(value, USAGE_MEMBERS, where, odd)
    if amount is None or type(price) is not str:
        odd.append(f"{where}.price: {'missing' if price is None else 'not a decimal in text'}")
    if currency != "EUR":  # the only one that the contract documents; any text is accepted (9.19)
        text = to_text(currency)
        currency = text.upper() if text is not None and text.upper() == "EUR" else text
        odd.append(f"{where}.currency: {'missing' if currency is None else 'unknown value'}")
    return e.Usage(amount, currency)


def read_error(value: object, odd: Odd) -> e.MessageError | None:
    """Contract 5.6: code and reason, whichever of the three shapes."""
    if type(value) is list:
        odd.append("error: a list")
        value = next((item for item in value if type(item) is dict), None)
    if type(value) is not dict:
        odd.append("error: not an object")
        text = to_text(value)
        return None if text is None else e.MessageError(to_int(text), text)
    note_members(value, ERROR_MEMBERS, "error", odd)
    title = to_text(value.get("title"))
    code = to_int(value.get("code"))
    if code is None and title is not None and title.isdigit():
        code = to_int(title)
    if code is None and (kind := to_text(value.get("type"))) is not None and "#" in kind:
        code = to_int(kind.rpartition("#")[2])
    reason = verbatim(value.get("reason"), "error.reason", odd)
    reason = reason or verbatim(value.get("detail"), "error.detail", odd) or title
    return e.MessageError(noted(value, code, "error.code", odd), reason)


def read_workflow(value: object, odd: Odd) -> e.WorkflowPosition | None:
    """The `workflow` object of the v1 format (contract 5.8)."""
    if type(value) is not dict:
        odd.append("workflow: not an object")
        return None
    return e.WorkflowPosition(
        to_text(value.get("id")), to_int(value.get("items_number")), to_int(value.get("items_total"))
    )


def find_dispatch_uuid(raw: JSONObject, links: object, odd: Odd) -> str | None:
    """Contract 5.2: link `dispatch`, else `workflow`, else any, else the top level, else an `href`."""
    ordered: list[JSONObject] = []
    if type(links) is dict:
        # The real form first, then the documented one, then whatever there is.
        first = links.get("dispatch")
        if type(first) is dict and type(found := first.get("dispatch_uuid")) is str and found:
            if len(links) > 1 or not first.keys() <= LINK_MEMBERS:
                odd.append("_links: unknown member")
            return found.strip() or None
        names = [name for name in ("dispatch", "workflow") if name in links]
        names += [name for name in links if name not in {"dispatch", "workflow", "messages"}]
        if names != ["workflow"]:
            odd.append("_links: neither dispatch nor workflow alone")
        ordered = [link for name in names if type(link := links[name]) is dict]
    elif links is not None:
        odd.append("_links: not an object")
    for link in ordered:
        if (text := to_text(link.get("dispatch_uuid"))) is not None:
            return text
    if (text := to_text(raw.get("dispatch_uuid"))) is not None:
        return text
    for link in ordered:
        href = to_text(link.get("href"))
        if href is not None and (match := _UUID_AT_END.search(href)):
            return match[1]
    return None
