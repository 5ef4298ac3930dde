"""`Database`: the connections of a store, with our errors instead of those of the driver.

It knows no table. Each statement commits by itself outside of a transaction, and no statement is prepared on
the server, so it works behind PgBouncer in every mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed

from nexmo_dispatch_core.checks import DAY, Checks
from nexmo_dispatch_core.postgres.failures import POSTGRES_ERRORS, MakeError, failure_of
from nexmo_dispatch_core.tasks import Closing, end
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["SCHEMA", "Connection", "Database", "is_postgres"]

T = TypeVar("T")

#: The schema of all tables of the project.
SCHEMA: Final = "nexmo_dispatch"
Connection = AsyncConnection[TupleRow]
Work = Callable[[Connection], Awaitable[T]]

_checks = Checks(ValueError)
_MOST_CONNECTIONS: Final = 10_000
_SCHEMES: Final = ("postgresql", "postgres")
# A dead peer is detected within about 20 seconds, also during the wait for a response. A URL may override it.
_DEFAULTS: Final = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "target_session_attrs": "read-write",
}
# The pool logs each attempt to connect, with the address of the server.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
logging.getLogger("psycopg.pool").propagate = False


def is_postgres(store: object) -> bool:
    """Return whether a setting is the URL of a Postgres database."""
    return isinstance(store, str) and store.partition("://")[0].lower() in _SCHEMES and "://" in store


class Database:
    """A pool of connections to one database.

    Args:
        url: `postgresql://user@host/database?sslmode=verify-full`, or any connection string of libpq. It is
            used to connect and never shown.
        error: Makes the errors of the package.
        name: The application name, which the server shows in `pg_stat_activity`.
        connections: Maximum number of connections.
        timeout: Maximum wait for a connection or a response, in seconds.

    Raises:
        ValueError: The URL cannot be read, and the message does not quote it; or a number is out of range.
    """

    def __init__(
        self, url: str, *, error: MakeError, name: str, connections: int = 4, timeout: float = 30.0
    ) -> None:
        _checks.count("connections", connections, most=_MOST_CONNECTIONS)
        _checks.seconds("timeout", timeout, zero=False, most=DAY)
        self.url: str = url
        self._conninfo = _conninfo(url, name)
        self._error = error
        self._connections = connections
        self._timeout = timeout
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._checking: asyncio.Task[None] | None = None
        self._closing = Closing()
        #: Host and database, without user and password.
        self.shown: str = _shown(self._conninfo)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Database {self.shown}, {'open' if self._pool is not None else 'closed'}>"

    @property
    def is_open(self) -> bool:
        """Whether the pool is open."""
        return self._pool is not None

    def is_same_as(self, other: Database) -> bool:
        """Whether another `Database` has the same server and database."""
        mine, theirs = conninfo_to_dict(self._conninfo), conninfo_to_dict(other._conninfo)
        return all(mine.get(name) == theirs.get(name) for name in ("host", "hostaddr", "port", "dbname"))

    async def open(self) -> None:
        """Open the pool, and wait for its first connection; no effect if it is open."""
        if self._pool is not None:
            return
        await self.alone(_nothing)  # the pool would try for ever without giving the reason
        pool = AsyncConnectionPool[Connection](
            self._conninfo,
            connection_class=Connection,
            kwargs=_options(),
            min_size=1,
            max_size=self._connections,
            timeout=self._timeout,
            max_idle=300.0,
            reconnect_timeout=5.0,
            open=False,
            name="nexmo-dispatch",
        )
        await pool.open()
        self._pool = pool

    async def aclose(self) -> None:
        """Close all connections."""
        await self._closing.run(self._close)

    async def _close(self) -> None:
        pool, self._pool = self._pool, None
        checking, self._checking = self._checking, None
        try:
            if checking is not None:
                await end(checking)
        finally:
            if pool is not None:  # or its workers wait for ever: they may have lost their cancellation
                await pool.close()
        if checking is not None and not checking.cancelled():
            checking.result()

    async def run(self, work: Work[T]) -> T:
        """Run a function with a connection on which each statement commits by itself.

        Raises:
            Exception: An error of the package, for every exception of the driver.
        """

        async def lent() -> T:
            async with self._require_pool().connection() as connection:
                return await work(connection)

        return await self._guarded(lent)

    async def transact(self, work: Work[T]) -> T:
        """Run a function within a transaction, which is committed when it returns."""

        async def lent() -> T:
            async with self._require_pool().connection() as connection, connection.transaction():
                return await work(connection)

        return await self._guarded(lent)

    async def alone(self, work: Work[T], *, bounded: bool = True) -> T:
        """Run a function with a connection beside the pool, which is closed then.

        Args:
            work: The function.
            bounded: Whether `timeout` limits the function, and not only the connecting.
        """

        async def own() -> T:
            async with asyncio.timeout(self._timeout):
                connection = await Connection.connect(self._conninfo, **_options())
            try:
                return await work(connection)
            finally:
                await connection.close()

        return await self._guarded(own, bounded=bounded)

    async def borrow(self) -> Connection:
        """Take a connection out of the pool; return it with `give_back`."""
        return await self._guarded(lambda: self._require_pool().getconn(self._timeout))

    async def give_back(self, connection: Connection) -> None:
        """Return a connection of `borrow` to the pool; an open transaction is rolled back."""
        if self._pool is None:
            await connection.close()
        else:
            await self._pool.putconn(connection)

    async def _guarded(self, call: Callable[[], Awaitable[T]], *, bounded: bool = True) -> T:
        try:
            async with asyncio.timeout(self._timeout if bounded else None):
                return await call()
        except POSTGRES_ERRORS as error:
            failure = failure_of(error)
        if failure.kind == "away":
            self._check_pool()
        # Outside of `except`: the exception of the driver may quote values, and would be its context.
        raise self._error(failure)

    def _require_pool(self) -> AsyncConnectionPool[Connection]:
        if self._pool is None:
            raise PoolClosed
        return self._pool

    def _check_pool(self) -> None:
        """Replace the connections that a restart of the server has cut."""
        pool = self._pool
        if pool is not None and (self._checking is None or self._checking.done()):
            self._checking = asyncio.create_task(_checked(pool))


async def _nothing(_: Connection) -> None:
    """Do nothing: the connection itself is the test."""


async def _checked(pool: AsyncConnectionPool[Connection]) -> None:
    with contextlib.suppress(*POSTGRES_ERRORS):
        await pool.check()


def _options() -> dict[str, Any]:  # Any: keyword arguments of psycopg
    return {"autocommit": True, "prepare_threshold": None}


def _conninfo(url: str, name: str) -> str:
    given = None
    if "\0" not in url:  # libpq reads only what precedes it, and so the name of another database
        with contextlib.suppress(Exception):  # its message quotes the URL, and so the password
            given = conninfo_to_dict(url)
    if given is None:
        raise ValueError("the URL of the store cannot be read: it is postgresql://user@host/database")
    merged = {**_DEFAULTS, "application_name": name, **given}
    return make_conninfo(**{key: str(value) for key, value in merged.items() if value is not None})


def _shown(conninfo: str) -> str:
    parts = conninfo_to_dict(conninfo)
    host = str(parts.get("host") or "localhost")
    host = "a socket" if host.startswith("/") else (urlsplit(f"//{host}").hostname or "a server")
    return f"{parts.get('dbname') or 'the default database'} at {host}"
