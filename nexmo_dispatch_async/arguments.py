"""Arguments of a client that are something else: callers without type checking pass anything.

Each check raises a `ConfigurationError` that says what it wants instead.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_core.lenient import kind_in_words

__all__ = ["check_tracker", "check_workflow", "check_workflows"]


def check_tracker(tracker: object) -> None:
    """Refuse what cannot follow a workflow."""
    # Its class is not imported here: few follow what they send, and it would make the import slower.
    if tracker is not None and (isinstance(tracker, type) or not callable(getattr(tracker, "sent", None))):
        raise ConfigurationError(f"tracker must be a Tracker(…) or None, not {kind_in_words(tracker)}")


def check_workflow(workflow: object) -> None:
    """Refuse what is no workflow."""
    if not isinstance(workflow, Workflow):
        message = (
            "send a Workflow.failover(…), Workflow.from_json(…) or one step, such as sms.text(…), and not "
            f"{kind_in_words(workflow)}"
        )
        raise ConfigurationError(message) from None


def check_workflows(workflows: object) -> None:
    """Refuse what cannot be iterated over."""
    if not isinstance(workflows, Iterable | AsyncIterable):
        raise ConfigurationError(
            f"workflows must be a list, a generator or the like, not {kind_in_words(workflows)}"
        )
