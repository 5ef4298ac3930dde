"""One attempt at one event: run the handlers that are not done yet, one after the other.

It does not choose events and does not decide about the next attempt: `engine` does.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.exceptions import InboxError, TransactionError
from nexmo_dispatch_webhooks.inbox.records import StoredFailure
from nexmo_dispatch_webhooks.inbox.store import InboxStore
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import FailureLog
from nexmo_dispatch_webhooks.routing import Router, Selected
from nexmo_dispatch_webhooks.transaction import Transaction

__all__ = ["AttemptResult", "AttemptRunner", "is_ending", "shake_off"]


@dataclass(slots=True)
class AttemptResult:
    """What became of an attempt."""

    done: Sequence[str] = ()
    failures: tuple[StoredFailure, ...] = ()
    #: No handler wants the event.
    unhandled: bool = False
    #: The event was marked as handled together with the last handler's writes.
    finished: bool = False
    #: The store failed, and the handlers did not: the rest of them is for another time.
    trouble: InboxError | None = None


_DONE = AttemptResult()
_UNHANDLED = AttemptResult(unhandled=True)


class AttemptRunner:
    """Runs attempts with one router over one store.

    Args:
        router: frozen.
        store: where the writes of handlers are committed.
        timeout: how long one handler may take, in seconds; None for no limit. `expire` looks at it.
        monotonic: gives seconds that no change of the clock disturbs.
    """

    def __init__(
        self, router: Router, store: InboxStore, timeout: float | None, monotonic: Callable[[], float]
    ) -> None:
        self._router = router
        self._store = store
        self._timeout = timeout
        self._monotonic = monotonic
        self._failures = FailureLog(monotonic)
        # A timer for each handler would cost more than most handlers; so somebody looks from time to time.
        self._since: dict[asyncio.Task[Any] | None, float] = {}
        self._expired: set[asyncio.Task[Any] | None] = set()

    def expire(self) -> None:
        """Cancel the handlers that take too long; they have failed with TimeoutError."""
        if self._timeout is None:
            return
        limit = self._monotonic() - self._timeout
        for task, since in self._since.items():
            if task is not None and since < limit and task not in self._expired:
                self._expired.add(task)
                task.cancel()

    def select(self, event: Event, path: str, done: Sequence[str]) -> list[Selected]:
        """The handlers of an event that are not in *done*."""
        selected = self._router.select(event, path)
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
    ) -> AttemptResult:
        """Run handlers of an event, those that `select` gave.

        Raises nothing but cancellation: what handlers raise is in the outcome.
        """
        if not selected:
            return _DONE if done else _UNHANDLED
        succeeded, failures, finished = list(done), list[StoredFailure](), False
        task, last = asyncio.current_task(), len(selected) - 1
        for number, item in enumerate(selected):
            transaction = Transaction() if self._store.transactional else None
            own = Context(context.path, context.timestamp, context.claims, attempt, transaction)
            try:
                error = await self._run(item, event, own, task)
            finally:
                if transaction is not None:
                    transaction.close()
            if error is None and transaction is not None and transaction.statements:
                finish = number == last and not failures
                try:
                    await self._store.commit(record_id, item.key, transaction.statements, finish=finish)
                except TransactionError as raised:
                    error = raised
                except InboxError as trouble:
                    return AttemptResult(succeeded, tuple(failures), trouble=trouble)
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

    async def _run(
        self, item: Selected, event: Event, context: Context, task: asyncio.Task[Any] | None
    ) -> BaseException | None:
        """Run one handler; return what it raised."""
        error: BaseException | None = None
        self._since[task] = self._monotonic()
        try:
            if item.error is not None:
                raise item.error
            await item.run(event, context)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):  # the end of the process, not of a handler
            raise
        except BaseException as raised:  # noqa: BLE001 - a handler may raise anything; it is tried again
            error = raised
        finally:
            del self._since[task]
        if task is not None and (task.cancelling() or isinstance(error, asyncio.CancelledError)):
            return await self._why_cancelled(task, error)
        return error

    async def _why_cancelled(
        self, task: asyncio.Task[Any], error: BaseException | None
    ) -> BaseException | None:
        """How a handler ended that was cancelled, or cancelled its own task; the worker goes on.

        Raises:
            CancelledError: it is the inbox that ends.
        """
        expired = task in self._expired
        if expired:
            self._expired.discard(task)
            task.uncancel()
        if isinstance(error, asyncio.CancelledError) and is_ending():
            raise error
        if task.cancelling() and not is_ending():
            await shake_off(task)
        return TimeoutError() if expired else error


async def shake_off(task: asyncio.Task[Any]) -> None:
    """Take back that somebody cancelled a task of the inbox, and what of it has not arrived yet.

    A handler sees our task as its own, and may cancel it while it runs or later.

    Raises:
        CancelledError: it is the inbox that ends.
    """
    while task.cancelling():
        task.uncancel()
    try:
        await asyncio.sleep(0)
    except asyncio.CancelledError:
        if is_ending():
            raise


def is_ending() -> bool:
    """Whether a scope around the worker was cancelled; nobody else may cancel it."""
    return anyio.current_effective_deadline() == -math.inf
