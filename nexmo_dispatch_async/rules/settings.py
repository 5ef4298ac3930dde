"""The rules that apply, with their severities.

It does not check anything.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Literal, Protocol, cast

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.models.findings import Severity
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.models.several import several
from nexmo_dispatch_async.rules.registry import RULES
from nexmo_dispatch_core.documentation import read_on
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["DEFAULT_RULES", "Rules", "Window"]


class Window(Protocol):
    """A window of free content, such as `CareWindow`."""

    def allows(self, step: Step, *, after: timedelta = ...) -> bool:
        """Return whether a step may be sent after a delay."""
        ...


class Rules:
    """A choice of rules for `Workflow.lint()`, `Workflow.check()` and `DispatchClient(rules=…)`.

    Args:
        off: Ids of rules to switch off.
        on: Ids of optional rules to switch on.
        errors: Ids of rules whose breach is an error, whatever the table says.
        warnings: Ids of rules whose breach is a warning only.
        count: The unit of text lengths: Unicode code points, or UTF-16 units (contract 9.24).
        templates: Known template texts by name, to compare parameters with, for example
            `{"ns:code": "{{1}} code: {{2}}."}`.
        window: Who wrote when, usually a `CareWindow`: free content that its window allows is no breach of
            `care-window`. It is asked in the task that checks the workflow.

    Raises:
        ConfigurationError: An id is unknown, the rule is always on, there is no such way to count, or
            `window` is no window.
    """

    __slots__ = ("_severities", "counts_segments", "no_stricter", "templates", "utf16", "window")

    def __init__(
        self,
        *,
        off: Iterable[str] = (),
        on: Iterable[str] = (),
        errors: Iterable[str] = (),
        warnings: Iterable[str] = (),
        count: Literal["code points", "utf-16"] = "code points",
        templates: Mapping[str, str] | None = None,
        window: Window | None = None,
    ) -> None:
        severities: dict[str, Severity] = {
            rule.id: rule.severity for rule in RULES.values() if not rule.optional
        }
        severities |= {name: RULES[name].severity for name in _known("on", on)}
        severities |= dict.fromkeys(_known("errors", errors), "error")
        severities |= dict.fromkeys(_switchable("warnings", warnings), "warning")
        for name in _switchable("off", off):
            severities.pop(name, None)
        self._severities = severities
        self.counts_segments: bool = "sms-segments" in severities
        # Not every caller uses a type checker.
        if count not in ("code points", "utf-16"):
            raise ConfigurationError(f'count must be "code points" or "utf-16", not {count!r}')
        self.utf16: bool = count == "utf-16"
        # Whether only an error of the table is an error, counted as there: then the fast path suffices.
        self.no_stricter: bool = not self.utf16 and all(
            severity != "error" or (RULES[name].severity == "error" and not RULES[name].optional)
            for name, severity in severities.items()
        )
        if not isinstance(cast("object", templates), Mapping | None):
            raise ConfigurationError("templates must be a mapping from the name of a template to its text")
        self.templates: Mapping[str, str] = MappingProxyType(dict(templates or {}))
        if window is not None and not callable(getattr(window, "allows", None)):
            raise ConfigurationError(
                f"window must answer allows(step, after=…), as CareWindow does; got {type(window).__name__}"
            )
        self.window: Window | None = window

    def severity(self, rule: str) -> Severity | None:
        """Return the severity of a rule, None if the rule is off."""
        return self._severities.get(rule)

    @shows_unfinished
    def __repr__(self) -> str:
        usual = {name: None if rule.optional else rule.severity for name, rule in RULES.items()}
        changed = [
            f"{name}={self.severity(name) or 'off'}" for name in RULES if self.severity(name) != usual[name]
        ]
        if self.window is not None:
            changed.append("window known")
        return f"<Rules {', '.join(changed) or 'default'}>"


def _known(setting: str, names: Iterable[str]) -> list[str]:
    listed = several(setting, names)
    if unknown := [str(name) for name in listed if not isinstance(name, str) or name not in RULES]:
        raise ConfigurationError(f"no such rule: {', '.join(unknown)}; {read_on('rules')} lists them all")
    return listed


def _switchable(setting: str, names: Iterable[str]) -> list[str]:
    listed = _known(setting, names)
    if fixed := [name for name in listed if RULES[name].fixed]:
        raise ConfigurationError(f"these rules cannot be switched off: {', '.join(fixed)}")
    return listed


DEFAULT_RULES = Rules()
