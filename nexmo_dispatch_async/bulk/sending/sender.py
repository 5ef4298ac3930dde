"""The loop of a campaign: claim rows for the free slots, send them, bring the results with the next claim.

Each row is `sending` in the ledger before its POST leaves, and nothing here sends one again unless it was
provably not sent. In flight and not yet recorded are together never more than the limit: so many rows are
unknown after a crash, at most.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress

from nexmo_dispatch_async.bulk.ledger.ledger import ComputesBeside, Guard, Ledger
from nexmo_dispatch_async.bulk.ledger.records import Cap, Claimed, ClaimRequest, Control, Counts, Result
from nexmo_dispatch_async.bulk.progress import Progress, Wait, pause_of
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.sending.governor import Answers, Governor, Lane, planned_rate
from nexmo_dispatch_async.bulk.sending.lanes import Lanes
from nexmo_dispatch_async.bulk.sending.paced_sends import in_campaign
from nexmo_dispatch_async.bulk.sending.safety import AbortWatch, Allowance, Budget, CanaryWatch, Hold
from nexmo_dispatch_async.bulk.sending.settling import StoreFailures, settled
from nexmo_dispatch_async.bulk.sending.shared_pace import SharedPace
from nexmo_dispatch_async.bulk.sending.verdicts import Answer, Verdicts, decipher_answer, not_sent
from nexmo_dispatch_async.bulk.settings import Pace
from nexmo_dispatch_async.bulk.templates.rendering import Renderer
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.event_loop import running_loop
from nexmo_dispatch_async.exceptions import LedgerError, RateLimitError
from nexmo_dispatch_async.retry import RetryPolicy, Timeout
from nexmo_dispatch_core.unfinished import shows_unfinished

__all__ = ["Sender"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

# The governor decides when a row is tried again, and the ledger knows it: nothing is repeated behind them.
_ONCE = RetryPolicy(attempts=1)

_CONTROL_EVERY = 1.0  # seconds between two looks at what operators asked for
_LOOK_AGAIN = 1.0  # the same, at rows that are neither due nor over
_RECORD_AFTER = 0.05  # seconds for which a result waits for a claim to carry it
_GATHER = 0.004  # seconds in which slots that are free wait for others, until half of them are


class Sender:
    """Sends the rows of a ledger. `run()` once.

    Args:
        ledger: Whose rows.
        client: Through which they are sent.
        renderer: Makes the workflow of a row.
        governor: Of the process.
        pace: The campaign's own.
        calendar: When it may send.
        cap: For each person.
        canary: The first rows, of all workers together.
        budget: The most that it may cost, the same.
        abort: When it pauses by itself.
        worker: Name of this sender in the ledger.
        timeout: Of one attempt, instead of the client's.
        wall_clock: Epoch seconds.
    """

    def __init__(
        self,
        ledger: Ledger,
        client: DispatchClient,
        renderer: Renderer,
        *,
        governor: Governor,
        pace: Pace,
        calendar: Calendar,
        cap: Cap | None = None,
        canary: CanaryWatch | None = None,
        budget: Budget | None = None,
        abort: AbortWatch | None = None,
        worker: str = "",
        timeout: Timeout | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        # With what
        self._ledger, self._client, self._renderer = ledger, client, renderer
        self._beside = ledger if isinstance(ledger, ComputesBeside) else None
        self._calendar, self._pace = calendar, pace
        self._cap, self._allowance, self._abort_if = cap, Allowance(canary, budget), abort
        self._worker, self._timeout, self._wall = worker, timeout, wall_clock
        request = client.ready_request(b"")
        application = f"{request.url} {request.headers.get('ApplicationId', '')}"
        self._lanes = Lanes(
            ledger, application, governor=governor, calendar=calendar, pace=pace, ask=self._ask_for_sends
        )
        sharing = SharedPace(ledger, self._lanes, wake=self._rouse, wall_clock=wall_clock)
        self._sharing = sharing if ledger.shared else None
        # What is under way, and what was claimed and is to be sent next
        self._tasks: dict[asyncio.Task[Answer], tuple[Claimed, Lane, float]] = {}
        self._ready: list[tuple[Claimed, Lane, Guard]] = []
        self._results: list[Result] = []
        self._record_at = self._gather_at = math.inf
        self._answers = Answers()
        self._verdicts = Verdicts()
        self._claim_lost = False
        # What is asked for
        self._control = Control()
        self._stopping = False
        self._hold: Hold | None = None
        self._fatal: BaseException | None = None
        # Numbers, and why nothing moves
        self._done = 0
        self._store_failures = StoreFailures()
        self._look_at = math.inf
        self._waker: asyncio.Future[None] | None = None
        self._poked = False
        self.progress: Progress = Progress()
        self.wait: Wait | None = None

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Sender in_flight={len(self._tasks)}{', stopping' if self._stopping else ''}>"

    @property
    def in_flight(self) -> int:
        """The number of sends that wait for a response."""
        return len(self._tasks)

    @property
    def stopping(self) -> bool:
        """Whether it claims nothing more and ends."""
        return self._stopping or self._control.state == "stop"

    def shown(self, at: float) -> Wait | None:
        """Return why nothing moves, for status; `None` while it is only the pace of the next second."""
        return self.wait if self.wait is not None and self.wait.is_shown(at) else None

    def stop(self) -> None:
        """Claim nothing more, wait for what is in flight, end. A second call gives up what is in flight."""
        if self._stopping:
            self._give_back()
            for task in list(self._tasks):
                task.cancel()
        self._stopping = True
        self.wake()

    def wake(self) -> None:
        """Look again: rows were added, or an operator asked for something."""
        self._lanes.look_again()
        self._poked = True
        self._rouse()

    async def run(self) -> Counts:
        """Send until no row is pending or sending, or it is stopped; return the numbers.

        A campaign that is paused waits. A task that is cancelled gives up what is in flight: what left is
        `unknown`, what did not is `pending` again.

        Raises:
            LedgerError: The ledger failed again and again.
            ClientClosedError: The client was closed.
            ConfigurationError: The client cannot send.
        """
        await self._ledger.reap(self._worker)
        self._done = (await self._ledger.counts()).sends
        self._control = await self._ledger.control()
        watchers = [asyncio.create_task(self._watch())]
        if self._sharing is not None:
            watchers.append(asyncio.create_task(self._sharing.run()))
        campaign = in_campaign.set(True)  # in the tasks of the sends too: they copy the context
        try:
            while not await self._try_turn():
                pass
            if self._sharing is not None:
                await self._sharing.leave()
        finally:
            in_campaign.reset(campaign)
            for watcher in watchers:
                watcher.cancel()
            await self._end()
            await asyncio.gather(*watchers, return_exceptions=True)
        if self._fatal is not None:
            raise self._fatal
        return await self._ledger.counts()

    # --- one turn ---

    async def _try_turn(self) -> bool:
        """Do one step, or wait for a ledger that fails; return whether it is over."""
        try:
            return await self._turn()
        except LedgerError as error:
            self._start_ready()
            await self._store_failed(error)
            return False

    async def _turn(self) -> bool:
        """Do one step: claim and send, record, or wait. Return whether it is over."""
        now, at = running_loop().time(), self._wall()
        self._answers.tell(now, at)
        if self._hold is not None:
            self._start_ready()
            await self._pause(self._hold)
        request, lanes = await self._next_request(now, at)
        if request is not None:
            return await self._claim(request, lanes)
        self._start_ready()
        if self._results and (now >= self._record_at or not self._tasks):
            await self._record()
            return False
        idle = not self._tasks and not self._results
        if idle and self._claim_lost:
            # Each time: the commit may come later than the error.
            await self._ledger.reap(self._worker)
        if idle and (self.stopping or self._fatal is not None or not (await self._ledger.counts()).open):
            return True
        await self._wait(now, at)
        return False

    async def _next_request(
        self, now: float, at: float
    ) -> tuple[ClaimRequest | None, dict[str, tuple[Lane, int]]]:
        """Return what may be claimed now, with how many of each bucket were taken from the governor."""
        room = await self._room(at)
        if room <= 0:
            return None, {}
        lanes = self._lanes
        await lanes.refresh(now, at)
        rate = self._control.rate
        if rate is None:
            rate = planned_rate(self._pace, total=lanes.total, done=self._done)
        lanes.retune(rate, now)
        if self._sharing is not None:
            self._sharing.check()
        reservations = lanes.ask(now, room)
        if not reservations:
            self.wait = await lanes.held(now, at)
            if self.wait is None:
                self._look_at = now + _LOOK_AGAIN
            return None, {}
        request = ClaimRequest(
            limit=sum(n for _, n in reservations.values()),
            now=at,
            buckets={name: n for name, (_, n) in reservations.items()},
            closed_zones=lanes.closed,
            cap=self._cap,
            bounds=self._allowance.bounds(released=self._control.release),
        )
        return request, reservations

    async def _room(self, at: float) -> int:
        """Return how many rows may be claimed, pace apart; what forbids it is noted."""
        control, calendar = self._control, self._calendar
        if self.stopping or self._fatal is not None:
            self.wait = Wait(reason="stopping")
            return 0
        if control.state == "pause":
            self.wait = pause_of(control)
            self._lanes.meter.give_back(0)  # a pause is no stall to make up for
            return 0
        if calendar.start_at is not None and at < calendar.start_at:
            self.wait = Wait(reason="start_at", until=calendar.start_at)
            return 0
        if calendar.send_until is not None and at >= calendar.send_until:
            while await self._ledger.expire(at):  # what is left is skipped, in pieces
                pass
        limit = control.limit or self._pace.limit
        # Never all slots at once: while one half is claimed, the other half is sent.
        room = min(limit - len(self._tasks) - len(self._ready), (limit + 1) // 2)
        if room <= 0:
            self.wait = Wait(reason="answers")
            return 0
        if running_loop().time() < self._gather_at != math.inf and not self._is_half_free():
            return 0
        if not self._allowance.is_due:
            return room
        self._start_ready()  # before the ledger is asked
        counts = await self._ledger.counts()
        await self._allowance.refresh(counts)
        now = running_loop().time()
        allowed = self._allowance.room(counts, released=control.release, now=now)
        if not isinstance(allowed, Hold):
            return min(room, allowed)
        self.wait = Wait(reason="canary" if allowed.by == "canary" else "max_spend", words=allowed.reason)
        self._look_at = now + _CONTROL_EVERY  # callbacks may change it, and what is in flight
        if allowed.pauses and not self._tasks and not self._results:
            await self._pause(allowed)
        return 0

    # --- claim and send ---

    async def _claim(self, request: ClaimRequest, reservations: dict[str, tuple[Lane, int]]) -> bool:
        results, self._results = self._results, []
        self._record_at = self._gather_at = math.inf
        guard = self._ledger.guard()  # before the claim, whose response may come after a sleep
        # Not cancelled in the middle: rows that were claimed have to be sent or given back.
        claiming = asyncio.ensure_future(self._ledger.claim(request, results, worker=self._worker))
        try:
            if self._ready:
                # The ledger begins before these are sent: later the loop would keep the interpreter from it.
                for _ in range(2):  # rounds, until it is handed to its thread
                    await asyncio.sleep(0)
                if self._beside is not None:
                    await self._beside.computed()
                self._start_ready()
            rows = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            made = await settled(claiming)
            for lane, n in reservations.values():
                lane.give_back(n)
            self._results += [not_sent(row, self._wall()) for row in claiming.result()] if made else results
            raise
        except LedgerError as error:
            self._claim_lost = True  # perhaps it was committed, and only the response is lost
            self._results[:0] = results
            for lane, n in reservations.values():
                lane.give_back(n)
            await self._store_failed(error)
            return False
        self._store_failures.end()
        now = running_loop().time()
        got = dict.fromkeys(reservations, 0)
        for row in rows:
            got[row.bucket] += 1
            self._ready.append((row, reservations[row.bucket][0], guard))
        self._done += len(rows)
        self._allowance.claimed(less=len(rows) < request.limit)
        for name, (_, n) in reservations.items():
            if got[name] < n:
                self._lanes.took(now, name, unused=n - got[name], dry=not got[name])
        if rows:
            self.wait = None
        return False

    def _start_ready(self) -> None:
        """Send the rows of the last claim."""
        ready, self._ready, now = self._ready, [], running_loop().time()
        for row, lane, guard in ready:
            self._start(row, lane, guard, now)

    def _give_back(self) -> None:
        """Put back the rows of the last claim, of which nothing was sent."""
        ready, self._ready = self._ready, []
        for row, lane, _ in ready:
            lane.give_back(1)
            self._results.append(not_sent(row, self._wall()))

    def _start(self, row: Claimed, lane: Lane, guard: Guard, now: float) -> None:
        try:
            rendered = self._renderer.render(row, f"{self._ledger.reference}-{row.id}")
        except Exception as error:  # noqa: BLE001 - a function of the user's: one bad row stops no other
            lane.give_back(1)
            self._take(self._verdicts.unrendered(row, error, self._wall()), now)
            return
        request = self._client.ready_request(rendered.body)
        sending = self._client.call(
            request, decipher_answer, retry=_ONCE, timeout=self._timeout, before_write=guard
        )
        task = asyncio.ensure_future(sending)
        self._tasks[task] = row, lane, now
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Answer]) -> None:
        row, lane, sent = self._tasks.pop(task)
        now, at = task.get_loop().time(), self._wall()
        try:
            dispatch, response = task.result()
        except BaseException as error:  # noqa: BLE001 - whatever ended it says what became of the row
            self._answers.tell(now, at)
            verdict = self._verdicts.judge(row, error, lane, sent=sent, now=now, at=at)
            if isinstance(error, RateLimitError):
                self._ask_for_sends()
            result = verdict.result
            if verdict.pause and self._hold is None:
                self._hold = Hold("service", verdict.pause, pauses=True)
            self._fatal = self._fatal or verdict.fatal
        else:
            self._answers.note(lane, response.headers)
            uuid = dispatch.dispatch_uuid
            result = Result(id=row.id, state="sent", at=at, dispatch_uuid=uuid, attempts=row.attempts)
        self._take(result, now)
        if not now <= self._gather_at < math.inf:
            self._gather_at = now + _GATHER
            self._rouse()
        elif self._is_half_free():
            self._rouse()

    def _is_half_free(self) -> bool:
        """Whether a claim is worth its commit: the other half is sent meanwhile."""
        return 2 * (len(self._tasks) + len(self._ready)) <= (self._control.limit or self._pace.limit)

    def _take(self, result: Result, now: float) -> None:
        self._results.append(result)
        self._record_at = min(self._record_at, now + _RECORD_AFTER)
        if result.state == "pending":
            self._done -= 1
            self._lanes.came_back()
            return
        self.progress.note(now)
        self._verdicts.note(result.state)
        if self._abort_if is not None and (hold := self._abort_if.note(result.state, result.error)):
            self._hold = hold

    def _ask_for_sends(self) -> None:
        """Let the ledger hear of the needs and the pauses of this worker."""
        if self._sharing is not None:
            self._sharing.ask()

    # --- pauses and the end ---

    async def _record(self) -> None:
        results, self._results = self._results, []
        self._record_at = math.inf
        recording = asyncio.ensure_future(self._ledger.record(results))
        try:
            await asyncio.shield(recording)
        except asyncio.CancelledError:
            if not await settled(recording):
                self._results[:0] = results
            raise
        except LedgerError as error:
            self._results[:0] = results
            await self._store_failed(error)

    async def _store_failed(self, error: LedgerError) -> None:
        """Wait before the ledger is tried again; give up when it fails again and again."""
        pause = self._store_failures.pause(error)
        self.wait = Wait(reason="store", until=self._wall() + pause, words=str(error))
        logger.warning("the ledger failed, it is tried again in %g s: %s", pause, error)
        await asyncio.sleep(pause)

    async def _pause(self, hold: Hold) -> None:
        """Pause the campaign for all its workers, until an operator resumes it."""
        self._control = await self._ledger.control(hold.pause(self._wall()))
        if self._hold is hold:  # only now: a ledger that failed is asked again
            self._hold = None
        logger.warning("the campaign pauses by %s: %s", hold.by, hold.reason)

    async def _watch(self) -> None:
        """Look what operators asked for, from this process or another."""
        while True:
            await asyncio.sleep(_CONTROL_EVERY)
            with suppress(LedgerError):  # the loop meets with it too, and says so
                if self._sharing is not None and len(self._pace.rates) > 1:
                    # The stages of a ramp count the sends of all workers.
                    self._done = max(self._done, (await self._ledger.counts()).sends)
                control = await self._ledger.control()
                if control.version != self._control.version:
                    self.follow(control)

    def follow(self, control: Control) -> None:
        """Follow what operators asked for; one who resumes a campaign ends its waits for the service."""
        before, self._control = self._control, control
        if control.resumed > before.resumed:
            self._lanes.try_again(running_loop().time())
            if self._abort_if is not None:
                self._abort_if.clear()  # what was refused before the cure does not count
            if self._sharing is not None:
                self._sharing.end_pauses()
        self.wake()

    async def _end(self) -> None:
        """Give up what is in flight, if anything is, and record what is known."""
        self._give_back()
        while self._tasks:
            for task in list(self._tasks):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait(list(self._tasks))
        self.wait = None
        if self._results:
            recording = asyncio.ensure_future(self._ledger.record(self._results))
            if not await settled(recording):
                logger.error("the ledger failed: %d results are not recorded", len(self._results))

    def _rouse(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)

    async def _wait(self, now: float, at: float) -> None:
        """Wait for a response, a request of an operator, or the time of the next send."""
        loop = running_loop()
        gather_at = self._gather_at if self._gather_at > now else math.inf
        until = min([self._record_at, gather_at, self._look_at, self._lanes.until(now, at), now + 60.0])
        self._look_at = math.inf
        if self.wait is not None and self.wait.until is not None:
            until = min(until, now + self.wait.until - at)
        if self._poked:
            self._poked = False
            return
        self._waker = loop.create_future()
        timer = loop.call_at(max(until, now + 0.001), self._rouse)
        try:
            await self._waker
        finally:
            timer.cancel()
            self._waker = None
