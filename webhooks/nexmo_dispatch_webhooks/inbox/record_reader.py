"""`RecordReader`: shows the records of a store to operators, whether or not this process handles them."""

from __future__ import annotations

import builtins

from nexmo_dispatch_core.checks import LARGEST
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_webhooks.checks import checks
from nexmo_dispatch_webhooks.exceptions import ConfigurationError
from nexmo_dispatch_webhooks.inbox.records import STATES, FailureTally, Record, RecordCounts, RecordState
from nexmo_dispatch_webhooks.inbox.store import InboxStore

__all__ = ["RecordReader", "check_retry", "states_to_purge"]


def check_id(name: str, record_id: object) -> None:
    """Require the id of a record."""
    checks.count(name, record_id, least=0, most=LARGEST)


def check_retry(which: object, handler: str | None, kind: str | None) -> None:
    """Require a choice of records: an id or `"all"`, and texts that a store can look for."""
    if which != "all":
        check_id("which", which)
    checks.texts(handler="" if handler is None else handler, kind="" if kind is None else kind)


def states_to_purge(
    state: RecordState, record_id: object, older_than: float | None
) -> tuple[RecordState, ...]:
    """Return the states of the records that `StoreInbox.purge` takes, after a check of its arguments."""
    checks.seconds("older_than", older_than, none=True)
    if record_id is not None:
        check_id("record_id", record_id)
        return ("handled", "quarantined")
    if state not in {"handled", "quarantined"}:
        raise ConfigurationError("purge takes handled or quarantined records")
    return (state,)


class RecordReader:
    """Reads records; it changes nothing.

    Args:
        store: Where the records are; it is opened when it is not open.
    """

    def __init__(self, store: InboxStore) -> None:
        self.store = store
        self._closing = Closing()

    async def _open_store(self) -> None:
        await self._closing.wait()
        await self.store.open()

    async def list(
        self, state: RecordState | None = None, *, limit: int = 100, after: int = 0
    ) -> builtins.list[Record]:
        """Return records without their bodies, by ascending id.

        Args:
            state: `pending`, `quarantined`, `handled` or `forgotten`; None for all but `forgotten`.
            limit: Maximum number of records.
            after: Only ids above this one, which is the last id of the previous page.

        Raises:
            ConfigurationError: There is no such state, or a number is out of its range.
        """
        checks.count("limit", limit, most=LARGEST)
        checks.count("after", after, least=0, most=LARGEST)
        if state is not None and state not in STATES:
            raise ConfigurationError(f"state must be one of {', '.join(STATES)}, or None")
        await self._open_store()
        return await self.store.list(state, limit=limit, after=after)

    async def count(self) -> RecordCounts:
        """Count pending and quarantined records, and find the arrival of the oldest pending one.

        Pending are also those that a handler works on now, in whatever process.
        """
        await self._open_store()
        return await self.store.count()

    async def show(self, record_id: int) -> Record:
        """Return one record with its body, which is personal data.

        Raises:
            UnknownRecordError: There is no record with this id.
            ConfigurationError: *record_id* is no whole number from 0 to 2**63 - 1.
        """
        check_id("record_id", record_id)
        await self._open_store()
        return await self.store.load(record_id)

    async def summary(self) -> builtins.list[FailureTally]:
        """Return what failed in quarantined records and in records that wait, most frequent first.

        A record in which two handlers failed is counted for both.
        """
        await self._open_store()
        found = await self.store.summary()
        return sorted(found, key=lambda tally: (-tally.count, tally.oldest, tally.handler or ""))
