"""The rules that a workflow is checked against before it is sent (contract 3, 7), with ids and switches.

It does not change workflows and does not touch the network.
"""

from nexmo_dispatch_async.rules.accounts import lint_application
from nexmo_dispatch_async.rules.registry import RULES, Rule
from nexmo_dispatch_async.rules.settings import DEFAULT_RULES, Rules

__all__ = ["DEFAULT_RULES", "RULES", "Rule", "Rules", "lint_application"]
