"""The outbox: signs, queues and retries callbacks, and applies the faults of callbacks (contract 5.10).

It returns the deliveries that are due and takes their results; it neither composes nor delivers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from nexmo_dispatch_async.simulator.callbacks.bodies import (
    Answer,
    Callback,
    Delivery,
    Kind,
    Signer,
    retry_delay,
)
from nexmo_dispatch_async.simulator.world.faults import Fault, Faults
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt, History
from nexmo_dispatch_async.simulator.world.settings import Settings

__all__ = ["Outbox"]

_DAY_MS: Final = 24 * 3600 * 1000
_OVERTAKEN_WITHIN_S: Final = 30.0


class Outbox:
    """All callbacks of a simulator.

    Args:
        settings: The switches.
        faults: The armed faults.
        signer: Signs callbacks.
        history: Receives a record of every attempt.
        plan: Called with a virtual time in milliseconds and a callback; calls `attempt(callback)` at that
            time, unless another attempt has been made by then.
        now_ms: Returns the virtual time in milliseconds.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        faults: Faults,
        signer: Signer,
        history: History,
        plan: Callable[[int, Callback], None],
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._signer = signer
        self._history = history
        self._plan = plan
        self._now_ms = now_ms
        self._due: deque[Delivery] = deque()
        self._created = 0
        # callbacks up to this number were cleared
        self._cleared = 0
        # delayed by a fault: until the next callback of the same workflow, until its final report
        self._overtaken: dict[str, list[Callback]] = {}
        self._after_report: dict[str, list[Callback]] = {}

    def __len__(self) -> int:
        return len(self._due)

    def take(self) -> Delivery:
        """Return the next delivery that is due.

        Raises:
            IndexError: No delivery is due.
        """
        return self._due.popleft()

    def put_back(self, delivery: Delivery) -> None:
        """Return a delivery that was not carried out to the head of the queue, unless it was cleared."""
        if delivery.callback.number > self._cleared:
            self._due.appendleft(delivery)

    def clear(self) -> None:
        """Forget all callbacks; results of deliveries in progress are dropped."""
        self._cleared = self._created
        self._due.clear()
        self._overtaken.clear()
        self._after_report.clear()

    def post(
        self,
        kind: Kind,
        *,
        application_id: str,
        url: str,
        body: bytes,
        subject: str,
        recipients: Iterable[str],
        reported: bool = False,
    ) -> None:
        """Send a callback.

        Args:
            kind: The kind of the callback.
            application_id: The application.
            url: The URL of the receiver.
            body: The body.
            subject: The workflow; for an inbound message, the application.
            recipients: Addresses of the customers concerned.
            reported: Whether the final report of the workflow has been sent.
        """
        now = self._now_ms()
        self._created += 1
        callback = Callback(self._created, kind, url, body, application_id, now)
        if not self._faults.on_callbacks:
            self.attempt(callback)
            return
        callback.recipients = tuple(recipients)
        hits = {f.kind: f for f in self._faults.on_callback(_ONCE, kind, callback.recipients)}
        callback.faults = tuple(kind for kind in hits if kind != "duplicate")  # the copy has this mark
        overtaking = self._overtaken.pop(subject, ())
        if "lost" in hits:
            self._lose(callback)
        elif "late" in hits:
            self._delay(callback, hits["late"], subject, reported=reported or kind != "message-status")
        elif "reorder" in hits:
            self._overtaken.setdefault(subject, []).append(callback)
            seconds = hits["reorder"].seconds or _OVERTAKEN_WITHIN_S
            self._plan(now + round(seconds * 1000), callback)
        else:
            self.attempt(callback)
        if "duplicate" in hits and "lost" not in hits:
            self._plan_copy(callback, hits["duplicate"])
        delayed = [*overtaking, *(self._after_report.pop(subject, ()) if kind == "final-report" else ())]
        for each in delayed:
            self.attempt(each)

    def attempt(self, callback: Callback) -> None:
        """Queue the next attempt of a callback."""
        now = self._now_ms()
        callback.attempts += 1
        hits: list[Fault] = []
        if self._faults.on_callbacks:
            hits = self._faults.on_callback(_EACH_TIME, callback.kind, callback.recipients)
        if not callback.authorization or self._settings.resign_retries:
            callback.authorization = self._signer.authorization(
                callback, at_ms=now, attempt=callback.attempts
            )
        verdict: Answer | None = None
        for fault in hits:
            if fault.kind == "receiver_down":
                down = Answer(failure="connection refused")
                verdict = down if fault.status is None else Answer(fault.status)
        kinds = tuple(fault.kind for fault in hits)
        recorded = (*callback.faults, *kinds) if callback.attempts == 1 else kinds
        self._due.append(
            Delivery(callback, callback.attempts, now, verdict, "unsigned" not in kinds, recorded)
        )

    def answered(self, delivery: Delivery, answer: Answer) -> None:
        """Record the response to a delivery, and plan the next attempt if there is one."""
        callback, policy = delivery.callback, self._settings.retry_policy
        if callback.number <= self._cleared:
            return
        retry_at: int | None = None
        if not callback.copy and answer.wants_retry(policy):
            age = (delivery.at_ms - callback.created_ms) / 1000
            delay = retry_delay(delivery.attempt, age, policy)
            if delay is not None:
                retry_at = max(delivery.at_ms, self._now_ms()) + delay * 1000
                self._plan(retry_at, callback)
        self._record(callback, delivery, answer, retry_at)

    def _lose(self, callback: Callback) -> None:
        callback.attempts = 1
        delivery = Delivery(callback, 1, self._now_ms(), faults=callback.faults)
        self._record(callback, delivery, Answer(failure="lost"), None)

    def _delay(self, callback: Callback, fault: Fault, subject: str, *, reported: bool) -> None:
        """Delay a callback: for a time, or until the final report of its workflow."""
        now = self._now_ms()
        if reported and not fault.seconds:
            self.attempt(callback)
        elif fault.seconds:
            self._plan(now + round(fault.seconds * 1000), callback)
        else:
            self._after_report.setdefault(subject, []).append(callback)
            self._plan(now + _DAY_MS, callback)

    def _plan_copy(self, callback: Callback, fault: Fault) -> None:
        """Plan a second delivery of the same bytes with the same signature."""
        now = self._now_ms()
        if not callback.authorization:
            callback.authorization = self._signer.authorization(callback, at_ms=now, attempt=1)
        self._plan(
            now + round(fault.seconds * 1000), replace(callback, attempts=0, faults=("duplicate",), copy=True)
        )

    def _record(self, callback: Callback, delivery: Delivery, answer: Answer, retry_at: int | None) -> None:
        self._history.add(
            CallbackAttempt(
                at_ms=delivery.at_ms,
                number=callback.number,
                attempt=delivery.attempt,
                kind=callback.kind,
                url=callback.url,
                body=callback.body.decode(),
                authorization=callback.authorization if delivery.signed else "",
                status=answer.status,
                answer=answer.body.decode(errors="replace"),
                failure=answer.failure,
                retry_at_ms=retry_at,
                fault="+".join(delivery.faults),
            )
        )


# Faults that hit a callback once, and faults that hit each attempt to deliver it.
_ONCE: Final = ("lost", "late", "reorder", "duplicate")
_EACH_TIME: Final = ("receiver_down", "unsigned")
