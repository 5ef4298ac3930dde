"""How long contents and keys are kept, and when the store is asked to let go of them.

It deletes nothing itself: it asks the store for a piece at a time, so that nothing waits for long. Ages are
measured and not read from the wall clock, which may jump.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nexmo_dispatch_webhooks.inbox.settings import HOUR
from nexmo_dispatch_webhooks.inbox.store import InboxStore
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["RetentionSchedule"]

_EVERY = HOUR
#: How often records are made older; they may be kept longer by so much.
_AGE_EVERY = HOUR / 2
#: Between two runs the wall clock is the only witness: it is believed so far, in seconds, about keys and
#: about what is in quarantine. So a clock that is ahead at a start forgets no key that is still needed.
_BELIEVED = 24 * HOUR


@dataclass(slots=True)
class RetentionSchedule:
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
    #: Rounds that came to their end.
    rounds: int = field(default=0, init=False)
    #: When records were made older; None before the first time in this run.
    _aged: float | None = field(default=None, init=False)
    _next: float | None = field(default=None, init=False)
    _shortened: bool = field(default=False, init=False)
    _warned: float | None = field(default=None, init=False)

    async def piece(self, store: InboxStore, *, now: float, epoch: float) -> bool:
        """Do a piece of the round that is due, if one is; return whether it has more.

        Args:
            store: open, and claimed by this process.
            now: seconds on the monotonic clock.
            epoch: epoch seconds.
        """
        if self.full:
            self.full, self._shortened, self._next = False, True, None
            if self._warned is None or now >= self._warned + _EVERY:
                self._warned = now
                logger.warning("the inbox is full: it forgets handled events before their time")
        if not self._shortened:  # a full store is to make room first, and writes nothing for it
            await self._age(store, now, epoch)
        if self._next is not None and now < self._next:
            return False
        more = await store.prune(
            handled=0.0 if self._shortened else self.keep,
            quarantined=self.keep_quarantined,
            keys=self.remember,
        )
        if not more:
            self._next, self._shortened = now + _EVERY, False
            self.rounds += 1
        return more

    def forget(self) -> None:
        """The run ends, or another process takes over: what passes from now on is not measured here."""
        self._aged = self._next = None

    async def _age(self, store: InboxStore, now: float, epoch: float) -> None:
        """Make records older by the time that has passed: measured in a run, told by the wall before it."""
        if self._aged is None:
            before = await store.aged_at()
            told = 0.0 if before is None else max(0.0, epoch - before)
            await store.age(sure=min(told, _BELIEVED), told=told, epoch=epoch, newest=True)
        elif now - self._aged >= _AGE_EVERY:
            passed = now - self._aged
            await store.age(sure=passed, told=passed, epoch=epoch, newest=False)
        else:
            return
        self._aged = now
