"""When the store forgets contents and keys.

It deletes nothing itself: it asks the store for one bounded piece at a time, so that no request waits for
long. Ages are measured and not read from the wall clock, which may jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nexmo_dispatch_webhooks.inbox.settings import HOUR, InboxSettings
from nexmo_dispatch_webhooks.inbox.store import InboxStore
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["RetentionSchedule"]

#: Seconds between two rounds.
_EVERY = HOUR
#: Seconds between two updates of the ages; a record may be kept longer by that time.
_AGE_EVERY = HOUR / 2
#: Between two runs only the wall clock tells how much time has passed. For keys and quarantined records at
#: most this number of seconds counts, so that a clock that is ahead forgets no key that is still needed.
_TRUSTED = 24 * HOUR


@dataclass(slots=True)
class RetentionSchedule:
    """Rounds of retention: one an hour, and one at once when the store is full.

    Args:
        settings: The settings of the inbox: `keep`, `keep_quarantined` and `remember`.
    """

    settings: InboxSettings
    #: The store had no room for an event: handled records are forgotten, whatever their age.
    full: bool = False
    #: The number of complete rounds.
    rounds: int = field(default=0, init=False)
    #: When ages were updated, on the monotonic clock; None before the first update of this run.
    _aged: float | None = field(default=None, init=False)
    _next: float | None = field(default=None, init=False)
    _shortened: bool = field(default=False, init=False)
    _warned: float | None = field(default=None, init=False)

    async def piece(self, store: InboxStore, *, now: float, epoch: float) -> bool:
        """Do one piece of the due round, if a round is due; return whether more pieces remain.

        Args:
            store: Open, and claimed by this process.
            now: Seconds on the monotonic clock.
            epoch: Epoch seconds.
        """
        if self.full:
            self.full, self._shortened, self._next = False, True, None
            if self._warned is None or now >= self._warned + _EVERY:
                self._warned = now
                logger.warning("the inbox is full: it forgets handled events before their time")
        if not self._shortened:  # a full store makes room first, and writes nothing for that
            await self._age(store, now, epoch)
        if self._next is not None and now < self._next:
            return False
        more = await store.prune(
            handled=0.0 if self._shortened else self.settings.keep,
            quarantined=self.settings.keep_quarantined,
            keys=self.settings.remember,
        )
        if not more:
            self._next, self._shortened = now + _EVERY, False
            self.rounds += 1
        return more

    def forget(self) -> None:
        """Stop measuring time: the run ends, or another process takes over."""
        self._aged = self._next = None

    async def _age(self, store: InboxStore, now: float, epoch: float) -> None:
        """Add the time that has passed to all ages: measured in a run, by the wall clock before it."""
        if self._aged is None:
            before = await store.aged_at()
            by_clock = 0.0 if before is None else max(0.0, epoch - before)
            measured = min(by_clock, _TRUSTED)
            await store.age(measured=measured, by_clock=by_clock, epoch=epoch, newest=True)
        elif now - self._aged >= _AGE_EVERY:
            passed = now - self._aged
            await store.age(measured=passed, by_clock=passed, epoch=epoch, newest=False)
        else:
            return
        self._aged = now
