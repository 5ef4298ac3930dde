"""The result of a check: one `Finding` per problem.

It does not know the rules; those are in `nexmo_dispatch_async.rules`.
"""

from typing import Literal

from msgspec import Struct

from nexmo_dispatch_core.documentation import page_url

__all__ = ["Finding", "Severity", "rule_url"]

Severity = Literal["error", "warning"]


def rule_url(rule: str) -> str:
    """Return the URL of a rule in the documentation, which resolves on this machine."""
    return f"{page_url('rules')}#{rule}"


class Finding(Struct, frozen=True):
    """One problem of a workflow.

    Attributes:
        rule: The id of the rule, as in docs/rules.md.
        severity: `error` (refused before any network call) or `warning`.
        step: Number of the step, counted from 1; None when the workflow as a whole is meant.
        field: Path of the field inside of the step, for example `to.number`.
        message: What is wrong and what to do. It never holds a number or a text of the workflow.
        url: Where to read on: the site of the documentation, or the page in the installed package.
    """

    rule: str
    severity: Severity
    step: int | None
    field: str
    message: str
    url: str = ""

    def __str__(self) -> str:
        """Return one readable line, for example `step 1, to.number: must be digits only [e164]`."""
        place = "workflow" if self.step is None else f"step {self.step}"
        field = f", {self.field}" if self.field else ""
        return f"{place}{field}: {self.message} [{self.rule}]"
