"""What may go wrong with a Postgres database under a store, each finding with its cure.

It changes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, LiteralString

from nexmo_dispatch_core.findings import Finding, bad, good, warning
from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.postgres.notifications import Notifications
from nexmo_dispatch_core.postgres.schema import Component, versions

__all__ = ["MAY_IDENTIFY", "examine", "failure_finding"]

#: Whether the role may read the identifier of the cluster: every role may by default.
MAY_IDENTIFY: Final[LiteralString] = (
    "coalesce("
    "has_function_privilege(to_regprocedure('pg_catalog.pg_control_system()')::oid, 'EXECUTE'), false)"
)
#: The oldest server on which the statements run.
_LEAST_VERSION: Final = 130000
#: Seconds that the clocks may differ.
_SKEW: Final = 2.0
_GRANT: Final = "run `nexmo-dispatch migrate --store URL --grant ROLE` as owner"
_SETTINGS: Final[LiteralString] = f"""
SELECT current_setting('server_version_num')::int, current_setting('server_version'),
    current_setting('fsync'), current_setting('full_page_writes'), current_setting('synchronous_commit'),
    current_setting('synchronous_standby_names'), pg_is_in_recovery(),
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
    (SELECT count(*) FROM pg_stat_replication), current_setting('max_connections')::int,
    (SELECT count(*) FROM pg_stat_activity), {MAY_IDENTIFY}
"""
_MAKING: Final[LiteralString] = """
SELECT has_database_privilege(current_database(), 'CREATE') AND NOT EXISTS (
    SELECT 1 FROM pg_namespace WHERE nspname = 'nexmo_dispatch' AND NOT pg_has_role(nspowner, 'USAGE')
)
"""
_RIGHTS: Final[LiteralString] = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = 'nexmo_dispatch' AND c.relkind = 'r' AND c.relname <> 'versions' AND NOT (
    has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
    AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')
)
"""


async def examine(
    database: Database, components: Sequence[Component], *, clock: Callable[[], float] = time.time
) -> list[Finding]:
    """Look at a database.

    Args:
        database: Not open.
        components: The tables of this release.
        clock: Gives epoch seconds.

    Raises:
        Exception: Of the database: it cannot be reached.
    """

    async def work(connection: Connection) -> list[Finding]:
        return [
            *await _settings(connection),
            *await _pooler(connection),
            await _skew(connection, clock),
            *await _tables(connection, components),
        ]

    findings = await database.alone(work)
    return [*findings, await _notifications(database)]


def failure_finding(failure: Failure, *, database: str, role: str) -> Finding:
    """Return why a database cannot be looked at.

    Args:
        failure: Of the connection, or of a query.
        database: Name of the database according to the URL, `""` for the default.
        role: Name of the role, likewise.
    """
    text, database, role = failure.text, database or "of the default name", role or "of the default name"
    if failure.kind == "rights":
        return bad("postgres-rights", f"{text}: the role {role}, in the database {database}", _GRANT)
    if "the database does not exist" in text:
        cure = "create it (createdb), or correct the name in the URL"
        return bad("store", f"the server has no database {database}", cure)
    if "the role does not exist" in text or "password authentication failed" in text:
        cure = "correct user and password of the URL, or create the role"
        return bad("store", f"the server does not let the role {role} in ({text})", cure)
    return bad("store", text, "start the server, and check host and port of the URL")


async def _settings(connection: Connection) -> list[Finding]:
    row = await (await connection.execute(_SETTINGS)).fetchone()
    assert row is not None  # noqa: S101 - the query has one row
    number, version, fsync, pages, commit, names, standby, superuser, standbys, most, used, identified = row
    found = [
        good("postgres-version", f"the server is Postgres {version}")
        if number >= _LEAST_VERSION
        else bad("postgres-version", f"the server is Postgres {version}", "upgrade it to 13 or later"),
    ]
    if standby:
        found.append(bad("postgres-standby", "this server is a standby", "name the primary in the URL"))
    if "off" in {fsync, pages, commit}:
        text = f"fsync {fsync}, full_page_writes {pages}, synchronous_commit {commit}: commits may be lost"
        cure = "set all three to on: a lost `sending` messages a person twice"
        found.append(bad("postgres-durability", text, cure))
    else:
        text = f"commits are on the disk when they return (synchronous_commit {commit})"
        found.append(good("postgres-durability", text))
    found.append(_standby(str(names), str(commit), int(standbys)))
    if superuser:
        cure = "use another: `nexmo-dispatch migrate --store URL --grant ROLE` gives it the least rights"
        found.append(warning("postgres-superuser", "the role is a superuser", cure))
    if not identified:
        text = "the role may not read the identifier of the cluster: a campaign notices fewer restorations"
        cure = "GRANT EXECUTE ON FUNCTION pg_control_system() TO the role, as superuser"
        found.append(warning("postgres-identifier", text, cure))
    if used > 0.8 * most:
        cure = "raise max_connections, or put PgBouncer in front"
        found.append(warning("postgres-connections", f"{used} of {most} connections are in use", cure))
    return found


def _standby(names: str, commit: str, standbys: int) -> Finding:
    if names and commit not in {"off", "local"}:
        return good("postgres-failover", "commits wait for a synchronous standby")
    if standbys:
        return bad(
            "postgres-failover",
            f"{standbys} standby server(s), none of them synchronous: a failover may lose the last commits, "
            "and a lost `sending` messages a person twice",
            "set synchronous_standby_names to one of them",
        )
    text = "there is no standby: while the server is down, nothing is taken in or sent"
    return warning("postgres-no-standby", text, "add a synchronous standby, or accept these pauses")


async def _pooler(connection: Connection) -> list[Finding]:
    """Look whether the process at the other end of the connection is another than the one that answers."""
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    if row is None or row[0] == connection.info.backend_pid:
        return []
    text = "a pooler such as PgBouncer is in front of the server: every mode works"
    return [good("postgres-pooler", text)]


async def _skew(connection: Connection, clock: Callable[[], float]) -> Finding:
    before = clock()
    query = "SELECT extract(epoch FROM clock_timestamp())::double precision"
    row = await (await connection.execute(query)).fetchone()
    after = clock()
    skew = 0.0 if row is None else float(row[0]) - (before + after) / 2
    if abs(skew) > _SKEW + (after - before):
        text = f"the clock of the server is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this one"
        cure = "let NTP set both clocks: retries, quiet hours and rates go by them"
        return warning("postgres-clock", text, cure)
    return good("postgres-clock", "the clock of the server agrees with this one")


async def _tables(connection: Connection, components: Sequence[Component]) -> list[Finding]:
    known = await versions(connection)
    found: list[Finding] = []
    old: list[str] = []
    for component in components:
        here, newest = known.get(component.name, 0), len(component.steps)
        if here == newest:
            found.append(good("postgres-tables", f"the tables of {component.name} have version {here}"))
        elif here > newest:
            text = f"the tables of {component.name} have version {here}, and this release knows {newest}"
            found.append(bad("postgres-newer-tables", text, "install the newer release here too"))
        else:
            old.append(component.name)
    if old:
        found.append(await _old(connection, old, new=not known))
    missing = [str(row[0]) for row in await (await connection.execute(_RIGHTS)).fetchall()]
    if missing:
        text = f"the role may not read and write {', '.join(sorted(missing))}"
        found.append(bad("postgres-rights", text, _GRANT))
    return found


async def _old(connection: Connection, names: Sequence[str], *, new: bool) -> Finding:
    """Say who makes tables that are missing or old: the next process, if its role may."""
    text = f"the tables of {', '.join(names)} are missing{'' if new else ' or of an older release'}"
    row = await (await connection.execute(_MAKING)).fetchone()
    if row is not None and row[0]:
        return good("postgres-tables", f"{text}: stores make them when they begin")
    text += ", and the role may not make them: whatever uses them ends at its start"
    return bad("postgres-tables", text, _GRANT)


async def _notifications(database: Database) -> Finding:
    """Look whether notifications come through, which poolers drop."""
    arrival = asyncio.Event()
    begun = asyncio.Event()

    def note(payload: str | None) -> None:
        (begun if payload is None else arrival).set()

    notifications = Notifications(database, "nexmo_dispatch_doctor", note)
    await database.open()
    notifications.listen()
    try:
        async with asyncio.timeout(5):
            await begun.wait()
            notifications.tell("doctor")
            await arrival.wait()
    except TimeoutError:
        cure = "none is needed: polls find the same a little later; a pooler in session mode passes them on"
        text = "notifications do not come through, as behind a pooler"
        return warning("postgres-notifications", text, cure)
    finally:
        await notifications.aclose()
        await database.aclose()
    return good("postgres-notifications", "notifications come through")
