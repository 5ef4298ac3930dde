"""What `add`, `claim` and `expire` do to the rows of a campaign in JetStream, within a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_pending import Lane
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import RowState
from nexmo_dispatch_async.bulk.ledger.jetstream_work import Work
from nexmo_dispatch_async.bulk.ledger.records import Added, Claimed, ClaimRequest, Recipient, SkipReason
from nexmo_dispatch_core.jetstream.stream import Write

__all__ = ["Turn", "add", "claim", "expire"]

_SENDING: Final = form.SENDING
_SKIPPED: Final = form.code_of("skipped")


class Turn(Struct, frozen=True):
    """The part of the rows that a process claims first, so that several rarely choose the same ones.

    Attributes:
        rank: Of the process among those that send.
        senders: How many there are.
    """

    rank: int = 0
    senders: int = 1

    def has(self, row_id: int) -> bool:
        """Return whether a row belongs to this part."""
        return row_id % self.senders == self.rank


def add(work: Work, recipients: Sequence[Recipient], now: float) -> Added:
    """Add rows whose key is new."""
    view = work.view
    known: set[bytes] = set()
    new: list[form.StoredRow] = []
    duplicates: list[int] = []
    for position, recipient in enumerate(recipients):
        hashed = form.key_hash(recipient.key)
        if hashed in view.keys or hashed in known:
            duplicates.append(position)
        else:
            known.add(hashed)
            new.append(form.stored(recipient))
    for chunk, data in form.chunks_of(new, len(view) + 1, now):
        work.put_chunk(chunk, data)
    return Added(added=len(new), duplicates=tuple(duplicates))


async def claim(work: Work, request: ClaimRequest, worker: str, turn: Turn) -> list[Claimed]:
    """Hand out rows as `sending`, by ascending id; those of other processes' parts come last."""
    work.checks_people = True
    if request.bounds is not None:
        request = request.within(work.view.tally.counts())
    claiming = _Claim(work, request, worker)
    pending = work.view.pending
    pending.wake(request.now)
    taken: list[int] = []
    others: list[int] = []
    try:
        while not claiming.is_full and (row_id := pending.take(request.now, claiming.allows)) is not None:
            if turn.has(row_id):
                taken.append(row_id)
                await claiming.decide(row_id)
            else:
                others.append(row_id)
        for row_id in others:
            if claiming.is_full:
                break
            if claiming.allows(pending.lane_of(row_id)):
                await claiming.decide(row_id)
    finally:
        for row_id in (*taken, *others):
            pending.give_back(row_id)
    if request.bounds is not None and claiming.claimed:
        work.put(Write(work.view.names.bounds, b"", work.view.bounds_seq))
    return sorted(claiming.claimed, key=lambda row: row.id)


class _Claim:
    """One claim: which rows go, and what becomes of the others."""

    def __init__(self, work: Work, request: ClaimRequest, worker: str) -> None:
        self._work = work
        self._request = request
        self._worker = f"{work.process}/{worker}"
        self._room = dict(request.buckets) if request.buckets is not None else None
        self.claimed: list[Claimed] = []

    @property
    def is_full(self) -> bool:
        return len(self.claimed) >= self._request.limit or self._work.full

    def allows(self, lane: Lane) -> bool:
        """Return whether a row of a lane may go."""
        if lane.zone in self._request.closed_zones:
            return False
        return self._room is None or self._room.get(lane.bucket, 0) > 0

    async def decide(self, row_id: int) -> None:
        """Hand a row out, skip it, or put it off."""
        work, request = self._work, self._request
        state = work.view.state(row_id)
        row = await work.recipient(row_id)
        if row.expires is not None and row.expires <= request.now:
            work.set(row_id, _skipped(state, "expired", request.now))
            return
        if work.people.find(row.address) is not None:
            work.set(row_id, _skipped(state, "suppressed", request.now))
            return
        if request.cap is not None:
            free = work.change.free_at(row.address, request.cap, request.now)
            if free is not None and request.cap.over == "skip":
                work.set(row_id, _skipped(state, "capped", request.now))
                return
            if free is not None:
                work.set(row_id, replace(state, not_before=free))
                return
        self._hand_out(row_id, row, state)

    def _hand_out(self, row_id: int, row: form.StoredRow, state: RowState) -> None:
        work, now = self._work, self._request.now
        sending = replace(
            state,
            state=_SENDING,
            attempts=state.attempts + 1,
            changed=now,
            claimed=now,
            worker=self._worker,
        )
        work.set(row_id, sending)
        if work.shared or self._request.cap is not None:
            work.change.note(row.address, work.source(row_id), now)
        if self._room is not None:
            self._room[row.bucket] -= 1
        self.claimed.append(form.claimed_of(row_id, row, sending))


def expire(work: Work, now: float, limit: int) -> int:
    """Skip rows whose time is over."""
    over = work.view.pending.over(now, limit)
    for row_id in over:
        work.set(row_id, _skipped(work.view.state(row_id), "expired", now))
    return len(over)


def _skipped(state: RowState, reason: SkipReason, now: float) -> RowState:
    return replace(state, state=_SKIPPED, skip=form.skip_code(reason), changed=now)
