"""One attempt at one event: run the handlers that are not done yet, one after the other.

It does not choose events and does not decide about the next attempt: `engine` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from nexmo_dispatch_webhooks.events import Event
from nexmo_dispatch_webhooks.inbox.records import Failure
from nexmo_dispatch_webhooks.inbox.store import Store
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.logs import log_failure
from nexmo_dispatch_webhooks.routing import Router, Selected
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


class Worker:
    """Runs attempts with one router over one store.

    Args:
        router: frozen.
        store: where the writes of handlers are committed.
        timeout: how long one handler may take, in seconds; None for no limit.
    """

    def __init__(self, router: Router, store: Store, timeout: float | None) -> None:
        self._router = router
        self._store = store
        self._timeout = timeout

    async def attempt(
        self,
        record_id: int,
        event: Event,
        *,
        path: str,
        context: Context,
        attempt: int,
        done: Sequence[str],
    ) -> Outcome:
        """Run the handlers of an event that are not in *done*.

        Raises nothing but cancellation: what handlers raise is in the outcome.
        """
        selected = self._router.select(event, path)
        if done:
            selected = [item for item in selected if item.key not in done]
        elif not selected:
            return Outcome(unhandled=True)
        succeeded, failures, finished = list(done), list[Failure](), False
        for number, item in enumerate(selected, start=1):
            transaction = Transaction() if self._store.transactional else None
            own = Context(path, context.timestamp, context.claims, attempt, transaction)
            try:
                await self._run(item, event, own)
                if transaction is not None and transaction.statements:
                    last = number == len(selected) and not failures
                    await self._store.commit(record_id, item.key, transaction.statements, finish=last)
                    finished = last
            except Exception as error:  # noqa: BLE001 - a handler may raise anything; it is tried again
                log_failure(f"handler {item.key}", error)
                failures.append(Failure(item.key, type(error).__qualname__))
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                # the handler awaited something that others cancelled; nobody cancels us
                log_failure(f"handler {item.key}", error)
                failures.append(Failure(item.key, "CancelledError"))
            else:
                succeeded.append(item.key)
        return Outcome(succeeded, tuple(failures), finished=finished)

    async def _run(self, item: Selected, event: Event, context: Context) -> None:
        if item.error is not None:
            raise item.error
        if self._timeout is None:
            await item.run(event, context)
        else:
            async with asyncio.timeout(self._timeout):
                await item.run(event, context)
