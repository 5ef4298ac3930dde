"""One attempt at one event: run the handlers that are not done yet, one after the other.

It does not choose events and does not decide about the next attempt: `engine` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.inbox.records import Failure
from nexmo_dispatch_webhooks.inbox.store import Store
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import log_failure
from nexmo_dispatch_webhooks.routing import Router
from nexmo_dispatch_webhooks.transaction import Transaction

__all__ = ["Outcome", "Worker"]


@dataclass(slots=True)
class Outcome:
    """What became of an attempt."""

    done: Sequence[str] = ()
    failures: tuple[Failure, ...] = ()
    #: No handler wants the event.
    unhandled: bool = False
    #: The event was marked as handled together with the last handler's writes.
    finished: bool = False


_DONE = Outcome()
_UNHANDLED = Outcome(unhandled=True)


class Worker:
    """Runs attempts with one router over one store.

    Args:
        router: frozen.
        store: where the writes of handlers are committed.
        timeout: how long one handler may take, in seconds; None for no limit. `expire` looks at it.
        clock: gives epoch seconds.
    """

    def __init__(
        self, router: Router, store: Store, timeout: float | None, clock: Callable[[], float]
    ) -> None:
        self._router = router
        self._store = store
        self._timeout = timeout
        self._clock = clock
        # A timer for each handler would cost more than most handlers; so somebody looks from time to time.
        self._since: dict[asyncio.Task[Any] | None, float] = {}
        self._expired: set[asyncio.Task[Any] | None] = set()

    def expire(self) -> None:
        """Cancel the handlers that take too long; they have failed with TimeoutError."""
        if self._timeout is None:
            return
        limit = self._clock() - self._timeout
        for task, since in self._since.items():
            if task is not None and since < limit and task not in self._expired:
                self._expired.add(task)
                task.cancel()

    async def attempt(
        self,
        record_id: int,
        event: Event,
        *,
        context: Context,
        attempt: int,
        done: Sequence[str],
    ) -> Outcome:
        """Run the handlers of an event that are not in *done*.

        Raises nothing but cancellation: what handlers raise is in the outcome.
        """
        selected = self._router.select(event, context.path)
        if done:
            selected = [item for item in selected if item.key not in done]
        elif not selected:
            return _UNHANDLED
        succeeded, failures, finished = list(done), list[Failure](), False
        task, last = asyncio.current_task(), len(selected) - 1
        for number, item in enumerate(selected):
            transaction = Transaction() if self._store.transactional else None
            own = Context(context.path, context.timestamp, context.claims, attempt, transaction)
            self._since[task] = self._clock()
            try:
                if item.error is not None:
                    raise item.error
                await item.run(event, own)
                if transaction is not None and transaction.statements:
                    del self._since[task]  # from here on it is the store that takes its time
                    finish = number == last and not failures
                    await self._store.commit(record_id, item.key, transaction.statements, finish=finish)
                    finished = finish
            except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is tried again
                log_failure(f"handler {item.key}", error)
                failures.append(Failure(item.key, type(error).__qualname__))
            except asyncio.CancelledError as error:
                failures.append(Failure(item.key, self._why_cancelled(task, item.key, error)))
            else:
                succeeded.append(item.key)
            finally:
                self._since.pop(task, None)
        if failures or finished:
            return Outcome(succeeded, tuple(failures), finished=finished)
        return _DONE

    def _why_cancelled(self, task: asyncio.Task[Any] | None, key: str, error: asyncio.CancelledError) -> str:
        """The kind of failure, or the cancellation again when it is meant for the worker."""
        kind = "CancelledError"  # the handler awaited something that others cancelled
        if task in self._expired:
            self._expired.discard(task)
            kind = "TimeoutError"
            if task is not None:
                task.uncancel()
        if task is None or task.cancelling():
            raise error
        log_failure(f"handler {key} ({kind})", error)
        return kind
