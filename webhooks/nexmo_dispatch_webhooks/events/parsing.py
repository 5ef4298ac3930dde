# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (the reason: members of decoded JSON have no known type until they are read here)
"""`parse_event`: from a body to a typed event, whose kind the shape of the body decides.

It needs no headers and checks no signature: `signature` and `sansio` do. Each reader notes in `odd` every
oddity that it tolerated, by place and without the value; with `strict=True` such notes are an error.
"""

from __future__ import annotations

from typing import Any

from nexmo_dispatch_core.lenient import to_int, to_text
from nexmo_dispatch_core.vocabulary import REPORT_STATUSES, STATUSES, TEMPLATES
from nexmo_dispatch_webhooks.events import structs as e
from nexmo_dispatch_webhooks.events.contents import read_content
from nexmo_dispatch_webhooks.events.decoding import decode_object
from nexmo_dispatch_webhooks.events.members import (
    DESTINATION_MEMBERS,
    INBOUND_MEMBERS,
    MESSAGE_MEMBERS,
    PROFILE_MEMBERS,
    REPORT_LINKS,
    REPORT_MEMBERS,
    REPORTED_MEMBERS,
    SMS_MEMBERS,
    STATUS_MEMBERS,
    WHATSAPP_MEMBERS,
)
from nexmo_dispatch_webhooks.events.oddities import (
    Odd,
    note_members,
    noted,
    plain,
    read_object,
    read_time,
    required,
    verbatim,
)
from nexmo_dispatch_webhooks.events.parts import (
    find_dispatch_uuid,
    read_address,
    read_customer,
    read_error,
    read_own_channel,
    read_usage,
    read_word,
    read_workflow,
)
from nexmo_dispatch_webhooks.events.status_fast_path import read_documented_status
from nexmo_dispatch_webhooks.events.whatsapp_users import read_user
from nexmo_dispatch_webhooks.exceptions import InvalidBodyError

__all__ = ["parse_event"]

JSONObject = dict[str, Any]
#: Objects of a v1-format status (contract 5.8) that give nothing to the event; `workflow` does.
_V1_STATUS_OBJECTS = {
    "sms": SMS_MEMBERS,
    "whatsapp": WHATSAPP_MEMBERS,
    "destination": DESTINATION_MEMBERS,
    "profile": PROFILE_MEMBERS,
    "context": None,
}


def parse_event(body: bytes | str, *, strict: bool = False) -> e.Event:
    """Read the body of a callback, v0.1 or v1 format (contract 5.1 to 5.8).

    Unknown parts are kept: a value as text, a member in `raw`, a whole object as `UnknownEvent`. The oddities
    that were tolerated are listed in `oddities`, so that they can be counted.

    Args:
        body: The raw body, as bytes (preferred: signatures are over bytes) or text.
        strict: Refuse everything that contract 5 does not document; for contract tests, not for service.

    Raises:
        InvalidBodyError: The body is not a JSON object; with *strict*, also when anything is odd.
    """
    raw, clean = decode_object(body)
    if clean and (documented := read_documented_status(raw)) is not None:
        return documented
    odd: Odd = [] if clean else ["body: not strict JSON"]
    event = _classify(raw, odd)
    if strict and odd:
        raise InvalidBodyError("not as documented: " + "; ".join(odd[:20]))
    return event


def _classify(raw: JSONObject, odd: Odd) -> e.Event:
    """Classify an object by contract 5.1, in its order."""
    message_uuid = plain(raw.get("message_uuid"), "message_uuid", odd)
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
    note_members(raw, STATUS_MEMBERS, "body", odd)
    channel = read_own_channel(raw.get("channel"), "channel", odd)
    user = read_user(raw, "recipient", odd)
    to = read_customer(raw.get("to"), channel, "to", user, odd)
    sender = read_address(raw.get("from"), channel, "from", True, odd)
    for name, known in _V1_STATUS_OBJECTS.items():
        if name in raw:
            read_object(raw[name], known, name, odd)
    timestamp, timestamp_raw = read_time(raw.get("timestamp"), odd)
    error, errors = raw.get("error"), raw.get("errors")
    if error is None:
        error = errors
    elif errors is not None:
        odd.append("errors: beside error")
    usage = raw.get("usage")
    links = raw.get("_links")
    workflow = None if (position := raw.get("workflow")) is None else read_workflow(position, odd)
    dispatch_uuid = (
        None if links is None and "dispatch_uuid" not in raw else find_dispatch_uuid(raw, links, odd)
    )
    if dispatch_uuid is None and workflow is not None:
        dispatch_uuid = workflow.id  # the v1 format has no links (contract 5.8)
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
        workflow,
        user,
        tuple(odd),
        raw,
    )


def _inbound(raw: JSONObject, message_uuid: str, odd: Odd) -> e.InboundMessage:
    note_members(raw, INBOUND_MEMBERS, "body", odd)
    channel = read_own_channel(raw.get("channel"), "channel", odd)
    to = read_address(raw.get("to"), channel, "to", True, odd)
    user = read_user(raw, "sender", odd)
    sender = read_customer(raw.get("from"), channel, "from", user, odd)
    message = raw.get("message")
    if type(message) is dict:
        note_members(message, MESSAGE_MEMBERS, "message", odd)
        content = read_content(message.get("content"), "message.content", odd)
        sms = read_object(message.get("sms"), SMS_MEMBERS, "sms", odd)
    else:
        # v1 format: the payload is at the top level, under the name of its type (contract 5.8)
        content = read_content({**raw, "type": raw.get("message_type")}, "body", odd, flat=True)
        sms = read_object(raw.get("sms"), SMS_MEMBERS, "sms", odd)
    count = sms.get("num_messages")
    if count is None:
        count = sms.get("count_total", sms.get("total_count"))
    elif type(count) is not str:
        odd.append("sms.num_messages: not text")
    if raw.get("direction", "inbound") not in ("inbound", None):
        odd.append("direction: unknown value")
    usage = raw.get("usage")
    timestamp, timestamp_raw = read_time(raw.get("timestamp"), odd)
    profile = read_object(raw.get("profile"), PROFILE_MEMBERS, "profile", odd)
    context = read_object(raw.get("context"), None, "context", odd)
    return e.InboundMessage(
        message_uuid=message_uuid,
        channel=channel or (sender.type if sender.type != "unknown" else to.type),
        from_=sender,
        to=to,
        content=content,
        timestamp=timestamp,
        timestamp_raw=timestamp_raw,
        usage=None if usage is None else read_usage(usage, "usage", odd),
        client_ref=verbatim(raw.get("client_ref"), "client_ref", odd),
        num_messages=noted(count, to_int(count), "sms.num_messages", odd),
        keyword=verbatim(sms.get("keyword"), "sms.keyword", odd),
        profile_name=verbatim(profile.get("name"), "profile.name", odd),
        reply_to=plain(context.get("message_uuid"), "context.message_uuid", odd),
        profile_username=verbatim(profile.get("username"), "profile.username", odd),
        whatsapp_user=user,
        oddities=tuple(odd),
        raw=raw,
    )


def _report(raw: JSONObject, odd: Odd) -> e.FinalReport:
    note_members(raw, REPORT_MEMBERS, "body", odd)
    links = read_object(raw.get("_links"), REPORT_LINKS, "_links", odd)
    messages: object = links.get("messages")
    if type(messages) is dict:  # one object where a list is expected (contract 5.11)
        odd.append("_links.messages: not a list")
        messages = [messages]
    elif type(messages) is not list:
        odd.append("_links.messages: missing")
        messages = []
    if not all(type(item) is dict for item in messages):
        odd.append("_links.messages: not objects only")
    usage, status, template = (raw.get(name) for name in ("usage", "status", "template"))
    timestamp, timestamp_raw = read_time(raw.get("timestamp"), odd)
    dispatch_uuid = plain(raw.get("dispatch_uuid"), "dispatch_uuid", odd)
    if dispatch_uuid is None:  # links that hold it are no part of a report, and were noted above
        dispatch_uuid = find_dispatch_uuid(raw, links, [])
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
    usage, channel = item.get("usage"), item.get("channel")
    if channel is None:
        odd.append("_links.messages.channel: missing")
    return e.ReportedMessage(
        message_uuid=required(item.get("message_uuid"), "_links.messages.message_uuid", odd),
        channel=read_own_channel(channel, "_links.messages.channel", odd),
        status=read_word(item.get("status"), STATUSES, "_links.messages.status", odd),
        usage=None if usage is None else read_usage(usage, "_links.messages.usage", odd),
        href=plain(item.get("href"), "_links.messages.href", odd),
    )


def _is_inbound(direction: object) -> bool:
    return type(direction) is str and direction.strip().lower() == "inbound"
