"""One account per platform and application, checked across workflows (contract 4.4, 7.5).

It does not look at anything else; `Workflow.lint()` does.
"""

from collections.abc import Iterable
from typing import Protocol

from nexmo_dispatch_async.models.findings import Finding
from nexmo_dispatch_async.models.requests import Step
from nexmo_dispatch_async.rules.checks import find_accounts
from nexmo_dispatch_async.rules.settings import DEFAULT_RULES, Rules

__all__ = ["lint_application"]


class _Workflow(Protocol):
    """The part of a `Workflow` that the rules read; they cannot import the class."""

    @property
    def steps(self) -> tuple[Step, ...]: ...


def lint_application(workflows: Iterable[_Workflow], rules: Rules = DEFAULT_RULES) -> list[Finding]:
    """Warn when the workflows of one application use several senders on a platform that allows one.

    Args:
        workflows: The workflows of one application id; read once, and only the senders are kept.
        rules: The rules that apply.
    """
    return find_accounts((step for workflow in workflows for step in workflow.steps), rules)
