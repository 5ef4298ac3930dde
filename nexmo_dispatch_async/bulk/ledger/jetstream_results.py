"""What results, callbacks and operators do to the rows of a campaign in JetStream, within a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import Chunk, RowState
from nexmo_dispatch_async.bulk.ledger.jetstream_work import Work
from nexmo_dispatch_async.bulk.ledger.records import Droppable, News, Resendable, Result
from nexmo_dispatch_async.bulk.ledger.transitions import (
    OPT_OUT_CODES,
    merge,
    normal_uuid,
    proven_state,
    require_droppable,
    require_resendable,
    row_of_ref,
    settle,
)
from nexmo_dispatch_async.exceptions import LedgerError

__all__ = ["drop", "forget", "observe", "reap", "record", "require_rows", "resend"]


def require_rows(work: Work, results: Sequence[Result]) -> None:
    """Refuse results of rows that do not exist.

    Raises:
        LedgerError: There is one.
    """
    if strange := [result.id for result in results if not 0 < result.id <= len(work.view)]:
        raise LedgerError(f"there is no row {strange[0]} in this ledger: nothing was stored")


async def record(work: Work, results: Sequence[Result]) -> None:
    """Record results."""
    for result in results:
        before = work.view.state(result.id)
        state = settle(form.state_of(before.state), before.attempts, result, proven=_proven(before))
        if state is None:
            continue
        if state == "sending":
            work.set(result.id, replace(before, uuids=_with(before.uuids, result.dispatch_uuid)))
            continue
        if state in {"pending", "refused"} and (work.shared or work.people.histories):
            address = (await work.recipient(result.id)).address
            work.change.unnote(address, work.source(result.id), before.claimed)
        after = replace(before, state=form.code_of(state), skip=0, changed=result.at, error="", code="")
        if state != "sent":
            after = replace(after, error=result.error, code=result.code)
        if state == "pending":
            after = replace(after, not_before=result.not_before)
        if result.state == "sent":
            after = replace(after, uuids=_with(after.uuids, result.dispatch_uuid))
        work.set(result.id, after)
        if state == "refused" and result.code in OPT_OUT_CODES:
            address = (await work.recipient(result.id)).address
            if address:
                work.change.suppress([address], result.code, result.at)


def observe(work: Work, news: News, reference: str) -> bool | None:
    """Merge news; return whether the row changed, None without a row."""
    view = work.view
    row_id = view.by_uuid(normal_uuid(news.dispatch_uuid)) or row_of_ref(reference, news.client_ref)
    if row_id is None or not 0 < row_id <= len(view):
        return None
    before = view.state(row_id)
    known = form.decode_news(before.news) if before.news else None
    merged = merge(known, news)
    name = form.state_of(before.state)
    state = proven_state(name)
    if merged == known and state == name:
        return False
    after = replace(
        before,
        news=form.encode(merged),
        news_at=merged.at,
        ended=merged.ended,
        reached=merged.reached,
        cost=merged.cost,
        currency=merged.currency,
        uuids=_with(before.uuids, news.dispatch_uuid),
    )
    if state != name:
        after = replace(after, state=form.code_of(state), skip=0, error="", code="")
    work.set(row_id, after)
    return True


def reap(work: Work, ids: Iterable[int], now: float) -> None:
    """Give rows up that were `sending`: what was proven sent is `sent`, the others are `unknown`."""
    for row_id in ids:
        before = work.view.state(row_id)
        state = form.code_of("sent" if _proven(before) else "unknown")
        work.set(row_id, replace(before, state=state, changed=now))


def resend(work: Work, ids: Iterable[int], now: float, *, state: Resendable) -> int:
    """Put rows of a state back to `pending`; return their number."""
    require_resendable(state)
    found = 0
    for row_id in ids:
        before = work.view.state(row_id)
        if before.state == form.code_of(state) and not before.forgotten:
            work.set(row_id, replace(before, state=form.PENDING, changed=now, error="", code=""))
            found += 1
    return found


def drop(work: Work, ids: Iterable[int], now: float, *, state: Droppable) -> int:
    """Turn rows of a state into `skipped`; return their number."""
    require_droppable(state)
    found = 0
    for row_id in ids:
        before = work.view.state(row_id)
        if form.state_of(before.state) == state:
            skipped = form.code_of("skipped")
            work.set(row_id, replace(before, state=skipped, skip=form.skip_code("dropped"), changed=now))
            found += 1
    return found


async def forget(work: Work, first: int, before: float) -> int:
    """Erase personal data of rows that are over, of one message of recipients; return their number."""
    chunk = await work.chunk(first)
    rows = list(chunk.rows)
    found = 0
    for row_id, row in enumerate(chunk.rows, first):
        state = work.view.state(row_id)
        if state.forgotten or not _ended(state, before):
            continue
        if work.full:
            break
        rows[row_id - first] = replace(row, key="", address="", fields={})
        work.set(row_id, replace(state, forgotten=True))
        if not work.shared and row.address:
            work.change.forget(form.person_hash(row.address))
            work.change.unlink(row.address)
        found += 1
    if found:
        erased = Chunk(first, chunk.at, rows)
        work.put_chunk(erased, form.encode(erased))
    return found


def _proven(state: RowState) -> bool:
    """Return whether a callback, or the result of an earlier claim, has proved that a row was sent."""
    return bool(state.news or state.uuids)


def _ended(state: RowState, before: float) -> bool:
    if state.state in {form.PENDING, form.SENDING}:
        return False
    return max(state.changed, state.news_at if state.news else 0.0) < before


def _with(uuids: tuple[str, ...], uuid: str) -> tuple[str, ...]:
    """Return ids with another one, the smallest first."""
    return tuple(sorted({*uuids, normal_uuid(uuid)} - {""}))
