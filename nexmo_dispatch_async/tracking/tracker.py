"""`Tracker`: receives callbacks and lets callers wait for the result of a workflow.

It starts no task: `receive` wakes the waiting callers, and so does a store that other processes share.
`reducer` and `result` decide what the callbacks mean.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Protocol, Self, cast

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
from nexmo_dispatch_core.bursts import Bursts
from nexmo_dispatch_core.lenient import kind_in_words
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.events import Event

__all__ = ["FollowedDispatch", "Tracker"]

logger: logging.Logger = logging.getLogger("nexmo_dispatch_async")

Goal = Literal["delivered", "read"]

# A WhatsApp status may come 30 days late (contract 5.10).
_LATE: Final = timedelta(days=31)
# An ended workflow takes 3 kB of memory, which a month of workflows would fill; a restart loses them anyway.
_LATE_IN_MEMORY: Final = timedelta(days=2)


class _Router(Protocol):
    """The part of a router that `attach` needs; the receiver's `Router` has it."""

    def add(self, handler: Any, *, kind: Any) -> object:
        """Register a handler."""
        ...


class FollowedDispatch(Dispatch, frozen=True, eq=False):
    """An accepted workflow whose end can be awaited; made by `client.send()` and `Tracker.follow()`."""

    tracker: Tracker
    state: WorkflowState

    async def wait(
        self,
        status: Goal | None = None,
        *,
        timeout: float | timedelta | None,  # noqa: ASYNC109 - its own error tells what was known by then
        late: bool = False,
    ) -> WorkflowResult:
        """Wait for the end of the workflow, or until a message of it was `delivered` or `read`.

        Args:
            status: `delivered` or `read`, by any step; None for the end, which is the final report.
            timeout: Seconds or a timedelta; None waits for ever and has to be given explicitly, since a
                workflow whose last message stays `submitted` never ends (contract 9.12).
            late: Whether to wait for the status after the end too. A workflow that waits for `delivered` ends
                with that status, and the recipient reads the message only later.

        Raises:
            NotReachedError: The workflow ended without the status.
            WaitTimeoutError: The timeout passed; it is a TimeoutError as well.
            TrackingStoreError: The store failed.
            TrackingError: The tracker was closed.
        """
        return await self.tracker.wait_for(self.state, status, timeout=timeout, late=late)

    async def result(self) -> WorkflowResult:
        """Return the result according to the facts so far.

        Raises:
            TrackingStoreError: The store failed.
            TrackingError: The tracker is closed.
        """
        return conclude(await self.tracker.learn(self.state))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dispatch_uuid={self.dispatch_uuid!r})"


class _Waiter:
    """One waiting call; woken when the facts decide."""

    def __init__(self, state: WorkflowState, status: Goal | None, *, late: bool) -> None:
        self._state = state
        self._status = status
        self._late = late
        self._woken = anyio.Event()
        #: whether to read the store, since another process may have stored facts
        self.stale = False
        self.result = conclude(state)
        #: the reason for which the call was woken
        self.verdict: Literal["reached", "ended", "closed"] | None = None

    def learn(self, state: WorkflowState) -> None:
        """Merge facts; two callbacks may arrive from the store in any order."""
        if self.verdict in {"reached", "closed"}:
            return  # the result has to agree with the verdict
        self._state = self._state.merge(state)
        self.result = conclude(self._state)
        if self.result.ended if self._status is None else self.result.has(self._status):
            # Perhaps after the end, but before the waiting call has run: `reached` replaces `ended`.
            self.verdict = None
            self.wake("reached")
        elif self.result.ended and not self._late:
            self.wake("ended")

    def wake(self, verdict: Literal["reached", "ended", "closed"]) -> None:
        """Wake the call; the first verdict counts."""
        self.verdict = self.verdict or verdict
        self._woken.set()

    def look(self) -> None:
        """Wake the call to read the store."""
        self.stale = True
        self._woken.set()

    async def wait(self) -> None:
        """Return when the call is woken."""
        await self._woken.wait()
        if self.verdict is None:
            self._woken = anyio.Event()


class Tracker(Unpicklable):
    """Follows workflows by their callbacks, which may come in any order and more than once.

    Args:
        store: The store of the facts, which `aclose()` closes: a `TrackingStore`, the path of an SQLite file,
            `postgresql://…`, or `nats://…`; by default `MemoryTrackingStore()`.
        clock: Returns epoch seconds; called once, for the start of the tracker's time.
        monotonic: Returns monotonic seconds, by which the tracker's time advances, so that no change of the
            clock makes a workflow older or younger.
        keep: How long an ended workflow is kept after its last callback, in seconds or as a timedelta; by
            default 31 days, since a status may come 30 days late (contract 5.10), and in memory two days.
        keep_open: How long a workflow that has not ended is kept after its last callback.
        keep_unclaimed: How long a workflow without a follower is kept; a callback may arrive before the
            response to `send()`.
        max_unclaimed: Maximum number of workflows without a follower.

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
        store: TrackingStore | str | Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        keep: float | timedelta | None = None,
        keep_open: float | timedelta = _LATE,
        keep_unclaimed: float | timedelta = timedelta(hours=1),
        max_unclaimed: int = 10_000,
    ) -> None:
        checks.count("max_unclaimed", max_unclaimed, least=0)
        self._store: TrackingStore = _opened(store)
        self._monotonic = monotonic
        self._begun = clock() - monotonic()
        if keep is None:
            keep = _LATE_IN_MEMORY if isinstance(self._store, MemoryTrackingStore) else _LATE
        self._retention = TrackingRetention(
            _seconds("keep", keep),
            _seconds("keep_open", keep_open),
            _seconds("keep_unclaimed", keep_unclaimed),
            max_unclaimed,
        )
        self._waiting: dict[str, list[_Waiter]] = {}
        #: Plans of `follow` that are not stored yet, with their times; the oldest first.
        self._followed: dict[str, tuple[WorkflowState, float]] = {}
        self._closed = False
        self._not_stored = Bursts(monotonic)
        #: Seconds after which a waiting call reads the store by itself; None for a store of one process.
        watch = getattr(self._store, "watch", None)  # a store of one process need not have it
        self._poll: float | None = None if watch is None else watch(self._changed_elsewhere)

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Tracker {'closed' if self._closed else 'open'}, {self.waiting} waiting, {self._store!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the store. Waiting calls raise TrackingError."""
        self._closed = True
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.wake("closed")
        with anyio.CancelScope(shield=True):  # a cancelled scope would leave connections and threads behind
            await self._store.aclose()

    @property
    def waiting(self) -> int:
        """The number of calls of `wait` that are waiting."""
        return sum(map(len, self._waiting.values()))

    # ---- callbacks

    def attach(self, router: _Router) -> None:
        """Register `receive` on a router of the receiver for message statuses and final reports."""
        router.add(self.receive, kind=("message-status", "final-report"))

    async def receive(self, event: Event) -> None:
        """Store the facts of an event; a handler for a router. An event of no workflow is ignored.

        Raises:
            TrackingStoreError: The store failed; raise it, so that the service delivers the event again.
            TrackingError: The tracker is closed, and nothing was stored.
        """
        state = observe(event)
        if state is None:
            return
        try:
            known = await self.learn(state)
        except BaseException:  # a cancellation, too: the facts may be stored all the same
            self._changed_elsewhere(state.dispatch_uuid)
            raise
        for waiter in self._waiting.get(state.dispatch_uuid, ()):
            waiter.learn(known)

    # ---- workflows

    def follow(self, dispatch_uuid: str, workflow: Workflow | None = None) -> FollowedDispatch:
        """Follow a workflow that another program sent, or that was sent before a restart.

        Facts in the store count, so all callbacks may have arrived already. The steps are stored with the
        next callback of the workflow, `wait()` or `result()`.

        Args:
            dispatch_uuid: The id of the workflow.
            workflow: The workflow that was sent, unless the store has its steps; it names the status that
                each step waits for.
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
        """Follow a workflow that was just accepted; called by `DispatchClient(tracker=…)`.

        It does not fail when the store fails, since the caller of `send()` must get the id of the workflow;
        the steps are stored later then, as those of `follow` are.
        """
        followed = self.follow(dispatch.dispatch_uuid, workflow)
        try:
            await self.learn(followed.state)
        except Exception as error:  # noqa: BLE001 - a store of the application may raise anything
            # The messages of our own errors hold no personal data.
            why = error if isinstance(error, TrackingError) else type(error).__name__
            if (more := self._not_stored.begin(str(why))) is not None:
                logger.warning(
                    "the steps of workflow %s are not stored yet: %s%s", dispatch.dispatch_uuid, why, more
                )
        return followed

    async def result(self, dispatch_uuid: str) -> WorkflowResult:
        """Return the result of a workflow according to the facts so far, without following it.

        Raises:
            TrackingStoreError: The store failed.
            TrackingError: The tracker is closed.
        """
        return conclude(await self.learn(WorkflowState(ident(dispatch_uuid))))

    async def learn(self, state: WorkflowState) -> WorkflowState:
        """Merge facts into the store, and return all facts of the workflow."""
        if self._closed:
            # A closed store may accept facts and lose them; the service must deliver them again.
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
        """Wait as `FollowedDispatch.wait` describes."""
        if status not in {None, "delivered", "read"}:
            raise ConfigurationError(f"wait for 'delivered' or 'read', or for the end; got {status!r}")
        seconds = None if timeout is None else _seconds("timeout", timeout)
        waiter = _Waiter(state, status, late=late)
        # The call registers first and reads the store then, so that it misses no callback. The read has no
        # time limit: known facts count, even with a timeout of 0.
        deadline = math.inf if seconds is None else anyio.current_time() + seconds
        with self._registered(state.dispatch_uuid, waiter):
            waiter.learn(await self.learn(state))
            with anyio.CancelScope(deadline=deadline):
                while waiter.verdict is None:
                    await self._wait(waiter)
                    if waiter.stale and waiter.verdict is None:
                        waiter.stale = False
                        with suppress(TrackingStoreError):  # the next read may succeed
                            waiter.learn(await self.learn(state))
            if waiter.verdict is None and seconds:
                # Another process may have stored facts that this process did not receive.
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
                text = f"workflow {state.dispatch_uuid} {what} after {seconds:g} s"
                raise WaitTimeoutError(text if result.known else f"{text}: nothing is known of it", result)

    async def _wait(self, waiter: _Waiter) -> None:
        """Wait until a call is woken, or is to read the store."""
        if self._poll is None:
            await waiter.wait()
            return
        with anyio.move_on_after(self._poll) as scope:
            await waiter.wait()
        waiter.stale |= scope.cancelled_caught

    def _changed_elsewhere(self, dispatch_uuid: str | None) -> None:
        """Let waiting calls read the store: those of one workflow, or all."""
        every = self._waiting.values() if dispatch_uuid is None else [self._waiting.get(dispatch_uuid, [])]
        for waiters in every:
            for waiter in waiters:
                waiter.look()

    def _now(self) -> float:
        """Return the epoch seconds of the tracker's start plus the monotonic seconds since then."""
        return self._begun + self._monotonic()

    @contextmanager
    def _registered(self, dispatch_uuid: str, waiter: _Waiter) -> Generator[None]:
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


def _opened(store: object) -> TrackingStore:
    """Return the store of a path or a URL, or the store that was passed."""
    if store is None:
        return MemoryTrackingStore()
    if isinstance(store, str) and "://" in store:
        return _at(store)
    if isinstance(store, str | Path) and str(store):
        # sqlite3 is imported only when it is needed
        from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore

        return SqliteTrackingStore(store)
    if isinstance(store, type) or not callable(getattr(store, "merge", None)):
        raise ConfigurationError(
            "store must be the path of a file, postgresql://…, nats://…, a MemoryTrackingStore() or one of "
            f"your own, not {kind_in_words(store)}"
        )
    return cast("TrackingStore", store)


def _at(url: str) -> TrackingStore:
    """Return the store of a URL; its driver is imported only here."""
    scheme = url.partition("://")[0].lower()
    if scheme in {"postgresql", "postgres"}:
        try:
            from nexmo_dispatch_async.tracking.postgres import PostgresTrackingStore
        except ImportError:
            raise ConfigurationError(
                "tracking on Postgres needs psycopg: pip install 'nexmo-dispatch-async[postgres]'"
            ) from None
        return PostgresTrackingStore(url)
    if scheme in {"nats", "tls"}:
        try:
            from nexmo_dispatch_async.tracking.jetstream import JetStreamTrackingStore
        except ImportError:
            raise ConfigurationError(
                "tracking on NATS needs nats-py: pip install 'nexmo-dispatch-async[nats]'"
            ) from None
        return JetStreamTrackingStore(url)
    raise ConfigurationError(
        "store takes the URL of a Postgres database or of NATS: postgresql://user@host/name, nats://host/name"
    )


def _seconds(name: str, time_: float | timedelta) -> float:
    seconds = time_.total_seconds() if isinstance(time_, timedelta) else time_
    checks.seconds(name, seconds)
    return seconds
