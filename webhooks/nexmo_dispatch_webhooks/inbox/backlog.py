"""`Backlog`: the pending events of a store that other processes handle, or share, as far as this one knows.

It handles no event: for probes and `max_pending` it keeps the last count, and what was stored since.
"""

from __future__ import annotations

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.inbox.records import RecordCounts
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from nexmo_dispatch_webhooks.inbox.store import InboxStore

__all__ = ["Backlog"]


class Backlog:
    """The number of pending events of a store, and the time that the oldest one has waited.

    Args:
        settings: The settings of the inbox: both clocks.
    """

    def __init__(self, settings: InboxSettings) -> None:
        self._settings = settings
        #: The last count.
        self.counts: RecordCounts = RecordCounts()
        # since when the oldest event waits, at least, on the monotonic clock
        self._since = 0.0
        # events that this process stored and the last count does not contain
        self._stored = 0

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Backlog of {self.pending} events>"

    @property
    def pending(self) -> int:
        """The number of events: the last count, and what this process stored since."""
        return self.counts.pending + self._stored

    @property
    def lag(self) -> float:
        """Seconds since the oldest event of the last count arrived; 0 without events."""
        return 0.0 if self.counts.oldest is None else self._settings.monotonic() - self._since

    def note_stored(self) -> None:
        """Add an event that this process has just stored."""
        self._stored += 1

    async def read(self, store: InboxStore) -> None:
        """Count the events; the oldest one is at least as old as its first sight, whatever the clock.

        Raises:
            InboxError: The store failed; the last count, and what was stored since, still hold.
        """
        before = self._stored
        counts = await store.count()
        self._stored -= before
        if counts.oldest != self.counts.oldest:
            now = self._settings.clock()
            waited = 0.0 if counts.oldest is None else max(0.0, now - counts.oldest)
            self._since = self._settings.monotonic() - waited
        self.counts = counts

    def forget(self) -> None:
        """Drop the numbers: this process handles all events from now on."""
        self.counts, self._stored = RecordCounts(), 0
