"""What results, callbacks and operators do to the rows of a campaign in Postgres, within a transaction.

Rows are locked in the order of their ids, so that two transactions never wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, LiteralString

import msgspec
from msgspec import Struct

from nexmo_dispatch_async.bulk.ledger import sqlite_rows as codes
from nexmo_dispatch_async.bulk.ledger.postgres_opt_outs import suppress
from nexmo_dispatch_async.bulk.ledger.postgres_tables import NOW, Work
from nexmo_dispatch_async.bulk.ledger.records import Droppable, News, Observed, Resendable, Result, State
from nexmo_dispatch_async.bulk.ledger.transitions import (
    OPT_OUT_CODES,
    amount,
    merge,
    normal_uuid,
    proven_state,
    require_droppable,
    require_resendable,
    row_of_ref,
    settle,
)
from nexmo_dispatch_async.exceptions import LedgerError

__all__ = ["drop", "forget", "observe", "reap", "reap_dead", "record", "resend"]

_CODES: Final[dict[State, int]] = {
    "sending": codes.SENDING,
    "sent": codes.SENT,
    "refused": codes.REFUSED,
    "unknown": codes.UNKNOWN,
    "skipped": codes.SKIPPED,
}
_LOCKED: Final[LiteralString] = """
SELECT s.id, s.state, s.skip, s.attempts, s.at, s.uuid, s.error, s.code, s.not_before, n.body, r.address
FROM nexmo_dispatch.campaign_states AS s
JOIN nexmo_dispatch.campaign_recipients AS r ON r.campaign = s.campaign AND r.id = s.id
LEFT JOIN nexmo_dispatch.campaign_news AS n ON n.campaign = s.campaign AND n.id = s.id
WHERE s.campaign = %(campaign)s AND s.id = ANY(%(ids)s::bigint[]) ORDER BY s.id FOR UPDATE OF s
"""
_WRITE: Final[LiteralString] = """
UPDATE nexmo_dispatch.campaign_states AS s SET state = g.state, skip = g.skip, at = g.at, uuid = g.uuid,
    error = g.error, code = g.code, not_before = g.not_before
FROM unnest(%(ids)s::bigint[], %(states)s::smallint[], %(skips)s::smallint[], %(at)s::double precision[],
    %(uuids)s::text[], %(errors)s::text[], %(codes)s::text[], %(not_before)s::double precision[])
    AS g (id, state, skip, at, uuid, error, code, not_before)
WHERE s.campaign = %(campaign)s AND s.id = g.id
"""
_WRITE_NEWS: Final[LiteralString] = """
INSERT INTO nexmo_dispatch.campaign_news (campaign, id, ended, reached, cost, currency, at, body)
SELECT %(campaign)s, * FROM unnest(%(ids)s::bigint[], %(ended)s::boolean[], %(reached)s::text[],
    %(costs)s::text[], %(currencies)s::text[], %(at)s::double precision[], %(bodies)s::bytea[])
ON CONFLICT (campaign, id) DO UPDATE SET ended = excluded.ended, reached = excluded.reached,
    cost = excluded.cost, currency = excluded.currency, at = excluded.at, body = excluded.body
"""
_UUIDS: Final[LiteralString] = (
    "SELECT uuid, id FROM nexmo_dispatch.campaign_states"
    " WHERE campaign = %(campaign)s AND uuid = ANY(%(uuids)s::text[]) AND uuid <> ''"
)
_UNNOTE: Final[LiteralString] = """
DELETE FROM nexmo_dispatch.people_contacts AS c
USING unnest(%(addresses)s::text[], %(sources)s::text[]) AS gone (address, source)
WHERE c.list = %(opt_outs)s AND c.address = gone.address AND c.source = gone.source AND c.at = (
    SELECT max(at) FROM nexmo_dispatch.people_contacts AS o
    WHERE o.list = c.list AND o.address = c.address AND o.source = c.source
)
"""
# Rows of one worker of this process; or all rows of this process and of processes that are gone.
_REAP: Final[LiteralString] = f"""
WITH gone AS MATERIALIZED (
    SELECT s.id FROM nexmo_dispatch.campaign_states AS s
    WHERE s.campaign = %(campaign)s AND s.state = 2 AND CASE
        WHEN %(worker)s::text IS NOT NULL THEN s.worker = %(worker)s
        ELSE split_part(s.worker, '/', 1) = %(instance)s OR NOT EXISTS (
            SELECT 1 FROM nexmo_dispatch.campaign_workers AS w
            WHERE w.campaign = s.campaign AND w.name = split_part(s.worker, '/', 1) AND w.until > {NOW}
        ) END
    ORDER BY s.id FOR UPDATE
)
UPDATE nexmo_dispatch.campaign_states AS s SET at = %(now)s, state = CASE WHEN s.uuid <> '' OR EXISTS (
    SELECT 1 FROM nexmo_dispatch.campaign_news AS n WHERE n.campaign = s.campaign AND n.id = s.id
) THEN 3 ELSE 5 END
FROM gone WHERE s.campaign = %(campaign)s AND s.id = gone.id AND s.state = 2 RETURNING s.state
"""
_RESEND: Final[LiteralString] = """
WITH given AS MATERIALIZED (
    SELECT s.id FROM nexmo_dispatch.campaign_states AS s
    JOIN nexmo_dispatch.campaign_recipients AS r ON r.campaign = s.campaign AND r.id = s.id
    WHERE s.campaign = %(campaign)s AND s.id = ANY(%(ids)s::bigint[]) AND s.state = %(state)s
        AND r.fields IS NOT NULL
    ORDER BY s.id FOR UPDATE OF s
)
UPDATE nexmo_dispatch.campaign_states AS s
SET state = CASE WHEN s.not_before > 0 THEN 1 ELSE 0 END, at = %(now)s, error = '', code = ''
FROM given WHERE s.campaign = %(campaign)s AND s.id = given.id
"""
_DROP: Final[LiteralString] = """
WITH given AS MATERIALIZED (
    SELECT id, state FROM nexmo_dispatch.campaign_states
    WHERE campaign = %(campaign)s AND id = ANY(%(ids)s::bigint[]) AND state = ANY(%(states)s::smallint[])
    ORDER BY id FOR UPDATE
)
UPDATE nexmo_dispatch.campaign_states AS s SET state = 6, at = %(now)s, skip = %(skip)s
FROM given WHERE s.campaign = %(campaign)s AND s.id = given.id
"""
_FORGET: Final[LiteralString] = """
WITH over AS MATERIALIZED (
    SELECT s.id, r.address FROM nexmo_dispatch.campaign_states AS s
    JOIN nexmo_dispatch.campaign_recipients AS r ON r.campaign = s.campaign AND r.id = s.id
    LEFT JOIN nexmo_dispatch.campaign_news AS n ON n.campaign = s.campaign AND n.id = s.id
    WHERE s.campaign = %(campaign)s AND s.id > %(after)s AND s.state > 2 AND r.fields IS NOT NULL
        AND greatest(s.at, coalesce(n.at, 0)) < %(before)s
    ORDER BY s.id LIMIT %(limit)s FOR UPDATE OF s
), erased AS (
    UPDATE nexmo_dispatch.campaign_recipients AS r SET key = NULL, address = '', fields = NULL
    FROM over WHERE r.campaign = %(campaign)s AND r.id = over.id
)
SELECT id, address FROM over
"""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(News).decode


class _Row(Struct):
    """A locked row; `dirty` once it is to be written."""

    id: int
    code: int
    skip: int | None
    attempts: int
    at: float
    uuid: str
    error: str
    reason: str
    not_before: float
    news: News | None
    address: str
    dirty: bool = False
    has_news: bool = False

    @property
    def state(self) -> State:
        return codes.state_of(self.code)


async def _locked(work: Work, ids: Sequence[int]) -> dict[int, _Row]:
    rows = await work.fetch(_LOCKED, ids=sorted(set(ids)))
    return {row[0]: _row(row) for row in rows}


def _row(row: Any) -> _Row:  # Any: columns
    (row_id, code, skip, attempts, at, uuid, error, reason, not_before, news, address) = row
    return _Row(
        id=row_id,
        code=code,
        skip=skip,
        attempts=attempts,
        at=at,
        uuid=uuid,
        error=error,
        reason=reason,
        not_before=not_before,
        news=None if news is None else _decode(news),
        address=address,
    )


async def _write(work: Work, rows: Sequence[_Row]) -> None:
    dirty = [row for row in rows if row.dirty]
    if dirty:
        await work.execute(
            _WRITE,
            ids=[row.id for row in dirty],
            states=[row.code for row in dirty],
            skips=[row.skip for row in dirty],
            at=[row.at for row in dirty],
            uuids=[row.uuid for row in dirty],
            errors=[row.error for row in dirty],
            codes=[row.reason for row in dirty],
            not_before=[row.not_before for row in dirty],
        )
    changed = [(row.id, row.news) for row in rows if row.has_news and row.news is not None]
    if changed:
        await work.execute(
            _WRITE_NEWS,
            ids=[row_id for row_id, _ in changed],
            ended=[news.ended for _, news in changed],
            reached=[news.reached for _, news in changed],
            costs=[news.cost for _, news in changed],
            currencies=[news.currency for _, news in changed],
            at=[news.at for _, news in changed],
            bodies=[_encode(news) for _, news in changed],
        )


async def record(work: Work, results: Sequence[Result]) -> None:
    """Record results."""
    if not results:
        return
    rows = await _locked(work, [result.id for result in results])
    unsent: list[_Row] = []
    barred: list[tuple[str, str, float]] = []
    for result in results:
        row = rows.get(result.id)
        if row is None:
            raise LedgerError(f"there is no row {result.id} in this ledger: nothing was stored")
        before = row.state
        proven = row.news is not None or bool(row.uuid)
        state = settle(before, row.attempts, result, proven=proven)
        if state is None:
            continue
        row.dirty = True
        if result.state == "sent":
            row.uuid = min(filter(None, (normal_uuid(result.dispatch_uuid), row.uuid)), default="")
        if state == "sending":
            continue
        _unskip(work, row)
        if state == "pending":
            row.not_before = result.not_before
            row.code = codes.LATER if result.not_before else codes.READY
        else:
            row.code = _CODES[state]
        row.error, row.reason = ("", "") if state == "sent" else (result.error, result.code)
        row.at = result.at
        work.tally.move(before, state)
        if state in {"pending", "refused"}:
            unsent.append(row)
            if state == "refused" and result.code in OPT_OUT_CODES and row.address:
                barred.append((row.address, result.code, result.at))
    await _write(work, list(rows.values()))
    if unsent:
        sources = [work.source(row.id) for row in unsent]
        await work.execute(_UNNOTE, addresses=[row.address for row in unsent], sources=sources)
    for address, reason, at in barred:
        await suppress(work.connection, work.opt_outs, addresses=[address], reason=reason, at=at)


async def observe(work: Work, news: Sequence[News]) -> Observed:
    """Merge what callbacks tell."""
    for piece in news:
        amount(piece.cost)
    uuids = [normal_uuid(piece.dispatch_uuid) for piece in news]
    refs = [row_of_ref(work.reference, piece.client_ref) for piece in news]
    by_uuid: dict[str, int] = dict(await work.fetch(_UUIDS, uuids=sorted({uuid for uuid in uuids if uuid})))
    rows = await _locked(work, [*by_uuid.values(), *(ref for ref in refs if ref is not None)])
    unmatched: list[int] = []
    changed = 0
    for position, (piece, uuid, ref) in enumerate(zip(news, uuids, refs, strict=True)):
        row = rows.get(by_uuid.get(uuid, ref or 0))
        if row is None:
            unmatched.append(position)
            continue
        if uuid:
            by_uuid[uuid] = row.id
        changed += _learn(work, row, piece)
    await _write(work, list(rows.values()))
    return Observed(changed=changed, unmatched=tuple(unmatched))


def _learn(work: Work, row: _Row, piece: News) -> bool:
    """Merge news into a row; return whether it changed."""
    before = row.state
    merged, state = merge(row.news, piece), proven_state(before)
    if merged == row.news and state == before:
        return False
    work.tally.news(row.news, -1)
    work.tally.news(merged)
    row.news, row.has_news = merged, True
    row.uuid = min(filter(None, (normal_uuid(piece.dispatch_uuid), row.uuid)), default="")
    row.dirty = True
    if state != before:
        _unskip(work, row)
        row.code, row.error, row.reason = _CODES[state], "", ""
        work.tally.move(before, state)
    return True


def _unskip(work: Work, row: _Row) -> None:
    if row.skip is not None:
        work.tally.skipped[str(codes.skip_of(row.skip))] -= 1
        row.skip = None


async def reap(work: Work, worker: str | None, now: float) -> int:
    """Turn `sending` rows into `unknown`, those proven sent into `sent`: as many as were in flight."""
    found = await work.fetch(_REAP, worker=worker, instance=work.instance, now=now)
    for (code,) in found:
        work.tally.move("sending", codes.state_of(code))
    return len(found)


async def reap_dead(work: Work, now: float) -> int:
    """Turn the `sending` rows of processes that are gone into `unknown`."""
    found = await work.fetch(_REAP, worker=None, instance="", now=now)
    for (code,) in found:
        work.tally.move("sending", codes.state_of(code))
    return len(found)


async def resend(work: Work, ids: Sequence[int], now: float, *, state: Resendable) -> int:
    """Put rows of a state back, those whose person is still known."""
    require_resendable(state)
    found = await work.execute(_RESEND, ids=list(ids), now=now, state=_CODES[state])
    work.tally.move(state, "pending", found)
    return found


async def drop(work: Work, ids: Sequence[int], now: float, *, state: Droppable) -> int:
    """Give rows of a state up."""
    require_droppable(state)
    states = [codes.UNKNOWN] if state == "unknown" else [codes.READY, codes.LATER]
    skip = codes.skip_code("dropped")
    found = await work.execute(_DROP, ids=list(ids), now=now, states=states, skip=skip)
    work.tally.move(state, "skipped", found)
    work.tally.skipped["dropped"] += found
    return found


async def forget(work: Work, before: float, after: int, limit: int) -> tuple[int, int]:
    """Erase the persons of at most *limit* rows that are over; return how many, and the last id."""
    found: list[Any] = await work.fetch(_FORGET, before=before, after=after, limit=limit)  # Any: columns
    if found and not work.shared:
        addresses = [address for _, address in found]
        contacts: LiteralString = (
            "DELETE FROM nexmo_dispatch.people_contacts"
            " WHERE list = %(opt_outs)s AND address = ANY(%(addresses)s::text[])"
        )
        await work.execute(contacts, addresses=addresses)
        links: LiteralString = (
            "DELETE FROM nexmo_dispatch.people_same WHERE list = %(opt_outs)s AND person IN ("
            " SELECT person FROM nexmo_dispatch.people_same"
            " WHERE list = %(opt_outs)s AND address = ANY(%(addresses)s::text[]))"
        )
        await work.execute(links, addresses=addresses)
    return len(found), max((row_id for row_id, _ in found), default=after)
