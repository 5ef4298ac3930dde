"""`Journal`: the messages of a campaign and of its opt-out list, as one process reads and writes them.

All that a process writes goes together with its sign of life in one atomic batch. Another process that takes
it for dead writes a sign in its place, and then nothing is stored any more that the first one writes under
its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import math
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final

from nexmo_dispatch_async.bulk.ledger import jetstream_rows as form
from nexmo_dispatch_async.bulk.ledger.jetstream_people import PeopleView
from nexmo_dispatch_async.bulk.ledger.jetstream_rows import Chunk, Marker, Names, PeopleNames
from nexmo_dispatch_async.bulk.ledger.jetstream_view import CampaignView, Worker
from nexmo_dispatch_async.bulk.ledger.records import Life
from nexmo_dispatch_async.bulk.ledger.tenure import Tenure
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.jetstream.connection import Connection
from nexmo_dispatch_core.jetstream.failures import Failure, WrongSequenceError
from nexmo_dispatch_core.jetstream.lease import Lease, LostLeaseError
from nexmo_dispatch_core.jetstream.pages import read_page
from nexmo_dispatch_core.jetstream.stream import Message, Shape, Stream, Write
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Journal", "Reader", "campaign_stream", "lost", "require"]

#: Messages of recipients that a process keeps in memory, with 250 rows each.
_CHUNKS: Final = 64
#: Bytes that a row needs until its final report, about.
_ROW: Final = 2000
#: Seconds between two looks at a replica that lags behind, and the most looks.
_LAG, _LOOKS = 0.05, 200
#: Seconds after which the last sign of life of a process that ended in order disappears.
_GONE: Final = 60


def campaign_stream(
    connection: Connection, *, replicas: int | None = None, max_bytes: int | None = None
) -> Stream:
    """Return the stream of all campaigns and opt-out lists of a space.

    Raises:
        ConfigurationError: A number is out of its range.
    """
    checks.replicas(replicas)
    if max_bytes is not None:
        checks.count("max_bytes", max_bytes)
    space = connection.space
    shape = Shape(
        f"{space}_campaigns",
        (f"{space}.campaigns.>", f"{space}.people.>"),
        version=form.CAMPAIGN_VERSION,
        replicas=replicas,
        max_bytes=-1 if max_bytes is None else max_bytes,
        paged=True,
    )
    return Stream(connection, shape)


async def require(stream: Stream, *, create: bool) -> None:
    """Make the stream if it is not there, and check its shape otherwise.

    Its sequences begin with the time, so that no condition of an older stream of this name fits.
    """
    await stream.require(create=create, first=int(time.time() * 1000))


def lost(connection: Connection) -> Exception:
    """Return the error of a stream that was made anew."""
    text = (
        "the stream was deleted and made anew: its rows are gone. Restore it from a backup; do not add the "
        "list again, or people get a second message"
    )
    return connection.failed(Failure("other", text))


class Reader:
    """Reads the messages of a filter in the order of their sequences, each change once.

    Args:
        connection: Of the stream.
        stream: Where they are.
        subjects: The filter.
        marker: The subject of the last message of each change.
        apply: Takes a message in.
    """

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        subjects: str,
        marker: str,
        apply: Callable[[Message], object],
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._subjects = subjects
        self._marker = marker
        self._apply = apply
        # everything up to it was read or written by this process
        self._seen = 0
        self._newest = 0
        self._own: deque[tuple[int, int]] = deque()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Reader up to {self._seen}>"

    def wrote(self, first: int, last: int) -> None:
        """Note messages of this process, which need not be read."""
        self._own.append((first, last))
        self._skip_own()

    def _skip_own(self) -> None:
        while self._own and self._own[0][0] <= self._seen + 1:
            self._seen = max(self._seen, self._own.popleft()[1])

    async def read(self) -> None:
        """Read what is new.

        Raises:
            LedgerError: The stream was deleted, or cannot be read.
        """
        found = await self._stream.last(self._marker)
        newest = 0 if found is None else found.seq
        if newest < self._newest:
            raise lost(self._connection)
        self._newest = newest
        looks = 0
        while self._seen < newest:
            page = await read_page(self._connection, self._stream.name, self._subjects, self._seen + 1)
            for message in page.messages:
                self._apply(message)
                self._seen = message.seq
            self._skip_own()
            if not page.messages and not page.more:
                looks += 1  # this replica lags behind the leader, who has the marker
                if looks == _LOOKS:
                    raise self._connection.failed(Failure("away", "the replicas of the stream lag behind"))
                await asyncio.sleep(_LAG)


def _age(worker: Worker, at: float, now: float) -> float:
    """Return the seconds since a sign of life: by the server's clock, or since this process saw the sign."""
    if not worker.stamp:
        return now - worker.seen
    return max(0.0, at - dt.datetime.fromisoformat(worker.stamp).timestamp())


class Journal:
    """What one process knows of a campaign, and how it changes it.

    Args:
        connection: Open before any call.
        stream: Of the space.
        names: The subjects of the campaign.
        people: Those of the opt-out list.
        seconds: Without a sign of life after which other processes take this one for dead.
        monotonic: Returns seconds.
    """

    def __init__(
        self,
        connection: Connection,
        stream: Stream,
        names: Names,
        people: PeopleNames,
        *,
        seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.names = names
        self.view: CampaignView = CampaignView(names)
        self.people: PeopleView = PeopleView(people)
        #: Rows that are `sending` in the name of this process and were never handed out, with their attempts.
        self.strays: dict[int, int] = {}
        #: Until when what is claimed may be sent.
        self.tenure: Tenure = Tenure(seconds)
        self._connection = connection
        self._stream = stream
        self._seconds = seconds
        self._monotonic = monotonic
        self._rows = Reader(connection, stream, names.all, names.marker, self._apply)
        self._list = Reader(connection, stream, people.all, people.marker, self.people.apply)
        self._chunks: OrderedDict[int, tuple[int, Chunk]] = OrderedDict()
        self._sends = False
        self._reference = ""
        self.process: str = ""
        self._lease: Lease
        self._name()

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Journal of {self.view!r}>"

    # --- reading ---

    async def read(self) -> None:
        """Read what other processes changed."""
        await asyncio.gather(self._rows.read(), self._list.read())
        reference = self.view.head.reference
        if self._reference and self._reference != reference:
            raise lost(self._connection)
        self._reference = reference

    def _apply(self, message: Message) -> None:
        subject, states = message.subject, self.names.states
        before = self.view.state(int(subject[len(states) :])) if subject.startswith(states) else None
        row_id = self.view.apply(message, self._monotonic())
        if row_id and before is not None:
            state = self.view.state(row_id)
            own = state.state == form.SENDING and state.worker.partition("/")[0] == self.process
            # that very claim; a callback was stored, by another process or for a caller that was cancelled
            known = before.state == form.SENDING and before.attempts == state.attempts
            if own and not known:
                # stored by an attempt that failed for its caller
                self.strays[row_id] = state.attempts

    async def require_room(self, size: int, rows: int) -> None:
        """Refuse new rows for whose results the stream may have no room.

        Args:
            size: Of their recipients, in bytes.
            rows: Their number.

        Raises:
            LedgerError: The stream has a limit, and too little is left of it.
        """
        state = await self._stream.state()
        open_rows = self.view.tally.counts().open + rows
        if 0 <= state.max_bytes < state.bytes + size + open_rows * _ROW:
            raise LedgerError(
                f"the stream has no room for {rows} rows and what becomes of them: raise its max_bytes "
                f"({state.max_bytes}), or erase campaigns that are over (forget)"
            )

    async def recount(self) -> CampaignView:
        """Return a view that is made of all messages anew."""
        view = CampaignView(self.names)

        def apply(message: Message) -> None:
            view.apply(message, 0.0)

        await Reader(self._connection, self._stream, self.names.all, self.names.marker, apply).read()
        return view

    async def chunk(self, first: int) -> Chunk:
        """Return a message of recipients."""
        seq = self.view.chunk_seq(first)
        known = self._chunks.get(first)
        if known is not None and known[0] == seq:
            self._chunks.move_to_end(first)
            return known[1]
        found = await self._stream.last(f"{self.names.rows}{first}")
        if found is None:
            raise lost(self._connection)
        chunk = form.decode_chunk(found.data)
        self._chunks[first] = found.seq, chunk
        while len(self._chunks) > _CHUNKS:
            self._chunks.popitem(last=False)
        return chunk

    # --- signs of life ---

    def _name(self) -> None:
        """Take a new name: nothing was ever written under it."""
        self.tenure.end()
        self.process = secrets.token_hex(8)
        subject = f"{self.names.workers}{self.process}"
        self._lease = Lease(self._stream, subject, seconds=self._seconds, monotonic=self._monotonic)

    def sends(self) -> None:
        """Note that this process claims rows."""
        self._sends = True

    async def show_life(self) -> None:
        """Write a sign of life; under a new name when the old one was taken for dead."""
        asked = self.tenure.ask()
        while not await self._lease.hold(self._report()):
            self._name()
            asked = self.tenure.ask()
        self.tenure.renew(asked)

    def _report(self) -> bytes:
        return b"true" if self._sends else b"false"

    async def leave(self) -> None:
        """Tell that this process is gone."""
        if self._lease.held:
            await self._lease.give_up(expires=_GONE)

    def others(self, quiet: float) -> list[str]:
        """Return the names of the other processes that send, and showed life within so many seconds."""
        now = self._monotonic()
        return sorted(
            name
            for name, worker in self.view.workers.items()
            if name != self.process and worker.sends and now - worker.seen < quiet
        )

    def life(self, quiet: float, at: float, *, observer: bool) -> Life:
        """Return which processes send, and the rows in flight of those that show no life.

        Args:
            quiet: Seconds after which a process shows none.
            at: Epoch seconds.
            observer: Whether this process only looks, and so takes none for dead.
        """
        now, view = self._monotonic(), self.view
        ages = {name: _age(worker, at, now) for name, worker in view.workers.items() if worker.sends}
        ages.pop(self.process, None)
        silent = [n for n in view.senders() - {self.process} if ages.get(n, math.inf) >= quiet]
        known = [view.workers[name] for name in silent if name in view.workers]
        return Life(
            senders=sum(age < quiet for age in ages.values()),
            seen=min(ages.values(), default=None),
            silent=sum(len(view.sending(name)) for name in silent),
            silent_for=min((ages[name] for name in silent if name in ages), default=0.0),
            remaining=None
            if observer
            else max((worker.seen + self._seconds - now for worker in known), default=0.0),
        )

    def dead(self) -> list[str]:
        """Return the processes that showed no life for the time of the lease."""
        now = self._monotonic()
        gone: list[str] = []
        for name in (self.view.senders() | self.view.workers.keys()) - {self.process}:
            worker = self.view.workers.get(name)
            if worker is None or now - worker.seen >= self._seconds:
                gone.append(name)
        return gone

    def fence(self, name: str) -> Write:
        """Return the message in the place of the next sign of life of a process: it can write no more."""
        worker = self.view.workers.get(name)
        return Write(
            f"{self.names.workers}{name}",
            b'{"holder":""}',
            0 if worker is None else worker.seq,
            expires=_GONE,
        )

    # --- writing ---

    async def mark(self) -> None:
        """Correct what the last marker says: a process that had not read all rows may have written it."""
        view = self.view
        if self._lease.held:
            marker = Marker(pending=len(view.pending) > 0)
            write = Write(self.names.marker, form.encode(marker), view.marker_seq)
            with contextlib.suppress(WrongSequenceError):
                seqs = await self.write([write])
                view.apply(Message(seqs[write.subject], write.subject, write.data), 0.0)

    async def write(self, writes: Sequence[Write]) -> dict[str, int]:
        """Store messages, all or none, and return their sequences by subject.

        Raises:
            WrongSequenceError: Another process was faster, or took this one for dead; nothing was stored.
            LedgerError: The store failed.
        """
        if not self._lease.held:
            await self.show_life()
        asked = self.tenure.ask()
        try:
            last = await self._lease.write(writes, self._report())
        except LostLeaseError:
            self._name()
            raise WrongSequenceError from None
        self.tenure.renew(asked)
        first = last - len(writes)
        self._rows.wrote(first, last)
        self._list.wrote(first, last)
        return {write.subject: first + number for number, write in enumerate(writes)}
