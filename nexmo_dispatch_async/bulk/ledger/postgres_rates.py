"""Rates and pauses that the senders of a campaign in Postgres share, by the clock of the server.

No statement here waits for the disk: after a crash the grants of the last instant are made again, at most,
and no row depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString

from nexmo_dispatch_async.bulk.ledger.postgres_tables import NOW, fetch
from nexmo_dispatch_async.bulk.ledger.rates import AHEAD, Grant, RateExchange, RateRequest, SharedPause
from nexmo_dispatch_core.postgres.database import Connection

__all__ = ["exchange"]

_GRANT: Final[LiteralString] = """
WITH hasty AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
SELECT granted, wait FROM hasty, unnest(%(names)s::text[], %(ns)s::integer[], %(rates)s::double precision[],
    %(backs)s::integer[], %(credits)s::double precision[]) WITH ORDINALITY
    AS given (name, n, rate, back, credit, place),
    LATERAL nexmo_dispatch.grant_sends(%(campaign)s, name, n, rate, back, credit, %(ahead)s)
ORDER BY place
"""
_PAUSE: Final[LiteralString] = f"""
WITH hasty AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO nexmo_dispatch.campaign_pauses AS p (campaign, name, until, kind)
SELECT %(campaign)s, name, {NOW} + seconds, kind
FROM hasty, unnest(%(names)s::text[], %(seconds)s::double precision[], %(kinds)s::text[])
    AS given (name, seconds, kind)
ORDER BY name
ON CONFLICT (campaign, name) DO UPDATE SET until = excluded.until, kind = excluded.kind
WHERE p.until < excluded.until OR excluded.until <= {NOW}
"""
_PAUSES: Final[LiteralString] = f"""
SELECT name, until - {NOW}, kind FROM nexmo_dispatch.campaign_pauses
WHERE campaign = %(campaign)s AND until > {NOW}
"""


async def exchange(
    connection: Connection, campaign: int, requests: Sequence[RateRequest], pauses: Sequence[SharedPause]
) -> RateExchange:
    """Grant sends, note pauses and read all pauses; each statement commits by itself."""
    values: dict[str, object] = {"campaign": campaign}
    if pauses:
        noted = {
            "names": [pause.name for pause in pauses],
            "seconds": [pause.seconds for pause in pauses],
            "kinds": [pause.kind for pause in pauses],
        }
        await connection.execute(_PAUSE, values | noted)
    grants: list[Grant] = []
    if requests:
        # In the order of the names, so that two processes never wait for each other.
        ordered = sorted(requests, key=lambda request: request.name)
        asked = {
            "names": [request.name for request in ordered],
            "ns": [request.n for request in ordered],
            "rates": [request.rate for request in ordered],
            "backs": [request.back for request in ordered],
            "credits": [request.credit for request in ordered],
            "ahead": AHEAD,
        }
        rows = await fetch(connection, _GRANT, values | asked)
        granted = {request.name: Grant(*row) for request, row in zip(ordered, rows, strict=True)}
        grants = [granted[request.name] for request in requests]
    found = await fetch(connection, _PAUSES, values)
    return RateExchange(tuple(grants), tuple(SharedPause(*row) for row in found))
