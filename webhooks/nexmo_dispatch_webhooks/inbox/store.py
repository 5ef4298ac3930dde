"""`InboxStore`: what an inbox needs of a place to keep events; write your own for another database.

Protocols only. `sqlite` and `memory` are the two that exist; `tests/webhooks/inbox/test_store.py` runs
over both and is the place to check a third.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from nexmo_dispatch_webhooks.inbox.records import (
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["AddedListener", "InboxStore", "RecordChoice"]

#: Called on the event loop for each record that is now durable and is not a duplicate, in the order of
#: the ids, before `add` returns; `None` while nobody handles events here.
AddedListener = Callable[[int, NewRecord], None]
#: One record by id, or all of those that the method is about.
RecordChoice = int | Literal["all"]


class InboxStore(Protocol):
    """A durable, de-duplicating list of events. Every method is called on one event loop.

    Every failure to read or write is an `InboxError`; without room for a new record, an `InboxFullError`.
    """

    #: Whether statements of handlers can be committed with `commit`.
    transactional: bool

    async def open(self) -> None:
        """Get ready; called before anything else, and again without effect."""

    async def aclose(self) -> None:
        """Write what `finish` was told, then let go of everything."""

    async def claim(self) -> bool:
        """Try to become, or to remain, the one process that handles events; one that dies loses the claim."""
        ...

    async def add(self, record: NewRecord) -> int | None:
        """Store durably; return the new id, or None for an event whose key is known (contract 5.10)."""
        ...

    def finish(self, record_id: int) -> None:
        """Mark as handled, soon. A mark that a crash loses means that the event is handled again."""

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Run a handler's statements and remember, in one transaction, that the handler is done.

        Args:
            record_id: a pending record.
            handler: the name of the handler.
            statements: what to run, before the mark.
            finish: mark the whole event as handled; no other handler is left.

        Raises:
            TransactionError: the statements failed, or the handler was done already; nothing was kept.
            InboxError: the store failed, and the handler did not; nothing was kept.
        """

    async def postpone(
        self,
        record_id: int,
        *,
        attempts: int,
        due: float | None,
        done: Sequence[str],
        failed: Sequence[StoredFailure],
    ) -> None:
        """Keep the result of a failed attempt: try again at `due`, or quarantine when that is None."""

    async def waiting(self) -> list[PendingEvent]:
        """All pending events in the order of arrival, without their content."""
        ...

    async def changed(self) -> bool:
        """Whether `waiting` may hold what `added` was not told: another process wrote, or a write failed."""
        ...

    async def load(self, record_id: int) -> Record:
        """One record with its body; UnknownRecordError for an id that does not exist."""
        ...

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> list[Record]:
        """Records without their bodies, by ascending id, of one state or of all but `forgotten`."""
        ...

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make quarantined and waiting records pending and due now; return how many.

        Args:
            which: one by id, or all.
            handler: only those in which this handler failed.
            kind: only those of this kind.
        """
        ...

    async def summary(self) -> Sequence[FailureTally]:
        """What failed in quarantined and waiting records, in no order."""
        ...

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget the content of finished records that arrived before an epoch time; return how many."""
        ...

    async def aged_at(self) -> float | None:
        """The epoch time that `age` was given last; None when it made nothing older so far."""
        ...

    async def age(self, *, sure: float, told: float, epoch: float, newest: bool) -> None:
        """Make every record older; the retention goes by these ages and not by `received_at`.

        So no jump of the wall clock makes a record older or younger. A record that was never made older has
        the age 0. Ages may be too small by the time between two calls, and with *newest* too large by it.

        Args:
            sure: seconds that have certainly passed since the last call.
            told: seconds that have passed by what the wall clock tells, at least *sure*.
            epoch: the time now, for `aged_at`.
            newest: whether the records that came since the last call grow older by the same; else they
                begin at 0.
        """

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """A bounded piece of retention: forget contents, then keys; return whether there is more to do.

        Args:
            handled: contents of handled records that are *told* to be so old, in seconds; 0 for all.
            quarantined: contents of quarantined ones that are *sure* to be so old.
            keys: forgotten records that are *sure* to be so old.
        """
        ...

    async def writable(self) -> bool:
        """Whether another record would find room; asked after a failure. InboxError when nothing works."""
        ...

    async def count(self) -> RecordCounts:
        """How many are pending and quarantined, and since when the oldest waits."""
        ...

    @property
    def added(self) -> AddedListener | None:
        """Who is told about new records."""

    @added.setter
    def added(self, listener: AddedListener | None) -> None: ...
