"""Violations: the reasons for which the service refuses a body."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["InvalidBody", "Violation"]


class Violation(NamedTuple):
    """One violation: the path of the parameter and the reason."""

    name: str
    reason: str


class InvalidBody(ValueError):  # noqa: N818 - a finding about the caller's input, not a failure of the service
    """The body was refused; without violations it is not a JSON object at all."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in violations) or "not a JSON object")
        self.violations = violations
