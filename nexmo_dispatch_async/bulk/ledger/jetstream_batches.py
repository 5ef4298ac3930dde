"""`Batches`: runs changes of a campaign one after another, each as one atomic batch, and shows signs of life.

Where another process was faster nothing of a batch is stored; then the process reads what is new and decides
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import msgspec

from nexmo_dispatch_async.bulk.ledger import jetstream_results as changes
from nexmo_dispatch_async.bulk.ledger.jetstream_claims import Turn
from nexmo_dispatch_async.bulk.ledger.jetstream_journal import Journal
from nexmo_dispatch_async.bulk.ledger.jetstream_view import CampaignView
from nexmo_dispatch_async.bulk.ledger.jetstream_work import Work
from nexmo_dispatch_async.bulk.ledger.records import Change, Control, Result
from nexmo_dispatch_async.bulk.ledger.transitions import row_ids
from nexmo_dispatch_async.exceptions import LedgerError
from nexmo_dispatch_core.jetstream.failures import WrongSequenceError
from nexmo_dispatch_core.jetstream.stream import Write
from nexmo_dispatch_core.tasks import end
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["PIECE", "QUIET", "Batches"]

T = TypeVar("T")
#: Rows of a campaign-wide change in one batch.
PIECE = 400
#: Seconds between two signs of life, and without one until the others have its part of the rates.
_SIGN = 1.0
QUIET = 4.0
#: How often a change is decided anew because another process was faster, and the longest pause before it.
_TRIES, _PAUSE = 100, 0.05


class Batches:
    """The changes of one process.

    Args:
        journal: What it knows, and writes.
        shared: Whether other campaigns count the messages to a person as well.
        lease: Seconds without a sign of life after which other processes take this one for dead.
        clock: Returns epoch seconds.
    """

    def __init__(self, journal: Journal, *, shared: bool, lease: float, clock: Callable[[], float]) -> None:
        self.journal = journal
        #: The part of the rows that this process claims first.
        self.turn: Turn = Turn()
        self._shared = shared
        self._lease = lease
        self._clock = clock
        self._lock = asyncio.Lock()
        self._alive: asyncio.Task[None] | None = None
        self._closed = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Batches of {self.journal!r}>"

    # --- the process ---

    async def begin(self) -> int:
        """Show the first sign of life; return how many rows of dead processes became `unknown`."""
        await self.journal.show_life()
        reaped = await self.reap_dead()
        self._alive = asyncio.create_task(self._stay_alive(), name="ledger")
        return reaped

    async def aclose(self) -> None:
        """Give up what this process was sending, and tell that it is gone."""
        if self._closed:
            return
        alive, self._alive = self._alive, None
        try:
            if alive is not None:
                await end(alive)
            with contextlib.suppress(LedgerError):  # where that fails, the lease ends
                if alive is not None:
                    await self.reap(lambda view: view.sending(self.journal.process))
                await self.journal.leave()
        finally:
            self._closed = True

    async def _stay_alive(self) -> None:
        """Show signs of life, read what others changed, and reap the rows of those that show none."""
        while not self._closed:
            await asyncio.sleep(min(_SIGN, self._lease / 4))
            with contextlib.suppress(LedgerError):  # the next sign may succeed
                async with self._lock:
                    await self.journal.show_life()
                    await self._read()
                await self.reap_dead()

    async def _read(self) -> None:
        journal = self.journal
        await journal.read()
        senders = sorted([*journal.others(QUIET), journal.process])
        self.turn = Turn(senders.index(journal.process), len(senders))
        # which workers look at; a process that had not read all may have written it
        if journal.view.marker.pending != (len(journal.view.pending) > 0):
            await journal.mark()

    # --- changes ---

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[CampaignView]:
        """Read what is new, and keep changes out meanwhile."""
        async with self._lock:
            self._require_open()
            await self._read()
            yield self.journal.view

    async def run(self, operation: Callable[[Work], Awaitable[T]], *, read: bool = False) -> T:
        """Run a function that changes rows, and store its changes.

        Args:
            operation: Called again where another process was faster.
            read: Whether to read what is new before it.

        Raises:
            LedgerError: The store failed, or other processes were faster all the time.
        """
        async with self._lock:
            self._require_open()
            if read:
                await self._read()
            for number in range(_TRIES):
                try:
                    return await self._try(operation)
                except WrongSequenceError:
                    await asyncio.sleep(random.uniform(0, min(_PAUSE, 0.005 * number)))  # noqa: S311
                    await self._read()
        raise LedgerError("the ledger failed: other processes were faster all the time; nothing was stored")

    async def _try(self, operation: Callable[[Work], Awaitable[T]]) -> T:
        journal = self.journal
        work = Work(
            journal.view,
            journal.people,
            journal.chunk,
            process=journal.process,
            reference=journal.view.head.reference,
            shared=self._shared,
        )
        strays = dict(journal.strays)
        try:
            await self._give_back(work, strays)
            found = await operation(work)
            writes = work.writes()
            if writes:
                work.confirm(await journal.write(writes))
        except BaseException:
            work.undo()
            raise
        for row_id in strays:
            del journal.strays[row_id]
        return found

    async def _give_back(self, work: Work, strays: dict[int, int]) -> None:
        """Put rows back to `pending` that a failed claim of this process left as `sending`."""
        at = self._clock()
        back = [Result(id=n, state="pending", at=at, attempts=a) for n, a in strays.items()]
        await changes.record(work, back)

    async def in_pieces(self, ids: object, change: Callable[[Work, list[int]], int]) -> int:
        """Run a change for many rows, and return how many it changed."""

        async def piece(part: list[int], work: Work) -> int:
            return change(work, part)

        wanted = row_ids(ids)
        await self.run(_nothing, read=True)
        known = len(self.journal.view)
        total = 0
        chosen = [one for one in wanted if one <= known]
        for start in range(0, len(chosen), PIECE):
            total += await self.run(partial(piece, chosen[start : start + PIECE]))
        return total

    # --- rows in flight ---

    async def reap(self, choose: Callable[[CampaignView], list[int]]) -> int:
        """Give up rows that are `sending`; return their number."""

        async def work(work: Work) -> int:
            ids = choose(work.view)[:PIECE]
            changes.reap(work, ids, self._clock())
            return len(ids)

        total, found = 0, PIECE
        while found == PIECE:
            found = await self.run(work)
            total += found
        return total

    async def reap_dead(self) -> int:
        """Give up the rows of processes that show no life."""
        total = 0
        for name in self.journal.dead():
            total += await self._reap_process(name)
        return total

    async def _reap_process(self, name: str) -> int:
        """Give up the rows of a process, unless it shows life after all."""
        journal = self.journal

        async def work(work: Work) -> int:
            if name not in journal.dead():
                return 0
            ids = work.view.sending(name)[:PIECE]
            changes.reap(work, ids, self._clock())
            work.put(journal.fence(name))
            return len(ids)

        found = await self.run(work)
        return found + (await self.reap(lambda view: view.sending(name)) if found == PIECE else 0)

    async def control(self, change: Change) -> Control:
        """Change what operators ask for; an observer may as well."""
        journal = self.journal

        async def work(work: Work) -> Control:
            known = work.view.control
            changed = known.changed(change)
            if changed is not known:
                data = msgspec.json.encode(changed)
                work.put(Write(journal.names.control, data, work.view.control_seq))
            return changed

        return await self.run(work, read=True)

    def _require_open(self) -> None:
        if self._closed:
            raise LedgerError("the ledger is closed")


async def _nothing(work: Work) -> None:
    """Change nothing."""
    del work
