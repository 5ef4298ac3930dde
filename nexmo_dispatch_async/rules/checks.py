"""Holds the steps of a workflow against the rules and reports every breach.

Builders accept anything, so each function here takes `object` and first looks at the type: whatever a step
holds, the outcome is a list of findings. Messages never repeat what a field holds, since that may be personal.
This runs before every send, so the good case is short: most lines below `if` are for bad input.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import cast

from msgspec import UNSET

from nexmo_dispatch_async.models.findings import Finding, rule_url
from nexmo_dispatch_async.models.requests import (
    Address,
    Audio,
    Custom,
    Failover,
    File,
    Image,
    Link,
    Media,
    Message,
    MessengerOptions,
    Parameter,
    Step,
    Template,
    TemplateBody,
    Text,
    ViberOptions,
    Video,
    WhatsAppOptions,
)
from nexmo_dispatch_async.rules.settings import Rules
from nexmo_dispatch_async.rules.specs import BARRED, CRIMEA, MESSENGER_TAGS, SANCTIONED, SPECS, ChannelSpec
from nexmo_dispatch_async.sms_segments import count_segments
from nexmo_dispatch_async.templates import parameter_count, render

__all__ = ["find"]


class Report:
    """Collects findings; knows the step at hand and which rules apply."""

    __slots__ = ("errors_only", "findings", "rules", "step")

    def __init__(self, rules: Rules, *, errors_only: bool) -> None:
        self.rules = rules
        self.errors_only = errors_only
        self.findings: list[Finding] = []
        self.step: int | None = None

    def add(self, rule: str, field: str, message: str) -> None:
        severity = self.rules.severity(rule)
        if severity is not None and (severity == "error" or not self.errors_only):
            self.findings.append(Finding(rule, severity, self.step, field, message, rule_url(rule)))

    def wants(self, rule: str) -> bool:
        """Whether a rule that costs some work has to be looked at."""
        severity = self.rules.severity(rule)
        return severity == "error" or (severity is not None and not self.errors_only)


def find(steps: object, rules: Rules, *, errors_only: bool = False) -> list[Finding]:
    """All findings for the steps of a workflow."""
    report = Report(rules, errors_only=errors_only)
    if not isinstance(steps, tuple | list):
        report.add("type", "workflow", "must be the steps as a tuple")
        return report.findings
    items = cast("Iterable[object]", steps)
    count = len(cast("tuple[object, ...]", steps))
    if count < 2:
        if not count:
            report.add("steps", "workflow", "has no step; add at least one")
        else:
            report.add(
                "single-step", "workflow", "has one step, so nothing can fail over; add a step for that"
            )
    for number, step in enumerate(items, 1):
        report.step = number
        _step(report, step, last=number == count)
    if report.wants("one-account"):
        report.step = None
        senders(report, items)
    return report.findings


def senders(report: Report, steps: Iterable[object]) -> None:
    """Warn when one platform is used with several sender ids (contract 4.4, 7.5)."""
    accounts: dict[str, set[str]] = {}
    for step in steps:
        if isinstance(step, Step) and (sender := account(step)):
            accounts.setdefault(sender[0], set()).add(sender[1])
    for channel, ids in accounts.items():
        if len(ids) > 1:
            name = SPECS[channel].name
            report.add(
                "one-account",
                "from",
                f"{len(ids)} {name} senders are used, but an application has one {name} account; "
                "use one sender, or one application for each",
            )


def account(step: Step) -> tuple[str, str] | None:
    """Channel and sender of a step on a platform that allows one account per application."""
    from_: object = getattr(step, "from_", None)
    spec = (
        SPECS.get(from_.type)
        if isinstance(from_, Address) and isinstance(cast("object", from_.type), str)
        else None
    )
    if spec is None or not spec.options:
        return None
    value = getattr(from_, spec.sender, UNSET)
    return (spec.options, value) if isinstance(value, str) else None


# --- the parts of a step, from the outside to the inside ---


def _step(report: Report, step: object, *, last: bool) -> None:
    if not isinstance(step, Step):
        report.add("type", "", "must be a Step; build it with sms.text(...), whatsapp.text(...) and so on")
        return
    spec = _route(report, step.from_, step.to)
    if step.client_ref is not UNSET:
        ref = _text(report, "client_ref", step.client_ref)
        if ref is not None and _length(report, ref) > 40:
            report.add("client-ref-length", "client_ref", "has more than 40 characters; shorten it")
    _message(report, step.message, spec)
    _failover(report, step, step.failover, spec, last=last)


def _route(report: Report, from_: object, to: object) -> ChannelSpec | None:
    sender = _channel(report, "from", from_)
    spec = _channel(report, "to", to)
    if sender is not None and spec is not None and sender is not spec:
        report.add(
            "channel-mismatch",
            "to.type",
            f"is {_name(spec)} while from.type is {_name(sender)}; use one channel",
        )
    if isinstance(from_, Address) and sender is not None:
        _address(report, "from", from_, sender, (sender.sender,), phone=sender.sender_is_phone)
    if isinstance(to, Address) and spec is not None:
        value = _address(report, "to", to, spec, spec.recipient, phone=spec.recipient_is_phone)
        if value is not None and spec.recipient_is_phone:
            _country(report, f"to.{_member(to, spec.recipient)}", value, spec)
    return spec


def _channel(report: Report, side: str, address: object) -> ChannelSpec | None:
    if not isinstance(address, Address):
        report.add("type", side, "must be an Address")
        return None
    kind: object = address.type
    spec = SPECS.get(kind) if isinstance(kind, str) else None
    if spec is None:
        report.add("channel", f"{side}.type", f"must be one of {', '.join(SPECS)}")
    return spec


def _member(address: Address, members: tuple[str, ...]) -> str:
    """The first of the members that is there."""
    return next((name for name in members if getattr(address, name) is not UNSET), members[0])


def _address(
    report: Report, side: str, address: Address, spec: ChannelSpec, members: tuple[str, ...], *, phone: bool
) -> str | None:
    member = members[0] if len(members) == 1 else _member(address, members)
    field = f"{side}.{member}"
    value: object = getattr(address, member)
    other = "id" if member == "number" else "number"
    if getattr(address, other) is not UNSET:
        if value is UNSET:
            report.add("address-member", field, f"is missing; {spec.name} reads {member}, not {other}")
            return None
        report.add("address-extra", f"{side}.{other}", f"is ignored; {spec.name} reads {member}")
    elif value is UNSET:
        report.add("address-member", field, "is missing")
        return None
    if type(value) is not str or not value.isascii():
        if (text := _text(report, field, value, hint='; write the digits in quotes, "447700900123"')) is None:
            return None
        value = text
    if not 1 <= len(value) <= 50:
        report.add("address-length", field, "is empty" if not value else "has more than 50 characters")
        if not value:
            return None
    if phone:
        if not (value.isascii() and value.isdigit() and len(value) <= 15 and value[0] != "0"):
            report.add("e164", field, _explain_number(value))
    elif spec.name == "SMS":
        _sms_sender(report, field, value)
    if spec.name == "MMS":
        digits = value.isascii() and value.isdigit()
        if side == "from" and not (digits and len(value) in {5, 6}):
            report.add("mms-numbers", field, "is not a US short code of 5 or 6 digits")
        elif side == "to" and not (digits and value[0] == "1" and len(value) == 11):
            report.add("mms-numbers", field, "is not a US number: 1 and ten digits")
    return value


def _explain_number(value: str) -> str:
    """What to do about a number that is not E.164, without repeating it."""
    bare = value.strip()
    if bare.startswith("+"):
        return "must be digits only; leave out the leading +"
    if bare.startswith("00"):
        return "must begin with the country code; leave out the leading 00"
    if bare.startswith("0"):
        return "must begin with the country code; no country code begins with 0"
    if bare.startswith("$") or any(character.isalpha() for character in bare):
        return "must be digits only; this looks like a placeholder or a name"
    if not (bare.isascii() and bare.isdigit()):
        return "must be digits only; leave out blanks, dashes and brackets"
    return "must have at most 15 digits" if bare == value else "must be digits only; leave out blanks"


def _sms_sender(report: Report, field: str, value: str) -> None:
    if value.isascii() and value.isdigit():
        return
    if value.startswith("+") and value[1:].isdigit():
        report.add("sms-sender", field, "begins with +; write a number in digits only")
    elif len(value) > 11:
        report.add(
            "sms-sender",
            field,
            "is an alphanumeric sender of more than 11 characters; carriers cut or refuse it",
        )
    else:
        report.add(
            "sms-sender",
            field,
            "is an alphanumeric sender; where a country forbids those, the SMS fails with 1120",
        )


def _country(report: Report, field: str, value: str, spec: ChannelSpec) -> None:
    if spec.name == "WhatsApp":
        for code, country in BARRED.items():
            if value.startswith(code):
                report.add(
                    "whatsapp-country", field, f"is a number in {country}, where WhatsApp may not be used"
                )
        if value.startswith(CRIMEA):
            report.add("whatsapp-crimea", field, "may be in Crimea, where WhatsApp may not be used")
    if report.wants("sanctioned-country"):
        for code, country in SANCTIONED.items():
            if value.startswith(code):
                report.add("sanctioned-country", field, f"is a number in {country}, which is under sanctions")


# --- message ---


def _message(report: Report, message: object, spec: ChannelSpec | None) -> None:
    if not isinstance(message, Message):
        report.add("type", "message", "must be a Message")
        return
    content: object = message.content
    if type(content) is Text:
        if spec is not None and "text" not in spec.content:
            _carries(report, "text", spec)
        _sized(
            report,
            "text-length",
            "message.content.text",
            content.text,
            4096 if spec is None else spec.text_limit,
        )
        if spec is not None and spec.name == "SMS" and report.wants("sms-segments"):
            _segments(report, content.text)
    else:
        _content(report, content, message, spec)
    # Most messages have no options, and three comparisons are cheaper than three calls.
    if message.viber_service_msg is not UNSET:
        _viber(report, message.viber_service_msg, spec)
    if message.messenger is not UNSET:
        _messenger(report, message.messenger, spec)
    if message.whatsapp is not UNSET:
        _whatsapp(report, message.whatsapp, spec)


def _content(report: Report, content: object, message: Message, spec: ChannelSpec | None) -> None:
    field = "message.content"
    match content:
        case Image(image=body):
            kind = "image"
            _media(report, kind, body, spec, Media)
        case File(file=body):
            kind = "file"
            _media(report, kind, body, spec, Media)
        case Audio(audio=body):
            kind = "audio"
            _media(report, kind, body, spec, Link)
        case Video(video=body):
            kind = "video"
            _media(report, kind, body, spec, Link)
        case Template(template=body):
            kind = "template"
            _template(report, body, message, spec)
        case Custom(custom=body):
            kind = "custom"
            if isinstance(cast("object", body), dict):
                for path, problem in _not_json(body, f"{field}.custom"):
                    report.add("custom-json", path, problem)
            else:
                report.add("type", f"{field}.custom", "must be a mapping with the channel's own members")
        case _:
            report.add(
                "type",
                field,
                "must be one of the contents: Text, Image, Audio, Video, File, Template, Custom",
            )
            return
    if spec is not None and kind not in spec.content:
        _carries(report, kind, spec)


def _carries(report: Report, kind: str, spec: ChannelSpec) -> None:
    if kind in spec.doubtful:
        report.add(
            "content-doubtful",
            "message.content.type",
            f"{kind} on {spec.name} is not in Dispatch's specification",
        )
    else:
        also = "; use custom" if kind == "template" and "custom" in spec.content else ""
        carried = ", ".join(sorted(spec.content))
        report.add(
            "content-channel", "message.content.type", f"{spec.name} carries {carried}, not {kind}{also}"
        )


def _media(
    report: Report, kind: str, body: object, spec: ChannelSpec | None, expected: type[Media | Link]
) -> None:
    field = f"message.content.{kind}"
    if not isinstance(body, expected):
        report.add("type", field, f"must be a {expected.__name__}")
        return
    url = _sized(report, "url-length", f"{field}.url", body.url, 2000)
    if url:
        if not url.lower().startswith(("https://", "http://")):
            report.add(
                "url-form", f"{field}.url", "does not start with https://, so the service cannot fetch it"
            )
        extensions = spec.extensions.get(kind) if spec is not None else None
        if extensions and report.wants("media-extension"):
            path = url.split("?", 1)[0].split("#", 1)[0].lower()
            if not path.endswith(extensions):
                report.add("media-extension", f"{field}.url", f"does not end in {', '.join(extensions)}")
    if isinstance(body, Media) and body.caption is not UNSET:
        _sized(report, "caption-length", f"{field}.caption", body.caption, 3000)
        if spec is not None and not spec.captions:
            report.add(
                "caption-channel", f"{field}.caption", f"is not shown on {spec.name}; send it as a text"
            )


def _template(report: Report, body: object, message: Message, spec: ChannelSpec | None) -> None:
    field = "message.content.template"
    if not isinstance(body, TemplateBody):
        report.add("type", field, "must be a TemplateBody")
        return
    on_whatsapp = spec is not None and spec.name == "WhatsApp"
    name = _text(report, f"{field}.name", body.name)
    if name is not None and not name:
        report.add("template-name", f"{field}.name", "is empty")
    elif name is not None and on_whatsapp and not all(name.partition(":")):
        report.add("template-name", f"{field}.name", "must have the form namespace:name")
    values = _parameters(report, f"{field}.parameters", body.parameters)
    if name is not None and values is not None and (text := report.rules.templates.get(name)) is not None:
        expected = parameter_count(text)
        if len(values) != expected:
            message_ = (
                f"has {len(values)} parameters where the template takes {expected}; it would fail with 1022"
            )
            report.add("template-count", f"{field}.parameters", message_)
        elif len(render(text, values)) > 1024:
            report.add("template-length", f"{field}.parameters", "make the text longer than 1024 characters")
    options: object = message.whatsapp
    if on_whatsapp and not (isinstance(options, WhatsAppOptions) and options.locale is not UNSET):
        report.add(
            "whatsapp-locale", "message.whatsapp.locale", 'is missing; name the language, for example "en-GB"'
        )


def _parameters(report: Report, field: str, parameters: object) -> list[str] | None:
    """The texts of the parameters, or None when they cannot be read."""
    if parameters is UNSET:
        return []
    if not isinstance(parameters, tuple | list):
        report.add("type", field, 'must be a list of texts, for example ["Bank", "1234"]')
        return None
    values: list[str] = []
    for index, parameter in enumerate(cast("Iterable[object]", parameters)):
        place = f"{field}[{index}]"
        inner: object = parameter
        if isinstance(parameter, Parameter):
            inner = parameter.default
        elif isinstance(parameter, str):
            report.add("template-parameter", place, 'is a plain text; write {"default": "…"}')
        value = _text(report, place, inner)
        if value == "":
            report.add("template-parameter", place, "is empty; the message would fail with 1022")
        values.append("" if value is None else value)
    return values


# --- options of the channels (contract 3.4.3) ---


def _options(
    report: Report, member: str, options: object, spec: ChannelSpec | None, expected: type[object]
) -> bool:
    field = f"message.{member}"
    if not isinstance(options, expected):
        report.add("type", field, f"must be {expected.__name__}")
        return False
    if spec is not None and spec.options != member:
        report.add("options-channel", field, f"has no effect on {spec.name}; leave it out")
    return True


def _viber(report: Report, options: object, spec: ChannelSpec | None) -> None:
    if not _options(report, "viber_service_msg", options, spec, ViberOptions):
        return
    assert isinstance(options, ViberOptions)  # noqa: S101 - _options has just looked; this tells the type checkers
    field = "message.viber_service_msg"
    _one_of(report, "viber-category", f"{field}.category", options.category, ("transaction", "promotion"))
    if options.type is not UNSET:
        _text(report, f"{field}.type", options.type)
    ttl: object = options.ttl
    if ttl is UNSET:
        return
    if type(ttl) is not int:
        report.add("type", f"{field}.ttl", "must be a whole number of seconds")
    elif not 30 <= ttl <= 259_200:
        report.add("viber-ttl", f"{field}.ttl", "must be 30 to 259200 seconds")
    elif ttl > 86_400:
        report.add("viber-ttl-long", f"{field}.ttl", "is above 86400, Dispatch's documented maximum")


def _messenger(report: Report, options: object, spec: ChannelSpec | None) -> None:
    if not _options(report, "messenger", options, spec, MessengerOptions):
        return
    assert isinstance(options, MessengerOptions)  # noqa: S101 - as above
    field = "message.messenger"
    categories = ("response", "update", "message_tag")
    _one_of(report, "messenger-category", f"{field}.category", options.category, categories)
    tagged = options.category == "message_tag"
    if options.tag is UNSET:
        if tagged:
            report.add("messenger-tag", f"{field}.tag", "is missing; the category message_tag needs one")
        return
    tag = _text(report, f"{field}.tag", options.tag)
    if tag == "":
        report.add("messenger-tag", f"{field}.tag", "is empty")
    elif tag is not None and tag.upper() not in MESSENGER_TAGS:
        report.add(
            "messenger-tag-unknown", f"{field}.tag", "is not a tag seen in use; a wrong one fails with 1021"
        )
    if not tagged:
        report.add("messenger-tag-unused", f"{field}.tag", "has no effect without the category message_tag")


def _whatsapp(report: Report, options: object, spec: ChannelSpec | None) -> None:
    if not _options(report, "whatsapp", options, spec, WhatsAppOptions):
        return
    assert isinstance(options, WhatsAppOptions)  # noqa: S101 - as above
    _one_of(report, "whatsapp-policy", "message.whatsapp.policy", options.policy, ("deterministic",))
    if options.locale is not UNSET:
        _text(report, "message.whatsapp.locale", options.locale)


def _one_of(report: Report, rule: str, field: str, value: object, allowed: tuple[str, ...]) -> None:
    if value is not UNSET and value not in allowed:
        report.add(rule, field, f"must be {' or '.join(allowed)}")


# --- failover (contract 3.5) ---


def _failover(report: Report, step: Step, failover: object, spec: ChannelSpec | None, *, last: bool) -> None:
    if failover is UNSET:
        if not last:
            report.add("failover-missing", "failover", 'is missing; add .until("delivered", within=600)')
        return
    if last:
        report.add("failover-last", "failover", "must not be on the last step; leave out .until(...)")
    if not isinstance(failover, Failover):
        report.add("type", "failover", "must be a Failover; use .until(...)")
        return
    expiry: object = failover.expiry_time
    if type(expiry) is not int:
        report.add("expiry", "failover.expiry_time", "must be a whole number of seconds, 15 to 86400")
    elif not 15 <= expiry <= 86_400:
        report.add("expiry", "failover.expiry_time", "must be 15 to 86400 seconds")
    else:
        options: object = getattr(step.message, "viber_service_msg", UNSET)
        if isinstance(options, ViberOptions):
            ttl: object = options.ttl
            if type(ttl) is int and ttl < expiry:
                report.add(
                    "viber-ttl-trap",
                    "message.viber_service_msg.ttl",
                    "is shorter than failover.expiry_time; Viber drops the message in silence, "
                    "and the next step still waits for the expiry",
                )
    condition: object = failover.condition_status
    if condition == "read":
        if spec is not None and not spec.reads:
            report.add(
                "condition-read",
                "failover.condition_status",
                f"{spec.name} never reports read; use delivered",
            )
    elif condition != "delivered":
        report.add("condition", "failover.condition_status", "must be delivered or read")


# --- values ---


def _text(report: Report, field: str, value: object, hint: str = "") -> str | None:
    """The value when it is text that can be written as UTF-8, else None and a finding."""
    # Other subclasses of str cannot be written by msgspec; an enum of texts can.
    if type(value) is not str and not (isinstance(value, str) and isinstance(value, Enum)):
        report.add("type", field, f"must be text{hint}")
        return None
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        report.add("surrogate", field, "holds half a surrogate pair, which is no character; repair the text")
        return None
    return value


def _sized(report: Report, rule: str, field: str, value: object, limit: int) -> str | None:
    text = value if type(value) is str and value.isascii() else _text(report, field, value)
    if text is not None and not 0 < (length := _length(report, text)) <= limit:
        report.add(
            rule, field, f"has {length} characters; at most {limit} are taken" if length else "is empty"
        )
    return text


def _length(report: Report, text: str) -> int:
    if report.rules.utf16 and not text.isascii():
        return len(text) + sum(character > "\uffff" for character in text)
    return len(text)


def _segments(report: Report, value: object) -> None:
    if isinstance(value, str) and (count := count_segments(value)).segments > 1:
        report.add("sms-segments", "message.content.text", f"takes {count.segments} SMS in {count.encoding}")


def _name(spec: ChannelSpec) -> str:
    return next(key for key, value in SPECS.items() if value is spec)


def _not_json(value: object, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Whatever inside of a custom object would not arrive as it is."""
    if depth > 100:
        yield path, "is nested more than 100 deep"
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str or not _encodable(key):
                yield path, "has a key that is not text"
            else:
                yield from _not_json(item, f"{path}.{key[:60]}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Iterable[object]", value)):
            yield from _not_json(item, f"{path}[{index}]", depth + 1)
    elif type(value) is str:
        if not _encodable(value):
            yield path, "holds half a surrogate pair"
    elif type(value) is float:
        if not math.isfinite(value):
            yield path, "is not a finite number"
    elif type(value) is int:
        if value.bit_length() > 10_000:
            yield path, "is a number of more than 3000 digits"
    elif value is not None and type(value) is not bool:
        yield path, "is not a JSON value"


def _encodable(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
