"""`parse_event`: a body to a typed event, told apart by shape and read with every tolerance.

It needs no headers and checks no signature: `signature` and `sansio` do. Each reader notes in `odd`
what it tolerated, by place and without the value; `strict=True` turns the first such note into an error.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

from nexmo_dispatch_webhooks import events as e
from nexmo_dispatch_webhooks.decoding import decode_object, to_decimal, to_float, to_int, to_text
from nexmo_dispatch_webhooks.exceptions import InvalidBodyError
from nexmo_dispatch_webhooks.timestamps import parse_timestamp

__all__ = ["normalise_channel", "normalise_status", "parse_event"]

Odd = list[str]
JSONObject = dict[str, Any]

#: Every spelling of a channel in contract 5.11, to the one of contract 3.3.
CHANNEL_NAMES = {
    **{name: name for name in e.CHANNELS},
    "viber_sevice_msg": "viber_service_msg",
    "viber_service": "viber_service_msg",
    "viber_service_message": "viber_service_msg",
}
_STATUSES = {name: name for name in e.KNOWN_STATUSES}
_REPORT_STATUSES = {"completed": "completed", "error": "error"}
_TEMPLATES = {"failover": "failover"}

# The members that the contract names, per object; others are kept in `raw` and noted.
_V1 = frozenset(
    [
        "channel",
        "message_type",
        "context",
        "context_status",
        "destination",
        "sms",
        "whatsapp",
        "workflow",
        "profile",
        "text",
        "image",
        "audio",
        "video",
        "file",
        "location",
        "button",
        "reply",
        "order",
        "sticker",
        "vcard",
        "contact",
        "custom",
        "unsupported",
        "provider_message",
    ]
)
_STATUS_MEMBERS = _V1 | frozenset(
    [
        "message_uuid",
        "to",
        "from",
        "timestamp",
        "status",
        "error",
        "errors",
        "usage",
        "client_ref",
        "_links",
        "dispatch_uuid",
    ]
)
_INBOUND_MEMBERS = _V1 | frozenset(
    ["message_uuid", "to", "from", "timestamp", "direction", "message", "usage", "client_ref", "status"]
)
_REPORT_MEMBERS = frozenset(["dispatch_uuid", "template", "status", "timestamp", "usage", "_links"])
_REPORTED_MEMBERS = frozenset(["message_uuid", "href", "channel", "usage", "status"])
_ADDRESS_MEMBERS = frozenset(["type", "number", "id"])
_USAGE_MEMBERS = frozenset(["price", "currency"])
_LINK_MEMBERS = frozenset(["href", "dispatch_uuid"])
_ERROR_MEMBERS = frozenset(["code", "reason", "type", "title", "detail", "instance"])
_UUID_AT_END = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/?\s*", re.ASCII | re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,40}", re.ASCII)


def parse_event(body: bytes | str, *, strict: bool = False) -> e.Event:
    """Read the body of a callback, v0.1 or v1 format (contract 5.1 to 5.8).

    Anything unknown is kept: a value as text, a member in `raw`, a whole object as `UnknownEvent`. What
    was tolerated is listed in `oddities`, so that it can be counted.

    Args:
        body: the raw body, as bytes (preferred: signatures are over bytes) or text.
        strict: refuse everything that contract 5 does not document; for contract tests, not for service.

    Raises:
        InvalidBodyError: the body is not a JSON object; with *strict*, also when anything is odd.
    """
    raw, clean = decode_object(body)
    odd: Odd = [] if clean else ["body: not strict JSON"]
    event = _classify(raw, odd)
    if strict and odd:
        raise InvalidBodyError("not as documented: " + "; ".join(odd[:20]))
    return event


def normalise_channel(name: str) -> str:
    """A channel name in the spelling of contract 3.3; an unknown one trimmed."""
    return (
        CHANNEL_NAMES.get(name)
        or CHANNEL_NAMES.get(trimmed := name.strip().lower())
        or (trimmed and name.strip())
    )


def normalise_status(name: str) -> str:
    """A status in the spelling of contract 5.3; an unknown one trimmed."""
    return _STATUSES.get(name) or _STATUSES.get(trimmed := name.strip().lower()) or (trimmed and name.strip())


def _classify(raw: JSONObject, odd: Odd) -> e.Event:
    """Contract 5.1, in its order."""
    message_uuid = to_text(raw.get("message_uuid"))
    if message_uuid is not None:
        if type(raw.get("message")) is dict or _lower(raw.get("direction")) == "inbound":
            return _inbound(raw, message_uuid, odd)
        status = raw.get("status")
        if type(status) is str and (status := _word(status, _STATUSES, "status", odd)):
            return _status(raw, message_uuid, status, odd)
        if to_text(raw.get("message_type")) is not None and raw.get("status") is None:
            return _inbound(raw, message_uuid, odd)
    elif (
        to_text(raw.get("dispatch_uuid")) is not None
        or raw.get("template") is not None
        or (type(links := raw.get("_links")) is dict and links.get("messages") is not None)
    ):
        return _report(raw, odd)
    odd.append("body: fits no kind")
    return e.UnknownEvent(raw, tuple(odd))


def _status(raw: JSONObject, message_uuid: str, status: str, odd: Odd) -> e.MessageStatus:
    if not raw.keys() <= _STATUS_MEMBERS:
        _note_members(raw, _STATUS_MEMBERS, "body", odd)
    channel = _channel(raw["channel"], "channel", odd) if "channel" in raw else None
    to = _address(raw.get("to"), channel, "to", False, odd)
    sender = _address(raw.get("from"), channel, "from", True, odd)
    timestamp_raw = raw.get("timestamp")
    timestamp = parse_timestamp(timestamp_raw)
    if timestamp is None or type(timestamp_raw) is not str:
        timestamp_raw = _note_timestamp(timestamp_raw, odd)
    error = raw.get("error")
    if error is None:
        error = raw.get("errors")
    usage = raw.get("usage")
    links = raw.get("_links")
    workflow = raw.get("workflow")
    dispatch_uuid = None if links is None and "dispatch_uuid" not in raw else _dispatch_uuid(raw, links, odd)
    return e.MessageStatus(
        message_uuid,
        status,
        channel or (to.type if to.type != "unknown" else sender.type),
        sender,
        to,
        timestamp,
        timestamp_raw,
        dispatch_uuid,
        None if error is None else _error(error, odd),
        None if usage is None else _usage(usage, "usage", odd),
        _verbatim(raw.get("client_ref"), "client_ref", odd),
        None if workflow is None else _workflow(workflow, odd),
        tuple(odd),
        raw,
    )


def _inbound(raw: JSONObject, message_uuid: str, odd: Odd) -> e.InboundMessage:
    _note_members(raw, _INBOUND_MEMBERS, "body", odd)
    channel = _channel(raw["channel"], "channel", odd) if "channel" in raw else None
    to = _address(raw.get("to"), channel, "to", True, odd)
    sender = _address(raw.get("from"), channel, "from", False, odd)
    message = raw.get("message")
    if type(message) is dict:
        content, sms = message.get("content"), message.get("sms")
        where = "message.content"
    else:
        # v1 format: the payload is at the top level, under the name of its type (contract 5.8)
        content, sms = {**raw, "type": raw.get("message_type")}, raw.get("sms")
        where = "body"
    sms = sms if type(sms) is dict else {}
    count = sms.get("num_messages", sms.get("count_total"))
    usage, timestamp_raw = raw.get("usage"), raw.get("timestamp")
    timestamp = parse_timestamp(timestamp_raw)
    if timestamp is None or type(timestamp_raw) is not str:
        timestamp_raw = _note_timestamp(timestamp_raw, odd)
    profile, context = raw.get("profile"), raw.get("context")
    return e.InboundMessage(
        message_uuid=message_uuid,
        channel=channel or (sender.type if sender.type != "unknown" else to.type),
        from_=sender,
        to=to,
        content=_content(content, where, odd),
        timestamp=timestamp,
        timestamp_raw=timestamp_raw,
        usage=None if usage is None else _usage(usage, "usage", odd),
        client_ref=_verbatim(raw.get("client_ref"), "client_ref", odd),
        num_messages=_noted(count, to_int(count), "sms.num_messages", odd),
        keyword=_verbatim(sms.get("keyword"), "sms.keyword", odd),
        profile_name=_verbatim(profile.get("name"), "profile.name", odd) if type(profile) is dict else None,
        reply_to=to_text(context.get("message_uuid")) if type(context) is dict else None,
        oddities=tuple(odd),
        raw=raw,
    )


def _report(raw: JSONObject, odd: Odd) -> e.FinalReport:
    _note_members(raw, _REPORT_MEMBERS, "body", odd)
    links = raw.get("_links")
    messages: object = links.get("messages") if type(links) is dict else None
    if type(messages) is dict:  # one object where a list is expected (contract 5.11)
        odd.append("_links.messages: not a list")
        messages = [messages]
    elif type(messages) is not list:
        odd.append("_links.messages: missing")
        messages = []
    usage, status, template, timestamp_raw = (
        raw.get(k) for k in ("usage", "status", "template", "timestamp")
    )
    timestamp = parse_timestamp(timestamp_raw)
    if timestamp is None or type(timestamp_raw) is not str:
        timestamp_raw = _note_timestamp(timestamp_raw, odd)
    dispatch_uuid = to_text(raw.get("dispatch_uuid")) or _dispatch_uuid(raw, links, odd)
    return e.FinalReport(
        dispatch_uuid=_noted(raw, dispatch_uuid, "dispatch_uuid", odd),
        status=_word(status, _REPORT_STATUSES, "status", odd),
        template=_word(template, _TEMPLATES, "template", odd),
        timestamp=timestamp,
        timestamp_raw=timestamp_raw,
        usage=None if usage is None else _usage(usage, "usage", odd),
        messages=tuple(_reported(item, odd) for item in messages if type(item) is dict),
        oddities=tuple(odd),
        raw=raw,
    )


def _reported(item: JSONObject, odd: Odd) -> e.ReportedMessage:
    _note_members(item, _REPORTED_MEMBERS, "_links.messages", odd)
    usage = item.get("usage")
    return e.ReportedMessage(
        message_uuid=to_text(item.get("message_uuid")),
        channel=None
        if item.get("channel") is None
        else _channel(item["channel"], "_links.messages.channel", odd),
        status=_word(item.get("status"), _STATUSES, "_links.messages.status", odd),
        usage=None if usage is None else _usage(usage, "_links.messages.usage", odd),
        href=to_text(item.get("href")),
    )


# --- parts -------------------------------------------------------------------------------------------


def _address(value: object, channel: str | None, where: str, business: bool, odd: Odd) -> e.Address:
    """An address object of v0.1, or a bare text of v1 with the channel from elsewhere."""
    if type(value) is dict:
        named = value.get("type")
        kind = (CHANNEL_NAMES.get(named) if type(named) is str else None) or _channel(
            channel if named is None and channel else named, f"{where}.type", odd
        )
        number, ident = value.get("number"), value.get("id")
        if len(value) == 2 and type(number) is str and kind != "messenger":  # the usual case, first
            return e.Address(kind, number.strip() or None, None, business and kind == "viber_service_msg")
        if len(value) != 2 or (type(number) is not str and type(ident) is not str):
            _note_members(value, _ADDRESS_MEMBERS, where, odd)
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


def _channel(value: object, where: str, odd: Odd) -> str:
    text = to_text(value)
    if text is None:
        odd.append(f"{where}: missing")
        return "unknown"
    if (known := CHANNEL_NAMES.get(text)) is not None and text == value:
        return known
    odd.append(f"{where}: unknown value")
    return CHANNEL_NAMES.get(text.lower(), text)


def _word(value: object, known: dict[str, str], where: str, odd: Odd) -> str | None:
    """A word of an open enumeration: the known spelling, else the text as it came (contract 5.11)."""
    if type(value) is str and (found := known.get(value)) is not None:
        return found
    text = to_text(value)
    if text is None:
        odd.append(f"{where}: missing")
        return None
    odd.append(f"{where}: unknown value")
    return known.get(text.lower(), text)


def _usage(value: object, where: str, odd: Odd) -> e.Usage | None:
    if type(value) is not dict:
        odd.append(f"{where}: not an object")
        return None
    if not value.keys() <= _USAGE_MEMBERS:
        _note_members(value, _USAGE_MEMBERS, where, odd)
    price, currency = value.get("price"), value.get("currency")
    amount = to_decimal(price)
    if amount is None or type(price) is not str:
        odd.append(f"{where}.price: {'missing' if price is None else 'not a decimal in text'}")
    if currency != "EUR":  # the only one that the contract documents; any text is accepted (9.19)
        text = to_text(currency)
        currency = text.upper() if text is not None and text.upper() == "EUR" else text
        odd.append(f"{where}.currency: {'missing' if currency is None else 'unknown value'}")
    return e.Usage(amount, currency)


def _error(value: object, odd: Odd) -> e.MessageError | None:
    """Contract 5.6: code and reason, whichever of the three shapes."""
    if type(value) is list:
        odd.append("error: a list")
        value = next((item for item in value if type(item) is dict), None)
    if type(value) is not dict:
        odd.append("error: not an object")
        text = to_text(value)
        return None if text is None else e.MessageError(to_int(text), text)
    _note_members(value, _ERROR_MEMBERS, "error", odd)
    title = to_text(value.get("title"))
    code = to_int(value.get("code"))
    if code is None and title is not None and title.isdigit():
        code = to_int(title)
    if code is None and (kind := to_text(value.get("type"))) is not None and "#" in kind:
        code = to_int(kind.rpartition("#")[2])
    reason = _verbatim(value.get("reason"), "error.reason", odd)
    reason = reason or _verbatim(value.get("detail"), "error.detail", odd) or title
    return e.MessageError(_noted(value, code, "error.code", odd), reason)


def _workflow(value: object, odd: Odd) -> e.WorkflowPosition | None:
    if type(value) is not dict:
        odd.append("workflow: not an object")
        return None
    return e.WorkflowPosition(
        to_text(value.get("id")), to_int(value.get("items_number")), to_int(value.get("items_total"))
    )


def _dispatch_uuid(raw: JSONObject, links: object, odd: Odd) -> str | None:
    """Contract 5.2: `dispatch`, else `workflow`, else any link, else the top level, else the end of an `href`."""
    ordered: list[JSONObject] = []
    if type(links) is dict:
        # The real form first, then the documented one, then whatever there is.
        first = links.get("dispatch")
        if type(first) is dict and type(found := first.get("dispatch_uuid")) is str and found:
            if len(links) > 1 or not first.keys() <= _LINK_MEMBERS:
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
        if href is not None and (match := _UUID_AT_END.fullmatch(href, max(0, len(href) - 37))):
            return match[1]
    return None


_Media = e.ImageContent | e.AudioContent | e.VideoContent | e.FileContent
_MEDIA: dict[str, type[_Media]] = {
    "image": e.ImageContent,
    "audio": e.AudioContent,
    "video": e.VideoContent,
    "file": e.FileContent,
}


def _content(value: object, where: str, odd: Odd) -> e.Content:
    """Contract 5.5.2; `value` holds `type` and the payload under the name of the type."""
    if type(value) is not dict:
        odd.append(f"{where}: missing")
        return e.UnknownContent("unknown", value)
    kind = _lower(value.get("type"))
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
        return _verbatim(part.get(name), f"{where}.{kind}.{name}", odd)

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


# --- notes -------------------------------------------------------------------------------------------

T = TypeVar("T")


def _noted(source: object, value: T | None, where: str, odd: Odd) -> T | None:
    """Pass `value` on; note when there was a source and nothing could be read from it."""
    if value is None and source is not None:
        odd.append(f"{where}: missing or unreadable")
    return value


def _verbatim(value: object, where: str, odd: Odd) -> str | None:
    """Text exactly as it came; empty is missing; a number becomes text (contract 5.11)."""
    if value is None:
        return None
    if type(value) is str:
        return value or None
    odd.append(f"{where}: not text")
    return to_text(value)


def _lower(value: object) -> str:
    return value.strip().lower() if type(value) is str else ""


def _note_timestamp(value: object, odd: Odd) -> str | None:
    """The original text of a timestamp that is missing, unreadable or a number."""
    odd.append(f"timestamp: {'missing' if value is None else 'unknown form'}")
    return value if type(value) is str else to_text(value)


def _note_members(raw: JSONObject, known: frozenset[str], where: str, odd: Odd) -> None:
    """Note unknown members; a name is repeated only if it cannot be a number or an address."""
    for name in raw.keys() - known:
        shown = f" {name}" if _PLAIN_NAME.fullmatch(name) else ""
        odd.append(f"{where}: unknown member{shown}")
