"""`PostgresTrackingStore`: facts in a table of a Postgres database, which any number of processes share.

Each change notifies the other processes, so a callback that reaches one process wakes a caller that waits in
another. The table contains no texts and no numbers; `reducer` describes its content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, LiteralString

import msgspec

from nexmo_dispatch_async.exceptions import ConfigurationError, TrackingStoreError
from nexmo_dispatch_async.tracking.reducer import WorkflowState
from nexmo_dispatch_async.tracking.store import Kind, TrackingRetention, kind_of
from nexmo_dispatch_core.postgres import schema
from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.postgres.failures import Failure
from nexmo_dispatch_core.postgres.notifications import Notifications
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["TRACKING", "PostgresTrackingStore"]

TRACKING: Final = schema.Component(
    "tracking",
    (
        """
CREATE TABLE nexmo_dispatch.tracking_workflows (
    dispatch_uuid text PRIMARY KEY,
    kind text NOT NULL,
    touched double precision NOT NULL,
    state bytea NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX tracking_ages ON nexmo_dispatch.tracking_workflows (kind, touched);
""",
    ),
)
_READ: Final[LiteralString] = "SELECT state FROM nexmo_dispatch.tracking_workflows WHERE dispatch_uuid = %s"
# The time of the server, unless a time is passed.
_AT: Final[LiteralString] = "coalesce(%(at)s, extract(epoch FROM clock_timestamp()))::double precision"
_INSERT: Final[LiteralString] = (
    f"INSERT INTO nexmo_dispatch.tracking_workflows VALUES (%(id)s, %(kind)s, {_AT}, %(state)s)"
    " ON CONFLICT (dispatch_uuid) DO NOTHING"
)
_UPDATE: Final[LiteralString] = (
    f"UPDATE nexmo_dispatch.tracking_workflows SET kind = %(kind)s, touched = {_AT}, state = %(state)s"
    " WHERE dispatch_uuid = %(id)s"
)
_PRUNE: Final[LiteralString] = f"""
DELETE FROM nexmo_dispatch.tracking_workflows WHERE dispatch_uuid = ANY(ARRAY(
    SELECT dispatch_uuid FROM nexmo_dispatch.tracking_workflows
    WHERE kind = %(kind)s AND touched < {_AT} - %(seconds)s
    ORDER BY touched LIMIT %(piece)s FOR UPDATE SKIP LOCKED
))
"""
_PRUNE_MANY: Final[LiteralString] = """
DELETE FROM nexmo_dispatch.tracking_workflows WHERE dispatch_uuid = ANY(ARRAY(
    SELECT dispatch_uuid FROM nexmo_dispatch.tracking_workflows WHERE kind = 'unclaimed'
    ORDER BY touched DESC, dispatch_uuid OFFSET %(most)s LIMIT %(piece)s FOR UPDATE SKIP LOCKED
))
"""
_KINDS: Final[tuple[Kind, ...]] = ("unclaimed", "open", "ended")
# The number of changes between two clean-ups, and the maximum number of workflows that one clean-up deletes.
_PRUNE_EVERY, _PIECE = 64, 256
#: Seconds after which a waiting caller reads the store: poolers and cut connections lose notifications.
_POLL: Final = 5.0

_decode = msgspec.json.Decoder(WorkflowState).decode


class PostgresTrackingStore:
    """A `TrackingStore` in a Postgres database.

    Args:
        url: `postgresql://user@host/database`, or any connection string of libpq.
        connections: Maximum number of connections; one more listens while a caller waits.
        timeout: Maximum wait for a connection or a response, in seconds.
        migrate: Whether to migrate tables of an older release at the first use; otherwise they are an error.
        server_time: Whether to measure ages by the clock of the server, which all processes share, instead of
            the clock of the tracker.

    Raises:
        ConfigurationError: The URL cannot be read, or a number is out of its range.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int = 4,
        timeout: float = 30.0,
        migrate: bool = True,
        server_time: bool = True,
    ) -> None:
        try:
            self._database = Database(
                url,
                error=tracking_error,
                name="nexmo-dispatch tracking",
                connections=connections,
                timeout=timeout,
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        self._migrate = migrate
        self._server_time = server_time
        self._notifications = Notifications(self._database, "nexmo_dispatch_tracking", self._on_notice)
        self._changed: Callable[[str | None], object] | None = None
        self._opening = asyncio.Lock()
        self._closing = Closing()
        self._closed = False
        self._changes = 0

    @shows_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._database.is_open else "not open yet"
        return f"<PostgresTrackingStore in {self._database.shown}, {state}>"

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Merge facts of a workflow; see `TrackingStore`.

        Raises:
            TrackingStoreError: The database cannot be used; nothing was stored.
        """
        await self._open()
        known = await self._database.run(partial(_read, state.dispatch_uuid))
        merged = known.merge(state)
        if merged == known:
            return known
        at = None if self._server_time else now
        merged, changed = await self._database.transact(partial(_merge, state, at))
        if changed:
            self._notifications.tell(state.dispatch_uuid)
        self._changes += 1
        if (self._changes - 1) % _PRUNE_EVERY == 0:
            await self._database.run(partial(_prune, retention, at))
        return merged

    def watch(self, changed: Callable[[str | None], object]) -> float | None:
        """Report changes by other processes; see `TrackingStore`."""
        self._changed = changed
        if self._database.is_open:
            self._notifications.listen()
        return _POLL

    async def aclose(self) -> None:
        """Disconnect, after the last notifications."""
        self._closed = True
        await self._closing.run(self._close)

    async def _close(self) -> None:
        async with self._opening:
            try:
                await self._notifications.aclose()
            finally:
                await self._database.aclose()

    async def prepare(self) -> None:
        """Bring the table to the version of this release."""
        await schema.require(self._database, TRACKING, tracking_error)

    async def _open(self) -> None:
        if self._database.is_open and not self._closed:
            return
        async with self._opening:
            if self._closed:
                raise TrackingStoreError("the store of the tracker is closed")
            if not self._database.is_open:
                if self._migrate:
                    await self.prepare()
                await self._database.open()
                if self._changed is not None:
                    self._notifications.listen()

    def _on_notice(self, dispatch_uuid: str | None) -> None:
        if self._changed is not None:
            self._changed(dispatch_uuid)


def tracking_error(failure: Failure) -> TrackingStoreError:
    """Return the error of tracking for a failure of Postgres."""
    return TrackingStoreError(f"the store of the tracker failed: {failure.text}")


async def _read(dispatch_uuid: str, connection: Connection, *, lock: bool = False) -> WorkflowState:
    cursor = await connection.execute(_READ + (" FOR UPDATE" if lock else ""), (dispatch_uuid,))
    row = await cursor.fetchone()
    if row is None:
        return WorkflowState(dispatch_uuid)
    try:
        return _decode(row[0])
    except msgspec.DecodeError:
        raise TrackingStoreError("the store of the tracker failed: a row cannot be read") from None


async def _merge(
    state: WorkflowState, at: float | None, connection: Connection
) -> tuple[WorkflowState, bool]:
    """Merge facts within a transaction; return all facts, and whether they changed."""
    values = {
        "id": state.dispatch_uuid,
        "kind": kind_of(state),
        "at": at,
        "state": msgspec.json.encode(state),
    }
    if (await connection.execute(_INSERT, values)).rowcount:
        return state, True
    known = await _read(state.dispatch_uuid, connection, lock=True)
    merged = known.merge(state)
    if merged == known:
        return known, False
    values |= {"kind": kind_of(merged), "state": msgspec.json.encode(merged)}
    if not (await connection.execute(_UPDATE, values)).rowcount:
        await connection.execute(_INSERT, values)  # it was deleted between the two statements
    return merged, True


async def _prune(retention: TrackingRetention, at: float | None, connection: Connection) -> None:
    """Delete one piece of expired workflows; the next changes delete the rest."""
    for kind in _KINDS:
        values = {"kind": kind, "at": at, "seconds": retention.seconds(kind), "piece": _PIECE}
        await connection.execute(_PRUNE, values)
    await connection.execute(_PRUNE_MANY, {"most": retention.max_unclaimed, "piece": _PIECE})
