"""`JetStreamOptOutStore`: an opt-out list in a stream of JetStream, which processes and campaigns share.

Claims of campaigns look into their own copy of it, and are refused when it changed meanwhile.
"""

from __future__ import annotations

import asyncio
import builtins
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from nexmo_dispatch_async.bulk.ledger.jetstream_journal import Reader, campaign_stream, require
from nexmo_dispatch_async.bulk.ledger.jetstream_people import PeopleChange, PeopleView
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import PeopleNames
from nexmo_dispatch_async.bulk.ledger.records import Suppressed
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError, OptOutError
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure, WrongSequenceError
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["JetStreamOptOutStore"]

T = TypeVar("T")
#: Addresses in one batch.
_PIECE: Final = 200
#: How often a change is decided anew because another process was faster, and the longest pause before it.
_TRIES, _PAUSE = 100, 0.05


class JetStreamOptOutStore:
    """An `OptOutStore` in a stream of JetStream.

    Args:
        url: `nats://user@one:4222,two:4222/space`; see `read_address`.
        name: Of the list: a space holds any number of them.
        own: Whether it is the own list of the campaign of this name.
        timeout: Seconds until a call has failed.

    Raises:
        ConfigurationError: The URL cannot be read, *name* is a text that no store takes, or a number is
            out of its range.
    """

    def __init__(self, url: str, *, name: str = "people", own: bool = False, timeout: float = 15.0) -> None:
        checks.texts(name=name)
        try:
            connection = Connection(url, error=_error, name="nexmo-dispatch people", timeout=timeout)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None
        #: The subjects of the list.
        self.names: PeopleNames = PeopleNames(connection.space, name, own=own)
        self._connection = connection
        self._stream = campaign_stream(connection)
        self._view = PeopleView(self.names)
        self._reader = Reader(connection, self._stream, self.names.all, self.names.marker, self._view.apply)
        self._lock = asyncio.Lock()
        self._closed = False

    @shows_unfinished
    def __repr__(self) -> str:
        state = "closed" if self._closed else "open" if self._connection.is_open else "not open yet"
        return f"<JetStreamOptOutStore {state}>"

    def is_within(self, connection: Connection) -> bool:
        """Return whether the list is in the stream that a connection of a ledger uses."""
        return self._connection.is_same_as(connection)

    async def suppress(self, addresses: Sequence[str], *, reason: str, at: float) -> int:
        """Add addresses, in pieces."""

        def suppress(part: Sequence[str], change: PeopleChange) -> int:
            return change.suppress(part, reason, at)

        return await self._in_pieces(addresses, suppress)

    async def unsuppress(self, addresses: Sequence[str]) -> int:
        """Remove addresses, in pieces."""

        def unsuppress(part: Sequence[str], change: PeopleChange) -> int:
            return change.unsuppress(part)

        return await self._in_pieces(addresses, unsuppress)

    async def link(self, people: Sequence[Sequence[str]]) -> None:
        """Note the addresses of each person, in pieces."""

        def link(part: Sequence[Sequence[str]], change: PeopleChange) -> None:
            for addresses in part:
                change.link(addresses)

        for start in range(0, len(people), _PIECE // 4):
            await self._change(partial(link, people[start : start + _PIECE // 4]))

    async def find(self, addresses: Sequence[str]) -> builtins.list[Suppressed]:
        """Return the entries of addresses."""
        async with self._lock:
            await self._read()
            return [entry for address in addresses if (entry := self._view.find(address)) is not None]

    async def list(self, *, after: str, limit: int) -> builtins.list[Suppressed]:
        """Return a page of the list."""
        async with self._lock:
            await self._read()
            return self._view.list(after, limit)

    async def forget(self, before: float) -> int:
        """Erase old history, in pieces."""
        async with self._lock:
            await self._read()
            tokens = self._view.addresses()

        def forget(part: Sequence[str], change: PeopleChange) -> int:
            return sum(change.forget(token, before) for token in part)

        total = 0
        for start in range(0, len(tokens), _PIECE):
            total += await self._change(partial(forget, tokens[start : start + _PIECE]))
        return total

    async def aclose(self) -> None:
        """Disconnect."""
        self._closed = True
        await self._connection.aclose()

    async def _in_pieces(
        self, addresses: Sequence[str], change: Callable[[Sequence[str], PeopleChange], int]
    ) -> int:
        total = 0
        for start in range(0, len(addresses), _PIECE):
            total += await self._change(partial(change, addresses[start : start + _PIECE]))
        return total

    async def _read(self) -> None:
        if self._closed:
            raise OptOutError("the opt-out list is closed")
        if not self._connection.is_open:
            await self._connection.open()
            try:
                await require(self._stream, create=True)
            except BaseException:  # the next call makes the stream
                await self._connection.aclose()
                raise
        await self._reader.read()

    async def _change(self, change: Callable[[PeopleChange], T]) -> T:
        async with self._lock:
            for number in range(_TRIES):
                await self._read()
                changes = PeopleChange(self._view)
                found = change(changes)
                writes = changes.writes()
                if not writes:
                    return found
                try:
                    last = await self._stream.put_together(writes)
                except WrongSequenceError:
                    changes.undo()
                    await asyncio.sleep(random.uniform(0, min(_PAUSE, 0.005 * number)))  # noqa: S311
                    continue
                except BaseException:
                    changes.undo()
                    raise
                first = last - len(writes) + 1
                for position, write in enumerate(writes):
                    changes.confirm(write.subject, first + position)
                self._reader.wrote(first, last)
                return found
        raise OptOutError("the opt-out list failed: other processes were faster all the time")


def _error(failure: Failure) -> OptOutError:
    if failure.kind == "closed":
        return OptOutError("the opt-out list is closed")
    return OptOutError(f"the opt-out list failed: {failure.text}")
