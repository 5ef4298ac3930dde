"""`Tracker`: takes the callbacks and lets anybody wait for what becomes of a workflow.

It starts no task and polls nothing: whoever calls `receive` wakes those who wait. What the callbacks mean is
for `reducer` and `result` to say.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import anyio

from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.event_loop import Unpicklable
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    NotReachedError,
    TrackingError,
    TrackingStoreError,
    WaitTimeoutError,
)
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.tracking.reducer import WorkflowState, ident, observe, planned
from nexmo_dispatch_async.tracking.result import WorkflowResult, conclude
from nexmo_dispatch_async.tracking.store import MemoryTrackingStore, TrackingRetention, TrackingStore
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_core.lenient import kind_in_words
from nexmo_dispatch_webhooks.events import Event

__all__ = ["FollowedDispatch", "Tracker"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

Goal = Literal["delivered", "read"]


class _Router(Protocol):
    """What `attach` needs of a router; the receiver's `Router` has it."""

    def add(self, handler: Any, *, kind: Any) -> object:
        """Register a handler."""
        ...


class FollowedDispatch(Dispatch, frozen=True, eq=False):
    """A workflow whose end can be waited for; `client.send()` and `Tracker.follow()` make it."""

    tracker: Tracker
    state: WorkflowState

    async def wait(
        self,
        status: Goal | None = None,
        *,
        timeout: float | timedelta | None,  # noqa: ASYNC109 - its own error tells what was known by then
        late: bool = False,
    ) -> WorkflowResult:
        """Wait for the end of the workflow, or until its message was `delivered` or `read`.

        Args:
            status: `delivered` or `read`, by any step; None for the end, which is the final report.
            timeout: Seconds or a timedelta. A workflow whose last message stays `submitted` never ends
                (contract 9.12), so None, for ever, has to be said.
            late: Go on waiting for the status after the end. A workflow that waits for `delivered` ends with
                it, and the person reads only then.

        Raises:
            NotReachedError: It ended without that status.
            WaitTimeoutError: Not in time; it is a TimeoutError as well.
            TrackingStoreError: The store failed.
            TrackingError: The tracker was closed.
        """
        return await self.tracker.wait_for(self.state, status, timeout=timeout, late=late)

    async def result(self) -> WorkflowResult:
        """What is known now.

        Raises:
            TrackingStoreError: The store failed.
            TrackingError: The tracker is closed.
        """
        return conclude(await self.tracker.learn(self.state))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dispatch_uuid={self.dispatch_uuid!r})"


class _Waiter:
    """Somebody who waits; woken when the facts decide."""

    def __init__(self, state: WorkflowState, status: Goal | None, *, late: bool) -> None:
        self._state = state
        self._status = status
        self._late = late
        self._woken = anyio.Event()
        self.result = conclude(state)
        #: why it was woken
        self.verdict: Literal["reached", "ended", "closed"] | None = None

    def learn(self, state: WorkflowState) -> None:
        """Add to what is known; two callbacks may overtake one another on the way from the store."""
        if self.verdict in {"reached", "closed"}:
            return  # what it is told has to agree with why it was woken
        self._state = self._state.merge(state)
        self.result = conclude(self._state)
        if self.result.ended if self._status is None else self.result.has(self._status):
            # Perhaps after the end, before whoever waits had its turn: the better news counts.
            self.verdict = None
            self.wake("reached")
        elif self.result.ended and not self._late:
            self.wake("ended")

    def wake(self, verdict: Literal["reached", "ended", "closed"]) -> None:
        """Let it go on; the first verdict counts."""
        self.verdict = self.verdict or verdict
        self._woken.set()

    async def wait(self) -> None:
        """Return once it is woken."""
        await self._woken.wait()


class Tracker(Unpicklable):
    """Follows workflows by their callbacks, in any order and as often as they are delivered.

    Args:
        store: Where it keeps what it knows, and what `aclose()` closes; `MemoryTrackingStore()` by default.
        clock: Epoch seconds, read once: where the time of this tracker begins.
        monotonic: Seconds that only go forward, by which it goes on, so that no change of the clock makes
            anything older or younger.
        keep: How long an ended workflow is kept after the last news of it. Late statuses come for a day.
        keep_open: The same for one that has not ended.
        keep_unclaimed: The same for one that nobody follows; a callback may beat the answer to `send()`.
        max_unclaimed: How many of those are kept at most.

    Raises:
        ConfigurationError: A time or a number is negative, or `store` is no store.

    Example:
        tracker = Tracker()
        tracker.attach(router)
        async with DispatchClient(auth=…, application_id=…, tracker=tracker) as client:
            dispatch = await client.send(workflow)
            result = await dispatch.wait(timeout=3600)
    """

    def __init__(
        self,
        store: TrackingStore | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        keep: float | timedelta = timedelta(days=2),
        keep_open: float | timedelta = timedelta(days=14),
        keep_unclaimed: float | timedelta = timedelta(hours=1),
        max_unclaimed: int = 10_000,
    ) -> None:
        _check_store(store)
        checks.count("max_unclaimed", max_unclaimed, least=0)
        self._store: TrackingStore = MemoryTrackingStore() if store is None else store
        self._monotonic = monotonic
        self._begun = clock() - monotonic()
        self._retention = TrackingRetention(
            _seconds("keep", keep),
            _seconds("keep_open", keep_open),
            _seconds("keep_unclaimed", keep_unclaimed),
            max_unclaimed,
        )
        self._waiting: dict[str, list[_Waiter]] = {}
        #: What `follow` was told and no store was yet, with its time; the oldest first.
        self._followed: dict[str, tuple[WorkflowState, float]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<Tracker {'closed' if self._closed else 'open'}, {self.waiting} waiting, {self._store!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the store. Whoever still waits gets a TrackingError."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.wake("closed")
        await self._store.aclose()

    @property
    def waiting(self) -> int:
        """How many calls of `wait` are under way."""
        return sum(map(len, self._waiting.values()))

    # ---- callbacks

    def attach(self, router: _Router) -> None:
        """Register `receive` on a router of the receiver for message statuses and final reports."""
        router.add(self.receive, kind=("message-status", "final-report"))

    async def receive(self, event: Event) -> None:
        """Take in an event: a handler for a router. Events that are of no workflow are ignored.

        Raises:
            TrackingStoreError: It could not be stored; let the service deliver it again.
            TrackingError: The tracker is closed, and nothing was stored.
        """
        state = observe(event)
        if state is None:
            return
        known = await self.learn(state)
        for waiter in self._waiting.get(state.dispatch_uuid, ()):
            waiter.learn(known)

    # ---- workflows

    def follow(self, dispatch_uuid: str, workflow: Workflow | None = None) -> FollowedDispatch:
        """Follow a workflow that was sent elsewhere, or before a restart.

        What is in the store counts, so its callbacks may be over already. The steps are stored with the next
        callback of the workflow, `wait()` or `result()`, whichever comes first.

        Args:
            dispatch_uuid: Which.
            workflow: What was sent, unless the store knows: it tells which step waited for what.
        """
        refs = workflow.client_refs if workflow is not None else ()
        state = planned(dispatch_uuid, workflow)
        now, key = self._now(), state.dispatch_uuid
        before = self._followed.pop(key, None)
        self._followed[key] = (state if before is None else before[0].merge(state)), now
        while next(iter(self._followed.values()))[1] < now - self._retention.open:
            del self._followed[next(iter(self._followed))]
        return FollowedDispatch(dispatch_uuid.strip(), self, state, client_refs=refs)

    async def sent(self, dispatch: Dispatch, workflow: Workflow) -> FollowedDispatch:
        """Follow a workflow that was just accepted: what `DispatchClient(tracker=…)` calls.

        It does not fail when the store does, in whatever way, since whoever sent must get the id of what was
        sent; the steps are then stored later, as those of `follow` are.
        """
        followed = self.follow(dispatch.dispatch_uuid, workflow)
        try:
            await self.learn(followed.state)
        except Exception as error:  # noqa: BLE001 - a store of somebody else may raise anything
            # The words of our own errors hold nothing private.
            why = error if isinstance(error, TrackingError) else type(error).__name__
            logger.warning("the steps of workflow %s are not stored yet: %s", dispatch.dispatch_uuid, why)
        return followed

    async def result(self, dispatch_uuid: str) -> WorkflowResult:
        """What is known of a workflow, without following it from now on.

        Raises:
            TrackingStoreError: The store failed.
            TrackingError: The tracker is closed.
        """
        return conclude(await self.learn(WorkflowState(ident(dispatch_uuid))))

    async def learn(self, state: WorkflowState) -> WorkflowState:
        """Merge facts into the store and return all that is known."""
        if self._closed:
            # Not every store knows that it is closed, and what nobody keeps must be delivered again.
            raise TrackingError("the tracker is closed")
        followed = self._followed.get(state.dispatch_uuid)
        if followed is not None and followed[0] is not state:
            state = state.merge(followed[0])
        known = await self._store.merge(state, now=self._now(), retention=self._retention)
        if followed is not None and self._followed.get(state.dispatch_uuid) is followed:
            del self._followed[state.dispatch_uuid]
        return known

    async def wait_for(
        self,
        state: WorkflowState,
        status: Goal | None,
        *,
        timeout: float | timedelta | None,  # noqa: ASYNC109 - its own error tells what was known by then
        late: bool,
    ) -> WorkflowResult:
        """What `FollowedDispatch.wait` does."""
        if status not in {None, "delivered", "read"}:
            raise ConfigurationError(f"wait for 'delivered' or 'read', or for the end; got {status!r}")
        seconds = None if timeout is None else _seconds("timeout", timeout)
        waiter = _Waiter(state, status, late=late)
        # First in line, then a look at the store: nothing can come in between unseen. The look has no time
        # limit: what is known counts, even if nobody wants to wait for more.
        deadline = math.inf if seconds is None else anyio.current_time() + seconds
        with self._in_line(state.dispatch_uuid, waiter):
            waiter.learn(await self.learn(state))
            with anyio.CancelScope(deadline=deadline):
                await waiter.wait()
            if waiter.verdict is None and seconds:
                # Another process of the same store may have heard what this one did not.
                with suppress(TrackingStoreError):
                    waiter.learn(await self.learn(state))
        result = waiter.result
        match waiter.verdict:
            case "reached":
                return result
            case "ended":
                text = f"workflow {state.dispatch_uuid} ended with {result.status!r}, and was never {status}"
                raise NotReachedError(text, result)
            case "closed":
                raise TrackingError("the tracker was closed")
            case _:
                what = "had not ended" if status is None else f"was not {status}"
                raise WaitTimeoutError(f"workflow {state.dispatch_uuid} {what} after {seconds:g} s", result)

    def _now(self) -> float:
        """Epoch seconds as they were when the tracker was made, and what has passed since."""
        return self._begun + self._monotonic()

    @contextmanager
    def _in_line(self, dispatch_uuid: str, waiter: _Waiter) -> Generator[None]:
        if self._closed:
            raise TrackingError("the tracker is closed")
        waiters = self._waiting.setdefault(dispatch_uuid, [])
        waiters.append(waiter)
        try:
            yield
        finally:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[dispatch_uuid]


def _check_store(store: object) -> None:
    # The receiver's `inbox` takes a path, so many give one here.
    if store is not None and (isinstance(store, type) or not callable(getattr(store, "merge", None))):
        raise ConfigurationError(
            "store must be a SqliteTrackingStore(path) of nexmo_dispatch_async.tracking.sqlite, "
            f"a MemoryTrackingStore() or one of your own, not {kind_in_words(store)}"
        )


def _seconds(name: str, time_: float | timedelta) -> float:
    seconds = time_.total_seconds() if isinstance(time_, timedelta) else time_
    checks.seconds(name, seconds)
    return seconds
