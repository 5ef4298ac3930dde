"""Rules about the content of a message (contract 3.4.1, 3.4.2, 7.1).

It does not look at addresses or options of channels.
"""

from collections.abc import Iterable
from typing import cast

from msgspec import UNSET

from nexmo_dispatch_async.models.requests import (
    Audio,
    Custom,
    File,
    Image,
    Link,
    Media,
    Message,
    Parameter,
    Template,
    TemplateBody,
    Text,
    Video,
    WhatsAppOptions,
)
from nexmo_dispatch_async.rules.report import Report, not_json, sized, text
from nexmo_dispatch_async.rules.specs import SPECS, ChannelSpec
from nexmo_dispatch_async.sms_segments import count_segments
from nexmo_dispatch_async.templates import parameter_count, render

__all__ = ["check_content"]

_FIELD = "message.content"


def check_content(report: Report, content: object, message: Message, spec: ChannelSpec | None) -> None:
    """Check the content of a message; for an unknown channel, only the rules common to all channels."""
    # The common case first, since this runs before every send: ASCII text within the limit.
    if type(content) is Text and spec is not None and not report.rules.counts_segments:
        words: object = content.text
        if type(words) is str and words.isascii() and 0 < len(words) <= spec.text_limit and spec.carries_text:
            return
    kind = _check_body(report, content, message, spec)
    if kind and spec is not None and kind not in spec.content:
        _refuse_kind(report, kind, spec)


def _check_body(report: Report, content: object, message: Message, spec: ChannelSpec | None) -> str:
    """Check the inside of a content; return its kind, empty if it has none."""
    match content:
        case Text():
            _check_text(report, content.text, spec)
        case Image():
            _check_media(report, "image", content.image, spec)
        case File():
            _check_media(report, "file", content.file, spec)
        case Audio():
            _check_link(report, "audio", content.audio, spec)
        case Video():
            _check_link(report, "video", content.video, spec)
        case Template():
            _check_template(report, content.template, message, spec)
        case Custom():
            _check_custom(report, content.custom)
        case _:
            report.add("type", _FIELD, "must be Text, Image, Audio, Video, File, Template or Custom")
            return ""
    return type(content).__name__.lower()


def _refuse_kind(report: Report, kind: str, spec: ChannelSpec) -> None:
    field = f"{_FIELD}.type"
    if kind in spec.doubtful:
        report.add("content-doubtful", field, f"{kind} on {spec.name} is not in Dispatch's specification")
    else:
        also = "; use custom" if kind == "template" and "custom" in spec.content else ""
        carried = " or ".join(sorted(spec.content))
        report.add("content-channel", field, f"is {kind}, while {spec.name} carries {carried}{also}")


def _check_text(report: Report, value: object, spec: ChannelSpec | None) -> None:
    limit = max(each.text_limit for each in SPECS.values()) if spec is None else spec.text_limit
    words = sized(report, "text-length", f"{_FIELD}.text", value, limit)
    if words is not None and spec is SPECS["sms"] and report.wants("sms-segments"):
        count = count_segments(words)
        if count.segments > 1:
            report.add("sms-segments", f"{_FIELD}.text", f"takes {count.segments} SMS in {count.encoding}")


def _check_media(report: Report, kind: str, body: object, spec: ChannelSpec | None) -> None:
    field = f"{_FIELD}.{kind}"
    if not isinstance(body, Media):
        report.add("type", field, "must be a Media")
        return
    _check_url(report, kind, body.url, spec)
    if body.caption is not UNSET:
        sized(report, "caption-length", f"{field}.caption", body.caption, 3000)
        if spec is not None and not spec.captions:
            report.add(
                "caption-channel", f"{field}.caption", f"is not shown on {spec.name}; send it as a text"
            )


def _check_link(report: Report, kind: str, body: object, spec: ChannelSpec | None) -> None:
    if isinstance(body, Link):
        _check_url(report, kind, body.url, spec)
    else:
        report.add("type", f"{_FIELD}.{kind}", "must be a Link")


def _check_url(report: Report, kind: str, value: object, spec: ChannelSpec | None) -> None:
    field = f"{_FIELD}.{kind}.url"
    url = sized(report, "url-length", field, value, 2000)
    if not url:
        return
    if not url.lower().startswith(("https://", "http://")):
        report.add("url-form", field, "does not start with https://, so the service cannot fetch it")
    extensions = spec.extensions.get(kind) if spec is not None else None
    # Off by default: signed URLs need not end in an extension.
    if extensions and not url.partition("?")[0].partition("#")[0].lower().endswith(extensions):
        report.add("media-extension", field, f"does not end in {' '.join(extensions)}")


def _check_template(report: Report, body: object, message: Message, spec: ChannelSpec | None) -> None:
    field = f"{_FIELD}.template"
    if not isinstance(body, TemplateBody):
        report.add("type", field, "must be a TemplateBody")
        return
    on_whatsapp = spec is SPECS["whatsapp"]
    name = text(report, f"{field}.name", body.name)
    if name == "":
        report.add("template-name", f"{field}.name", "is empty")
    elif name is not None and on_whatsapp and not all(name.partition(":")):
        report.add("template-name", f"{field}.name", "must have the form namespace:name")
    values = _parameters(report, f"{field}.parameters", body.parameters)
    known = None if name is None else report.rules.templates.get(name)
    if known is not None and values is not None:
        _compare(report, f"{field}.parameters", known, values)
    options: object = message.whatsapp
    if on_whatsapp and not (isinstance(options, WhatsAppOptions) and options.locale is not UNSET):
        report.add(
            "whatsapp-locale", "message.whatsapp.locale", 'is missing; name the language, as in "en-GB"'
        )


def _compare(report: Report, field: str, known: str, values: list[str]) -> None:
    expected = parameter_count(known)
    if len(values) != expected:
        advice = f"has {len(values)} items while the template takes {expected}; it would fail with 1022"
        report.add("template-count", field, advice)
    elif len(render(known, values)) > 1024:
        report.add("template-length", field, "makes the text longer than 1024 characters")


def _parameters(report: Report, field: str, parameters: object) -> list[str] | None:
    """Return the texts of the parameters, None if they are no list."""
    if parameters is UNSET:
        return []
    if not isinstance(parameters, tuple | list):
        report.add("type", field, 'must be a list or a tuple of texts, for example ["Bank", "1234"]')
        return None
    values: list[str] = []
    for index, parameter in enumerate(cast("Iterable[object]", parameters)):
        place = f"{field}[{index}]"
        inner = parameter.default if isinstance(parameter, Parameter) else parameter
        if isinstance(parameter, str):
            report.add("template-parameter", place, 'is a plain text; write {"default": "…"}')
        value = text(report, place, inner)
        if value == "":
            report.add("template-parameter", place, "is empty; the message would fail with 1022")
        values.append(value or "")
    return values


def _check_custom(report: Report, body: object) -> None:
    if isinstance(body, dict):
        for path, problem in not_json(cast("object", body), f"{_FIELD}.custom"):
            report.add("custom-json", path, problem)
    else:
        report.add("type", f"{_FIELD}.custom", "must be a mapping with the channel's own members")
