"""Places what a store remembers by the wall clock on the monotonic clock of an inbox.

A wall clock may have jumped since an event was stored, so its times are evidence and no facts.
"""

from __future__ import annotations

from collections.abc import Sequence

from nexmo_dispatch_webhooks.inbox.records import PendingEvent
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy

__all__ = ["to_monotonic"]


def to_monotonic(
    items: Sequence[PendingEvent], *, epoch: float, now: float, retry: HandlerRetryPolicy
) -> None:
    """Say of each event since when it waits, and when its next attempt is due.

    An event waits at least as long as those that were stored after it, and no pause is longer than the policy
    has it: what is due later than that was stored before the clock was set back.

    Args:
        items: in the order of arrival.
        epoch: epoch seconds.
        now: the same moment on the monotonic clock.
        retry: the policy that made the pauses.
    """
    waited = 0.0
    for item in reversed(items):
        waited = max(waited, epoch - item.received_at)
        item.since = now - waited
        if item.due:
            item.ready_at = now + min(max(0.0, item.due - epoch), retry.longest(max(1, item.attempts)))
