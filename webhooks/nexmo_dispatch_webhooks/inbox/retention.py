"""How long contents and keys are kept, and when the store is asked to let go of them.

It deletes nothing itself: it asks the store for a piece at a time, so that nothing waits for long.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nexmo_dispatch_webhooks.inbox.settings import HOUR
from nexmo_dispatch_webhooks.inbox.store import Store
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["Retention"]

_EVERY = HOUR


@dataclass(slots=True)
class Retention:
    """Rounds of forgetting: one an hour, and at once when the store is full.

    Args:
        keep: how long, in seconds, the content of a handled event is kept.
        keep_quarantined: how long, in seconds, a quarantined one is.
        remember: how long, in seconds, a repetition is recognised.
    """

    keep: float
    keep_quarantined: float
    remember: float
    #: The store had no room for an event: handled ones are forgotten, however young.
    full: bool = False
    _next: float = field(default=0.0, init=False)
    _shortened: bool = field(default=False, init=False)
    _warn_next: float = field(default=0.0, init=False)

    async def piece(self, store: Store, now: float) -> bool:
        """Do a piece of the round that is due, if one is; return whether it has more."""
        if self.full:
            self.full, self._shortened, self._next = False, True, 0.0
            if now >= self._warn_next:
                self._warn_next = now + _EVERY
                logger.warning("the inbox is full: it forgets handled events before their time")
        if now < self._next:
            return False
        more = await store.prune(
            handled_before=now if self._shortened else now - self.keep,
            quarantined_before=now - self.keep_quarantined,
            keys_before=now - self.remember,
        )
        if not more:
            self._next, self._shortened = now + _EVERY, False
        return more
