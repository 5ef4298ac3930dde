"""Makes a `WorkflowTemplate` from the tables of a campaign file.

The keys of a message are the arguments of its builder, with `from` for `from_`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import ModuleType
from typing import Any, cast

from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.bulk.toml_tables import FileProblem, Table
from nexmo_dispatch_async.bulk.units import duration
from nexmo_dispatch_async.channels import messenger, mms, sms, viber, whatsapp
from nexmo_dispatch_async.exceptions import ConfigurationError, InvalidWorkflowError
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules import DEFAULT_RULES, Rules

__all__ = ["build_template"]

_CHANNELS: dict[str, ModuleType] = {
    "sms": sms,
    "mms": mms,
    "whatsapp": whatsapp,
    "viber_service_msg": viber,
    "messenger": messenger,
}
# Kinds of content, and the first argument of their builders.
_KINDS = {
    "text": "text",
    "image": "url",
    "audio": "url",
    "video": "url",
    "file": "url",
    "template": "name",
    "custom": "custom",
}


def build_template(
    values: Mapping[str, Any],  # Any: TOML, judged key by key
    problems: list[FileProblem],
    *,
    rules: Rules = DEFAULT_RULES,
    name: str = "template",
    elsewhere: Callable[[], Mapping[str, Iterable[str]]] = dict,
) -> WorkflowTemplate | None:
    """Return the template of `[template]`; `None` after problems.

    Args:
        values: Content of the table.
        problems: List to which problems are added.
        rules: The rules that every workflow must pass.
        name: Name of the table.
        elsewhere: Returns the keys of the other tables of the file.
    """
    before = len(problems)
    table = Table(values, name, problems, elsewhere=lambda: {**elsewhere(), f"[{name}.message]": _keys()})
    default = table.text("default_language")
    variants = table.table("variants")
    templates = {
        each: build_template(
            _mapping(variants.values[each]),
            problems,
            rules=rules,
            name=f"{name}.variants.{each}",
            elsewhere=elsewhere,
        )
        for each in variants.values
    }
    messages: dict[str, dict[str, Step]] = {}
    for number, entry in enumerate(table.get("message", _tables, list[object]()), 1):
        message = Table(entry, f"{name}.message {number}", problems, elsewhere=elsewhere)
        language = message.text("language")
        step = _step(message)
        if step is not None:
            by_language = messages.setdefault(step.channel, {})
            if language in by_language:
                message.note("channel", "comes twice in this language; one message will do")
            by_language[language] = step
    table.done()
    if len(problems) > before:
        return None
    if not messages:
        table.note("message", f"is missing; write [[{name}.message]] with channel, from, to and text")
        return None
    made = [steps[""] if list(steps) == [""] else steps for steps in messages.values()]
    ready = {each: template for each, template in templates.items() if template is not None}
    try:
        return WorkflowTemplate(*made, default_language=default, variants=ready, rules=rules)
    except InvalidWorkflowError as error:
        for finding in error.findings:
            table.note("message", str(finding))
    except ConfigurationError as error:
        table.note("message", str(error))
    return None


def _keys() -> set[str]:
    """Return the keys that messages of any channel have."""
    builders = [
        getattr(module, kind) for module in _CHANNELS.values() for kind in _KINDS if hasattr(module, kind)
    ]
    arguments = {name.rstrip("_") for builder in builders for name in inspect.signature(builder).parameters}
    return arguments - set(_KINDS.values()) | {"channel", "language", "until", "within", *_KINDS}


def _step(table: Table) -> Step | None:
    before = len(table.problems)
    channel = table.text("channel")
    module = _CHANNELS.get("viber_service_msg" if channel == "viber" else channel)
    if module is None:
        table.note("channel", f"must be one of {', '.join(_CHANNELS)}")
        return None
    kinds = [kind for kind in _KINDS if kind in table and hasattr(module, kind)]
    if len(kinds) != 1:
        able = ", ".join(kind for kind in _KINDS if hasattr(module, kind))
        table.note("", f"must have exactly one of {able}")
        return None
    kind = kinds[0]
    builder = getattr(module, kind)
    arguments: dict[str, Any] = {}  # Any: the builders take what the rules judge
    for parameter in list(inspect.signature(builder).parameters)[1:]:
        key = parameter.rstrip("_")
        value = table.get(key, _plain, None)
        if value is not None:
            arguments[parameter] = value
    for key in ("from", "to"):
        if key not in table:
            table.note(key, "is missing" + ('; write to = "{phone}"' if key == "to" else "; name the sender"))
    content = table.get(kind, _plain, None)
    until = table.choice("until", ("", "delivered", "read"))
    within = table.get("within", duration, 0.0)
    if bool(until) != ("within" in table):
        table.note("until", 'comes with within; write until = "delivered" and within = "10m"')
    # Keys of the file that are no arguments of builders.
    table.text("language")
    table.done()
    if len(table.problems) > before:
        return None
    try:
        step = cast("Step", builder(content, **arguments))
    except ConfigurationError as error:
        table.note("", str(error))
        return None
    return step.until(cast("Any", until), within=within) if until else step


def _tables(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("must be tables; write [[template.message]] with two brackets")  # noqa: TRY004 - read as a wrong value
    return cast("list[object]", value)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value)


def _plain(value: object) -> object:
    """Return a value of TOML as a value of JSON; numbers were read exactly."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in cast("list[object]", value)]
    return value
