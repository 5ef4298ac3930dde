# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""The content of an inbound message (contract 5.5.2), v0.1 and v1.

It does not fetch media; the URLs are valid for 48 hours.
"""

from __future__ import annotations

from typing import Any

from nexmo_dispatch_core.lenient import to_float, to_text
from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.members import CONTENT_MEMBERS
from nexmo_dispatch_webhooks.events.oddities import Odd, note_members, plain, read_object, verbatim

__all__ = ["read_content"]

JSONObject = dict[str, Any]
_Media = e.ImageContent | e.AudioContent | e.VideoContent | e.FileContent
_MEDIA: dict[str, type[_Media]] = {
    "image": e.ImageContent,
    "audio": e.AudioContent,
    "video": e.VideoContent,
    "file": e.FileContent,
}


def read_content(value: object, where: str, odd: Odd, *, flat: bool = False) -> e.Content:
    """Read the content of a message (contract 5.5.2): `type`, and the payload under the name of the type.

    With *flat*, `value` is a whole body of the v1 format, whose other members are ignored here.
    """
    if type(value) is not dict:
        odd.append(f"{where}: missing")
        return e.UnknownContent("unknown", value)
    named = to_text(value.get("type")) or ""
    kind = named.lower()
    # A type in another spelling may have its payload under either spelling.
    payload = value.get(kind, value.get(named))
    if kind not in _KNOWN:
        odd.append(f"{where}.type: {'unknown value' if kind else 'missing'}")
        return e.UnknownContent(named or "unknown", payload if kind else value)
    if value.get("type") != kind:
        odd.append(f"{where}.type: unknown value")
    if not flat:
        note_members(value, _KNOWN[kind], where, odd)
    if kind == "text":
        if type(payload) is not str:
            odd.append(f"{where}.text: not text")
        return e.TextContent(payload if type(payload) is str else to_text(payload) or "")
    if kind == "unsupported":
        return e.UnsupportedContent()
    return _read_payload(kind, payload, f"{where}.{kind}", odd)


#: The content types that are read, with the members of `content` beside them.
_KNOWN = {kind: frozenset({"type", kind}) for kind in ("text", "unsupported", *CONTENT_MEMBERS)}


def _read_payload(kind: str, payload: object, where: str, odd: Odd) -> e.Content:
    part = read_object(payload, CONTENT_MEMBERS[kind], where, odd)
    if payload is None:
        odd.append(f"{where}: missing")

    def text_of(name: str, *, required: bool = False) -> str | None:
        if required and part.get(name) is None and part is payload:
            odd.append(f"{where}.{name}: missing")
        return verbatim(part.get(name), f"{where}.{name}", odd)

    if kind in _MEDIA:
        url = part.get("url")
        if url is None and part is payload:
            odd.append(f"{where}.url: missing")
        return _MEDIA[kind](plain(url, f"{where}.url", odd), text_of("caption"), text_of("name"))
    if kind == "button":
        subtype, answer = plain(part.get("subtype"), f"{where}.subtype", odd), part.get("payload")
        if type(answer) is dict:
            if subtype != "flow":
                odd.append(f"{where}.payload: an object without the subtype flow")
            return e.ButtonContent(None, text_of("text", required=True), answer, subtype or "flow")
        payload_text, text = text_of("payload", required=True), text_of("text", required=True)
        return e.ButtonContent(payload_text, text, None, subtype)
    if kind == "reply":
        return e.ReplyContent(
            text_of("id", required=True), text_of("title", required=True), text_of("description")
        )
    return e.LocationContent(
        _coordinate(part, ("lat", "latitude"), f"{where}.lat", odd),
        _coordinate(part, ("long", "lng", "longitude"), f"{where}.long", odd),
        text_of("name"),
        text_of("address"),
        plain(part.get("url"), f"{where}.url", odd),
        payload,
    )


def _coordinate(part: JSONObject, names: tuple[str, ...], where: str, odd: Odd) -> float | None:
    """Return the first readable value (contract 9.9); note unreadable values, and a missing one."""
    given = [part[name] for name in names if part.get(name) is not None]
    read = [to_float(value) for value in given]
    if None in read or not read:
        odd.append(f"{where}: not a number")
    return next((number for number in read if number is not None), None)
