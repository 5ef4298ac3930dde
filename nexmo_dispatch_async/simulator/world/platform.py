"""The platform's own decisions about a message, independent of its recipient (contract 3.4.3, 7).

The behaviour of recipients is in `people.py`.
"""

from __future__ import annotations

import re
from typing import Final, cast

from nexmo_dispatch_async.simulator.world.people import Act
from nexmo_dispatch_async.simulator.world.settings import Settings
from nexmo_dispatch_async.simulator.world.steps import SimulatedStep
from nexmo_dispatch_core.error_names import reason_for

__all__ = ["CARE_WINDOW_MS", "cut_by_ttl", "is_charged", "refusal", "rejected", "render"]

CARE_WINDOW_MS: Final = 24 * 3600 * 1000

# TTL was activated (contract 6.1).
_EXPIRED: Final = 1360
_CHARGED_EARLY: Final = frozenset({"sms", "mms"})

# Cuba, Iran, North Korea, Syria: calling codes are prefix-free, so the test is exact (contract 7.1). WhatsApp
# user ids begin with the country (contract 5.5).
_BARRED: Final = ("53", "98", "850", "963", "CU.", "IR.", "KP.", "SY.")

_PLACEHOLDER: Final = re.compile(r"\{\{(\d{1,3})\}\}")


def render(pattern: str, parameters: list[str]) -> str | None:
    """Fill a template; None when parameters and placeholders do not match (contract 7.1).

    Placeholders inside of parameters are not replaced: a parameter `{{2}}` stays as it is.
    """
    numbers = {int(number) for number in _PLACEHOLDER.findall(pattern)}
    if numbers != set(range(1, len(parameters) + 1)) or "" in parameters:
        return None
    return _PLACEHOLDER.sub(lambda match: parameters[int(match[1]) - 1], pattern)


def template_parameters(step: SimulatedStep) -> tuple[str, list[str]]:
    """Return the name and the parameters of a template step, objects and strings alike (contract 9.4)."""
    content = cast("dict[str, object]", step.message["content"])
    template = cast("dict[str, object]", content["template"])
    given = cast("list[object]", template.get("parameters") or [])
    values = [
        cast("dict[str, object]", item)["default"] if isinstance(item, dict) else item for item in given
    ]
    return str(template["name"]), [str(value) for value in values]


def refusal(step: SimulatedStep, settings: Settings, *, window_open: bool) -> Act | None:
    """Return the rejection of a message by the platform, None when the platform accepts it."""
    code: int | None = None
    if step.channel == "whatsapp":
        if step.options.get("policy") == "fallback":
            code = 1020  # withdrawn on 2020-04-08
        elif step.address.strip().upper().startswith(_BARRED):
            code = 1050
        elif step.content_type == "template":
            name, parameters = template_parameters(step)
            pattern = settings.templates.get(name)
            if pattern is not None and render(pattern, parameters) is None:
                code = 1022
        elif settings.care_window and not window_open and not _carries_template(step):
            code = 1340
    elif step.channel == "messenger" and settings.care_window and not window_open and not _is_tagged(step):
        code = 1340
    return None if code is None else rejected(code)


def rejected(code: int) -> Act:
    """Return an immediate rejection by the platform."""
    return Act(100, "rejected", code, reason_for(code), soon=True)


def _carries_template(step: SimulatedStep) -> bool:
    """Return whether a custom object is a template in the channel's own format."""
    content = cast("dict[str, object]", step.message["content"])
    custom = content.get("custom")
    return isinstance(custom, dict) and cast("dict[str, object]", custom).get("type") == "template"


def _is_tagged(step: SimulatedStep) -> bool:
    """Return whether a Messenger message has a tag, which is allowed outside of the window (contract 7.3)."""
    return step.options.get("category") == "message_tag"


def cut_by_ttl(acts: list[Act], ttl: int | None, settings: Settings) -> list[Act]:
    """Drop the acts after the end of a Viber ttl, when the message is deleted (contract 7.2).

    By the old text neither a callback nor a charge follows; by the newer one the message is rejected (6.1).
    """
    if ttl is None:
        return acts
    end = ttl * 1000
    if any(act.status in ("delivered", "undeliverable") and act.after_ms <= end for act in acts):
        return acts
    remaining = [act for act in acts if act.status == "submitted"]
    if settings.viber_ttl == "rejected" and not any(act.status == "rejected" for act in acts):
        remaining.append(Act(end, "rejected", _EXPIRED, reason_for(_EXPIRED)))
    return remaining


def is_charged(channel: str, status: str, settings: Settings, *, before: bool) -> bool:
    """Return whether a status carries the price of its message (contract 6.1).

    Args:
        channel: The channel of the message.
        status: The status it has reached.
        settings: The switches.
        before: Whether the message was charged before.
    """
    at = "delivered"
    if channel in _CHARGED_EARLY:
        at = settings.charge_sms_at or ("submitted" if settings.webhook_version == "v1" else "delivered")
    if at == "delivered":
        return status == "delivered"
    # a message that is delivered without having been reported as submitted is charged then
    return not before and status in ("submitted", "delivered")
