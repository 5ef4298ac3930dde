"""Versions of tables, and the step from one version to the next, by one process at a time.

Steps only go forward. The statements of a step run in one transaction with the new version: a step is
complete or not done at all, however many processes start at the same instant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, LiteralString

from msgspec import Struct
from psycopg import errors, sql

from nexmo_dispatch_core.postgres.database import SCHEMA, Connection, Database
from nexmo_dispatch_core.postgres.failures import Failure, MakeError

__all__ = ["Component", "exists", "grant", "migrate", "require", "versions"]

# All programs on a database share the numbers of advisory locks: this number is the project's own.
_LOCK: Final = 0x6E645F736368656D
_FIRST: Final[LiteralString] = """
CREATE SCHEMA IF NOT EXISTS nexmo_dispatch;
CREATE TABLE IF NOT EXISTS nexmo_dispatch.versions (
    component text PRIMARY KEY, version integer NOT NULL, at timestamptz NOT NULL DEFAULT now()
);
"""
# Not `to_regclass`: it goes by what the session knew before, and behind a pooler an old session may have
# looked before another process made the tables.
_THERE: Final[LiteralString] = (
    "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = 'nexmo_dispatch' AND tablename = 'versions')"
)
_GRANTS: Final[tuple[LiteralString, ...]] = (
    "GRANT USAGE ON SCHEMA {schema} TO {name}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}",
    "GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {name}",
    "REVOKE INSERT, UPDATE, DELETE ON {schema}.versions FROM {name}",
)
_CURE: Final = "run `nexmo-dispatch migrate --store URL` once with a role that may make tables"


class Component(Struct, frozen=True):
    """Tables that belong together.

    Attributes:
        name: Name of the component, such as `inbox`.
        steps: The statements of each version: `steps[0]` makes version 1.
    """

    name: str
    steps: tuple[LiteralString, ...]


async def exists(database: Database, component: Component) -> bool:
    """Return whether a database has the tables of a component, of whichever version."""
    return bool(await database.alone(lambda connection: _version(connection, component.name)))


async def require(database: Database, component: Component, error: MakeError) -> None:
    """Bring the tables of a component to the version of this release, if the role may.

    Args:
        database: The database, open or not.
        component: The tables.
        error: Makes the errors of the package.

    Raises:
        Exception: An error of the package: the tables are of a newer release; or they are older, and the role
            may not change them.
    """
    found = await database.alone(lambda connection: _version(connection, component.name))
    if found > len(component.steps):
        raise error(
            Failure(
                "other",
                f"the tables of {component.name} have version {found}, and this release knows "
                f"{len(component.steps)}: install the newer release here too",
            )
        )
    if found < len(component.steps):
        await migrate(database, [component], error)


async def migrate(
    database: Database, components: Sequence[Component], error: MakeError
) -> dict[str, tuple[int, int]]:
    """Bring tables to the version of this release.

    Returns:
        By component, the versions before and after.

    Raises:
        Exception: An error of the package; nothing was changed.
    """

    async def work(connection: Connection) -> dict[str, tuple[int, int]] | None:
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                return {one.name: await _step(connection, one) for one in components}
        except errors.InsufficientPrivilege:
            return None

    versions = await database.alone(work)
    if versions is None:
        raise error(
            Failure("rights", f"the tables are missing or old, and the role may not make them: {_CURE}")
        )
    return versions


async def _step(connection: Connection, component: Component) -> tuple[int, int]:
    """Carry out the missing steps of a component, within a transaction that holds the lock."""
    before = await _version(connection, component.name)
    newest = len(component.steps)
    if before < newest:
        for statements in (_FIRST, *component.steps[before:]):
            await connection.execute(statements)
        await connection.execute(
            "INSERT INTO nexmo_dispatch.versions (component, version) VALUES (%s, %s)"
            " ON CONFLICT (component) DO UPDATE SET version = excluded.version, at = now()",
            (component.name, newest),
        )
    return before, max(before, newest)


async def _version(connection: Connection, name: str) -> int:
    """Return the version of a component, 0 when there is none."""
    return (await versions(connection)).get(name, 0)


async def versions(connection: Connection) -> dict[str, int]:
    """Return the versions of all components of a database."""
    cursor = await connection.execute(_THERE)
    there = await cursor.fetchone()
    if there is None or not there[0]:
        return {}
    rows = await connection.execute("SELECT component, version FROM nexmo_dispatch.versions")
    return {str(name): int(version) for name, version in await rows.fetchall()}


async def grant(database: Database, role: str) -> None:
    """Grant a role the minimum rights of stores: rows of the tables, and no changes of the schema."""
    name, schema = sql.Identifier(role), sql.Identifier(SCHEMA)

    async def work(connection: Connection) -> None:
        async with connection.transaction():
            for text in _GRANTS:
                await connection.execute(sql.SQL(text).format(schema=schema, name=name))

    await database.alone(work)
