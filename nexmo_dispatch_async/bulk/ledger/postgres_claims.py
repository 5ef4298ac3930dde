"""What `add` and `claim` do to the rows of a campaign in Postgres, within a transaction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, LiteralString, NamedTuple

import msgspec

from nexmo_dispatch_async.bulk.ledger import sqlite_rows as codes
from nexmo_dispatch_async.bulk.ledger.postgres_reading import counts
from nexmo_dispatch_async.bulk.ledger.postgres_tables import Work
from nexmo_dispatch_async.bulk.ledger.records import (
    Added,
    Cap,
    Claimed,
    ClaimRequest,
    Recipient,
    SkipReason,
)

__all__ = ["add", "claim", "expire", "lock_bounds"]

#: Rows that a claim wakes, and the most that one look chooses of a lane: others skip rows that are chosen.
_WAKE: Final = 2000
_MOST: Final = 2000

_ADD_RECIPIENTS: Final[LiteralString] = """
INSERT INTO nexmo_dispatch.campaign_recipients
    (campaign, id, key, address, fields, line, language, variant, channels)
SELECT %(campaign)s, id, key, address, fields, line, language, variant,
    coalesce(string_to_array(nullif(channels, ''), ','), '{}')
FROM unnest(%(ids)s::bigint[], %(keys)s::text[], %(addresses)s::text[], %(fields)s::bytea[],
    %(lines)s::integer[], %(languages)s::text[], %(variants)s::text[], %(channels)s::text[])
    AS given (id, key, address, fields, line, language, variant, channels)
"""
_ADD_STATES: Final[LiteralString] = """
INSERT INTO nexmo_dispatch.campaign_states (campaign, id, state, lane, not_before, expires, at, skip)
SELECT %(campaign)s, * FROM unnest(%(ids)s::bigint[], %(states)s::smallint[], %(lanes)s::bigint[],
    %(not_before)s::double precision[], %(expires)s::double precision[], %(at)s::double precision[],
    %(skips)s::smallint[])
"""
_LANES: Final[LiteralString] = (
    "SELECT id, bucket, zone FROM nexmo_dispatch.campaign_lanes WHERE campaign = %(campaign)s"
)
_ADD_LANES: Final[LiteralString] = """
INSERT INTO nexmo_dispatch.campaign_lanes (campaign, bucket, zone)
SELECT %(campaign)s, * FROM unnest(%(buckets)s::text[], %(zones)s::text[]) ON CONFLICT DO NOTHING
"""
# A subquery behind `IN` may run more than once, and then finds more rows than its limit; an array runs once.
_WAKE_ROWS: Final[LiteralString] = """
UPDATE nexmo_dispatch.campaign_states SET state = 0
WHERE campaign = %(campaign)s AND state = 1 AND id = ANY(ARRAY(
    SELECT id FROM nexmo_dispatch.campaign_states
    WHERE campaign = %(campaign)s AND state = 1 AND not_before <= %(now)s
    ORDER BY not_before LIMIT %(most)s FOR UPDATE SKIP LOCKED
))
"""
# Rows that another claim has chosen at this instant are skipped, not waited for.
_CHOOSE: Final[LiteralString] = """
SELECT s.id, s.lane, s.not_before, s.expires, s.attempts, o.address IS NOT NULL, r.address, r.key, r.fields,
    r.line, r.language, r.variant, r.channels
FROM unnest(%(lanes)s::bigint[], %(most)s::integer[]) AS wanted (lane, most), LATERAL (
    SELECT id, lane, not_before, expires, attempts FROM nexmo_dispatch.campaign_states
    WHERE lane = wanted.lane AND state = 0 ORDER BY id LIMIT wanted.most FOR UPDATE SKIP LOCKED
) AS s
JOIN nexmo_dispatch.campaign_recipients AS r ON r.campaign = %(campaign)s AND r.id = s.id
LEFT JOIN nexmo_dispatch.people_suppressed AS o ON o.list = %(opt_outs)s AND o.address = r.address
ORDER BY s.id
"""
# With a cap one claim at a time counts people, so that no two claims both find room below it.
_LOCK_PEOPLE: Final[LiteralString] = (
    "SELECT pg_advisory_xact_lock(hashtextextended('people_contacts', %(opt_outs)s))"
)
# With bounds the same, so that no two claims both find the last room below them.
_LOCK_BOUNDS: Final[LiteralString] = (
    "SELECT pg_advisory_xact_lock(hashtextextended('campaign_bounds', %(campaign)s))"
)
_CONTACTS: Final[LiteralString] = """
SELECT address, array_agg(at ORDER BY at) FROM nexmo_dispatch.people_contacts
WHERE list = %(opt_outs)s AND address = ANY(%(addresses)s) AND at + %(window)s > %(now)s GROUP BY address
"""
_SEND: Final[LiteralString] = """
UPDATE nexmo_dispatch.campaign_states
SET state = 2, attempts = attempts + 1, at = %(now)s, worker = %(worker)s
WHERE campaign = %(campaign)s AND id = ANY(%(ids)s)
"""
_SKIP: Final[LiteralString] = """
UPDATE nexmo_dispatch.campaign_states AS s SET state = 6, at = %(now)s, skip = given.skip
FROM unnest(%(ids)s::bigint[], %(skips)s::smallint[]) AS given (id, skip)
WHERE s.campaign = %(campaign)s AND s.id = given.id
"""
_PUT_OFF: Final[LiteralString] = """
UPDATE nexmo_dispatch.campaign_states AS s SET state = 1, not_before = given.until
FROM unnest(%(ids)s::bigint[], %(until)s::double precision[]) AS given (id, until)
WHERE s.campaign = %(campaign)s AND s.id = given.id
"""
_NOTE: Final[LiteralString] = """
INSERT INTO nexmo_dispatch.people_contacts (list, address, at, source)
SELECT %(opt_outs)s, address, %(now)s, source FROM unnest(%(addresses)s::text[], %(sources)s::text[])
    AS given (address, source) ON CONFLICT DO NOTHING
"""
_EXPIRE: Final[LiteralString] = """
UPDATE nexmo_dispatch.campaign_states SET state = 6, at = %(now)s, skip = %(skip)s
WHERE campaign = %(campaign)s AND state < 2 AND id = ANY(ARRAY(
    SELECT id FROM nexmo_dispatch.campaign_states
    WHERE campaign = %(campaign)s AND state < 2 AND expires < 'infinity' AND expires <= %(now)s
    ORDER BY expires, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
))
"""

_fields = msgspec.json.Decoder(dict[str, str]).decode


# --- adding ---


async def add(work: Work, recipients: Sequence[Recipient], now: float) -> Added:
    """Add rows whose key is new; one process at a time numbers rows of a campaign."""
    lock: LiteralString = "SELECT last FROM nexmo_dispatch.campaigns WHERE id = %(campaign)s FOR UPDATE"
    ((last,),) = await work.fetch(lock)
    query: LiteralString = (
        "SELECT key FROM nexmo_dispatch.campaign_recipients"
        " WHERE campaign = %(campaign)s AND key = ANY(%(keys)s::text[])"
    )
    known = {row[0] for row in await work.fetch(query, keys=[r.key for r in recipients])}
    new: list[Recipient] = []
    duplicates: list[int] = []
    for position, recipient in enumerate(recipients):
        if recipient.key in known:
            duplicates.append(position)
        else:
            known.add(recipient.key)
            new.append(recipient)
    if new:
        await _insert(work, new, last, now)
    return Added(added=len(new), duplicates=tuple(duplicates))


async def _insert(work: Work, new: Sequence[Recipient], last: int, now: float) -> None:
    ids = list(range(last + 1, last + 1 + len(new)))
    lanes = await _lanes(work, {(r.bucket, r.zone) for r in new})
    await work.execute(
        _ADD_RECIPIENTS,
        ids=ids,
        keys=[r.key for r in new],
        addresses=[r.address for r in new],
        fields=[msgspec.json.encode(r.fields) for r in new],
        lines=[r.line for r in new],
        languages=[r.language for r in new],
        variants=[r.variant for r in new],
        channels=[",".join(r.channels) for r in new],
    )
    states = [
        codes.SKIPPED if r.skip is not None else codes.LATER if r.not_before else codes.READY for r in new
    ]
    await work.execute(
        _ADD_STATES,
        ids=ids,
        states=states,
        lanes=[lanes[r.bucket, r.zone] for r in new],
        not_before=[r.not_before for r in new],
        expires=[r.expires for r in new],
        at=[now if r.skip is not None else 0.0 for r in new],
        skips=[codes.skip_code(r.skip) for r in new],
    )
    for recipient, state in zip(new, states, strict=True):
        work.tally.add(codes.state_of(state), recipient.skip)
    update: LiteralString = "UPDATE nexmo_dispatch.campaigns SET last = %(last)s WHERE id = %(campaign)s"
    await work.execute(update, last=ids[-1])


async def _lanes(work: Work, lanes: set[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Return the numbers of lanes, which are made when they are new."""
    pairs = sorted(lanes)
    await work.execute(_ADD_LANES, buckets=[pair[0] for pair in pairs], zones=[pair[1] for pair in pairs])
    return {(bucket, zone): lane for lane, bucket, zone in await work.fetch(_LANES)}


# --- claiming ---


class _Lane(NamedTuple):
    bucket: str
    zone: str


async def lock_bounds(work: Work) -> None:
    """Let other claims with bounds wait until this transaction ends; it may hold no other lock yet."""
    await work.execute(_LOCK_BOUNDS)


async def claim(work: Work, request: ClaimRequest, worker: str) -> list[Claimed]:
    """Hand out rows as `sending`, by ascending id."""
    if request.bounds is not None:
        request = request.within(await counts(work))
    if request.cap is not None:
        await work.execute(_LOCK_PEOPLE)
    await work.execute(_WAKE_ROWS, now=request.now, most=_WAKE)
    lanes = {
        lane: _Lane(bucket, zone)
        for lane, bucket, zone in await work.fetch(_LANES)
        if zone not in request.closed_zones
    }
    room = dict(request.buckets) if request.buckets is not None else None
    claimed: list[Claimed] = []
    extra = 0
    while len(claimed) < request.limit:
        rest = request.limit - len(claimed)
        most = {
            lane: min(rest if room is None else min(rest, room.get(name.bucket, 0)), _MOST)
            for lane, name in lanes.items()
        }
        most = {lane: min(n + extra, _MOST) for lane, n in most.items() if n > 0}
        candidates = await work.fetch(_CHOOSE, lanes=list(most), most=list(most.values())) if most else []
        if not candidates:
            break
        look = _Look(work, request, lanes, most, candidates)
        await look.count_people()
        found = look.choose(rest, room)
        await look.write(found, worker)
        claimed += found
        extra = max(16, 4 * extra)
    return claimed


class _Look:
    """One look at the first ready rows of lanes: which of them go, and what becomes of the others."""

    def __init__(
        self,
        work: Work,
        request: ClaimRequest,
        lanes: dict[int, _Lane],
        most: dict[int, int],
        candidates: list[Any],  # Any: columns
    ) -> None:
        self._work = work
        self._request = request
        self._lanes = lanes
        self._candidates = candidates
        self._skipped: list[tuple[int, SkipReason]] = []
        self._put_off: list[tuple[int, float]] = []
        self._messages: dict[str, list[float]] = {}
        # By lane the last row that was read, where there may be more behind it.
        self._ends: dict[int, int] = {}
        numbers: dict[int, int] = {}
        for row in candidates:
            numbers[row[1]] = numbers.get(row[1], 0) + 1
            if numbers[row[1]] == most[row[1]]:
                self._ends[row[1]] = row[0]

    async def count_people(self) -> None:
        """Read how many messages the people of the candidates got, with a cap."""
        cap = self._request.cap
        if cap is None:
            return
        addresses = sorted({row[6] for row in self._candidates})
        found = await self._work.fetch(
            _CONTACTS, addresses=addresses, window=cap.window, now=self._request.now
        )
        self._messages = {address: list(times) for address, times in found}

    def choose(self, rest: int, room: dict[str, int] | None) -> list[Claimed]:
        """Return the rows that go; a row that does not makes room only for what was read behind it."""
        claimed: list[Claimed] = []
        end: float = math.inf
        for row in self._candidates:
            row_id, lane = row[0], row[1]
            bucket = self._lanes[lane].bucket
            if row_id > end or len(claimed) >= rest:
                break
            if room is not None and room.get(bucket, 0) <= 0:
                continue
            if not self._goes(row):
                end = min(end, self._ends.get(lane, math.inf))
                continue
            if room is not None:
                room[bucket] -= 1
            claimed.append(_claimed(row, bucket))
            self._messages.setdefault(row[6], []).append(self._request.now)
        return claimed

    def _goes(self, row: Any) -> bool:  # Any: columns
        row_id, _, not_before, expires, _, suppressed, address = row[:7]
        request = self._request
        if not_before > request.now:  # the clock went back since it was woken
            self._put_off.append((row_id, not_before))
            return False
        if expires <= request.now:
            self._skipped.append((row_id, "expired"))
            return False
        if suppressed:
            self._skipped.append((row_id, "suppressed"))
            return False
        free = None if request.cap is None else _free_at(self._messages.get(address, []), request.cap)
        if free is None:
            return True
        if request.cap is not None and request.cap.over == "skip":
            self._skipped.append((row_id, "capped"))
        else:
            self._put_off.append((row_id, free))
        return False

    async def write(self, claimed: Sequence[Claimed], worker: str) -> None:
        """Store what becomes of the rows."""
        work, now = self._work, self._request.now
        if claimed:
            await work.execute(_SEND, ids=[row.id for row in claimed], now=now, worker=worker)
            work.tally.move("pending", "sending", len(claimed))
            if work.shared or self._request.cap is not None:
                await work.execute(
                    _NOTE,
                    addresses=[row.address for row in claimed],
                    sources=[work.source(row.id) for row in claimed],
                    now=now,
                )
        if self._skipped:
            skips = [codes.skip_code(reason) for _, reason in self._skipped]
            await work.execute(_SKIP, ids=[row_id for row_id, _ in self._skipped], skips=skips, now=now)
            work.tally.move("pending", "skipped", len(self._skipped))
            for _, reason in self._skipped:
                work.tally.skipped[reason] += 1
        if self._put_off:
            ids, until = zip(*self._put_off, strict=True)
            await work.execute(_PUT_OFF, ids=list(ids), until=list(until))


def _free_at(times: Sequence[float], cap: Cap) -> float | None:
    """Return when a person may get a message again, `None` when that is now."""
    return sorted(times)[-cap.messages] + cap.window if len(times) >= cap.messages else None


def _claimed(row: Any, bucket: str) -> Claimed:  # Any: columns
    row_id, _, _, _, attempts, _, address, key, fields, line, language, variant, channels = row
    return Claimed(
        id=row_id,
        key=key,
        address=address,
        fields=_fields(fields),
        bucket=bucket,
        line=line,
        language=language,
        variant=variant,
        channels=tuple(channels),
        attempts=attempts + 1,
    )


async def expire(work: Work, now: float, limit: int) -> int:
    """Skip rows whose time is over."""
    found = await work.execute(_EXPIRE, now=now, limit=limit, skip=codes.skip_code("expired"))
    work.tally.move("pending", "skipped", found)
    work.tally.skipped["expired"] += found
    return found
