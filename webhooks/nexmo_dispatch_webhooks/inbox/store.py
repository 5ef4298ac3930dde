"""`InboxStore`: what an inbox needs of a place to keep events; the protocol for another database.

It holds protocols only. `sqlite` and `memory` implement it; `tests/webhooks/inbox/test_store.py` runs over
both, and is the place to test a third implementation.
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

#: Called on the event loop with the id and the content of each new durable record that is no duplicate, in
#: the order of the ids, before `add` returns.
AddedListener = Callable[[int, NewRecord], None]
#: One record by id, or all records that the method is about.
RecordChoice = int | Literal["all"]


class InboxStore(Protocol):
    """A durable list of events without duplicates. Every method is called on one event loop.

    Every failure to read or write is an `InboxError`; without room for a new record, an `InboxFullError`.
    """

    #: Whether `commit` can commit statements of handlers.
    transactional: bool

    async def open(self) -> None:
        """Open the store; called before every other method, and again without effect."""

    async def aclose(self) -> None:
        """Write the marks of `finish`, then release all resources."""

    async def claim(self) -> bool:
        """Become, or remain, the only process that handles events; a process that dies loses the claim.

        Returns:
            Whether this process holds the claim.
        """
        ...

    async def add(self, record: NewRecord) -> int | None:
        """Store a record durably.

        Returns:
            The new id; None for an event whose key is known (contract 5.10).
        """
        ...

    def finish(self, record_id: int) -> None:
        """Mark a record as handled, soon. After a crash that loses the mark the event is handled again."""

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Run the statements of a handler, and mark the handler as done, in one transaction.

        Args:
            record_id: A pending record.
            handler: The name of the handler.
            statements: The statements, which run before the mark.
            finish: Whether to mark the whole event as handled, since no other handler remains.

        Raises:
            TransactionError: The statements failed, or the handler was done already; nothing was stored.
            InboxError: The store failed, and the handler did not; nothing was stored.
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
        """Store the result of a failed attempt.

        Args:
            record_id: A pending record.
            attempts: The number of attempts so far.
            due: When the next attempt is due, in epoch seconds; None for quarantine.
            done: The names of the handlers that succeeded.
            failed: The failures of this attempt.
        """

    async def pending(self) -> list[PendingEvent]:
        """Return all pending events in the order of arrival, without their content."""
        ...

    async def changed(self) -> bool:
        """Return whether `pending` may have events unknown to `on_added`.

        These are events that another process wrote, or that were written before a failure.
        """
        ...

    async def load(self, record_id: int) -> Record:
        """Return one record with its body.

        Raises:
            UnknownRecordError: There is no record with this id.
        """
        ...

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> list[Record]:
        """Return records without their bodies, by ascending id, of one state or of all but `forgotten`."""
        ...

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make quarantined records, and records between two attempts, pending and due now.

        Args:
            which: One record by id, or all.
            handler: Only records in which this handler failed.
            kind: Only records of this kind.

        Returns:
            The number of records.
        """
        ...

    async def summary(self) -> Sequence[FailureTally]:
        """Count what failed in quarantined records and in records between two attempts, in no order."""
        ...

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget the content of finished records.

        Args:
            which: One record by id, or all.
            states: Only records of these states.
            before: Only records that arrived before this time, in epoch seconds.

        Returns:
            The number of records.
        """
        ...

    async def aged_at(self) -> float | None:
        """Return the epoch time of the last call of `age`; None if that call found no record."""
        ...

    async def age(self, *, measured: float, by_clock: float, epoch: float, newest: bool) -> None:
        """Add time to the two ages of every record; the retention goes by ages and not by `received_at`.

        So no jump of the wall clock makes a record older or younger. A new record has the age 0. Ages may be
        too small by the time between two calls, and with *newest* too large by it.

        Args:
            measured: The seconds since the last call, as far as they are certain.
            by_clock: The seconds since the last call by the wall clock, at least *measured*.
            epoch: The time now, in epoch seconds, for `aged_at`.
            newest: Whether to add the time to records since the last call too; otherwise they start at 0.
        """

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """Do one bounded piece of the retention: forget contents, then keys.

        Args:
            handled: Forget handled records of this age by the clock, in seconds; 0 for all.
            quarantined: Forget quarantined records of this measured age, in seconds.
            keys: Delete forgotten records of this measured age, in seconds.

        Returns:
            Whether more pieces remain.
        """
        ...

    async def writable(self) -> bool:
        """Return whether there is room for another record; called after a failure.

        Raises:
            InboxError: The store still fails.
        """
        ...

    async def count(self) -> RecordCounts:
        """Count pending and quarantined records, and find the arrival of the oldest pending one."""
        ...

    @property
    def on_added(self) -> AddedListener | None:
        """The listener for new records; None while this process does not handle events."""

    @on_added.setter
    def on_added(self, listener: AddedListener | None) -> None: ...
