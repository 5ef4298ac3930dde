# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""Customers on WhatsApp who hide their number: the form of their id, and its place in bodies (contract 5.5).

It reads the objects `whatsapp.sender` and `whatsapp.recipient`; addresses themselves are read in `parts`.
"""

from __future__ import annotations

import re
from typing import Any

from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.members import WHATSAPP_USER_MEMBERS
from nexmo_dispatch_webhooks.events.oddities import Odd, note_members, plain

__all__ = ["complete", "is_user_id", "read_user"]

JSONObject = dict[str, Any]
# Two letters of a country, a point, letters and digits; the id of a business group has a further part.
_USER_ID = re.compile(r"[A-Za-z]{2}(?:\.[A-Za-z0-9]+)+", re.ASCII)


def is_user_id(text: str) -> bool:
    """Return whether a text has the form of a WhatsApp user id, such as `NL.13491208655302741918`."""
    return text[2:3] == "." and _USER_ID.fullmatch(text) is not None


def read_user(raw: JSONObject, member: str, odd: Odd) -> e.WhatsAppUser | None:
    """Read the customer of `whatsapp.sender` or `whatsapp.recipient`; None without any id.

    Args:
        raw: The body; in the v0.1 format the object may stand in `message`.
        member: `sender` or `recipient`.
        odd: Receives a note for each tolerated oddity.
    """
    message = raw.get("message")
    for holder in (raw, message if type(message) is dict else {}):
        options = holder.get("whatsapp")
        named = options.get(member) if type(options) is dict else None
        if type(named) is not dict:
            if named is not None:
                odd.append(f"whatsapp.{member}: not an object")
            continue
        where = f"whatsapp.{member}"
        note_members(named, WHATSAPP_USER_MEMBERS, where, odd)
        found = [plain(named.get(n), f"{where}.{n}", odd) for n in ("user_id", "parent_user_id", "wa_id")]
        if any(found):
            return e.WhatsAppUser(*found)
    return None


def complete(address: e.Address, user: e.WhatsAppUser | None) -> e.Address:
    """Return an address completed by `whatsapp.sender` or `whatsapp.recipient`."""
    if user is None or address.type not in ("whatsapp", "unknown"):
        return address
    ident = address.id or user.user_id or user.parent_user_id
    # An id of the address is kept; `wa_id` is used only when there is no address at all.
    number = address.number if address.address else user.wa_id
    return e.Address("whatsapp", number, ident, address.by_id)
