"""Helpers of the checks: the report of findings, and checks of single values.

It does not know any channel.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import cast

from msgspec import UNSET

from nexmo_dispatch_async.models.findings import Finding, rule_url
from nexmo_dispatch_async.rules.settings import Rules

__all__ = ["Report", "encodable", "length", "not_json", "one_of", "sized", "text"]


class Report:
    """Collects findings for the current step, by the rules that apply."""

    __slots__ = ("errors_only", "findings", "rules", "step")

    def __init__(self, rules: Rules, *, errors_only: bool = False) -> None:
        self.rules: Rules = rules
        self.errors_only: bool = errors_only
        self.findings: list[Finding] = []
        self.step: int | None = None

    def add(self, rule: str, field: str, message: str) -> None:
        """Add a finding, unless its rule is off or only errors are wanted."""
        if self.wants(rule):
            severity = self.rules.severity(rule) or "error"
            self.findings.append(Finding(rule, severity, self.step, field, message, rule_url(rule)))

    def wants(self, rule: str) -> bool:
        """Return whether a breach of this rule would be reported."""
        severity = self.rules.severity(rule)
        return severity == "error" or (severity is not None and not self.errors_only)


def text(report: Report, field: str, value: object, hint: str = "") -> str | None:
    """Return a value that is text and encodable as UTF-8, else report a finding and return None."""
    # msgspec encodes no subclass of str except enums.
    if not isinstance(value, str) or (type(value) is not str and not isinstance(value, Enum)):
        report.add("type", field, f"must be text{hint}")
        return None
    if not encodable(value):
        report.add("surrogate", field, "holds half a surrogate pair, which is no character; repair the text")
        return None
    return value


def sized(report: Report, rule: str, field: str, value: object, limit: int) -> str | None:
    """Return a value that is text, else None; report a finding if it is empty or too long."""
    words = text(report, field, value)
    if words is not None and not 0 < (count := length(report, words)) <= limit:
        report.add(rule, field, f"has {count} characters; at most {limit} are taken" if count else "is empty")
    return words


def length(report: Report, words: str) -> int:
    """Return the number of characters, as counted by the rules (contract 9.24)."""
    if report.rules.utf16 and not words.isascii():
        return len(words) + sum(character > "\uffff" for character in words)
    return len(words)


def one_of(report: Report, rule: str, field: str, value: object, allowed: tuple[str, ...]) -> None:
    """Report a finding if a value is set and is not one of the allowed ones."""
    if value is not UNSET and value not in allowed:
        report.add(rule, field, f"must be {' or '.join(allowed)}")


def encodable(words: str) -> bool:
    """Return whether text can be encoded as UTF-8."""
    if words.isascii():
        return True
    try:
        words.encode()
    except UnicodeEncodeError:
        return False
    return True


def not_json(value: object, path: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Return what in a custom object cannot be encoded unchanged, None if all can."""
    if depth > 100:
        yield path, "is nested more than 100 deep"
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            if type(key) is not str or not encodable(key):
                yield path, "has a key that is not text"
            else:
                yield from not_json(item, f"{path}.{key[:60]}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(cast("Iterable[object]", value)):
            yield from not_json(item, f"{path}[{index}]", depth + 1)
    elif (problem := _scalar_problem(value)) is not None:
        yield path, problem


def _scalar_problem(value: object) -> str | None:
    if type(value) is str:
        return None if encodable(value) else "holds half a surrogate pair"
    if type(value) is float:
        return None if math.isfinite(value) else "is not a finite number"
    if type(value) is int:
        # Python refuses to convert integers of more than 4300 digits to text.
        return None if value.bit_length() <= 10_000 else "has more than 3000 digits"
    return None if value is None or type(value) is bool else "is not a JSON value"
