"""The mark of a campaign in Postgres: the cluster, the database and the tables that it is sent from.

A copy of the database, and tables that a dump put back, differ from the mark. A standby that is promoted does
not: it has the identifier of its primary, and the same numbers. A physical backup differs in the timeline of
its log only, as after a failover; it is noticed while the settings of the server name a target of recovery.
One that was recovered to the end of its log is not noticed, nor is a snapshot of the disks.
"""

from __future__ import annotations

from typing import Final, LiteralString

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.memory import new_reference
from nexmo_dispatch_async.bulk.ledger.postgres_tables import fetch
from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerError
from nexmo_dispatch_core.postgres.database import Connection
from nexmo_dispatch_core.postgres.examination import MAY_IDENTIFY

__all__ = ["begin", "verify"]

_FIND: Final[LiteralString] = "SELECT id, reference FROM nexmo_dispatch.campaigns WHERE name = %(name)s"
_MAKE: Final[LiteralString] = (
    "INSERT INTO nexmo_dispatch.campaigns (name, reference) VALUES (%(name)s, %(reference)s)"
    " ON CONFLICT (name) DO NOTHING"
)
_STORE: Final[LiteralString] = "UPDATE nexmo_dispatch.campaigns SET mark = %(mark)s WHERE id = %(campaign)s"
_MAY: Final[LiteralString] = f"SELECT {MAY_IDENTIFY}"
_SYSTEM: Final[LiteralString] = "SELECT system_identifier FROM pg_control_system()"
# The name of a file of the log begins with the timeline.
_HERE: Final[LiteralString] = """
SELECT c.mark, c.tableoid, (SELECT oid FROM pg_database WHERE datname = current_database()),
    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
    concat(
        current_setting('recovery_target', true), current_setting('recovery_target_lsn', true),
        current_setting('recovery_target_name', true), current_setting('recovery_target_time', true),
        current_setting('recovery_target_xid', true)
    ) <> ''
FROM nexmo_dispatch.campaigns AS c WHERE c.id = %(campaign)s AND c.reference = %(reference)s
"""


class Mark(Struct, frozen=True):
    """The place of the tables of a campaign.

    Attributes:
        system: Identifier of the cluster, which a standby has as well; 0 where the role may not read it.
        database: Number of the database in the cluster.
        table: Number of the table of the campaigns in the database.
        timeline: Timeline of the log; each promotion and each recovery from an archive begins another.
    """

    system: int
    database: int
    table: int
    timeline: str


async def begin(
    connection: Connection, name: str, *, create: bool, observer: bool, restored: bool
) -> tuple[int, str] | None:
    """Find or make a campaign; refuse to send from a copy, and keep the mark.

    Args:
        connection: In a transaction.
        name: Of the campaign.
        create: Whether a campaign that is missing is made.
        observer: Whether nothing is sent, so that the mark is of no importance.
        restored: Whether the caller guarantees that the original is not used.

    Returns:
        Number and reference of the campaign; `None` where there is none.

    Raises:
        LedgerCopiedError: The campaign was sent from another place.
    """
    values = {"name": name, "reference": new_reference()}
    if create:
        await connection.execute(_MAKE, values)
    found = await fetch(connection, _FIND, values)
    if not found:
        return None
    campaign, reference = found[0]
    if not observer:
        known, now, recovered = await _compare(connection, campaign, reference)
        if known is not None and not restored:
            _require_same(known, now, recovered=recovered)
            now = replace(now, system=now.system or known.system)
        if now != known:
            mark = msgspec.json.encode(now)
            await connection.execute(_STORE, {"campaign": campaign, "mark": mark})
    return campaign, reference


async def verify(connection: Connection, campaign: int, reference: str) -> None:
    """Refuse a database that took the place of the one in which the campaign was opened.

    Raises:
        LedgerCopiedError: The tables are others, or a copy.
        LedgerError: The campaign is not in the database.
    """
    known, now, recovered = await _compare(connection, campaign, reference)
    if known is not None:
        _require_same(known, now, recovered=recovered)


async def _compare(connection: Connection, campaign: int, reference: str) -> tuple[Mark | None, Mark, bool]:
    """Return the mark, that of now, and whether the server was told to recover to a point in time."""
    system = 0
    ((may,),) = await fetch(connection, _MAY, {})
    if may:
        ((system,),) = await fetch(connection, _SYSTEM, {})
    found = await fetch(connection, _HERE, {"campaign": campaign, "reference": reference})
    if not found:
        raise LedgerError("the campaign is gone: the database was restored from a backup that is older")
    ((mark, table, database, timeline, recovered),) = found
    known = None if mark is None else msgspec.json.decode(mark, type=Mark)
    return known, Mark(system, database, table, timeline), recovered


def _require_same(known: Mark, now: Mark, *, recovered: bool) -> None:
    if known.system and now.system and known.system != now.system:
        why = "this is another cluster of Postgres"
    elif known.database != now.database:
        why = "this is another database of the cluster"
    elif known.table != now.table:
        why = "its tables were put back from a dump"
    elif recovered and known.timeline != now.timeline:
        why = "the server was recovered to a point in time"
    else:
        return
    raise LedgerCopiedError(
        f"the campaign was restored from a backup, or copied: {why}. Rows that are pending here may have "
        "been sent since. If the original is not used and was not used since, open it with restored=True "
        "(--restored)"
    )
