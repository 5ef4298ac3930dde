"""Previews of messages as on a phone: text, media, place, buttons.

It accepts any `custom` object, whose format is the channel's own, and fetches nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec

from nexmo_dispatch_async.simulator.api.validation import SimulatedStep
from nexmo_dispatch_async.simulator.world.platform import render, template_parameters

__all__ = ["Card", "Content", "Place", "Template", "look_of"]

_LINES: Final = 20  # maximum number of cards, buttons and rows of one message, as on a phone


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A location."""

    latitude: str = ""
    longitude: str = ""
    name: str = ""
    address: str = ""


class Template(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A template with its parameters; its text, if known, is in `Content.text`."""

    name: str
    parameters: list[str] = []
    locale: str = ""


class Card(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One card of several, or one row of a list."""

    title: str = ""
    text: str = ""
    url: str = ""
    buttons: list[str] = []


class Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The preview of a message; `raw` is the JSON of a custom object of unknown format."""

    kind: str
    title: str = ""
    text: str = ""
    footer: str = ""
    url: str = ""
    file: str = ""
    buttons: list[str] = []
    cards: list[Card] = []
    place: Place | None = None
    template: Template | None = None
    raw: str = ""


def look_of(step: SimulatedStep, patterns: Mapping[str, str]) -> Content:
    """Return the preview of the message of a step.

    Args:
        step: The step.
        patterns: Pattern by name of the known WhatsApp templates.
    """
    content = _object(step.message.get("content"))
    kind = step.content_type
    if kind == "text":
        return Content(kind=kind, text=_text(content.get("text")))
    if kind == "template":
        name, parameters = template_parameters(step)
        pattern = patterns.get(name)
        template = Template(name=name, parameters=parameters, locale=_text(step.options.get("locale")))
        text = "" if pattern is None else render(pattern, parameters) or ""
        return Content(kind=kind, text=text, template=template)
    if kind == "custom":
        return _custom(content.get("custom"))
    media = _object(content.get(kind, content.get("img")))  # `img`: the misspelling that `accept_img` accepts
    return _media(kind, media.get("url"), _text(media.get("caption")))


def _media(kind: str, url: object, caption: str = "") -> Content:
    address = _text(url)
    return Content(kind=kind, text=caption, url=address, file=_file_name(address))


def _custom(value: object) -> Content:
    """Read the common formats of the channels' own APIs (contract 3.4.2); others are shown as JSON."""
    custom = _object(value)
    found = _messenger(custom) or _whatsapp(custom) or _viber(custom)
    if found is not None:
        return found
    return Content(kind="custom", raw=json.dumps(value, indent=1, ensure_ascii=False)[:4000])


def _messenger(custom: Mapping[str, object]) -> Content | None:
    replies = [_text(_object(reply).get("title")) for reply in _list(custom.get("quick_replies"))]
    attachment = _object(custom.get("attachment"))
    payload = _object(attachment.get("payload"))
    kind = _text(attachment.get("type"))
    if kind in {"image", "audio", "video", "file"}:
        return msgspec.structs.replace(_media(kind, payload.get("url")), buttons=_some(replies))
    if kind == "template":
        cards = [
            Card(
                title=_text(element.get("title")),
                text=_text(element.get("subtitle")),
                url=_text(element.get("image_url")),
                buttons=_titles(element.get("buttons")),
            )
            for element in map(_object, _list(payload.get("elements")))
        ]
        buttons = _some([*_titles(payload.get("buttons")), *replies])
        return Content(kind="custom", text=_text(payload.get("text")), buttons=buttons, cards=cards)
    if isinstance(custom.get("text"), str) and (replies or len(custom) == 1):
        return Content(kind="custom", text=_text(custom["text"]), buttons=_some(replies))
    return None


def _whatsapp(custom: Mapping[str, object]) -> Content | None:
    kind = _text(custom.get("type"))
    part = _object(custom.get(kind)) if kind else {}
    if kind == "location" and part:
        place = Place(**{field: _text(part.get(field)) for field in Place.__struct_fields__})
        return Content(kind="location", place=place)
    if kind in {"image", "audio", "video", "document"} and part:
        return _media("file" if kind == "document" else kind, part.get("link"), _text(part.get("caption")))
    if kind == "template" and part:
        return _whatsapp_template(part)
    if kind == "interactive" and part:
        action = _object(part.get("action"))
        buttons = [
            _text(_object(_object(button).get("reply")).get("title"))
            for button in _list(action.get("buttons"))
        ]
        rows = [
            Card(title=_text(row.get("title")), text=_text(row.get("description")))
            for section in map(_object, _list(action.get("sections")))
            for row in map(_object, _list(section.get("rows")))
        ]
        return Content(
            kind="custom",
            title=_text(_object(part.get("header")).get("text")),
            text=_text(_object(part.get("body")).get("text")),
            footer=_text(_object(part.get("footer")).get("text")),
            buttons=_some([*buttons, _text(action.get("button"))]),
            cards=rows[:_LINES],
        )
    return None


def _whatsapp_template(part: Mapping[str, object]) -> Content:
    parameters: list[str] = []
    buttons: list[str] = []
    for component in map(_object, _list(part.get("components"))):
        given = [_object(parameter) for parameter in _list(component.get("parameters"))]
        texts = [_text(p.get("text")) or _text(p.get("payload")) for p in given]
        (buttons if component.get("type") == "button" else parameters).extend(texts)
    language = part.get("language")
    locale = _text(language) or _text(_object(language).get("code"))
    name = ":".join(filter(None, (_text(part.get("namespace")), _text(part.get("name")))))
    template = Template(name=name, parameters=_some(parameters), locale=locale)
    return Content(kind="template", template=template, buttons=_some(buttons))


def _viber(custom: Mapping[str, object]) -> Content | None:
    caption = _text(custom.get("button_caption"))
    image = _text(custom.get("image"))
    if not (caption or image):
        return None
    return Content(
        kind="image" if image else "custom",
        text=_text(custom.get("text")),
        url=image,
        file=_file_name(image),
        buttons=_some([caption]),
    )


def _titles(buttons: object) -> list[str]:
    return _some([_text(_object(button).get("title")) for button in _list(buttons)])


def _some(texts: list[str]) -> list[str]:
    return [text for text in texts if text][:_LINES]


def _file_name(url: str) -> str:
    try:
        return urlsplit(url).path.rpartition("/")[2]
    except ValueError:  # such as http://[
        return ""


def _object(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value)[:_LINES] if isinstance(value, list) else []


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""
