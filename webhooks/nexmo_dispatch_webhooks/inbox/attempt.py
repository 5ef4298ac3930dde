"""One attempt at one event: run the handlers that are not done yet, one after the other.

It does not choose events and does not decide about the next attempt: `scheduler` does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import anyio
import msgspec

from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.exceptions import InboxError, TransactionError
from nexmo_dispatch_webhooks.inbox.records import StoredFailure
from nexmo_dispatch_webhooks.inbox.settings import InboxSettings
from nexmo_dispatch_webhooks.inbox.store import InboxStore, is_shared
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import FailureLog
from nexmo_dispatch_webhooks.routing import Router, Selected
from nexmo_dispatch_webhooks.transaction import StoreTransaction, Transaction

__all__ = ["AttemptResult", "AttemptRunner", "is_ending", "undo_cancellation"]


class AttemptResult(msgspec.Struct, frozen=True):
    """The result of one attempt."""

    done: Sequence[str] = ()
    failures: tuple[StoredFailure, ...] = ()
    #: No handler matched the event.
    unhandled: bool = False
    #: The event was marked as handled together with the last handler's writes.
    finished: bool = False
    #: The store failed, and no handler did: the remaining handlers run in another attempt.
    store_error: InboxError | None = None


_DONE = AttemptResult()
_UNHANDLED = AttemptResult(unhandled=True)


class AttemptRunner:
    """Runs attempts with one router over one store.

    Args:
        router: The handlers; frozen.
        store: Where the writes of handlers are committed.
        settings: The settings of the inbox; `expire` enforces `handler_timeout`.
    """

    def __init__(self, router: Router, store: InboxStore, settings: InboxSettings) -> None:
        self._router = router
        self._store = store
        # Only a shared store makes transactions of its own.
        self._begin = store.begin if is_shared(store) and store.transactional else None
        self._timeout = settings.handler_timeout
        self._monotonic = settings.monotonic
        self._failures = FailureLog(settings.monotonic)
        # A timer for each handler would cost more than most handlers; so the housekeeping calls `expire`.
        self._started: dict[asyncio.Task[Any] | None, tuple[float, str]] = {}
        self._expired: set[asyncio.Task[Any] | None] = set()

    def expire(self) -> None:
        """Cancel the handlers that exceed the timeout; each has failed with TimeoutError."""
        if self._timeout is None:
            return
        limit = self._monotonic() - self._timeout
        for task, (started, _) in self._started.items():
            if task is not None and started < limit and task not in self._expired:
                self._expired.add(task)
                task.cancel()

    def longest(self) -> str:
        """Return which handler has run for the longest time, at the end of a text."""
        if not self._started:
            return ", which nexmo-dispatch inbox summary names"
        started, name = min(self._started.values())
        return f": {name} has run for {self._monotonic() - started:.0f} s"

    def select(self, event: Event, context: Context, done: Sequence[str]) -> list[Selected]:
        """Return the handlers of an event that are not in *done*."""
        selected = self._router.select(event, context)
        return [item for item in selected if item.key not in done] if done else selected

    async def attempt(
        self,
        record_id: int,
        event: Event,
        selected: Sequence[Selected],
        *,
        context: Context,
        attempt: int,
        done: Sequence[str],
        task: asyncio.Task[Any] | None,
        token: int = 0,
    ) -> AttemptResult:
        """Run the handlers of an event that `select` returned, one after the other.

        Exceptions of handlers are in the result; only a cancellation is raised.

        Args:
            record_id: The id of the event in the store.
            event: The event.
            selected: The handlers.
            context: The context of the request.
            attempt: The number of earlier attempts.
            done: The names of the handlers that succeeded in earlier attempts.
            task: The current task.
            token: The token of the claim, where several processes handle events; otherwise 0.
        """
        if not selected:
            return _DONE if done else _UNHANDLED
        succeeded, finished, last = [*done], False, len(selected) - 1
        failures: list[StoredFailure] = []
        for number, item in enumerate(selected):
            transaction: Transaction | None = None
            own = context
            if item.takes_context:  # the others see neither the number of the attempt nor the transaction
                transaction = self._transaction(record_id, token)
                own = Context(context.path, context.timestamp, context.claims, attempt, transaction)
            error = await self._run(item, event, own, task)
            if error is not None and isinstance(transaction, StoreTransaction):
                found = transaction.trouble(error)
                await transaction.roll_back()
                if found is not None:
                    return AttemptResult(succeeded, tuple(failures), store_error=found)
            elif error is None and transaction is not None and transaction.used:
                finish = number == last and not failures
                try:
                    await self._commit(record_id, item.key, transaction, finish=finish)
                except TransactionError as raised:
                    error = raised
                except InboxError as store_error:
                    return AttemptResult(succeeded, tuple(failures), store_error=store_error)
                else:
                    finished = finish
            if error is None:
                succeeded.append(item.key)
            else:
                self._failures.note(
                    f"handler {item.key}", error, f"record {record_id}, attempt {attempt + 1}"
                )
                failures.append(StoredFailure.of(item.key, error))
        if failures or finished:
            return AttemptResult(succeeded, tuple(failures), finished=finished)
        return _DONE

    def _transaction(self, record_id: int, token: int) -> Transaction | None:
        if not self._store.transactional:
            return None
        return Transaction() if self._begin is None else self._begin(record_id, token)

    async def _commit(self, record_id: int, handler: str, transaction: Transaction, *, finish: bool) -> None:
        if isinstance(transaction, StoreTransaction):
            await transaction.commit(handler, finish=finish)
        else:
            await self._store.commit(record_id, handler, transaction.statements, finish=finish)

    async def _run(
        self, item: Selected, event: Event, context: Context, task: asyncio.Task[Any] | None
    ) -> BaseException | None:
        """Run one handler and close its transaction; return the exception that it raised."""
        error: BaseException | None = None
        self._started[task] = self._monotonic(), item.key
        try:
            if item.error is not None:
                raise item.error
            await item.run(event, context)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):  # the end of the process, not of a handler
            raise
        except BaseException as raised:  # noqa: BLE001 - a handler may raise anything, and is retried
            error = raised
        finally:
            del self._started[task]
            if context.collected is not None:
                context.collected.close()
        if task is not None and (
            task.cancelling()
            or isinstance(error, asyncio.CancelledError)
            or task in self._expired  # and the handler took the cancellation back
        ):
            try:
                return await self._why_cancelled(task, error)
            except asyncio.CancelledError:
                if isinstance(context.collected, StoreTransaction):
                    await context.collected.roll_back()
                raise
        return error

    async def _why_cancelled(
        self, task: asyncio.Task[Any], error: BaseException | None
    ) -> BaseException | None:
        """Return the error of a handler that was cancelled, or that cancelled its own task.

        Raises:
            CancelledError: The inbox itself ends.
        """
        expired = task in self._expired
        if expired:
            self._expired.discard(task)
            task.uncancel()
        if isinstance(error, asyncio.CancelledError) and is_ending():
            raise error
        if task.cancelling() and not is_ending():
            await undo_cancellation(task)
        return TimeoutError() if expired else error


async def undo_cancellation(task: asyncio.Task[Any]) -> None:
    """Undo cancellations of a task of the inbox by a handler, also one that has not been delivered yet.

    A handler sees the task of the inbox as its own, and may cancel it while the handler runs or later.

    Raises:
        CancelledError: The inbox itself ends.
    """
    while task.cancelling():
        task.uncancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if is_ending():
            raise


def is_ending() -> bool:
    """Whether a scope around the loop was cancelled, which only the inbox does."""
    return anyio.current_effective_deadline() == -math.inf
