"""`FanOut`: runs work on many items concurrently, within a limit, and yields results in order of completion.

The module knows nothing of HTTP and stores nothing.

The tasks belong to the iterator and not to a task group, because a task group or a cancel scope must not
stay open across a `yield`: it would cancel the wrong task when the consumer is cancelled, and another task
than the one that opened it could close it. Like a task group, the iterator cancels the remaining tasks at its
end, and waits for them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sized,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeAlias, TypeVar, cast

import anyio
import msgspec

from nexmo_dispatch_async.event_loop import Unpicklable, running_loop
from nexmo_dispatch_async.exceptions import (
    ConfigurationError,
    NotSentError,
    OutcomeUnknownError,
    UnacceptableError,
)
from nexmo_dispatch_async.interruption import Interruption, outcome_of_failure, tell
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.models.shown import AsShown
from nexmo_dispatch_async.workflow import Step, Workflow
from nexmo_dispatch_core.unfinished import shows_unfinished

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    #: The caller's own key of a workflow, None where there is none.
    KeyT = TypeVarWithDefault("KeyT", default=None)
else:
    # Python has defaults of type variables from 3.13 on.
    KeyT = TypeVar("KeyT")

__all__ = [
    "FanOut",
    "FanOutStatistics",
    "KeyT",
    "NotSent",
    "Refused",
    "SendOutcome",
    "Sent",
    "Unknown",
    "keyed",
    "outcome_of",
    "outcome_of_interruption",
]

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class _Keyed(AsShown, msgspec.Struct, Generic[KeyT], frozen=True, kw_only=True):
    # Typed as if there always were a key: without a key the type is None.
    key: KeyT = None  # type: ignore[assignment]  # the default of the type variable, which only checkers know


class _Base(_Keyed[KeyT], frozen=True):
    workflow: Workflow

    def __repr__(self) -> str:
        # The workflow contains addresses and texts, and the key may be an address.
        _, result, _ = self.__struct_fields__
        return f"{type(self).__name__}({getattr(self, result)!r})"


class Sent(_Base[KeyT], frozen=True):
    """The service accepted the workflow."""

    outcome: ClassVar[Literal["sent"]] = "sent"
    dispatch: Dispatch


class NotSent(_Base[KeyT], frozen=True):
    """The service provably accepted nothing: a second send is safe."""

    outcome: ClassVar[Literal["not_sent"]] = "not_sent"
    error: NotSentError


class Refused(_Base[KeyT], frozen=True):
    """The service, or a rule before the network, refused the workflow, and would refuse it again."""

    outcome: ClassVar[Literal["refused"]] = "refused"
    error: UnacceptableError


class Unknown(_Base[KeyT], frozen=True):
    """Bytes left and no usable response arrived: only callbacks can tell the outcome."""

    outcome: ClassVar[Literal["unknown"]] = "unknown"
    error: OutcomeUnknownError


SendOutcome: TypeAlias = Sent[KeyT] | NotSent[KeyT] | Refused[KeyT] | Unknown[KeyT]


def keyed(item: Any) -> tuple[Any, Workflow]:
    """Return the key of an item of `send_many`, None without a key, and its workflow."""
    key: Any = None
    if isinstance(item, tuple) and len(cast("Sized", item)) == 2:
        key, item = cast("tuple[Any, Any]", item)
    return key, Workflow((item,)) if isinstance(item, Step) else cast("Workflow", item)


async def outcome_of(workflow: Workflow, sending: Awaitable[Dispatch], key: KeyT) -> SendOutcome[KeyT]:
    """Return the outcome of a send; raise errors that concern more than one workflow."""
    try:
        return Sent(workflow, await sending, key=key)
    except UnacceptableError as error:
        return Refused(workflow, error, key=key)
    except NotSentError as error:
        return NotSent(workflow, error, key=key)
    except OutcomeUnknownError as error:
        return Unknown(workflow, error, key=key)


def outcome_of_interruption(workflow: Workflow, known: Interruption, key: KeyT) -> SendOutcome[KeyT]:
    """Return the outcome of a send that other code than the caller cancelled."""
    if known.outcome == "sent" and known.dispatch is not None:
        return Sent(workflow, known.dispatch, key=key)
    request = known.request or "POST /dispatch"
    message = f"{request}: cut short by a cancellation that the caller did not request"
    outcome: NotSent[KeyT] | Unknown[KeyT]
    if known.outcome == "not_sent":
        outcome = NotSent(workflow, NotSentError(message, request=request, phase="connect"), key=key)
    else:
        outcome = Unknown(workflow, OutcomeUnknownError(message, request=request, phase="wait"), key=key)
    tell(outcome.error, workflow)
    # A generated reference is in the copy of the workflow that was sent, not in this workflow.
    outcome.error.client_refs = known.client_refs or workflow.client_refs
    return outcome


class FanOutStatistics(NamedTuple):
    """The current numbers of a `FanOut`."""

    #: Items read from the input so far.
    read: int
    #: Items with running work.
    in_flight: int
    #: Results waiting for the consumer.
    waiting: int


class FanOut(Unpicklable, Generic[ItemT, ResultT]):
    """An async iterator over the results of `work`, one per item, in the order of completion.

    At most `limit` items are in flight or have results that are not yet consumed, and `items` is read no
    further ahead: `limit` bounds the memory, and a slow consumer slows the input down.

    * If the input raises, no more items are read; the results of all items in flight are yielded, then the
      exception is raised. The same applies to an exception of `work`, and to a cancellation of its task by
      other code; `client.send_many()` yields an outcome for that workflow instead, and continues.
    * Leaving early (`aclose()`, `async with`, `contextlib.aclosing`) cancels the work in flight and waits for
      its end; no task remains. `undelivered` then has the results that were not consumed, `interrupted` the
      items whose work was cut short, and `interruptions` the outcome of each.
    * An async generator that is the input is closed at the end, in any case.
    * A plain `break` ends the work a moment later, when the event loop finalises the iterator.
    * If the consumer is cancelled while it waits for a result, the iterator is closed in the same way,
      however often the consumer is cancelled meanwhile.

    Only one task may iterate.

    Args:
        items: The input.
        work: Processes one item.
        limit: Maximum number of items in flight and of results not yet consumed, together.
        cut_short: Returns the result of an item whose task other code cancelled.

    Raises:
        ConfigurationError: `limit` is below 1, or `items` is a mapping or a text.
    """

    __slots__ = ("_limit", "_results", "_state")

    def __init__(
        self,
        items: Iterable[ItemT] | AsyncIterable[ItemT],
        work: Callable[[ItemT], Coroutine[Any, Any, ResultT]],
        *,
        limit: int,
        cut_short: Callable[[ItemT, Interruption], ResultT] | None = None,
    ) -> None:
        if limit < 1:
            raise ConfigurationError(f"limit must be at least 1, not {limit!r}")
        if isinstance(cast("object", items), Mapping | str | bytes):
            raise ConfigurationError(f"items must be a list, a generator or the like, not {_kind(items)}")
        self._limit = limit
        self._state: _State[ItemT, ResultT] = _State(work, limit, cut_short)
        # A function outside the class: a bound generator would keep this object alive, and after a `break`
        # only the garbage collector would end it.
        self._results = _results(items, self._state)

    @shows_unfinished
    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"FanOut(limit={self._limit}, read={now.read}, in_flight={now.in_flight}, waiting={now.waiting})"
        )

    def __aiter__(self) -> FanOut[ItemT, ResultT]:
        return self

    async def __anext__(self) -> ResultT:
        return await self._results.__anext__()

    async def __aenter__(self) -> FanOut[ItemT, ResultT]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel the work in flight and wait for its end."""
        await self._results.aclose()

    @property
    def undelivered(self) -> list[ResultT]:
        """Results that were not consumed."""
        return list(self._state.done)

    @property
    def interrupted(self) -> list[ItemT]:
        """Items whose work was cut short."""
        return [item for item, _ in self._state.interrupted]

    @property
    def interruptions(self) -> list[tuple[ItemT, Interruption]]:
        """Items whose work was cut short, each with its outcome as far as it is known."""
        return list(self._state.interrupted)

    def statistics(self) -> FanOutStatistics:
        """Return how many items were read, are in flight, and wait to be consumed."""
        state = self._state
        return FanOutStatistics(state.read, len(state.tasks), len(state.done))


def _kind(items: object) -> str:
    return (
        "a mapping, whose names would be taken (items() gives pairs)"
        if isinstance(items, Mapping)
        else "a text"
    )


class _State(Generic[ItemT, ResultT]):
    """The state that the generator, the feeder and the callbacks of the tasks share."""

    def __init__(
        self,
        work: Callable[[ItemT], Coroutine[Any, Any, ResultT]],
        limit: int,
        cut_short: Callable[[ItemT, Interruption], ResultT] | None,
    ) -> None:
        # Settings
        self.work = work
        self.limit = limit
        self.cut_short = cut_short
        # Input, tasks and results
        self.read = 0
        self.reading = True
        self.ending = False
        self.failure: BaseException | None = None
        self.tasks: dict[asyncio.Task[ResultT], ItemT] = {}
        self.done: deque[ResultT] = deque()
        self.interrupted: list[tuple[ItemT, Interruption]] = []
        # Tasks that were cancelled before their first line ran
        self.unstarted: set[asyncio.Task[ResultT]] = set()
        # Whether the input is being closed, which must not be cut short
        self.closing = False
        # The generator waits for a result, the feeder for a free place
        self.result_waiter: asyncio.Future[None] | None = None
        self.room_waiter: asyncio.Future[None] | None = None

    @property
    def full(self) -> bool:
        return len(self.tasks) + len(self.done) >= self.limit

    def start(self, item: ItemT) -> None:
        self.read += 1
        task = asyncio.ensure_future(self.work(item))
        self.tasks[task] = item
        task.add_done_callback(self.finished)

    def finished(self, task: asyncio.Task[ResultT]) -> None:
        item = self.tasks.pop(task)
        try:
            self.done.append(task.result())
        except asyncio.CancelledError as error:
            known = Interruption("not_sent") if task in self.unstarted else outcome_of_failure(error)
            if self.ending:
                self.interrupted.append((item, known))
            elif self.cut_short is not None:
                self.done.append(self.cut_short(item, known))
            else:
                self.interrupted.append((item, known))
                self.fail(_foreign_cancellation("the work on an item", error))
        except BaseException as error:  # noqa: BLE001 - raised again after the last result
            self.interrupted.append((item, outcome_of_failure(error)))
            self.fail(error)
        _wake(self.result_waiter)

    def fed(self, feeder: asyncio.Task[None]) -> None:
        self.reading = False
        try:
            feeder.result()
        except asyncio.CancelledError as error:
            if not self.ending:
                self.fail(_foreign_cancellation("the reading of the input", error))
        except BaseException as error:  # noqa: BLE001 - raised again after the last result
            self.fail(error)
        _wake(self.result_waiter)

    def fail(self, error: BaseException) -> None:
        self.reading = False
        self.failure = self.failure or error
        _wake(self.room_waiter)

    def take(self) -> ResultT:
        result = self.done.popleft()
        _wake(self.room_waiter)
        return result


def _foreign_cancellation(what: str, error: BaseException) -> RuntimeError:
    # The CancelledError itself would look like a cancellation of the consumer.
    failure = RuntimeError(f"{what} was cancelled, and not by the FanOut")
    failure.__cause__ = error
    return failure


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def _feed(items: AsyncIterable[ItemT], state: _State[ItemT, Any]) -> None:
    loop = running_loop()
    iterator = aiter(items)
    try:
        async for item in iterator:
            state.start(item)
            while state.full and state.reading:
                state.room_waiter = loop.create_future()
                await state.room_waiter
            if not state.reading:
                return
    finally:
        # Closed here instead of by the event loop later. The caller closes any other iterator.
        if isinstance(iterator, AsyncGenerator):
            state.closing = True
            await iterator.aclose()


async def _results(
    items: Iterable[ItemT] | AsyncIterable[ItemT], state: _State[ItemT, ResultT]
) -> AsyncGenerator[ResultT, None]:
    loop = running_loop()
    feeder: asyncio.Task[None] | None = None
    iterator: Iterator[ItemT] = iter(())
    try:
        if isinstance(items, AsyncIterable):
            feeder = asyncio.ensure_future(_feed(items, state))
            feeder.add_done_callback(state.fed)
        else:
            iterator = iter(items)
        while True:
            result = (state.take(),) if state.done else ()
            if feeder is None:
                _fill(iterator, state)
            if result:
                yield result[0]
            elif state.tasks or (state.reading and state.failure is None):
                state.result_waiter = loop.create_future()
                await state.result_waiter
            else:
                break
        if state.failure is not None:
            raise state.failure
    finally:
        state.reading, state.ending = False, True
        await _ended(_cancel(state, feeder))


def _cancel(state: _State[Any, Any], feeder: asyncio.Task[None] | None) -> set[asyncio.Task[Any]]:
    """Cancel the remaining tasks and return them."""
    state.unstarted.update(filter(_is_unstarted, state.tasks))
    remaining: set[asyncio.Task[Any]] = {*state.tasks}
    if feeder is not None and not feeder.done() and not state.closing:
        remaining.add(feeder)
    for task in remaining:
        task.cancel()
    if feeder is not None and not feeder.done():
        remaining.add(feeder)
    return remaining


async def _ended(remaining: set[asyncio.Task[Any]]) -> None:
    """Wait for the end of cancelled tasks, however often the waiting task is cancelled meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while remaining:
            try:
                _, remaining = await asyncio.wait(remaining)
            except asyncio.CancelledError as error:
                cancelled = error
                remaining = {task for task in remaining if not task.done()}
    if cancelled is not None:
        raise cancelled


def _is_unstarted(task: asyncio.Task[Any]) -> bool:
    coroutine = task.get_coro()
    return inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED


def _fill(iterator: Any, state: _State[Any, Any]) -> None:
    while state.reading and not state.full:
        try:
            item = next(iterator)
        except StopIteration:
            state.reading = False
        except Exception as error:  # noqa: BLE001 - of the caller's iterator; raised after the last result
            state.fail(error)
        else:
            state.start(item)
