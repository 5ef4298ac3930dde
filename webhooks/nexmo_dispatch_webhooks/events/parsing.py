# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""`parse_event`: a body to a typed event, told apart by shape and read with every tolerance.

It needs no headers and checks no signature: `signature` and `sansio` do. Each reader notes in `odd`
what it tolerated, by place and without the value; `strict=True` turns the first such note into an error.
"""

from __future__ import annotations

from typing import Any

from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.contents import read_content
from nexmo_dispatch_webhooks.events.decoding import decode_object, to_int, to_text
from nexmo_dispatch_webhooks.events.notes import Odd, note_members, note_timestamp, noted, verbatim
from nexmo_dispatch_webhooks.events.parts import (
    find_dispatch_uuid,
    read_address,
    read_channel,
    read_error,
    read_usage,
    read_word,
    read_workflow,
)
from nexmo_dispatch_webhooks.events.timestamps import parse_timestamp
from nexmo_dispatch_webhooks.events.usual import read_usual_status
from nexmo_dispatch_webhooks.events.vocabulary import (
    INBOUND_MEMBERS,
    REPORT_MEMBERS,
    REPORT_STATUSES,
    REPORTED_MEMBERS,
    STATUS_MEMBERS,
    STATUSES,
    TEMPLATES,
)
from nexmo_dispatch_webhooks.exceptions import InvalidBodyError

__all__ = ["parse_event"]

JSONObject = dict[str, Any]


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
    if clean and (usual := read_usual_status(raw)) is not None:
        return usual
    odd: Odd = [] if clean else ["body: not strict JSON"]
    event = _classify(raw, odd)
    if strict and odd:
        raise InvalidBodyError("not as documented: " + "; ".join(odd[:20]))
    return event


def _classify(raw: JSONObject, odd: Odd) -> e.Event:
    """Contract 5.1, in its order."""
    message_uuid = to_text(raw.get("message_uuid"))
    if message_uuid is not None:
        if type(raw.get("message")) is dict or _is_inbound(raw.get("direction")):
            return _inbound(raw, message_uuid, odd)
        status = raw.get("status")
        if type(status) is str and (status := read_word(status, STATUSES, "status", odd)):
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
    if not STATUS_MEMBERS.issuperset(raw):
        note_members(raw, STATUS_MEMBERS, "body", odd)
    channel = None if raw.get("channel") is None else read_channel(raw["channel"], "channel", odd)
    to = read_address(raw.get("to"), channel, "to", False, odd)
    sender = read_address(raw.get("from"), channel, "from", True, odd)
    timestamp_raw = raw.get("timestamp")
    timestamp = parse_timestamp(timestamp_raw)
    if timestamp is None or type(timestamp_raw) is not str:
        timestamp_raw = note_timestamp(timestamp_raw, odd)
    error = raw.get("error")
    if error is None:
        error = raw.get("errors")
    usage = raw.get("usage")
    links = raw.get("_links")
    workflow = raw.get("workflow")
    dispatch_uuid = (
        None if links is None and "dispatch_uuid" not in raw else find_dispatch_uuid(raw, links, odd)
    )
    return e.MessageStatus(
        message_uuid,
        status,
        channel or (to.type if to.type != "unknown" else sender.type),
        sender,
        to,
        timestamp,
        timestamp_raw,
        dispatch_uuid,
        None if error is None else read_error(error, odd),
        None if usage is None else read_usage(usage, "usage", odd),
        verbatim(raw.get("client_ref"), "client_ref", odd),
        None if workflow is None else read_workflow(workflow, odd),
        tuple(odd),
        raw,
    )


def _inbound(raw: JSONObject, message_uuid: str, odd: Odd) -> e.InboundMessage:
    note_members(raw, INBOUND_MEMBERS, "body", odd)
    channel = None if raw.get("channel") is None else read_channel(raw["channel"], "channel", odd)
    to = read_address(raw.get("to"), channel, "to", True, odd)
    sender = read_address(raw.get("from"), channel, "from", False, odd)
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
        timestamp_raw = note_timestamp(timestamp_raw, odd)
    profile, context = raw.get("profile"), raw.get("context")
    return e.InboundMessage(
        message_uuid=message_uuid,
        channel=channel or (sender.type if sender.type != "unknown" else to.type),
        from_=sender,
        to=to,
        content=read_content(content, where, odd),
        timestamp=timestamp,
        timestamp_raw=timestamp_raw,
        usage=None if usage is None else read_usage(usage, "usage", odd),
        client_ref=verbatim(raw.get("client_ref"), "client_ref", odd),
        num_messages=noted(count, to_int(count), "sms.num_messages", odd),
        keyword=verbatim(sms.get("keyword"), "sms.keyword", odd),
        profile_name=verbatim(profile.get("name"), "profile.name", odd) if type(profile) is dict else None,
        reply_to=to_text(context.get("message_uuid")) if type(context) is dict else None,
        oddities=tuple(odd),
        raw=raw,
    )


def _report(raw: JSONObject, odd: Odd) -> e.FinalReport:
    note_members(raw, REPORT_MEMBERS, "body", odd)
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
        timestamp_raw = note_timestamp(timestamp_raw, odd)
    dispatch_uuid = to_text(raw.get("dispatch_uuid")) or find_dispatch_uuid(raw, links, odd)
    return e.FinalReport(
        dispatch_uuid=noted(raw, dispatch_uuid, "dispatch_uuid", odd),
        status=read_word(status, REPORT_STATUSES, "status", odd),
        template=read_word(template, TEMPLATES, "template", odd),
        timestamp=timestamp,
        timestamp_raw=timestamp_raw,
        usage=None if usage is None else read_usage(usage, "usage", odd),
        messages=tuple(_reported(item, odd) for item in messages if type(item) is dict),
        oddities=tuple(odd),
        raw=raw,
    )


def _reported(item: JSONObject, odd: Odd) -> e.ReportedMessage:
    note_members(item, REPORTED_MEMBERS, "_links.messages", odd)
    usage = item.get("usage")
    return e.ReportedMessage(
        message_uuid=to_text(item.get("message_uuid")),
        channel=None
        if item.get("channel") is None
        else read_channel(item["channel"], "_links.messages.channel", odd),
        status=read_word(item.get("status"), STATUSES, "_links.messages.status", odd),
        usage=None if usage is None else read_usage(usage, "_links.messages.usage", odd),
        href=to_text(item.get("href")),
    )


def _is_inbound(direction: object) -> bool:
    return type(direction) is str and direction.strip().lower() == "inbound"
