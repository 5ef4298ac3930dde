"""`EventStreams`: events, their states and their de-duplication keys, in two streams of JetStream.

It holds no lease and knows no handler. Every read goes to the leaders of the streams, many at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

import msgspec

from nexmo_dispatch_core.bursts import Bursts, cause_of
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure, WrongSequenceError
from nexmo_dispatch_core.jetstream.stream import Message, Stream, Write
from nexmo_dispatch_webhooks.exceptions import InboxError, InboxFullError, InboxLostError, UnknownRecordError
from nexmo_dispatch_webhooks.inbox import jetstream_rows as rows
from nexmo_dispatch_webhooks.inbox.jetstream_rows import (
    Ages,
    Forgotten,
    Handled,
    Names,
    OpenState,
    StoredEvent,
)
from nexmo_dispatch_webhooks.inbox.jetstream_settings import JetStreamSettings
from nexmo_dispatch_webhooks.inbox.records import NewRecord, Record, RecordState
from nexmo_dispatch_webhooks.inbox.store import RecordChoice
from nexmo_dispatch_webhooks.logs import logger

__all__ = ["EventStreams", "inbox_error", "together"]

T = TypeVar("T")

#: The most requests at the same time, and the most events that one piece of the retention looks at.
_AT_ONCE, _PIECE = 64, 256
#: How often an event is tried while another of its key is on its way, and the seconds between two tries.
_TRIES, _PAUSE = 50, 0.1


class EventStreams:
    """The streams of one inbox.

    Args:
        connection: Open before any call.
        settings: Of the streams.
    """

    def __init__(self, connection: Connection, settings: JetStreamSettings) -> None:
        self.names: Names = Names(connection.space)
        events, states = self.names.shapes(settings)
        self._connection = connection
        self._settings = settings
        self._most = settings.max_bytes
        self._events = Stream(connection, events)
        #: The bucket of states, for the lease too.
        self.states: Stream = Stream(connection, states)
        #: Both ages of the inbox, as last read.
        self.ages: Ages = Ages()
        #: The oldest id, as last read.
        self.first: int = 0
        # bytes of events: as last read, and with what was stored since
        self._bytes = 0
        self._bursts = Bursts()
        # where the next piece of the retention begins
        self._cursor = 0

    async def require(self) -> None:
        """Make the streams that are missing, if that is allowed, and check the others.

        Raises:
            InboxLostError: There are events, and their states were deleted.
        """
        create = self._settings.create
        if await self._events.messages() and await self.states.messages() is None:
            raise InboxLostError(
                f"the bucket {self.states.name} was deleted, and with it which events were handled: "
                "restore it, or delete the stream of the events too"
            )
        await self.states.require(create=create)
        # States of deleted events must not count for new ones, so the ids of a second stream begin elsewhere.
        first = int(1000 * time.time()) if await self.states.messages() else 0
        await self._events.require(create=create, first=first)
        await self.read_ages()
        await self.newest()

    async def replicas(self) -> int:
        """Return the number of replicas of the events."""
        return (await self._events.state()).replicas

    # --- events ---

    async def add(self, record: NewRecord) -> int | None:
        """Store an event, unless its key is known; return its id then.

        Raises:
            InboxFullError: There is no room.
        """
        if self._most is not None and self._bytes + len(record.body) > self._most:
            raise InboxFullError(
                f"the inbox is full: {self._bytes} bytes are stored, and max_bytes is {self._most}. Mend the "
                "handler that events wait for and retry them (nexmo-dispatch inbox retry), or give the inbox "
                "more max_bytes and start it again"
            )
        subject, key = self.names.event(record)
        mark = secrets.token_bytes(6)
        data = rows.encoded(record, self.ages, mark)
        for _ in range(_TRIES):
            try:
                record_id = await self._events.put(Write(subject, data, 0, key))
            except WrongSequenceError:
                # Read back: the response of an own attempt may be lost, and an attempt of another process
                # that is on its way counts only when it is stored.
                found = await self._events.last(key)
                if found is None:
                    await asyncio.sleep(_PAUSE)
                    continue
                if rows.has_content(found) and rows.event_in(found.data).mark == mark:
                    return found.seq
                return None
            self._bytes += len(data) + len(subject)
            return record_id
        raise self._events.busy()

    def note_untold(self, error: InboxError) -> None:
        """Log that the process that handles events did not hear of a new one; it finds it by itself."""
        more = self._bursts.begin("untold", cause_of(str(error)))
        if more is not None:
            logger.warning("a stored event waits for the next look at the store: %s%s", error, more)

    def note_unmarked(self, error: InboxError) -> None:
        """Log that marks are not written yet; they are tried again."""
        more = self._bursts.begin("unmarked", cause_of(str(error)))
        if more is not None:
            logger.warning("marks of handled events wait for the store: %s%s", error, more)

    async def newest(self) -> int:
        """Return the newest id that was given."""
        state = await self._events.state()
        self._bytes, self.first = state.bytes, state.first
        return state.last

    async def has_room(self) -> bool:
        """Return whether another event may be stored."""
        await self.newest()
        return self._most is None or self._bytes < self._most

    async def event(self, record_id: int) -> tuple[str, StoredEvent] | None:
        """Return the key and the content of an event; None if it is forgotten, or was none."""
        found = await self._events.get(record_id)
        if found is None or not rows.has_content(found):
            return None
        return found.subject.split(".")[-2], rows.event_in(found.data)

    async def record(self, record_id: int, *, body: bool = True) -> Record:
        """Return an event with its state.

        Raises:
            UnknownRecordError: There is none with this id.
        """
        found = await self._events.get(record_id)
        if found is not None and rows.has_content(found):
            event = rows.event_in(found.data)
            return rows.record_of(record_id, event, await self._state(record_id, event), body=body)
        rest = await self._events.last(self.names.tombstone_of(record_id))
        if rest is None:
            raise UnknownRecordError(f"there is no record {record_id}")
        return rows.forgotten_record(rest)

    async def range(self, first: int, last: int) -> list[tuple[int, Message]]:
        """Return the events with these ids that have a content."""
        ids = range(first, last + 1)
        found = await together(self._events.get(record_id) for record_id in ids)
        return [
            (n, message)
            for n, message in zip(ids, found, strict=True)
            if message and rows.has_content(message)
        ]

    async def listed(self, state: RecordState | None, *, limit: int, after: int) -> list[Record]:
        """Return records without their bodies."""
        if state is None:
            return await self._walk(limit, after)
        if state == "forgotten":
            ids = sorted(
                n for n in map(rows.id_of, await self._events.subjects(self.names.forgotten)) if n > after
            )
        elif state == "handled":
            ids = sorted(
                n for n in map(rows.id_of, await self.states.subjects(self.names.all_done)) if n > after
            )
        else:
            opened = (
                await self.opened() if state == "quarantined" else await self.pending(0, await self.newest())
            )
            ids = sorted(
                n for n, one in opened.items() if n > after and one.quarantined == (state == "quarantined")
            )
        found: list[Record] = []
        while ids and len(found) < limit:
            some, ids = ids[:_AT_ONCE], ids[_AT_ONCE:]
            found += [
                one for one in await together(map(self._seen, some)) if one is not None and one.state == state
            ]
        return found[:limit]

    async def _seen(self, record_id: int) -> Record | None:
        try:
            return await self.record(record_id, body=False)
        except UnknownRecordError:  # deleted meanwhile
            return None

    async def _walk(self, limit: int, after: int) -> list[Record]:
        state = await self._events.state()
        found: list[Record] = []
        first = max(after + 1, state.first)
        while first <= state.last and len(found) < limit:
            events = [
                (record_id, rows.event_in(message.data))
                for record_id, message in await self.range(first, min(first + _AT_ONCE - 1, state.last))
            ]
            states = await together(self._state(*one) for one in events)
            found += [
                rows.record_of(record_id, event, one, body=False)
                for (record_id, event), one in zip(events, states, strict=True)
            ]
            first += _AT_ONCE
        return found[:limit]

    # --- states ---

    async def _state(self, record_id: int, event: StoredEvent) -> OpenState | Handled:
        return rows.state_in(await self.states.last(self.names.state(record_id)), event)

    async def opened(self) -> dict[int, OpenState]:
        """Return the states after failed attempts, and those of bodies that are no JSON objects."""
        found: dict[int, OpenState] = {}
        seq = 1
        while (message := await self._events.following(seq, self.names.unparsable)) is not None:
            seq = message.seq + 1
            state = await self._state(message.seq, rows.event_in(message.data))
            if isinstance(state, OpenState):
                found[message.seq] = state
        ids = [rows.id_of(subject) for subject in await self.states.subjects(self.names.all_open)]
        states = await together(self.states.last(self.names.state(record_id)) for record_id in ids)
        for record_id, message in zip(ids, states, strict=True):
            if (one := rows.open_in(message)) is not None:
                found[record_id] = one
        return found

    async def pending(self, floor: int, last: int) -> dict[int, OpenState]:
        """Return the states of pending events by ascending id, and those of quarantined ones.

        Args:
            floor: Only ids above this one, or with a state.
            last: The newest id to look at.
        """
        found = await self.opened()
        first = max(floor + 1, (await self._events.state()).first)
        done: set[int] = set()
        if first <= last:
            for names in await together(map(self.states.subjects, self.names.done_groups(first, last))):
                done.update(map(rows.id_of, names))
        missing = [n for n in range(first, last + 1) if n not in done and n not in found]
        for record_id, message in zip(missing, await together(map(self._events.get, missing)), strict=True):
            if message is not None and rows.has_content(message):
                event = rows.event_in(message.data)
                found[record_id] = OpenState(event.kind, event.lane, event.received_at)
        return dict(sorted(found.items()))

    async def state_for(self, record_id: int) -> OpenState:
        """Return the state of an event as that of a first failure would begin.

        Raises:
            UnknownRecordError: There is none with this id.
        """
        found = await self.event(record_id)
        if found is None:
            raise UnknownRecordError(f"there is no record {record_id}")
        return OpenState(found[1].kind, found[1].lane, found[1].received_at)

    def opening(self, record_id: int, state: OpenState) -> Write:
        """Return the write of a state after a failed attempt."""
        return Write(self.names.open(record_id), msgspec.json.encode(state))

    def handling(self, record_id: int, state: Handled) -> Write:
        """Return the write of the state in the end."""
        return Write(self.names.done(record_id), msgspec.json.encode(state))

    async def tidy(self, record_ids: Iterable[int]) -> None:
        """Delete states after failed attempts of events that are handled now."""
        await together(self.states.clear(self.names.open(record_id)) for record_id in record_ids)

    async def retry(self, which: RecordChoice, *, handler: str | None, kind: str | None) -> int:
        """Make events pending and due now that failed, or that wait for an attempt; return their number."""
        found = 0
        for record_id, one in (await self.opened()).items():
            if (
                which in ("all", record_id)
                and (one.quarantined or one.due)
                and kind in (None, one.kind)
                and (handler is None or any(failure.handler == handler for failure in one.failed))
            ):
                found += await self._retry(record_id, one)
        return found

    async def _retry(self, record_id: int, state: OpenState) -> bool:
        """Make an event pending and due now; return whether its state was still this one."""
        message = await self.states.last(self.names.state(record_id))
        if message is not None and rows.open_in(message) != state:
            return False
        new = msgspec.structs.replace(state, quarantined=False, attempts=0, due=0.0, failed=())
        expected = 0 if message is None else message.seq
        try:
            # together with what tells the process that handles events: it would not look for them otherwise
            opened = Write(self.names.open(record_id), msgspec.json.encode(new), expected)
            await self.states.put_together([opened, Write(self.names.retried)])
        except WrongSequenceError:
            return False
        return True

    # --- ages and retention ---

    async def read_ages(self) -> None:
        """Read both ages of the inbox."""
        found = await self.states.last(self.names.ages)
        self.ages = Ages() if found is None else rows.ages_in(found.data)

    def aging(self, ages: Ages) -> Write:
        """Return the write of both ages."""
        return Write(self.names.ages, msgspec.json.encode(ages))

    async def forget(self, record_ids: Sequence[int], *, erase: bool = False) -> int:
        """Delete the contents of events, and keep their keys; return the number.

        Args:
            record_ids: Of the events.
            erase: Whether to overwrite the bytes now, which takes long.
        """
        found = await together(map(self._events.get, record_ids))
        chosen = [message for message in found if message is not None and rows.has_content(message)]
        await together(self._forget(message, erase=erase) for message in chosen)
        # states without an event, which an earlier call left: it was cancelled, or its process died
        rest = set(record_ids) - {message.seq for message in chosen}
        await together(self.states.clear(self.names.state(record_id)) for record_id in rest)
        return len(chosen)

    async def _forget(self, message: Message, *, erase: bool) -> None:
        event = rows.event_in(message.data)
        rest = msgspec.msgpack.encode(Forgotten(event.kind, event.received_at, event.measured))
        # the key stays known at each moment: first what remains, unless an earlier attempt came so far
        with contextlib.suppress(WrongSequenceError):
            await self._events.put(Write(self.names.tombstone(message), rest, 0))
        await self._events.delete(message.seq, erase=erase)
        await self.states.clear(self.names.state(message.seq))

    async def chosen(self, states: Sequence[RecordState], before: float | None) -> list[int]:
        """Return the ids of finished events of these states that arrived before a time."""
        ids: list[int] = []
        if "handled" in states:
            ids += map(rows.id_of, await self.states.subjects(self.names.all_done))
        if "quarantined" in states:
            ids += [record_id for record_id, one in (await self.opened()).items() if one.quarantined]
        if before is None:
            return sorted(ids)
        found = await together(map(self.event, ids))
        return sorted(n for n, one in zip(ids, found, strict=True) if one and one[1].received_at < before)

    async def prune(self, *, handled: float, quarantined: float, keys: float) -> bool:
        """Do one piece of the retention: contents from the oldest on, then keys."""
        more = await self._prune_contents(handled, quarantined)
        return await self._prune_keys(keys) or more

    async def _prune_contents(self, handled: float, quarantined: float) -> bool:
        state = await self._events.state()
        first = max(self._cursor, state.first, 1)
        last = min(first + _PIECE - 1, state.last)
        old: list[tuple[Message, StoredEvent]] = []
        younger = False
        for _, message in await self.range(first, last):
            event = rows.event_in(message.data)
            younger = (
                self.ages.by_clock - event.by_clock < handled
                and self.ages.measured - event.measured < quarantined
            )
            if younger:
                break
            old.append((message, event))
        states = await together(self._state(message.seq, event) for message, event in old)
        await together(
            self._forget(message, erase=False)
            for (message, event), one in zip(old, states, strict=True)
            if (isinstance(one, Handled) and self.ages.by_clock - event.by_clock >= handled)
            or (
                isinstance(one, OpenState)
                and one.quarantined
                and self.ages.measured - event.measured >= quarantined
            )
        )
        more = not younger and last < state.last
        self._cursor = last + 1 if more else 0
        return more

    async def _prune_keys(self, keys: float) -> bool:
        seq = 1
        for _ in range(_PIECE):
            message = await self._events.following(seq, self.names.forgotten)
            if message is None or self.ages.measured - rows.forgotten_in(message.data).measured < keys:
                return False
            await self._events.delete(message.seq)
            seq = message.seq + 1
        return True


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Await calls, a bounded number at a time, and return their results in order."""
    rest = list(calls)
    found: list[T] = []
    try:
        while rest:
            some, rest = rest[:_AT_ONCE], rest[_AT_ONCE:]
            found += await asyncio.gather(*some)
    finally:
        for call in rest:
            if asyncio.iscoroutine(call):
                call.close()
    return found


def inbox_error(failure: Failure) -> InboxError:
    """Return the error of the inbox for a failure of JetStream."""
    if failure.kind == "closed":
        return InboxError("the inbox is not open")
    if failure.kind == "missing":
        return InboxLostError(
            f"the inbox cannot be read or written: {failure.text}. Restore it, or start the processes anew "
            "to make an empty one"
        )
    kind = InboxFullError if failure.kind == "full" else InboxError
    return kind(f"the inbox cannot be read or written: {failure.text}")
