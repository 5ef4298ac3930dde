"""Views of the engine's state for the page and the control API: workflows, messages, callbacks, the clock.

It changes nothing and does no I/O; the routes are in `routes.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import msgspec

from nexmo_dispatch_async.simulator.callbacks.bodies import timestamp
from nexmo_dispatch_async.simulator.control.message_log import MessageLog, as_object, decoded
from nexmo_dispatch_async.simulator.control.preview import look_of
from nexmo_dispatch_async.simulator.control.views import (
    AnswerView,
    CallbackView,
    ClockView,
    FaultView,
    MessageView,
    Patch,
    ReportView,
    RequestView,
    Snapshot,
    StepView,
    Totals,
    WorkflowView,
)
from nexmo_dispatch_async.simulator.engine import Engine, Message, Run
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt
from nexmo_dispatch_async.simulator.world.people import READING_CHANNELS
from nexmo_dispatch_core.vocabulary import FAILED_STATUSES

__all__ = ["Feed", "View"]


class View:
    """Builds views of one engine.

    Args:
        engine: The engine.
        epoch: The moment of virtual time 0.
        speed: Returns the speed of the clock, None when time moves only with `advance()`.
        catch_up: Called before each view; brings the clock up to date.
        faults: Returns the armed faults.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        epoch: datetime,
        speed: Callable[[], float | None],
        catch_up: Callable[[], object],
        faults: Callable[[], list[FaultView]] = list,
    ) -> None:
        self.engine = engine
        self.log: MessageLog = MessageLog(engine)
        self._epoch = epoch
        self._speed = speed
        self._catch_up = catch_up
        self.faults = faults

    def clock(self) -> ClockView:
        """Return the virtual time."""
        self._catch_up()
        now = self.engine.now_ms
        return ClockView(
            now_ms=now,
            time=timestamp(self._epoch, now),
            speed=self._speed(),
            next_event_ms=self.engine.next_at(),
        )

    def snapshot(self, limit: int = 100, *, callbacks: int | None = None) -> Snapshot:
        """Return the newest workflows and callbacks.

        Args:
            limit: Maximum number of workflows.
            callbacks: Maximum number of callbacks; None for `limit`.
        """
        self.log.catch_up()
        runs = self._newest(limit)
        return Snapshot(
            clock=self.clock(),
            totals=self.totals(len(runs)),
            limit=limit,
            workflows=[self.workflow(run) for run in runs],
            callbacks=self.callbacks(limit=limit if callbacks is None else callbacks),
            faults=self.faults(),
        )

    def totals(self, shown: int) -> Totals:
        """Return the counts."""
        engine = self.engine
        return Totals(
            accepted=engine.tally.accepted,
            in_flight=engine.in_flight,
            completed=engine.tally.completed,
            errors=engine.tally.errors,
            failed_over=engine.tally.failed_over,
            cost=f"{engine.tally.cost:f}",
            requests=engine.history.total,
            shown=shown,
        )

    def workflow(self, run: Run) -> WorkflowView:
        """Return one workflow; call `log.catch_up()` before."""
        state = run.failover
        current = state.current
        condition = state.conditions[current]
        deadline: int | None = None
        if state.outcome is None and condition is not None:
            deadline = run.messages[current].sent_ms + round(condition.expiry_time * 1000)
        prices = [message.price for message in run.messages if message.price is not None]
        cost: str | None = None
        if prices or state.outcome is not None:
            cost = f"{sum(prices, Decimal(0)) + self.engine.settings.workflow_fee:f}"
        report = self.log.report(run.dispatch_uuid)
        return WorkflowView(
            uuid=run.dispatch_uuid,
            number=run.number,
            application=run.application.id,
            application_name=run.application.name,
            accepted_ms=run.accepted_ms,
            steps=[self._step(run, index) for index in range(len(run.steps))],
            current=current,
            ended_ms=run.ended_ms,
            outcome=state.outcome,
            deadline_ms=deadline,
            cost=cost,
            report=None
            if report is None
            else ReportView(
                at_ms=report.at_ms, attempt=report.attempt, status=report.status, failure=report.failure
            ),
            inbound=bool(run.application.inbound_url),
            callbacks=len(self.log.attempts(run.dispatch_uuid)),
        )

    def callbacks(self, *, after: int = 0, limit: int = 100) -> list[CallbackView]:
        """Return at most `limit` attempts to deliver callbacks with an id above `after`, newest first.

        The id is the place in the history: ids increase and are never reused.
        """
        self.log.catch_up()
        history = self.engine.history
        found: list[CallbackView] = []
        for back, record in enumerate(reversed(history)):
            place = history.total - back
            if place <= after or len(found) >= limit:
                break
            if isinstance(record, CallbackAttempt):
                found.append(self._callback(place, record))
        return found

    def callbacks_of(self, dispatch_uuid: str, *, after: int = 0, limit: int = 100) -> list[CallbackView]:
        """Return the attempts of one workflow, as `callbacks()` does; of inbound messages, those it got."""
        self.log.catch_up()
        found: list[CallbackView] = []
        for place in reversed(self.log.attempts(dispatch_uuid)):
            record = self.engine.history.at(place)
            if place <= after or len(found) >= limit:
                break
            if isinstance(record, CallbackAttempt):
                found.append(self._callback(place, record))
        return found

    def _callback(self, place: int, record: CallbackAttempt) -> CallbackView:
        body = decoded(record.body)
        to = body.get("to")
        uuid = self.log.about(record)
        run = self.engine.runs.get(uuid)
        return CallbackView(
            id=place,
            number=record.number,
            attempt=record.attempt,
            kind=record.kind,
            at_ms=record.at_ms,
            request=RequestView(
                url=record.url,
                headers={"Content-Type": "application/json", "Authorization": record.authorization},
                body=record.body,
            ),
            answer=None if record.status is None else AnswerView(status=record.status, body=record.answer),
            failure=record.failure,
            retry_at_ms=record.retry_at_ms,
            dispatch_uuid=uuid,
            workflow=None if run is None else run.number,
            message_uuid=str(body.get("message_uuid") or ""),
            about=str(body.get("status") or ""),
            channel=str(body.get("channel") or as_object(to).get("type", "")),
        )

    def _newest(self, limit: int) -> list[Run]:
        return list(itertools.islice(reversed(self.engine.runs.values()), limit))

    def _step(self, run: Run, index: int) -> StepView:
        step, state = run.steps[index], run.failover
        sent = run.messages[index] if index < len(run.messages) else None
        if sent is None:
            phase = "waiting" if state.outcome is None else "unused"
        elif index < state.current:
            phase = "passed"
        else:
            phase = "current" if state.outcome is None else "over"
        condition = step.condition
        return StepView(
            channel=step.channel,
            sender=step.sender.get("number") or step.sender.get("id", ""),
            to=step.address,
            content=look_of(step, self.engine.settings.templates),
            phase=phase,
            client_ref=step.client_ref,
            condition_status=None if condition is None else condition.condition_status,
            expiry_time=None if condition is None else condition.expiry_time,
            expired=self.log.expired(run.dispatch_uuid, index),
            message=None if sent is None else self._message(sent),
        )

    def _message(self, message: Message) -> MessageView:
        moments = self.log.moments(message.uuid)
        codes = [moment.code for moment in moments if moment.code is not None]
        return MessageView(
            uuid=message.uuid,
            sent_ms=message.sent_ms,
            status=message.status,
            code=codes[-1] if codes and message.status in FAILED_STATUSES else None,
            price=None if message.price is None else f"{message.price:f}",
            history=moments,
            replies=self.log.replies(message.uuid),
            can=_possible(message),
        )


def _possible(message: Message) -> list[str]:
    """Return the statuses that may follow (contract 5.3)."""
    reads = ["read"] if message.step.channel in READING_CHANNELS else []
    match message.status:
        case None | "submitted":
            return ["delivered", *reads, "rejected", "undeliverable"]
        case "delivered":
            return reads
        case "undeliverable":  # carriers do report a late delivery
            return ["delivered"]
        case _:
            return []


class Feed:
    """The next event for one watcher, computed on demand: a slow watcher needs no queue.

    Each call of `next()` returns the changes since the last call; after a long pause, a new snapshot.

    Args:
        view: Builds the views.
        limit: Maximum number of workflows that the watcher shows.
        callbacks: Maximum number of callbacks that the watcher shows.
        behind: Maximum number of new records in a patch; with more, the watcher gets a snapshot.
    """

    def __init__(self, view: View, *, limit: int = 500, callbacks: int = 100, behind: int = 2_000) -> None:
        self._view = view
        self._limit = limit
        self._callbacks = callbacks
        self._behind = behind
        self._seen: int | None = None
        self._cleared = 0
        self._clock: tuple[float | None, int | None] | None = None
        self._faults: list[FaultView] = []

    def next(self) -> Snapshot | Patch | None:
        """Return a snapshot or a patch; None when nothing changed."""
        view, history = self._view, self._view.engine.history
        seen, total = self._seen, history.total
        clock = view.clock()
        # The page advances a running clock itself: only a change of speed matters.
        key = (clock.speed, clock.now_ms if clock.speed is None else None)
        if seen is None or total - seen > self._behind or history.cleared != self._cleared:
            self._cleared = history.cleared
            snapshot = view.snapshot(self._limit, callbacks=self._callbacks)
            self._seen, self._clock, self._faults = history.total, key, snapshot.faults
            return snapshot
        faults = view.faults()
        if total == seen and key == self._clock and faults == self._faults:
            return None
        changed_faults = msgspec.UNSET if faults == self._faults else faults
        self._seen, self._clock, self._faults = total, key, faults
        view.log.catch_up()
        runs = view.engine.runs
        oldest = view.engine.accepted - self._limit
        changed = {uuid for record in history.since(seen) if (uuid := view.log.about(record)) in runs}
        shown = sorted((runs[uuid] for uuid in changed if runs[uuid].number > oldest), key=_number)
        return Patch(
            clock=clock,
            totals=view.totals(min(self._limit, len(runs))),
            workflows=[view.workflow(run) for run in reversed(shown)],
            callbacks=view.callbacks(after=seen, limit=self._callbacks),
            faults=changed_faults,
        )

    def touch(self) -> None:
        """Include the clock in the next event, even without new records."""
        self._clock = None


def _number(run: Run) -> int:
    return run.number
