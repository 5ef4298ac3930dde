"""`MemoryInboxStore`: the store protocol in a few dictionaries, for tests.

Nothing survives the process, and no transaction of a handler can be committed with it.
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
    #: Both clocks of the store when it came, see `InboxStore.age`.
    sure: float = 0.0
    told: float = 0.0


class MemoryInboxStore:
    """Keeps records in memory; see `InboxStore` for what each method promises."""

    transactional = False

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self.added: AddedListener | None = None
        self._clock = clock
        self._kept: dict[int, _Kept] = {}
        self._keys: set[bytes] = set()
        self._last = 0
        self._sure = self._told = 0.0
        self._aged_at: float | None = None

    async def open(self) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do; what is kept stays for a second start."""

    async def claim(self) -> bool:
        """There is one process only."""
        return True

    async def changed(self) -> bool:
        """Nobody else writes."""
        return False

    async def add(self, record: NewRecord) -> int | None:
        """Keep a new record."""
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
        self._kept[self._last] = _Kept(kept, record.key, record.lane, sure=self._sure, told=self._told)
        if record.parsable and self.added is not None:
            self.added(self._last, record)
        return self._last

    def finish(self, record_id: int) -> None:
        """Mark as handled."""
        self._change(
            record_id, state="handled", finished_at=_moment(self._clock()), failed=(), next_attempt_at=None
        )

    async def commit(
        self, record_id: int, handler: str, statements: Sequence[Statement], *, finish: bool
    ) -> None:
        """Refused: there is no database here."""
        raise InboxError("the inbox in memory has no transactions")

    async def postpone(
        self,
        record_id: int,
        *,
        attempts: int,
        due: float | None,
        done: Sequence[str],
        failed: Sequence[StoredFailure],
    ) -> None:
        """Keep the result of a failed attempt."""
        self._change(
            record_id,
            state="quarantined" if due is None else "pending",
            attempts=attempts,
            done=tuple(done),
            failed=tuple(failed),
            next_attempt_at=None if due is None else _moment(due),
        )
        self._kept[record_id].due = due or 0.0

    async def waiting(self) -> list[PendingEvent]:
        """All pending records."""
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
        """One record."""
        if record_id not in self._kept:
            raise UnknownRecordError(f"there is no record {record_id}")
        return self._kept[record_id].record

    async def list(self, state: RecordState | None, *, limit: int, after: int) -> builtins.list[Record]:
        """Records by ascending id."""
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
        """Count alike."""
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
        """When it was made older."""
        return self._aged_at

    async def age(self, *, sure: float, told: float, epoch: float, newest: bool) -> None:
        """Each record knows the time at which it came, so nothing is too old or too young."""
        self._sure += sure
        self._told += told
        self._aged_at = epoch

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """All of the retention at once."""
        for record_id, kept in list_of(self._kept):
            state, sure = kept.record.state, self._sure - kept.sure
            if (state == "handled" and self._told - kept.told >= handled) or (
                state == "quarantined" and sure >= quarantined
            ):
                await self.purge(record_id, states=(state,), before=None)
            if kept.record.state == "forgotten" and sure >= keys:
                del self._kept[record_id]
                self._keys.discard(kept.key)
        return False

    async def writable(self) -> bool:
        """There is always room."""
        return True

    async def count(self) -> RecordCounts:
        """How many wait, and how many are set aside."""
        records = [kept.record for kept in self._kept.values()]
        waiting = [record.received_at.timestamp() for record in records if record.state == "pending"]
        aside = sum(record.state == "quarantined" for record in records)
        return RecordCounts(len(waiting), aside, waiting[0] if waiting else None)

    def _change(self, record_id: int, **changes: object) -> None:
        kept = self._kept[record_id]
        kept.record = msgspec.structs.replace(kept.record, **changes)


def list_of(kept: dict[int, _Kept]) -> builtins.list[tuple[int, _Kept]]:
    """A copy to delete by; the method named `list` hides the builtin in the class."""
    return list(kept.items())


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
