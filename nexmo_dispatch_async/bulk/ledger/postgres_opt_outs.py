"""`PostgresOptOutStore`: an opt-out list in a Postgres database, which processes and campaigns share.

Claims of campaigns run the statements of this module in their own transaction.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, LiteralString, TypeVar

from nexmo_dispatch_async.bulk.ledger.postgres_tables import CAMPAIGNS, fetch
from nexmo_dispatch_async.bulk.ledger.records import Suppressed
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError, OptOutError
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["PostgresOptOutStore", "link", "list_of", "suppress"]

T = TypeVar("T")
_PIECE: Final = 2000
_OF_PEOPLE: Final[LiteralString] = """
SELECT address FROM unnest(%(addresses)s::text[]) AS address UNION
SELECT o.address FROM nexmo_dispatch.people_same AS s
JOIN nexmo_dispatch.people_same AS o ON o.list = s.list AND o.person = s.person
WHERE s.list = %(opt_outs)s AND s.address = ANY(%(addresses)s)
"""
_SUPPRESS: Final[LiteralString] = f"""
INSERT INTO nexmo_dispatch.people_suppressed (list, address, reason, at)
SELECT %(opt_outs)s, address, %(reason)s, %(at)s FROM ({_OF_PEOPLE}) AS found ORDER BY address
ON CONFLICT (list, address) DO NOTHING
"""


class PostgresOptOutStore:
    """An `OptOutStore` in a Postgres database.

    Args:
        url: `postgresql://user@host/database`; everything that libpq takes.
        name: Of the list: a database holds any number of them.
        connections: The most connections.
        timeout: Maximum wait for a connection or a response, in seconds.

    Raises:
        ConfigurationError: The URL cannot be read, *name* is a text that no store takes, or a number is
            out of its range.
    """

    def __init__(
        self, url: str, *, name: str = "people", connections: int = 2, timeout: float = 30.0
    ) -> None:
        checks.texts(name=name)
        try:
            self._database = Database(
                url, error=_error, name="nexmo-dispatch people", connections=connections, timeout=timeout
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self.name: str = name
        self._list: int | None = None
        self._opening = asyncio.Lock()
        self._closing = Closing()
        self._closed = False

    @shows_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._list is not None else "not open yet"
        return f"<PostgresOptOutStore {state}>"

    async def suppress(self, addresses: Sequence[str], *, reason: str, at: float) -> int:
        """Add addresses."""
        return await self._run(partial(suppress, addresses=addresses, reason=reason, at=at))

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Remove addresses."""

        async def work(connection: Connection, opt_outs: int) -> int:
            found = await fetch(connection, _OF_PEOPLE, {"opt_outs": opt_outs, "addresses": list(addresses)})
            delete = (
                "DELETE FROM nexmo_dispatch.people_suppressed WHERE list = %s AND address = ANY(%s::text[])"
            )
            return (await connection.execute(delete, (opt_outs, [row[0] for row in found]))).rowcount

        return await self._run(work)

    async def link(self, people: Sequence[Sequence[str]]) -> None:
        """Note the addresses of each person."""
        await self._run(partial(link, addresses_of=people))

    async def find(self, addresses: Sequence[str]) -> builtins.list[Suppressed]:
        """Return the entries of addresses."""
        return await self._select(" AND address = ANY(%(addresses)s::text[])", addresses=list(addresses))

    async def list(self, *, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return a page of the list."""
        behind: LiteralString = ' AND address COLLATE "C" > %(after)s ORDER BY address COLLATE "C"'
        return await self._select(behind + " LIMIT %(limit)s", after=after, limit=limit)

    async def forget(self, before: float) -> int:
        """Erase old history, in pieces."""

        async def work(connection: Connection, opt_outs: int) -> int:
            delete = """
                DELETE FROM nexmo_dispatch.people_contacts WHERE ctid = ANY(ARRAY(
                    SELECT ctid FROM nexmo_dispatch.people_contacts
                    WHERE list = %s AND at < %s LIMIT %s FOR UPDATE SKIP LOCKED
))"""
            return (await connection.execute(delete, (opt_outs, before, _PIECE))).rowcount

        total, found = 0, _PIECE
        while found == _PIECE:
            found = await self._run(work)
            total += found
        return total

    async def aclose(self) -> None:
        """Disconnect."""
        self._closed = True
        await self._closing.run(self._close)

    async def _close(self) -> None:
        async with self._opening:
            await self._database.aclose()

    async def list_id(self, database: Database | None = None) -> int:
        """Return the number of the list, which is made when it is new.

        Args:
            database: That of a ledger which is to look into the list.

        Raises:
            ConfigurationError: The list is in another database.
        """
        if database is not None and not database.is_same_as(self._database):
            raise ConfigurationError("opt_outs is in another database, where a claim cannot look")
        async with self._opening:
            if self._closed:
                raise OptOutError("the opt-out list is closed")
            if self._list is None:
                await schema.require(self._database, CAMPAIGNS, _error)
                await self._database.open()
                self._list = await self._database.transact(partial(list_of, name=self.name))
            return self._list

    async def _select(self, condition: LiteralString, **values: object) -> builtins.list[Suppressed]:
        async def work(connection: Connection, opt_outs: int) -> builtins.list[Any]:  # Any: columns
            query: LiteralString = (
                "SELECT address, reason, at FROM nexmo_dispatch.people_suppressed WHERE list = %(opt_outs)s"
            )
            return await fetch(connection, query + condition, {**values, "opt_outs": opt_outs})

        rows = await self._run(work)
        return [Suppressed(address=address, reason=reason, at=at) for address, reason, at in rows]

    async def _run(self, work: Callable[[Connection, int], Awaitable[T]]) -> T:
        opt_outs = await self.list_id()
        return await self._database.transact(lambda connection: work(connection, opt_outs))


async def list_of(connection: Connection, name: str) -> int:
    """Return the number of a list, which is made when it is new."""
    await connection.execute(
        "INSERT INTO nexmo_dispatch.people_lists (name) VALUES (%s) ON CONFLICT (name) DO NOTHING", (name,)
    )
    query: LiteralString = "SELECT id FROM nexmo_dispatch.people_lists WHERE name = %(name)s"
    ((found,),) = await fetch(connection, query, {"name": name})
    return int(found)


async def suppress(
    connection: Connection, opt_outs: int, *, addresses: Sequence[str], reason: str, at: float
) -> int:
    """Add addresses, and the others of the same people; those that are there keep their reason."""
    values = {"opt_outs": opt_outs, "addresses": list(addresses), "reason": reason, "at": at}
    return (await connection.execute(_SUPPRESS, values)).rowcount


async def link(connection: Connection, opt_outs: int, *, addresses_of: Sequence[Sequence[str]]) -> None:
    """Note the addresses of each person; where one of them is on the list, the others join it."""
    lock = "SELECT pg_advisory_xact_lock(hashtextextended('people_same', %s))"
    await connection.execute(lock, (opt_outs,))  # two processes may link the same people
    for addresses in addresses_of:
        values = {"opt_outs": opt_outs, "addresses": list(addresses)}
        known = [row[0] for row in await fetch(connection, _OF_PEOPLE, values)]
        await connection.execute(
            "INSERT INTO nexmo_dispatch.people_same (list, address, person)"
            " SELECT %s, address, %s FROM unnest(%s::text[]) AS address"
            " ON CONFLICT (list, address) DO UPDATE SET person = excluded.person",
            (opt_outs, min(known), known),
        )
        query: LiteralString = (
            "SELECT reason, at FROM nexmo_dispatch.people_suppressed"
            " WHERE list = %(opt_outs)s AND address = ANY(%(known)s) ORDER BY at LIMIT 1"
        )
        entries = await fetch(connection, query, {"opt_outs": opt_outs, "known": known})
        if entries:
            await suppress(connection, opt_outs, addresses=known, reason=entries[0][0], at=entries[0][1])


def _error(failure: Failure) -> OptOutError:
    if failure.kind == "closed":
        return OptOutError("the opt-out list is closed")
    return OptOutError(f"the opt-out list failed: {failure.text}")
