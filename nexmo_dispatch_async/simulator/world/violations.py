"""What is wrong with a body that the service does not accept."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["InvalidBody", "Violation"]


class Violation(NamedTuple):
    """One broken rule: the path of the parameter and what is wrong with it."""

    name: str
    reason: str


class InvalidBody(ValueError):  # noqa: N818 - it is a finding about somebody else's input, named for what it says
    """The body was not accepted; without violations it is not a JSON object at all."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in violations) or "not a JSON object")
        self.violations = violations
