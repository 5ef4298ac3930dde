"""Redacts bodies of callbacks, keeping their shape, for recordings and for `inbox show`.

The members to keep are listed by their place in the body. All others are replaced, because an object from a
customer (the response of a WhatsApp Flow) may have members of any name (contract 5.5.2).
"""

import re
import secrets
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, cast

__all__ = ["Redactor"]

_DEEPEST = 32
_LARGEST = 10**18
_UUID = r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_DATE = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?"
_WORD = r"[A-Za-z][A-Za-z_-]{0,39}"
_SMALL = r"-?\d{1,6}(?:\.\d{1,8})?"
_HREF = rf"/?(?:v0\.1/)?(?:(?:dispatch|messages|workflows)/)?{_UUID}"
_ERROR_TYPE = r"https://developer\.(?:nexmo|vonage)\.com/[a-z/-]{0,60}#\d{1,6}"

_MEDIA = ("image", "audio", "video", "file", "vcard", "sticker")
_CONTENTS = (*_MEDIA, "button", "location", "reply", "reaction")


def _below(place: str, names: str, form: str) -> dict[str, str]:
    return {f"{place}.{name}" if place else name: form for name in names.split()}


def _usage(place: str) -> dict[str, str]:
    return {**_below(place, "price", _SMALL), **_below(place, "currency", _WORD)}


# Places whose text is kept if it matches the form of the contract (sections 5.2 to 5.8). The items of a list
# have the place of the list: `_links.messages.status` is the status of each message.
_KEPT = {
    **_below("", "status channel template direction message_type context_status", _WORD),
    **_below("", "message_uuid dispatch_uuid context.message_uuid", _UUID),
    **_below("", "timestamp", _DATE),
    **_below("", "to.type from.type message.content.type content.type", _WORD),
    **_below("", "message.content.button.subtype button.subtype", _WORD),
    **_below("", "message.sms.num_messages sms.num_messages sms.count_total sms.total_count", _SMALL),
    **_below("workflow", "items_number item_number items_total total_items", _SMALL),
    **_below("whatsapp.pricing", "type pricing_model category", _WORD),
    **_below("whatsapp.conversation", "origin.type", _WORD),
    **_usage("usage"),
    **_usage("_links.messages.usage"),
    **_below("_links.messages", "channel status", _WORD),
    **_below("_links.messages", "message_uuid", _UUID),
    **_below("_links", "dispatch.dispatch_uuid workflow.dispatch_uuid", _UUID),
    **_below("_links", "dispatch.href workflow.href messages.href", _HREF),
    **_below("", "error.code error.title errors.code errors.title", _SMALL),
    **_below("", "error.type errors.type", _ERROR_TYPE),
}
# Objects whose members are named by the service: unknown members keep their name, but not their value. The
# members of all other objects are named by a business or a customer.
_NAMED_BY_THE_SERVICE = {
    *("", "to", "from", "error", "errors", "usage", "message", "message.content", "message.sms", "sms"),
    *("_links", "_links.dispatch", "_links.workflow", "_links.messages", "_links.messages.usage", "_self"),
    *("workflow", "destination", "origin", "profile", "context", "content"),
    *("whatsapp", "whatsapp.sender", "whatsapp.recipient", "whatsapp.pricing", "whatsapp.conversation"),
    *("whatsapp.conversation.origin", "message.whatsapp", "message.whatsapp.sender"),
    *_CONTENTS,
    *(f"message.content.{name}" for name in _CONTENTS),
}
# Members with an address, at any place: they are never kept, and get placeholders of their own.
_ADDRESSES = {"to", "from", "number", "id", "user_id", "parent_user_id", "wa_id", "message_from"}
_COORDINATES = {"lat", "long", "lng", "latitude", "longitude"}
_USER_ID = re.compile(r"[A-Za-z]{2}(?:\.[A-Za-z0-9]+)+", re.ASCII)


class Redactor:
    """Replaces addresses and texts by placeholders; equal values get equal placeholders.

    Placeholders are keyed hashes: nothing is stored, and without the key a number cannot be found by trial.
    Numbers start with 999, an unassigned country code, and WhatsApp user ids with XX.

    Args:
        key: The key of the hashes; None for a random key that is never stored.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def body(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body of the same shape without personal data."""
        return self._object("", raw, 0)

    def _object(self, place: str | None, value: Mapping[str, object], depth: int) -> dict[str, Any]:
        """Redact an object at a place; None is a place inside of an object that the service does not name."""
        if depth > _DEEPEST:
            return {}
        inside = place if place in _NAMED_BY_THE_SERVICE else None
        redacted: dict[str, Any] = {}
        for name, item in value.items():
            # A member with a dot in its name would get the place of another member.
            member = None if inside is None or "." in name else f"{inside}.{name}" if inside else name
            redacted[self._name(name, member)] = self._value(name, member, item, depth + 1)
        return redacted

    def _value(self, name: str, place: str | None, value: object, depth: int) -> Any:
        if value is None:
            return None
        if isinstance(value, bool):
            return value and place is not None
        if isinstance(value, dict):
            return self._object(place, cast("dict[str, object]", value), depth)
        if isinstance(value, list):
            items = cast("list[object]", value)
            return [] if depth > _DEEPEST else [self._value(name, place, item, depth + 1) for item in items]
        if isinstance(value, int) and abs(value) > _LARGEST:
            value = _LARGEST  # no number or id is longer, and printing a longer one is slow
        text = value if isinstance(value, str) else repr(value)
        if name in _COORDINATES:
            return "0" if isinstance(value, str) else 0
        form = None if place is None else _KEPT.get(place)
        if form is not None and re.fullmatch(form, text.strip()):
            return value
        if name not in _ADDRESSES and not isinstance(value, str):
            return 0
        return self._placeholder(name, text) if isinstance(value, str) else int(self._number(text))

    def _placeholder(self, name: str, text: str) -> str:
        bare = text.strip()
        if not bare:
            return text
        if name in _ADDRESSES:
            if bare.lstrip("+").isdecimal():
                return self._number(text)
            return f"XX.{self._number(text)}" if _USER_ID.fullmatch(bare) else f"id-{self._hash(text)}"
        if text.startswith(("http://", "https://")):
            return f"https://example.com/{self._hash(text)}"
        return f"{'id' if name.endswith('_uuid') else 'text'}-{self._hash(text)}"

    def _name(self, name: str, place: str | None) -> str:
        """Return the name of a member if the service names it, else a placeholder."""
        kept = place is not None and re.fullmatch("_?" + _WORD, name)
        return name if kept else f"member-{self._hash(name)}"

    def _number(self, text: str) -> str:
        digits = int.from_bytes(self._digest(text.strip().lstrip("+")), "big") % 10**12
        return f"999{digits:012}"

    def _hash(self, text: str) -> str:
        return self._digest(text).hex()

    def _digest(self, text: str) -> bytes:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
