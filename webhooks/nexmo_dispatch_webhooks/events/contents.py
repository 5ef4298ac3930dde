# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""The content of an inbound message (contract 5.5.2), v0.1 and v1.

It does not fetch media; the URLs are for 48 hours.
"""

from __future__ import annotations

from typing import Any

from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.decoding import to_float, to_text
from nexmo_dispatch_webhooks.events.notes import Odd, verbatim

__all__ = ["read_content"]

JSONObject = dict[str, Any]
_Media = e.ImageContent | e.AudioContent | e.VideoContent | e.FileContent
_MEDIA: dict[str, type[_Media]] = {
    "image": e.ImageContent,
    "audio": e.AudioContent,
    "video": e.VideoContent,
    "file": e.FileContent,
}


def read_content(value: object, where: str, odd: Odd) -> e.Content:
    """Contract 5.5.2; `value` holds `type` and the payload under the name of the type."""
    if type(value) is not dict:
        odd.append(f"{where}: missing")
        return e.UnknownContent("unknown", value)
    kind = (to_text(value.get("type")) or "").lower()
    if kind == "text":
        text = value.get("text")
        if type(text) is not str:
            odd.append(f"{where}.text: not text")
            text = to_text(text) or ""
        return e.TextContent(text)
    if kind == "unsupported":
        return e.UnsupportedContent()
    payload = value.get(kind)
    if kind in _TYPED and type(payload) is not dict:
        odd.append(f"{where}.{kind}: not an object")
    part: JSONObject = payload if type(payload) is dict else {}

    def text_of(name: str) -> str | None:
        return verbatim(part.get(name), f"{where}.{kind}.{name}", odd)

    if kind in _MEDIA:
        return _MEDIA[kind](to_text(part.get("url")), text_of("caption"), text_of("name"))
    if kind == "button":
        return e.ButtonContent(text_of("payload"), text_of("text"))
    if kind == "reply":
        return e.ReplyContent(text_of("id"), text_of("title"), text_of("description"))
    if kind == "location":
        return e.LocationContent(
            _coordinate(part, ("lat", "latitude"), f"{where}.location.lat", odd),
            _coordinate(part, ("long", "lng", "longitude"), f"{where}.location.long", odd),
            text_of("name"),
            text_of("address"),
            to_text(part.get("url")),
            payload,
        )
    odd.append(f"{where}.type: {'unknown value' if kind else 'missing'}")
    named = to_text(value.get("type"))
    return e.UnknownContent(named or "unknown", payload if kind else value)


_TYPED = frozenset({*_MEDIA, "button", "reply", "location"})


def _coordinate(part: JSONObject, names: tuple[str, ...], where: str, odd: Odd) -> float | None:
    for name in names:
        if (number := to_float(part.get(name))) is not None:
            return number
    odd.append(f"{where}: not a number")
    return None
