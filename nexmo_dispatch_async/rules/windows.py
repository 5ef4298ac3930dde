"""Free content and the Customer Care Window (contract 7.1, 7.3).

It keeps no memory of who wrote when: `care_window` does, and tells it through `Window`.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

from nexmo_dispatch_async.models.requests import (
    Address,
    Custom,
    Failover,
    Message,
    MessengerOptions,
    Step,
    Template,
)
from nexmo_dispatch_async.rules.report import Report
from nexmo_dispatch_async.rules.settings import Window

__all__ = ["check_windows", "delay_before", "is_free"]

_RULE = "care-window"
_FIELD = "message.content"
_CURES = {"whatsapp": "send a template", "messenger": "use the category message_tag with a tag"}
# Thirty years: a longer sum of expiries must not overflow a date.
_LONGEST_DELAY = 1_000_000_000


def check_windows(report: Report, steps: Sequence[object], window: Window | None) -> None:
    """Report free content that meets, or may meet, a closed window.

    Args:
        report: Receives the findings.
        steps: The steps of a workflow; their values need not be valid.
        window: The care window; None if there is none, so that every window may be closed.
    """
    for index, step in enumerate(steps):
        if not isinstance(step, Step) or not is_free(step):
            continue
        report.step = index + 1
        cure = _CURES[step.to.type]
        if window is None:
            advice = (
                "is free content, which fails with 1340 unless the customer wrote in the last 24 hours; "
                f"{cure}, or, in Python, let Rules(window=…) know who wrote"
            )
        elif not window.allows(step):
            advice = f"is free content outside of the window; {cure}"
        elif not window.allows(step, after=delay_before(steps, index)):
            # A later step is sent when the earlier ones have expired, and the window may close in between.
            advice = f"is free content, and the window closes before this step may be sent; {cure}"
        else:
            continue
        report.add(_RULE, _FIELD, advice)


def is_free(step: Step) -> bool:
    """Return whether a step needs an open window: it has neither a template nor a tag."""
    # An unchecked step may have any value; the other rules report those.
    to, message = cast("tuple[object, object]", (step.to, step.message))
    if not isinstance(to, Address) or not isinstance(message, Message):
        return False
    content = cast("object", message.content)
    if to.type == "whatsapp":
        custom = cast("object", content.custom) if isinstance(content, Custom) else None
        native = isinstance(custom, dict) and cast("dict[object, object]", custom).get("type") == "template"
        return not (native or isinstance(content, Template))
    options = cast("object", message.messenger)
    tagged = isinstance(options, MessengerOptions) and options.category == "message_tag"
    return to.type == "messenger" and not tagged


def delay_before(steps: Sequence[object], index: int) -> timedelta:
    """Return the maximum delay of the step at `index`: the sum of the expiries before it."""
    seconds = 0
    for step in steps[:index]:
        failover: object = getattr(step, "failover", None)
        if isinstance(failover, Failover) and isinstance(failover.expiry_time, int):
            seconds += failover.expiry_time
    return timedelta(seconds=min(max(seconds, 0), _LONGEST_DELAY))
