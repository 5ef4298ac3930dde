"""Why a row is not taken: the field, the rule and what to do, never what the field holds."""

from __future__ import annotations

from typing import NamedTuple

from nexmo_dispatch_async.exceptions import DispatchError

__all__ = ["Reject", "RowError"]


class RowError(DispatchError, ValueError):
    """A row cannot be used; its text names the field, what is wrong and what to do, and no personal data.

    Attributes:
        field: Name of the column or field, `""` for the whole row.
        rule: Id of the rule, as in docs/rules.md or docs/campaign_files.md.
        advice: What is wrong and what to do.
    """

    def __init__(self, field: str, rule: str, advice: str) -> None:
        self.field = field
        self.rule = rule
        self.advice = advice
        super().__init__(f"{field}: {advice} [{rule}]" if field else f"{advice} [{rule}]")

    def __reduce__(self) -> tuple[type[RowError], tuple[str, str, str]]:
        return type(self), (self.field, self.rule, self.advice)


class Reject(NamedTuple):
    """One row that was not taken.

    Attributes:
        line: Line of the source, from 1; 0 when it has none.
        field: Name of the column or field, `""` for the whole row.
        rule: Id of the rule.
        advice: What is wrong and what to do.
    """

    line: int
    field: str
    rule: str
    advice: str
