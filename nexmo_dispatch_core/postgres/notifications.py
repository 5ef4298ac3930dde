"""`Notifications`: notifies the other processes of a database of changes, and receives their notifications.

A notification is only a hint: poolers drop `LISTEN`, connections are cut, and a process may die between its
commit and its notification. So each listener polls as well. Commits with a notification wait for each other
in the server, so notifications are sent in groups, in a transaction of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final

from psycopg import sql

from nexmo_dispatch_core.backoff import exponential_wait
from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.tasks import end

__all__ = ["Notifications"]

#: Seconds that notifications wait for others to share their transaction.
_GATHER: Final = 0.005
#: Maximum number of payloads in one transaction; further ones wait for the next.
_MOST: Final = 500
#: Maximum number of payloads that wait; further ones are left to the polls of the others.
_MOST_UNTOLD: Final = 10_000
#: Seconds between two attempts to listen again.
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
#: Seconds that closing waits for the last notifications; without them the other processes poll.
_PATIENCE: Final = 1.0


class Notifications:
    """One channel of notifications.

    Args:
        database: For sending; listening takes a connection beside its pool.
        channel: The name of the channel on the server.
        on_notice: Called on the event loop with each payload; with None whenever listening begins (again),
            since notifications may have been missed.
    """

    def __init__(self, database: Database, channel: str, on_notice: Callable[[str | None], object]) -> None:
        self._database = database
        self._channel = channel
        self._on_notice = on_notice
        self._untold: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        #: Whether the last attempt to listen succeeded.
        self._begun = False

    def tell(self, payload: str = "") -> None:
        """Notify the other processes, soon; if that fails, their polls remain."""
        if len(self._untold) < _MOST_UNTOLD:
            self._untold[payload] = None
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell(), name="notifications")

    def listen(self) -> None:
        """Listen until `aclose`; no effect if it listens already."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="notifications")

    async def aclose(self) -> None:
        """Send the remaining notifications, and stop listening."""
        listening, self._listening = self._listening, None
        telling, self._telling = self._telling, None
        if telling is not None:
            await asyncio.wait({telling}, timeout=_PATIENCE)
            await end(telling)
        if listening is not None:
            await end(listening)

    async def _tell(self) -> None:
        while self._untold:
            payloads = list(self._untold)[:_MOST]
            for payload in payloads:
                del self._untold[payload]
            with contextlib.suppress(Exception):  # the polls of the others remain
                await self._database.run(partial(self._send, payloads))
            await asyncio.sleep(_GATHER)

    async def _send(self, payloads: list[str], connection: Connection) -> None:
        await connection.execute(
            "SELECT pg_notify(%s, payload) FROM unnest(%s::text[]) AS payload", (self._channel, payloads)
        )

    async def _hear(self, connection: Connection) -> None:
        """Receive notifications until the connection is cut."""
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
        self._begun = True
        self._on_notice(None)
        async for notice in connection.notifies():
            self._on_notice(notice.payload)

    async def _listen(self) -> None:
        failures = 0
        while True:
            with contextlib.suppress(Exception):  # the next attempt may succeed
                await self._database.alone(self._hear, bounded=False)
            failures = 1 if self._begun else failures + 1
            self._begun = False
            await asyncio.sleep(
                exponential_wait(failures, initial=_FIRST_WAIT, maximum=_LONGEST_WAIT, base=2.0)
            )
