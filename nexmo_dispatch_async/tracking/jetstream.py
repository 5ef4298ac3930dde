"""`JetStreamTrackingStore`: facts in a key-value bucket of NATS JetStream, which many processes share.

A change is told to the other processes, so that a caller who waits in one is woken by a callback that reached
another. The bucket holds no texts and no numbers; `reducer` describes its content. Each key has a time to
live, so that the memory of the servers follows the workflows that are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

import msgspec

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError, TrackingStoreError
from nexmo_dispatch_async.tracking.reducer import WorkflowState
from nexmo_dispatch_async.tracking.store import TrackingRetention, kind_of
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure, WrongSequenceError
from nexmo_dispatch_core.jetstream.stream import Shape, Stream, Write
from nexmo_dispatch_core.tasks import Closing
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["JetStreamTrackingStore"]

# The number of changes between two clean-ups, and the most workflows that one deletes.
_PRUNE_EVERY, _PIECE = 64, 256
#: Seconds after which a caller that waits looks by itself: a cut connection loses notifications.
_POLL: Final = 5.0
#: The longest time to live, in seconds.
_LONGEST: Final = 10 * 365 * 24 * 3600

_decode = msgspec.json.Decoder(WorkflowState).decode


class JetStreamTrackingStore:
    """A `TrackingStore` on NATS JetStream.

    Ages go by the clock of the servers, from the last change of a workflow on.

    Args:
        url: `nats://user:password@one:4222,two:4222/name?credentials=FILE`; processes of one name
            share facts.
        timeout: Seconds until a call has failed. A cluster elects a new leader within about six.
        replicas: Of a bucket that is made: 1, 3 or 5; None for 3 in a cluster and 1 on a single server.
        create: Whether a bucket that is missing is made at the first use; otherwise it is an error.

    Raises:
        ConfigurationError: The URL cannot be read, or a number is out of its range.
    """

    def __init__(
        self, url: str, *, timeout: float = 15.0, replicas: int | None = None, create: bool = True
    ) -> None:
        try:
            self._connection = Connection(
                url, error=tracking_error, name="nexmo-dispatch tracking", timeout=timeout
            )
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        checks.replicas(replicas)
        space = self._connection.space
        self._prefix = f"$KV.{space}_tracking"
        self._hints = f"{space}.hints.tracking"
        self._stream = Stream(
            self._connection, Shape(f"KV_{space}_tracking", (f"{self._prefix}.>",), replicas=replicas)
        )
        self._connection.listen(self._hints, self._heard)
        self._create = create
        self._changed: Callable[[str | None], object] | None = None
        self._opening = asyncio.Lock()
        self._closing = Closing()
        self._closed = False
        self._changes = 0

    @shows_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._connection.is_open else "not open yet"
        return f"<JetStreamTrackingStore in {self._connection.shown}, {state}>"

    async def merge(self, state: WorkflowState, *, now: float, retention: TrackingRetention) -> WorkflowState:
        """Merge facts of a workflow; see `TrackingStore`.

        Raises:
            TrackingStoreError: The bucket cannot be used; nothing was stored, or perhaps the facts that a
                repetition of the callback brings again.
        """
        await self._open()
        # of two keys the newest holds the facts: a process may die between writing it and deleting the other
        key = blake2b(state.dispatch_uuid.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        both = f"{self._prefix}.*.{key}"
        while True:
            found = await self._stream.last(both)
            known = WorkflowState(state.dispatch_uuid) if found is None else _read(found.data)
            merged = known.merge(state)
            if merged == known:
                return known
            write = Write(
                self._subject(merged, key),
                msgspec.json.encode(merged),
                0 if found is None else found.seq,
                both,
                expires=max(1, math.ceil(min(retention.seconds(kind_of(merged)), _LONGEST))),
            )
            with contextlib.suppress(
                WrongSequenceError
            ):  # another process was faster: its facts are merged too
                await self._stream.put(write)
                break
        if found is not None and found.subject != write.subject:
            await self._stream.clear(found.subject)
        await self._connection.tell(self._hints, state.dispatch_uuid.encode("utf-8", "surrogatepass"))
        self._changes += 1
        if self._changes % _PRUNE_EVERY == 1 % _PRUNE_EVERY:
            await self._prune(retention.max_unclaimed)
        return merged

    def _subject(self, state: WorkflowState, key: str) -> str:
        return f"{self._prefix}.{'followed' if state.followed else 'unclaimed'}.{key}"

    async def _prune(self, most: int) -> None:
        """Delete one piece of the oldest workflows without a follower; the next changes delete the rest."""
        unclaimed = f"{self._prefix}.unclaimed.*"
        for _ in range(min(_PIECE, await self._stream.count(unclaimed) - most)):
            oldest = await self._stream.following(1, unclaimed)
            if oldest is None:
                return
            await self._stream.delete(oldest.seq)

    def watch(self, changed: Callable[[str | None], object]) -> float | None:
        """Tell of changes by other processes; see `TrackingStore`."""
        self._changed = changed
        return _POLL

    async def aclose(self) -> None:
        """Disconnect."""
        self._closed = True
        await self._closing.run(self._close)

    async def _close(self) -> None:
        async with self._opening:
            await self._connection.aclose()

    async def _open(self) -> None:
        if self._connection.is_open and not self._closed:
            return
        async with self._opening:
            if self._closed:
                raise TrackingStoreError("the store of the tracker is closed")
            if not self._connection.is_open:
                await self._connection.open()
                try:
                    await self._stream.require(create=self._create)
                except BaseException:
                    await self._connection.aclose()
                    raise

    def _heard(self, hint: bytes | None) -> None:
        if self._changed is not None:
            self._changed(None if hint is None else hint.decode("utf-8", "surrogatepass"))


def tracking_error(failure: Failure) -> TrackingStoreError:
    """Return the error of tracking for a failure of JetStream."""
    return TrackingStoreError(f"the store of the tracker failed: {failure.text}")


def _read(data: bytes) -> WorkflowState:
    try:
        return _decode(data)
    except msgspec.DecodeError:
        raise TrackingStoreError("the store of the tracker failed: a value cannot be read") from None
