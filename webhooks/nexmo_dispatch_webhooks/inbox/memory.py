"""`MemoryInboxStore`: the store protocol in a few dictionaries, for tests.

Nothing survives the process, and the store cannot commit statements of handlers.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from nexmo_dispatch_webhooks.exceptions import InboxError, UnknownRecordError
from nexmo_dispatch_webhooks.inbox.records import (
    FailureTally,
    NewRecord,
    PendingEvent,
    Record,
    RecordCounts,
    RecordState,
    StoredFailure,
)
from nexmo_dispatch_webhooks.inbox.store import AddedListener, RecordChoice
from nexmo_dispatch_webhooks.transaction import Statement

__all__ = ["MemoryInboxStore"]


@dataclass(slots=True)
class _Kept:
    record: Record
    key: bytes
    lane: int
    due: float = 0.0
    #: Both ages of the store at the arrival, see `InboxStore.age`.
    measured: float = 0.0
    by_clock: float = 0.0


class MemoryInboxStore:
    """Keeps records in memory; see `InboxStore` for the contract of each method."""

    transactional = False
    shared = False
    lapsed = False

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.on_added: AddedListener | None = None
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._keys: set[bytes] = set()
        self._last = 0
        self._measured = self._by_clock = 0.0
        self._aged_at: float | None = None

    async def open(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing; the records stay for a second start."""

    async def claim(self) -> bool:
        """Return True: there is one process only."""
        return True

    async def changed(self) -> bool:
        """Return False: no other process writes."""
        return False

    async def add(self, record: NewRecord) -> int | None:
        """Store a new record."""
        if record.key in self._keys:
            return None
        self._keys.add(record.key)
        self._last += 1
        kept = Record(
            id=self._last,
            state="pending" if record.parsable else "quarantined",
            kind=record.kind,
            received_at=_moment(record.received_at),
            path=record.path,
            size=len(record.body),
            claims=record.context.claims,
            body=record.body,
        )
        self._kept[self._last] = _Kept(
            kept, record.key, record.lane, measured=self._measured, by_clock=self._by_clock
        )
        if record.parsable and self.on_added is not None:
            self.on_added(self._last, record)
        return self._last

    def finish(self, record_id: int, token: int = 0) -> None:
        """Mark as handled."""
        self._change(
            record_id, state="handled", finished_at=_moment(self._clock()), failed=(), next_attempt_at=None
        )

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Refuse: there is no database."""
        raise InboxError("the inbox in memory has no transactions")

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
        """Store the result of a failed attempt."""
        self._change(
            record_id,
            state="quarantined" if due is None else "pending",
            attempts=attempts,
            done=tuple(dict.fromkeys((*self._kept[record_id].record.done, *done))),
            failed=tuple(failed),
            next_attempt_at=None if due is None else _moment(due),
        )
        self._kept[record_id].due = due or 0.0

    async def pending(self) -> list[PendingEvent]:
        """Return all pending records."""
        return [
            PendingEvent(
                record_id,
                kept.lane,
                kept.record.received_at.timestamp(),
                kept.record.attempts,
                kept.due,
                kept.record.done,
                kept.record.kind,
            )
            for record_id, kept in self._kept.items()
            if kept.record.state == "pending"
        ]

    async def load(self, record_id: int) -> Record:
        """Return one record."""
        if record_id not in self._kept:
            raise UnknownRecordError(f"there is no record {record_id}")
        return self._kept[record_id].record

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Return records by ascending id."""
        chosen = (
            msgspec.structs.replace(kept.record, body=None)
            for record_id, kept in self._kept.items()
            if record_id > after
            and (kept.record.state == state if state is not None else kept.record.state != "forgotten")
        )
        return [record for record, _ in zip(chosen, range(limit), strict=False)]

    async def retry(self, which: RecordChoice, *, handler: str | None = None, kind: str | None = None) -> int:
        """Make records pending and due now."""
        chosen = [
            record_id
            for record_id, kept in self._kept.items()
            if which in ("all", record_id)
            and (kept.record.state == "quarantined" or (kept.record.state == "pending" and kept.due))
            and kind in (None, kept.record.kind)
            and (handler is None or any(failure.handler == handler for failure in kept.record.failed))
        ]
        for record_id in chosen:
            self._change(record_id, state="pending", attempts=0, failed=(), next_attempt_at=None)
            self._kept[record_id].due = 0.0
        return len(chosen)

    async def summary(self) -> builtins.list[FailureTally]:
        """Count what failed."""
        moments: dict[tuple[RecordState, str, str | None, str | None], builtins.list[datetime]] = {}
        for record in (kept.record for kept in self._kept.values()):
            names: builtins.list[tuple[str | None, str | None]] = [
                (failure.handler, failure.error) for failure in record.failed
            ]
            if record.state == "quarantined" and not names:
                names = [(None, None)]
            for handler, error in names if record.state in {"pending", "quarantined"} else ():
                key = (record.state, record.kind, handler, error)
                moments.setdefault(key, []).append(record.received_at)
        return [FailureTally(*key, len(found), min(found)) for key, found in moments.items()]

    async def purge(self, which: RecordChoice, *, states: Sequence[RecordState], before: float | None) -> int:
        """Forget contents."""
        chosen = [
            record_id
            for record_id, kept in self._kept.items()
            if which in ("all", record_id)
            and kept.record.state in states
            and (before is None or kept.record.received_at.timestamp() < before)
        ]
        for record_id in chosen:
            self._change(record_id, state="forgotten", body=None, path="", claims=None, done=(), failed=())
        return len(chosen)

    async def aged_at(self) -> float | None:
        """Return the time of the last call of `age`."""
        return self._aged_at

    async def age(self, *, measured: float, by_clock: float, epoch: float, newest: bool) -> None:
        """Add to both ages of the store; each record knows the ages at its arrival, so its age is exact."""
        self._measured += measured
        self._by_clock += by_clock
        self._aged_at = epoch

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """Do the whole retention at once."""
        for record_id, kept in list_of(self._kept):
            state, measured = kept.record.state, self._measured - kept.measured
            if (state == "handled" and self._by_clock - kept.by_clock >= handled) or (
                state == "quarantined" and measured >= quarantined
            ):
                await self.purge(record_id, states=(state,), before=None)
            if kept.record.state == "forgotten" and measured >= keys:
                del self._kept[record_id]
                self._keys.discard(kept.key)
        return False

    async def writable(self) -> bool:
        """Return True: there is always room."""
        return True

    async def count(self) -> RecordCounts:
        """Count pending and quarantined records."""
        records = [kept.record for kept in self._kept.values()]
        arrivals = [record.received_at.timestamp() for record in records if record.state == "pending"]
        quarantined = sum(record.state == "quarantined" for record in records)
        return RecordCounts(len(arrivals), quarantined, arrivals[0] if arrivals else None)

    def _change(self, record_id: int, **changes: object) -> None:
        kept = self._kept[record_id]
        kept.record = msgspec.structs.replace(kept.record, **changes)


def list_of(kept: dict[int, _Kept]) -> builtins.list[tuple[int, _Kept]]:
    """Return a copy of the items; the method named `list` hides the builtin in the class."""
    return list(kept.items())


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
