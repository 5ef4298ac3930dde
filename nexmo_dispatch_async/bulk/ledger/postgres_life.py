"""Signs of life of the processes that send for a campaign in Postgres, by the clock of the server."""

from __future__ import annotations

from typing import Final, LiteralString

from nexmo_dispatch_async.bulk.ledger.postgres_tables import NOW, fetch
from nexmo_dispatch_async.bulk.ledger.records import Life
from nexmo_dispatch_core.postgres.database import Connection

__all__ = ["QUIET", "leave", "life", "show_life"]

#: Seconds without a sign of life until the others have the part of the quota of a process.
QUIET: Final = 4.0
_LIVE: Final[LiteralString] = (
    "WITH before AS MATERIALIZED (SELECT until FROM nexmo_dispatch.campaign_workers"
    " WHERE campaign = %(campaign)s AND name = %(name)s)"
    " INSERT INTO nexmo_dispatch.campaign_workers AS w (campaign, name, seen, until)"
    f" VALUES (%(campaign)s, %(name)s, {NOW}, {NOW} + %(lease)s)"
    " ON CONFLICT (campaign, name) DO UPDATE SET seen = excluded.seen, until = excluded.until"
    " RETURNING coalesce((SELECT until FROM before), 0) <= w.seen"
)
_SENDERS: Final[LiteralString] = (
    "SELECT count(*) FROM nexmo_dispatch.campaign_workers"
    f" WHERE campaign = %(campaign)s AND seen > {NOW} - %(quiet)s"
)
_LEAVE: Final[LiteralString] = (
    "DELETE FROM nexmo_dispatch.campaign_workers WHERE campaign = %(campaign)s AND name = %(name)s"
)
# Rows of a process that never wrote a sign of life are of one that was reaped meanwhile: they go at once.
_LIFE: Final[LiteralString] = f"""
WITH clock AS MATERIALIZED (SELECT {NOW} AS now), workers AS MATERIALIZED (
    SELECT name, clock.now - seen AS quiet_for, until - clock.now AS remaining
    FROM nexmo_dispatch.campaign_workers, clock WHERE campaign = %(campaign)s
), silent AS MATERIALIZED (
    SELECT w.quiet_for, w.remaining FROM nexmo_dispatch.campaign_states AS s
    LEFT JOIN workers AS w ON w.name = split_part(s.worker, '/', 1)
    WHERE s.campaign = %(campaign)s AND s.state = 2 AND coalesce(w.quiet_for, 'infinity') >= %(quiet)s
)
SELECT (SELECT count(*) FROM workers WHERE quiet_for < %(quiet)s), (SELECT min(quiet_for) FROM workers),
    count(*), coalesce(min(quiet_for), 0), greatest(coalesce(max(remaining), 0), 0) FROM silent
"""


async def show_life(connection: Connection, campaign: int, name: str, lease: float) -> tuple[int, bool]:
    """Write a sign of life of a process; return how many processes send, and whether its lease was over.

    Args:
        connection: Of the database.
        campaign: Number of the campaign.
        name: Of the process.
        lease: Seconds after which it counts as dead without another sign.
    """
    values = {"campaign": campaign, "name": name, "lease": lease, "quiet": QUIET}
    ((lapsed,),) = await fetch(connection, _LIVE, values)
    ((senders,),) = await fetch(connection, _SENDERS, values)
    return int(senders), bool(lapsed)


async def leave(connection: Connection, campaign: int, name: str) -> None:
    """Remove a process that ends."""
    await connection.execute(_LEAVE, {"campaign": campaign, "name": name})


async def life(connection: Connection, campaign: int) -> Life:
    """Return which processes send, and the rows in flight of those that show no life."""
    (numbers,) = await fetch(connection, _LIFE, {"campaign": campaign, "quiet": QUIET})
    return Life(*numbers)
