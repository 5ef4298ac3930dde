"""`MemoryLedger`: a ledger in memory, for tests and rehearsals.

The ledger keeps all promises of a ledger in a file, except that it does not survive the process.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.ledger import Guard
from nexmo_dispatch_async.bulk.ledger.opt_outs import MemoryOptOutStore, OptOutList
from nexmo_dispatch_async.bulk.ledger.rates import RateExchange, RateRequest, SharedPause, SharedRates
from nexmo_dispatch_async.bulk.ledger.records import (
    Added,
    Change,
    Claimed,
    ClaimRequest,
    Control,
    Counts,
    Droppable,
    News,
    Observed,
    Recipient,
    Resendable,
    Result,
    Row,
    SkipReason,
    State,
)
from nexmo_dispatch_async.bulk.ledger.transitions import (
    OPT_OUT_CODES,
    Tally,
    amount,
    merge,
    normal_uuid,
    proven_state,
    require_droppable,
    require_resendable,
    row_ids,
    row_of_ref,
    settle,
)
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError, PlanChangedError
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["MemoryLedger", "new_reference"]


def new_reference() -> str:
    """Return random text of 16 characters for a new ledger."""
    return secrets.token_hex(8)


class _Kept(AsShown, Struct, kw_only=True):
    """A row: the recipient, and the state."""

    id: int
    recipient: Recipient
    state: State
    not_before: float
    skip: SkipReason | None = None
    attempts: int = 0
    changed: float = 0.0
    claimed: float = 0.0
    worker: str = ""
    dispatch_uuid: str = ""
    error: str = ""
    code: str = ""
    news: News | None = None
    forgotten: bool = False

    def __repr__(self) -> str:
        return f"<_Kept {self.id} {self.state}>"

    @property
    def proven(self) -> bool:
        """Whether a callback, or the result of an earlier claim, has proved that it was sent."""
        return self.news is not None or bool(self.dispatch_uuid)


class MemoryLedger:
    """A `Ledger` in memory.

    Args:
        opt_outs: An opt-out list in memory, possibly shared by several ledgers; by default a list of its own.
        shared: Whether several senders work with it at once.
        clock: Returns epoch seconds, for changes without a time.

    Raises:
        ConfigurationError: *opt_outs* is not in memory.
    """

    def __init__(
        self,
        opt_outs: OptOutList | None = None,
        *,
        shared: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        #: Whether several senders work with it at once.
        self.shared: bool = shared
        self.opt_outs: OptOutList = opt_outs if opt_outs is not None else OptOutList(clock=clock)
        if not isinstance(self.opt_outs.store, MemoryOptOutStore):
            raise ConfigurationError(
                "opt_outs is in a file: a ledger in memory takes OptOutList(), without a file"
            )
        self._opt_outs: MemoryOptOutStore = self.opt_outs.store
        self._shared_list = opt_outs is not None
        self._clock = clock
        self._reference = new_reference()
        self._plan = b""
        self._control = Control()
        self._rows: dict[int, _Kept] = {}
        self._by_key: dict[str, int] = {}
        self._by_uuid: dict[str, int] = {}
        self._pending: dict[int, None] = {}
        self._sorted = True
        self._rates = SharedRates()
        self._tally = Tally()
        self._closed = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<MemoryLedger of {len(self._rows)} rows{', closed' if self._closed else ''}>"

    @property
    def reference(self) -> str:
        """Random text, generated with the ledger."""
        return self._reference

    @property
    def share(self) -> float:
        """1: no other process sends."""
        return 1.0

    async def describe(self, plan: bytes | None = None) -> bytes:
        """Return the plan, after storing a new one."""
        self._require_open()
        if plan is not None:
            if self._plan not in {b"", plan}:
                raise PlanChangedError("the ledger holds another plan: start a new campaign for a new plan")
            self._plan = plan
        return self._plan

    async def add(self, rows: Sequence[Recipient]) -> Added:
        """Add rows whose key is new."""
        self._require_open()
        duplicates: list[int] = []
        for position, recipient in enumerate(rows):
            if recipient.key in self._by_key:
                duplicates.append(position)
                continue
            row_id = len(self._rows) + 1
            row = _Kept(id=row_id, recipient=recipient, state="pending", not_before=recipient.not_before)
            if recipient.skip is not None:
                row.state, row.skip, row.changed = "skipped", recipient.skip, self._clock()
            else:
                self._pending[row_id] = None
            self._rows[row_id] = row
            self._by_key[recipient.key] = row_id
            self._tally.add(row.state, row.skip)
        return Added(added=len(rows) - len(duplicates), duplicates=tuple(duplicates))

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        """Record results and claim rows."""
        self._require_open()
        self._record(results)
        if request.bounds is not None:
            request = request.within(self._tally.counts())
        room = dict(request.buckets) if request.buckets is not None else None
        claimed: list[Claimed] = []
        for row in self._in_order():
            if len(claimed) >= request.limit:
                break
            bucket = row.recipient.bucket
            if room is not None and room.get(bucket, 0) <= 0:
                continue
            if row.not_before > request.now or row.recipient.zone in request.closed_zones:
                continue
            if not self._may_go(row, request):
                continue
            if room is not None:
                room[bucket] -= 1
            claimed.append(self._hand_out(row, request, worker))
        return claimed

    def guard(self) -> Guard:
        """No check: the rows are those of this process."""
        return None

    async def record(self, results: Sequence[Result]) -> None:
        """Record results."""
        self._require_open()
        self._record(results)

    async def observe(self, news: Sequence[News]) -> Observed:
        """Merge news."""
        self._require_open()
        for piece in news:
            amount(piece.cost)
        found = [self._observe(piece) for piece in news]
        unmatched = tuple(position for position, changed in enumerate(found) if changed is None)
        return Observed(changed=sum(map(bool, found)), unmatched=unmatched)

    async def reap(self, worker: str | None = None) -> int:
        """Turn `sending` rows into `unknown`."""
        self._require_open()
        rows = [
            row
            for row in self._rows.values()
            if row.state == "sending" and (worker is None or row.worker == worker)
        ]
        for row in rows:
            self._move(row, "sent" if row.proven else "unknown", at=self._clock())
        return len(rows)

    async def resend(self, ids: Iterable[int], *, state: Resendable = "unknown") -> int:
        """Put `unknown` or `refused` rows back to `pending`."""
        self._require_open()
        require_resendable(state)
        rows = [row for row in self._of(ids) if row.state == state and not row.forgotten]
        for row in rows:
            row.error, row.code = "", ""
            self._move(row, "pending", at=self._clock())
        return len(rows)

    async def drop(self, ids: Iterable[int], *, state: Droppable = "unknown") -> int:
        """Turn `unknown` or `pending` rows into `skipped`."""
        self._require_open()
        require_droppable(state)
        rows = [row for row in self._of(ids) if row.state == state]
        for row in rows:
            self._move(row, "skipped", at=self._clock(), skip="dropped")
        return len(rows)

    async def expire(self, now: float, *, limit: int = 10_000) -> int:
        """Skip rows whose time is over."""
        self._require_open()
        checks.epoch("now", now)
        over = [row for row in self._in_order() if row.recipient.expires <= now]
        over = sorted(over, key=lambda row: (row.recipient.expires, row.id))[:limit]
        for row in over:
            self._move(row, "skipped", at=now, skip="expired")
        return len(over)

    async def due(self) -> float | None:
        """Return when the next pending row is due."""
        self._require_open()
        return min((self._rows[row_id].not_before for row_id in self._pending), default=None)

    async def zones(self) -> frozenset[str]:
        """Return the zones of the pending rows."""
        self._require_open()
        return frozenset(self._rows[row_id].recipient.zone for row_id in self._pending)

    async def buckets(self) -> frozenset[str]:
        """Return the buckets of the pending rows."""
        self._require_open()
        return frozenset(self._rows[row_id].recipient.bucket for row_id in self._pending)

    async def lease(
        self, requests: Sequence[RateRequest], pauses: Sequence[SharedPause] = (), *, now: float
    ) -> RateExchange:
        """Grant sends of shared rates."""
        self._require_open()
        return self._rates.exchange(requests, pauses, now)

    async def control(self, change: Change | None = None) -> Control:
        """Return the control state, after a change of it."""
        self._require_open()
        if change is not None:
            self._control = self._control.changed(change)
        return self._control

    async def counts(self, *, verify: bool = False) -> Counts:
        """Return the counts."""
        self._require_open()
        if not verify:
            return self._tally.counts()
        tally = Tally()
        for row in self._rows.values():
            tally.add(row.state, row.skip)
            tally.news(row.news)
        return tally.counts()

    async def scan(self, state: State | None = None, *, after: int = 0, limit: int = 1000) -> list[Row]:
        """Return rows by ascending id."""
        self._require_open()
        found: list[Row] = []
        for row_id in range(max(after, 0) + 1, len(self._rows) + 1):
            if len(found) >= limit:
                break
            if state is None or self._rows[row_id].state == state:
                found.append(_row(self._rows[row_id]))
        return found

    async def forget(self, before: float) -> int:
        """Erase personal data of ended rows."""
        self._require_open()
        checks.epoch("before", before)
        over = [row for row in self._rows.values() if not row.forgotten and _ended(row, before)]
        for row in over:
            recipient = row.recipient
            self._by_key.pop(recipient.key, None)
            if not self._shared_list:
                self._opt_outs.history.pop(recipient.address, None)
                self._opt_outs.unlink_now(recipient.address)
            row.recipient = replace(recipient, key="", address="", fields={})
            row.forgotten = True
        return len(over)

    async def aclose(self) -> None:
        """Forget everything."""
        self._closed = True

    # --- one row ---

    def _may_go(self, row: _Kept, request: ClaimRequest) -> bool:
        """Return whether the next row may be sent; otherwise the row is skipped or waits."""
        recipient = row.recipient
        if recipient.expires <= request.now:
            self._move(row, "skipped", at=request.now, skip="expired")
            return False
        if recipient.address in self._opt_outs.entries:
            self._move(row, "skipped", at=request.now, skip="suppressed")
            return False
        if request.cap is None:
            return True
        free = self._opt_outs.free_at(recipient.address, request.cap, request.now)
        if free is not None and request.cap.over == "skip":
            self._move(row, "skipped", at=request.now, skip="capped")
        elif free is not None:
            row.not_before = free
        return free is None

    def _hand_out(self, row: _Kept, request: ClaimRequest, worker: str) -> Claimed:
        self._move(row, "sending", at=request.now)
        row.attempts += 1
        row.worker, row.claimed = worker, request.now
        recipient = row.recipient
        if self._shared_list or request.cap is not None:
            self._opt_outs.note(recipient.address, self._source(row), request.now)
        return Claimed(
            id=row.id,
            key=recipient.key,
            address=recipient.address,
            fields=dict(recipient.fields),
            bucket=recipient.bucket,
            line=recipient.line,
            language=recipient.language,
            variant=recipient.variant,
            channels=recipient.channels,
            attempts=row.attempts,
        )

    def _record(self, results: Sequence[Result]) -> None:
        if strange := [result.id for result in results if result.id not in self._rows]:
            raise LedgerError(f"there is no row {strange[0]} in this ledger: nothing was stored")
        for result in results:
            row = self._rows[result.id]
            state = settle(row.state, row.attempts, result, proven=row.proven)
            if state is None:
                continue
            if result.state == "sent":
                self._know(row, result.dispatch_uuid)
            if state == "sending":
                continue
            if state in {"pending", "refused"}:
                self._opt_outs.unnote(row.recipient.address, self._source(row), row.claimed)
            if state == "pending":
                row.not_before = result.not_before
            row.error, row.code = ("", "") if state == "sent" else (result.error, result.code)
            self._move(row, state, at=result.at)
            if state == "refused" and result.code in OPT_OUT_CODES:
                self._opt_outs.suppress_now(row.recipient.address, result.code, result.at)

    def _observe(self, news: News) -> bool | None:
        """Return whether the row changed; `None` without a row."""
        row_id = self._by_uuid.get(normal_uuid(news.dispatch_uuid))
        if row_id is None:
            row_id = row_of_ref(self._reference, news.client_ref)
        row = self._rows.get(row_id or 0)
        if row is None:
            return None
        merged, state = merge(row.news, news), proven_state(row.state)
        if merged == row.news and state == row.state:
            return False
        self._tally.news(row.news, -1)
        self._tally.news(merged)
        row.news = merged
        self._know(row, news.dispatch_uuid)
        if state != row.state:
            row.error, row.code = "", ""
            self._move(row, state, at=row.changed)
        return True

    def _move(self, row: _Kept, state: State, *, at: float, skip: SkipReason | None = None) -> None:
        self._tally.add(row.state, row.skip, -1)
        self._tally.add(state, skip)
        if state == "pending":
            self._pending[row.id] = None
            self._sorted = False
        elif row.state == "pending":
            del self._pending[row.id]
        row.state, row.skip, row.changed = state, skip, at

    def _know(self, row: _Kept, dispatch_uuid: str) -> None:
        uuid = normal_uuid(dispatch_uuid)
        row.dispatch_uuid = min(filter(None, (uuid, row.dispatch_uuid)), default="")
        if uuid:
            self._by_uuid[uuid] = row.id

    # --- many rows ---

    def _in_order(self) -> Iterator[_Kept]:
        if not self._sorted:
            self._pending = dict.fromkeys(sorted(self._pending))
            self._sorted = True
        return map(self._rows.__getitem__, list(self._pending))

    def _of(self, ids: Iterable[int]) -> list[_Kept]:
        return [row for row_id in row_ids(ids) if (row := self._rows.get(row_id)) is not None]

    def _source(self, row: _Kept) -> str:
        return f"{self._reference}-{row.id}"

    def _require_open(self) -> None:
        if self._closed:
            raise LedgerError("the ledger is closed")


def _ended(row: _Kept, before: float) -> bool:
    if row.state in {"pending", "sending"}:
        return False
    return max(row.changed, row.news.at if row.news is not None else 0.0) < before


def _row(row: _Kept) -> Row:
    recipient = row.recipient
    return Row(
        id=row.id,
        key=recipient.key,
        address=recipient.address,
        fields=dict(recipient.fields),
        bucket=recipient.bucket,
        state=row.state,
        line=recipient.line,
        zone=recipient.zone,
        language=recipient.language,
        variant=recipient.variant,
        channels=recipient.channels,
        not_before=row.not_before,
        expires=recipient.expires,
        skip=row.skip,
        attempts=row.attempts,
        changed=row.changed,
        dispatch_uuid=row.dispatch_uuid,
        error=row.error,
        code=row.code,
        news=row.news,
    )
