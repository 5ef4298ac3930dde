# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""The objects that bodies share: addresses, usage, errors, links.

Each reader takes any JSON value and returns a struct or None; it notes in `odd` every oddity it tolerated.
"""

from __future__ import annotations

import re
from typing import Any

from nexmo_dispatch_core.lenient import to_decimal, to_int, to_text
from nexmo_dispatch_core.vocabulary import CHANNEL_NAMES
from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.members import (
    ADDRESS_MEMBERS,
    ERROR_MEMBERS,
    LINK_MEMBERS,
    LINKS,
    REPORT_LINKS,
    USAGE_MEMBERS,
    WORKFLOW_MEMBERS,
)
from nexmo_dispatch_webhooks.events.oddities import (
    Odd,
    note_members,
    noted,
    plain,
    read_object,
    required,
    verbatim,
)
from nexmo_dispatch_webhooks.events.whatsapp_users import complete, is_user_id

__all__ = [
    "find_dispatch_uuid",
    "read_address",
    "read_channel",
    "read_customer",
    "read_error",
    "read_own_channel",
    "read_usage",
    "read_word",
    "read_workflow",
]

JSONObject = dict[str, Any]
_UUID_AT_END = re.compile(
    r"(?:^|/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?$", re.ASCII | re.IGNORECASE
)


def read_address(value: object, channel: str | None, where: str, business: bool, odd: Odd) -> e.Address:
    """Read an address object of v0.1, or a text of v1 with the channel of the body."""
    if type(value) is dict:
        named = value.get("type")
        kind = (CHANNEL_NAMES.get(named) if type(named) is str else None) or read_channel(
            channel if named is None and channel else named, f"{where}.type", odd
        )
        number, ident = value.get("number"), value.get("id")
        if ident is None and kind == "whatsapp" and type(number) is str and is_user_id(number.strip()):
            odd.append(f"{where}.number: a user id")
            number, ident = None, number
        by_id = kind == "messenger" or (business and kind == "viber_service_msg")
        given = ident if number is None else number
        if (  # as documented: a type, and one of number and id as text
            len(value) == 2 and named is not None and type(given) is str and given and given == given.strip()
        ):
            return e.Address(kind, number, ident, by_id)
        note_members(value, ADDRESS_MEMBERS, where, odd)
        own = e.Address(kind, to_text(number), to_text(ident), by_id)
        # Blank text, text with surrounding blanks, and a number are tolerated, but odd.
        if (own.number is None) is (own.id is None) or own.number != number or own.id != ident:
            odd.append(f"{where}: not exactly one of number and id as text")
        return own
    kind = channel or "unknown"
    by_id = kind == "messenger" or (business and kind == "viber_service_msg")
    text = required(value, where, odd)
    if channel is None:
        odd.append(f"{where}.type: missing")
    if by_id or (text is not None and kind in ("whatsapp", "unknown") and is_user_id(text)):
        return e.Address(kind, None, text, by_id)
    return e.Address(kind, text, None, by_id)


def read_customer(
    value: object, channel: str | None, where: str, user: e.WhatsAppUser | None, odd: Odd
) -> e.Address:
    """Read the customer's address; without a number it is elsewhere in the body (contract 5.5)."""
    if value is None and user is not None:
        return complete(e.Address(channel or "whatsapp"), user)
    return complete(read_address(value, channel, where, False, odd), user)


def read_channel(value: object, where: str, odd: Odd) -> str:
    """Read a channel in the spelling of contract 3.3; an unknown one unchanged (contract 5.11)."""
    text = to_text(value)
    if text is None:
        odd.append(f"{where}: missing")
        return "unknown"
    if (known := CHANNEL_NAMES.get(text)) is not None and text == value:
        return known
    odd.append(f"{where}: unknown value")
    return CHANNEL_NAMES.get(text.lower(), text)


def read_own_channel(value: object, where: str, odd: Odd) -> str | None:
    """Read the `channel` of a v1 body or of a reported message; None without one (contract 5.11)."""
    if value is None:
        return None
    channel = read_channel(value, where, odd)
    return None if to_text(value) is None else channel


def read_word(value: object, known: dict[str, str], where: str, odd: Odd) -> str | None:
    """Read a word of an open enumeration: the known spelling, else the text unchanged (contract 5.11)."""
    if type(value) is str and (found := known.get(value)) is not None:
        return found
    text = to_text(value)
    if text is None:
        odd.append(f"{where}: missing")
        return None
    odd.append(f"{where}: unknown value")
    return known.get(text.lower(), text)


def read_usage(value: object, where: str, odd: Odd) -> e.Usage | None:
    """Read a price and its currency (contract 5.2, 9.19)."""
    if type(value) is not dict:
        odd.append(f"{where}: not an object")
        return None
    price, currency = value.get("price"), value.get("currency")
    amount = to_decimal(price)
    if len(value) == 2 and currency == "EUR" and amount is not None and type(price) is str:
        return e.Usage(amount, "EUR")  # as documented
    note_members(value, USAGE_MEMBERS, where, odd)
    if amount is None or type(price) is not str:
        odd.append(f"{where}.price: {'missing' if price is None else 'not a decimal in text'}")
    if currency != "EUR":  # the only one that the contract documents; any text is accepted (9.19)
        text = to_text(currency)
        currency = text.upper() if text is not None and text.upper() == "EUR" else text
        odd.append(f"{where}.currency: {'missing' if currency is None else 'unknown value'}")
    return e.Usage(amount, currency)


def read_error(value: object, odd: Odd) -> e.MessageError | None:
    """Read code and reason in any of the three shapes of contract 5.6."""
    if type(value) is list:
        odd.append("error: a list")
        value = next((item for item in value if type(item) is dict), None)
    if type(value) is not dict:
        odd.append("error: not an object")
        text = to_text(value)
        return None if text is None else e.MessageError(to_int(text), text)
    note_members(value, ERROR_MEMBERS, "error", odd)
    title = to_text(value.get("title"))
    code, kind = to_int(value.get("code")), plain(value.get("type"), "error.type", odd)
    if code is not None and type(value["code"]) is not int:
        odd.append("error.code: not a number")
    if code is None and title is not None and title.isdigit():
        code = to_int(title)
    if code is None and kind is not None and "#" in kind:
        code = to_int(kind.rpartition("#")[2])
    reason = verbatim(value.get("reason"), "error.reason", odd)
    detail = verbatim(value.get("detail"), "error.detail", odd)
    verbatim(value.get("instance"), "error.instance", odd)
    reason = reason or detail or title
    return e.MessageError(noted(value, code, "error.code", odd), reason)


def read_workflow(value: object, odd: Odd) -> e.WorkflowPosition | None:
    """Read the `workflow` object of the v1 format, in each of its three spellings (contract 5.8)."""
    position = read_object(value, WORKFLOW_MEMBERS, "workflow", odd)
    if position is not value:
        return None
    number, total = (
        noted(item := _first(position, *names), to_int(item), f"workflow.{names[0]}", odd)
        for names in (("items_number", "item_number"), ("items_total", "total_items"))
    )
    ident = plain(_first(position, "id", "workflow_id"), "workflow.id", odd)
    return e.WorkflowPosition(ident, number, total)


def _first(value: JSONObject, *names: str) -> object:
    """Return the first member that is present."""
    return next((value[name] for name in names if value.get(name) is not None), None)


def find_dispatch_uuid(raw: JSONObject, links: object, odd: Odd) -> str | None:
    """Find the id (contract 5.2): link `dispatch`, else `workflow`, else any, else top level, `href`."""
    top = plain(raw.get("dispatch_uuid"), "dispatch_uuid", odd)
    named = links if type(links) is dict else read_object(links, None, "_links", odd)
    link = named.get("dispatch")
    if len(named) == 1 and type(link) is dict and link.keys() <= LINK_MEMBERS:  # the real form, first
        found, href = link.get("dispatch_uuid"), link.get("href", "")
        if type(found) is str and found and found == found.strip() and type(href) is str:
            return found
    if links is None:
        return top
    _note_links(named, odd)
    # the real form first, then the documented form, then any other link
    names = [name for name in ("dispatch", "workflow") if name in named]
    names += [name for name in named if name not in LINKS and name not in REPORT_LINKS]
    ordered: list[JSONObject] = [link for name in names if type(link := named[name]) is dict]
    for link in ordered:
        if (text := to_text(link.get("dispatch_uuid"))) is not None:
            return text
    if top is not None:
        return top
    for link in ordered:
        href = to_text(link.get("href"))
        if href is not None and (match := _UUID_AT_END.search(href)):
            return match[1]
    return None


def _note_links(links: JSONObject, odd: Odd) -> None:
    """Note links other than one documented link to one workflow."""
    present = [name for name in ("dispatch", "workflow") if links.get(name) is not None]
    if len(present) != 1:
        odd.append("_links: neither dispatch nor workflow alone")
    note_members(links, LINKS, "_links", odd)
    for name in present:
        link = read_object(links[name], LINK_MEMBERS, f"_links.{name}", odd)
        if link is links[name]:
            required(link.get("dispatch_uuid"), f"_links.{name}.dispatch_uuid", odd)
            plain(link.get("href"), f"_links.{name}.href", odd)
