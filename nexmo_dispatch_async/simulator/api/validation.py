"""Parses the body of `POST /dispatch` as leniently as the contract (3.1-3.5, 9); lists all violations.

It implements the contract independently of the models of the client, so that each reveals the mistakes of the
other. Conditions that show up only later, such as a closed care window, are in `platform.py`.
"""

from __future__ import annotations

from typing import Final, cast

import msgspec

from nexmo_dispatch_async.failover import FailoverCondition
from nexmo_dispatch_async.models.user_ids import is_user_id
from nexmo_dispatch_async.simulator.api.validation_fast_path import read_usual
from nexmo_dispatch_async.simulator.world.people import CHANNELS
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.steps import JSONObject, SimulatedStep, condition, is_e164, is_http
from nexmo_dispatch_async.simulator.world.violations import InvalidBody, Violation

__all__ = ["SimulatedStep", "parse_dispatch", "parse_unusual"]

# Contents and maximum length of a text by channel (contract 3.4.1, 3.4.2).
_CONTENTS: Final[dict[str, frozenset[str]]] = {
    "sms": frozenset({"text"}),
    "mms": frozenset({"text", "image"}),
    "whatsapp": frozenset({"text", "image", "audio", "video", "file", "template", "custom"}),
    "viber_service_msg": frozenset({"text", "image", "template", "custom"}),
    "messenger": frozenset({"text", "image", "audio", "video", "file", "custom"}),
}
_ALL_CONTENTS: Final = frozenset({"text", "image", "audio", "video", "file", "template", "custom"})
_TEXT_LIMITS: Final = {
    "sms": 1000,
    "mms": 1000,
    "whatsapp": 4096,
    "viber_service_msg": 1000,
    "messenger": 640,
}
# The spelling in the provider's snippet for MMS (contract 9.31).
_MISSPELT_IMAGE: Final = "img"
_STRICT: Final = Settings()
_OPTIONS: Final = frozenset({"viber_service_msg", "messenger", "whatsapp"})


class _Found(list[Violation]):
    """The violations found so far, and the switches in force."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings


def parse_dispatch(body: bytes, settings: Settings | None = None) -> tuple[SimulatedStep, ...]:
    """Return the steps of a workflow.

    Args:
        body: The raw request body.
        settings: The switches `accept_…`, which accept more than the service is known to accept; None for
            those of a new simulator.

    Raises:
        InvalidBody: The body is not a JSON object or has violations; all of them are listed.
    """
    text = body.decode(errors="replace")
    usual = read_usual(body, text)
    return parse_unusual(body, text, settings) if usual is None else usual


def parse_unusual(body: bytes, text: str, settings: Settings | None = None) -> tuple[SimulatedStep, ...]:
    """Parse a body without the fast path; `text` is the decoded body."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise InvalidBody([]) from None
    if not isinstance(document, dict):
        raise InvalidBody([])
    found = _Found(_STRICT if settings is None else settings)
    root = cast("JSONObject", document)
    if "workflow" not in root and "message" in root:
        if not found.settings.accept_bare_step:
            raise InvalidBody([Violation("workflow", "is required; the body is a bare step (contract 9.1)")])
        root = {"template": "failover", "workflow": [root]}
    if root.get("template") != "failover":
        found.append(Violation("template", "must be failover"))
    raw_steps = root.get("workflow")
    if not isinstance(raw_steps, list) or not raw_steps:
        found.append(Violation("workflow", "must be an array of at least one step"))
        raise InvalidBody(found)
    steps = cast("list[object]", raw_steps)
    last = len(steps) - 1
    accepted = [_step(raw, text, place, place == last, found) for place, raw in enumerate(steps)]
    if found:
        raise InvalidBody(found)
    return tuple(step for step in accepted if step is not None)


def _step(
    raw: object,
    body: str,
    place: int,
    is_last: bool,
    found: _Found,
) -> SimulatedStep | None:
    path = f"workflow[{place}]"
    if not isinstance(raw, dict):
        found.append(Violation(path, "must be an object"))
        return None
    step = cast("JSONObject", raw)
    before = len(found)
    waits_for = _failover(step.get("failover"), f"{path}.failover", is_last, found)
    client_ref = _scalar_text(step.get("client_ref"))
    if step.get("client_ref") is not None and (client_ref is None or len(client_ref) > 40):
        found.append(Violation(f"{path}.client_ref", "must be a string of at most 40 characters"))
    channel = _channel(step, path, found)
    if channel is None:
        return None
    sender = _address(step["from"], channel, "from", path, found)
    recipient = _address(step["to"], channel, "to", path, found)
    raw_message = step.get("message")
    if not isinstance(raw_message, dict):
        found.append(Violation(f"{path}.message", "is required and must be an object"))
        return None
    message = cast("JSONObject", raw_message)
    content_type = _content(message.get("content"), channel, f"{path}.message.content", found)
    has_options, ttl = _options(message, channel, f"{path}.message", found)
    if len(found) > before or sender is None or recipient is None:
        return None
    return SimulatedStep(
        channel, *sender, *recipient, body, place, content_type, client_ref, waits_for, ttl, has_options
    )


def _scalar_text(value: object) -> str | None:
    """Return a string; numbers are converted (contract 3.3: unquoted shell variables)."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():  # 4e2 equals 400 in JSON
        return str(int(value))
    return None


def _whole(value: object) -> int | None:
    """Return an integer; strings of digits are converted (contract 3.5: a tutorial sends "600")."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return None


def _failover(raw: object, path: str, is_last: bool, found: _Found) -> FailoverCondition | None:
    if is_last:
        if raw is not None:
            found.append(Violation(path, "is not allowed in the last step"))
        return None
    if not isinstance(raw, dict):
        found.append(Violation(path, "is required in every step except the last"))
        return None
    failover = cast("JSONObject", raw)
    expiry, status = _whole(failover.get("expiry_time")), failover.get("condition_status")
    if expiry is None or not 15 <= expiry <= 86400:
        found.append(Violation(f"{path}.expiry_time", "must be between 15 and 86400"))
    if status not in ("delivered", "read"):
        found.append(Violation(f"{path}.condition_status", "must be delivered or read"))
    return condition(str(status), expiry or 0)


def _channel(step: JSONObject, path: str, found: _Found) -> str | None:
    types: list[str] = []
    for end in ("from", "to"):
        raw = step.get(end)
        if not isinstance(raw, dict):
            found.append(Violation(f"{path}.{end}", "is required and must be an object"))
            continue
        kind = cast("JSONObject", raw).get("type")
        if isinstance(kind, str) and kind in _CONTENTS:
            types.append(kind)
        else:
            found.append(Violation(f"{path}.{end}.type", f"must be one of {', '.join(CHANNELS)}"))
    if len(types) < 2:
        return None
    if types[0] != types[1]:
        found.append(Violation(f"{path}.to.type", "must be the same channel as from.type"))
        return None
    return types[0]


def _address(raw: object, channel: str, end: str, path: str, found: _Found) -> tuple[str, str] | None:
    """Return key and value of `from` or `to`; `number` takes precedence (contract 3.3, 5.5, 9.3)."""
    members = cast("JSONObject", raw)
    if channel == "messenger" or (channel == "viber_service_msg" and end == "from"):
        keys: tuple[str, ...] = ("id",)
    elif channel == "viber_service_msg" or (channel == "whatsapp" and end == "to"):
        keys = ("number", "id")
    else:
        keys = ("number",)
    for key in keys:
        if members.get(key) is None:
            continue
        text = _scalar_text(members[key])
        if text is None or not 1 <= len(text) <= 50:
            found.append(Violation(f"{path}.{end}.{key}", "must be a string of 1 to 50 characters"))
            return None
        if key == "number" and not _passes_as_number(text.strip(), channel, end, found.settings):
            reason = "must be at most 15 digits with the country code, no + or 0 before"
            found.append(Violation(f"{path}.{end}.number", reason))
            return None
        if channel == "whatsapp" and key == "id" and not is_user_id(text):
            reason = "must be a user id: two letters, a point, letters and digits"
            found.append(Violation(f"{path}.to.id", reason))
            return None
        return key, text
    found.append(Violation(f"{path}.{end}.{keys[0]}", "is required"))
    return None


def _passes_as_number(text: str, channel: str, end: str, settings: Settings) -> bool:
    """Return whether a number is valid; senders may be names or short codes, except on WhatsApp (3.3)."""
    if settings.accept_any_number:
        return end == "from" or (text.isascii() and text.isdigit() and not text.startswith("00"))
    return is_e164(text) or (end == "from" and channel != "whatsapp")


def _content(raw: object, channel: str, path: str, found: _Found) -> str:
    if not isinstance(raw, dict):
        found.append(Violation(path, "is required and must be an object"))
        return ""
    content = cast("JSONObject", raw)
    kind = content.get("type")
    if kind == _MISSPELT_IMAGE and found.settings.accept_img:
        kind, content = "image", {"image": content.get("image", content.get(_MISSPELT_IMAGE))}
    if not isinstance(kind, str) or kind not in _ALL_CONTENTS:
        hint = "; write image" if kind == _MISSPELT_IMAGE else ""
        found.append(Violation(f"{path}.type", f"must be one of {', '.join(sorted(_ALL_CONTENTS))}{hint}"))
        return ""
    if kind not in _CONTENTS[channel]:
        found.append(Violation(f"{path}.type", f"{kind} is not possible on {channel}"))
        return ""
    payload, path = content.get(kind), f"{path}.{kind}"
    if kind == "text":
        limit = _TEXT_LIMITS[channel]
        if not isinstance(payload, str) or not 1 <= len(payload) <= limit:
            found.append(Violation(path, f"must be a string of 1 to {limit} characters"))
    elif not isinstance(payload, dict):
        found.append(Violation(path, "is required and must be an object"))
    elif kind == "template":
        _template(cast("JSONObject", payload), path, found)
    elif kind != "custom":
        _media(cast("JSONObject", payload), path, found)
    return kind


def _media(payload: JSONObject, path: str, found: _Found) -> None:
    url, caption = payload.get("url"), payload.get("caption")
    if not isinstance(url, str) or not 1 <= len(url) <= 2000:
        found.append(Violation(f"{path}.url", "must be a string of 1 to 2000 characters"))
    elif not found.settings.accept_any_url and not is_http(url):
        found.append(Violation(f"{path}.url", "must be an http or https URL"))
    if caption is not None and (not isinstance(caption, str) or not 1 <= len(caption) <= 3000):
        found.append(Violation(f"{path}.caption", "must be a string of 1 to 3000 characters"))


def _template(payload: JSONObject, path: str, found: _Found) -> None:
    """Validate name and parameters: objects, strings, or a mixture of both (contract 9.4)."""
    name, parameters = payload.get("name"), payload.get("parameters")
    if not isinstance(name, str) or not name:
        found.append(Violation(f"{path}.name", "must be a string"))
    if parameters is None:
        return
    if not isinstance(parameters, list):
        found.append(Violation(f"{path}.parameters", "must be an array"))
        return
    for i, item in enumerate(cast("list[object]", parameters)):
        value = cast("JSONObject", item).get("default") if isinstance(item, dict) else item
        if _scalar_text(value) is None:
            found.append(Violation(f"{path}.parameters[{i}]", 'must be {"default": string} or a string'))


def _options(message: JSONObject, channel: str, path: str, found: _Found) -> tuple[bool, int | None]:
    """Validate the object named after the channel (contract 3.4.3); those of other channels are ignored."""
    raw = message.get(channel) if channel in _OPTIONS else None
    if raw is None:
        return False, None
    path = f"{path}.{channel}"
    if not isinstance(raw, dict):
        found.append(Violation(path, "must be an object"))
        return True, None
    options = cast("JSONObject", raw)
    ttl: int | None = None
    if channel == "viber_service_msg":
        _choice(options, "category", ("transaction", "promotion"), path, found)
        if options.get("ttl") is not None:
            ttl = _whole(options["ttl"])
            if ttl is None or not 30 <= ttl <= 259200:  # contract 9.5
                found.append(Violation(f"{path}.ttl", "must be between 30 and 259200"))
    elif channel == "messenger":
        _choice(options, "category", ("response", "update", "message_tag"), path, found)
        tag = options.get("tag")
        if (options.get("category") == "message_tag" or tag is not None) and (
            not isinstance(tag, str) or not tag
        ):
            found.append(Violation(f"{path}.tag", "must be a string, and is required for message_tag"))
    else:
        _choice(options, "policy", ("deterministic", "fallback"), path, found)
        if options.get("locale") is not None and not isinstance(options["locale"], str):
            found.append(Violation(f"{path}.locale", "must be a string"))
    return True, ttl


def _choice(options: JSONObject, key: str, choices: tuple[str, ...], path: str, found: _Found) -> None:
    if options.get(key) is not None and options[key] not in choices:
        found.append(Violation(f"{path}.{key}", f"must be {' or '.join(choices)}"))
