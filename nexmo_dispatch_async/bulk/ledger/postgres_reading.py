"""What is read of a campaign in Postgres, and of the settings of its server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, LiteralString

import msgspec

from nexmo_dispatch_async.bulk.ledger import sqlite_rows as codes
from nexmo_dispatch_async.bulk.ledger.postgres_tables import Work, fetch, tally_of
from nexmo_dispatch_async.bulk.ledger.records import Counts, News, Row, State
from nexmo_dispatch_async.bulk.ledger.transitions import Tally
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.postgres.database import Connection

__all__ = ["counts", "due", "lanes", "recount", "require_durable", "scan"]

_DUE: Final[LiteralString] = """
SELECT CASE WHEN EXISTS (
    SELECT 1 FROM nexmo_dispatch.campaign_lanes AS l WHERE l.campaign = %(campaign)s AND EXISTS (
        SELECT 1 FROM nexmo_dispatch.campaign_states WHERE lane = l.id AND state = 0
    )
) THEN 0.0 ELSE (
    SELECT min(not_before) FROM nexmo_dispatch.campaign_states WHERE campaign = %(campaign)s AND state = 1
) END
"""
_LANES: Final[LiteralString] = """
SELECT bucket, zone FROM nexmo_dispatch.campaign_lanes AS l WHERE campaign = %(campaign)s AND (
    EXISTS (SELECT 1 FROM nexmo_dispatch.campaign_states AS s WHERE s.lane = l.id AND s.state = 0)
    OR EXISTS (
        SELECT 1 FROM nexmo_dispatch.campaign_states AS s
        WHERE s.campaign = l.campaign AND s.state = 1 AND s.lane = l.id
    )
)
"""
_DURABILITY: Final[LiteralString] = (
    "SELECT current_setting('fsync'), current_setting('synchronous_commit'),"
    " current_setting('full_page_writes')"
)
_COUNTS: Final[LiteralString] = (
    "SELECT name, sum(n) FROM nexmo_dispatch.campaign_counts WHERE campaign = %(campaign)s GROUP BY name"
)
_STATES: Final[LiteralString] = (
    "SELECT state, skip, count(*) FROM nexmo_dispatch.campaign_states"
    " WHERE campaign = %(campaign)s GROUP BY 1, 2"
)
_NEWS: Final[LiteralString] = (
    "SELECT ended, reached, cost, currency, count(*) FROM nexmo_dispatch.campaign_news"
    " WHERE campaign = %(campaign)s GROUP BY 1, 2, 3, 4"
)
_SCAN: Final[LiteralString] = """
SELECT s.id, s.state, s.not_before, s.expires, s.attempts, s.at, s.uuid, s.error, s.code, s.skip,
    r.address, r.key, r.fields, r.line, r.language, r.variant, r.channels, l.bucket, l.zone, n.body
FROM nexmo_dispatch.campaign_states AS s
JOIN nexmo_dispatch.campaign_recipients AS r ON r.campaign = s.campaign AND r.id = s.id
JOIN nexmo_dispatch.campaign_lanes AS l ON l.id = s.lane
LEFT JOIN nexmo_dispatch.campaign_news AS n ON n.campaign = s.campaign AND n.id = s.id
WHERE s.campaign = %(campaign)s AND s.id > %(after)s AND s.state = ANY(%(codes)s::smallint[])
ORDER BY s.id LIMIT %(limit)s
"""

_decode_news = msgspec.msgpack.Decoder(News).decode
_decode_fields = msgspec.json.Decoder(dict[str, str]).decode


async def require_durable(connection: Connection) -> None:
    """Refuse a server that may lose what it committed.

    Raises:
        LedgerError: It says so in its settings.
    """
    ((fsync, commit, pages),) = await fetch(connection, _DURABILITY, {})
    if "off" in {fsync, commit, pages}:
        raise LedgerError(
            f"the server may lose what it committed (fsync {fsync}, synchronous_commit {commit}, "
            f"full_page_writes {pages}), and then a person is messaged twice: set all three to on, or open "
            "the ledger with accept_loss=True"
        )


async def due(work: Work) -> float | None:
    """Return when the next pending row is due; 0 for one that is ready."""
    ((found,),) = await work.fetch(_DUE)
    return None if found is None else float(found)


async def lanes(work: Work) -> list[tuple[str, str]]:
    """Return the buckets and zones of the pending rows."""
    return [(bucket, zone) for bucket, zone in await work.fetch(_LANES)]


async def counts(work: Work) -> Counts:
    """Return the numbers that transactions kept, and what this one changes of them."""
    tally = tally_of([(name, Decimal(n)) for name, n in await work.fetch(_COUNTS)])
    tally.include(work.tally)
    return tally.counts()


async def recount(work: Work) -> Counts:
    """Count all rows."""
    tally = Tally()
    for code, skip, n in await work.fetch(_STATES):
        tally.add(codes.state_of(code), codes.skip_of(skip), n)
    for ended, reached, cost, currency, n in await work.fetch(_NEWS):
        tally.ended += n if ended else 0
        if reached:
            tally.reached[reached] += n
        tally.pay(cost, currency, n)
    return tally.counts()


async def scan(work: Work, state: State | None, after: int, limit: int) -> list[Row]:
    """Return a page of rows."""
    if state is not None and state not in codes.CODES:
        raise LedgerError(f"there is no state {state!r}: it is one of {', '.join(codes.CODES)}")
    numbers = list(range(7)) if state is None else list(codes.CODES[state])
    return [_row(row) for row in await work.fetch(_SCAN, after=after, limit=limit, codes=numbers)]


def _row(row: Any) -> Row:  # Any: columns
    (row_id, code, not_before, expires, attempts, at, uuid, error, reason, skip) = row[:10]
    (address, key, fields, line, language, variant, channels, bucket, zone, news) = row[10:]
    return Row(
        id=row_id,
        key=key or "",
        address=address,
        fields={} if fields is None else _decode_fields(fields),
        bucket=bucket,
        state=codes.state_of(code),
        line=line,
        zone=zone,
        language=language,
        variant=variant,
        channels=tuple(channels),
        not_before=not_before,
        expires=expires,
        skip=codes.skip_of(skip),
        attempts=attempts,
        changed=at,
        dispatch_uuid=uuid,
        error=error,
        code=reason,
        news=None if news is None else _decode_news(news),
    )
