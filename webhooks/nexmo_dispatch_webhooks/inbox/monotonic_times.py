"""Translates the stored times of pending events, epoch seconds, to the monotonic clock of an inbox.

The wall clock may have jumped since an event was stored, so stored times are estimates.
"""

from __future__ import annotations

from collections.abc import Sequence

from nexmo_dispatch_webhooks.inbox.records import PendingEvent
from nexmo_dispatch_webhooks.inbox.retry import HandlerRetryPolicy

__all__ = ["to_monotonic"]


def to_monotonic(
    items: Sequence[PendingEvent], *, epoch: float, now: float, retry: HandlerRetryPolicy
) -> None:
    """Set `since` and `ready_at` of each event.

    An event is at least as old as every later one, and no pause is longer than the longest of the policy: a
    later due time was stored before the clock was set back.

    Args:
        items: Events in the order of arrival.
        epoch: Epoch seconds.
        now: The same moment on the monotonic clock.
        retry: The policy that determined the pauses.
    """
    age = 0.0
    for item in reversed(items):
        age = max(age, epoch - item.received_at)
        item.since = now - age
        if item.due:
            item.ready_at = now + min(max(0.0, item.due - epoch), retry.longest(max(1, item.attempts)))
