"""`InboxStore` and `SharedInboxStore`: the interface between an inbox and the store of its events.

It holds protocols only. `memory`, `sqlite` and `jetstream` implement the first, whose events one process
handles at a time; `postgres` implements the second, whose events several processes handle at once.
`conformance` tests both, and any store of your own.
"""

from __future__ import annotations

import builtins
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Literal, Protocol, TypeGuard

from nexmo_dispatch_webhooks.inbox.records import (
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.transaction import Statement, StoreTransaction

__all__ = ["AddedListener", "InboxStore", "RecordChoice", "SharedInboxStore", "is_shared"]

#: Called on the event loop with the id and the content of each new durable record that is no duplicate, in
#: the order of the ids, before `add` returns.
AddedListener = Callable[[int, NewRecord], None]
#: One record by id, or all records to which the method applies.
RecordChoice = int | Literal["all"]


class InboxStore(Protocol):
    """A durable list of events without duplicates. Every method is called on one event loop.

    Every failure to read or write is an `InboxError`; without room for a new record, an `InboxFullError`.
    """

    #: Whether `commit` accepts statements of handlers.
    transactional: bool
    #: Whether it is a `SharedInboxStore`: each process then takes single events.
    shared: bool

    @property
    def lapsed(self) -> bool:
        """Whether another process may have the claim by now, for want of a sign of life of this one.

        Then no handler is started, and `changed` asks for a look at all pending events.
        """
        ...

    async def open(self) -> None:
        """Open the store; called before every other method, and again without effect."""

    async def aclose(self) -> None:
        """Write the marks of `finish`, then release all resources."""

    async def claim(self) -> bool:
        """Become, or remain, the only process that handles events; a process that dies loses the claim.

        While this process holds it, it is called every `poll` seconds, also while another method runs.

        Returns:
            Whether this process holds the claim.
        """
        ...

    def add(self, record: NewRecord) -> Awaitable[int | None]:
        """Store a record durably; calls of the same moment may share a commit.

        Ids ascend within a lane in the order in which its records become visible, and not between lanes.

        Returns:
            The new id; None for an event whose key is known (contract 5.10).
        """
        ...

    def finish(self, record_id: int, token: int = 0) -> None:
        """Mark a record as handled, soon; after a crash that loses the mark the event is handled again.

        Args:
            record_id: A pending record.
            token: The token of the claim, as in every method of a `SharedInboxStore`; 0 without claims.
        """

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
        token: int = 0,
    ) -> None:
        """Store the result of a failed attempt, and give up the claim.

        Args:
            record_id: A pending record.
            attempts: The number of attempts so far.
            due: When the next attempt is due, in epoch seconds; None for quarantine.
            done: The names of the handlers that succeeded. They join those that the store has: a commit whose
                result was lost may have stored a name that the caller does not know.
            failed: The failures of this attempt.
            token: The token of the claim.

        Raises:
            LostClaimError: Another process may have the event; nothing was stored.
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


class SharedInboxStore(InboxStore, Protocol):
    """A store whose events several processes take and handle at the same time.

    A process holds events under a lease, which it extends while it lives. The token of a claim is a fence: a
    process that slept past its lease cannot mark an event that another process has taken. Events of a lane
    stay in order: one process at a time holds events of it, always the first ones. `claim` selects the one
    process that runs the retention, nothing else; `on_added` need not be called.
    """

    async def take(
        self, limit: int, *, lease: float, without: Collection[str] = ()
    ) -> builtins.list[PendingEvent]:
        """Claim pending events that are due, for *lease* seconds from the last `extend` or `take`.

        Events come from lanes that no other process handles: the first event of a lane and those behind it.

        Args:
            limit: Maximum number of events.
            lease: Seconds.
            without: Kinds to skip at the front of a lane.

        Returns:
            Events with their tokens and their contents, by ascending id within each lane.
        """
        ...

    async def extend(self, *, lease: float) -> bool:
        """Extend all claims of this process.

        Returns:
            Whether the claims still hold; otherwise all are lost.
        """
        ...

    async def release(self, record_ids: Sequence[int], token: int) -> None:
        """Give up claims, so that any process may take the events immediately."""

    async def keep_only(self, record_ids: Sequence[int]) -> None:
        """Give up all claims of this process except these and those whose `finish` is not written yet.

        After a failure it is unknown which claims a `take` made, or which ones a `release` gave up.
        """

    async def wake(self, timeout: float) -> bool:  # noqa: ASYNC109 - the method is a wait
        """Wait until this or another process may have stored events, for at most *timeout* seconds.

        Returns:
            Whether events may have come.
        """
        ...

    def begin(self, record_id: int, token: int) -> StoreTransaction:
        """Return the transaction of one handler; it costs nothing until the handler uses it."""
        ...


def is_shared(store: InboxStore) -> TypeGuard[SharedInboxStore]:
    """Return whether several processes handle the events of a store."""
    return store.shared
