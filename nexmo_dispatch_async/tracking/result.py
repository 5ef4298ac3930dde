"""`WorkflowResult`: reached or not, on which channel, how soon, at what cost; concluded from facts.

A pure function of the facts: the same facts give the same result. `failover` decides what a status means for
a step.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal

from nexmo_dispatch_async.failover import satisfies, strength
from nexmo_dispatch_async.models.results import Money, StatusEntry, StepHistory, WorkflowResult
from nexmo_dispatch_async.tracking.reducer import (
    MessageFacts,
    ReportedEntry,
    ReportFacts,
    WorkflowState,
)
from nexmo_dispatch_async.tracking.step_matching import match_steps

__all__ = ["StatusEntry", "StepHistory", "WorkflowResult", "conclude"]

_NEVER = datetime.max.replace(tzinfo=UTC)
# Enough digits for any sum of prices that the reducer accepts: a rounded sum would depend on the order.
_EXACT = Context(prec=100, traps=[])


def conclude(state: WorkflowState) -> WorkflowResult:
    """Return the result that follows from the facts."""
    report = state.report or ReportFacts()
    placed, unmatched = match_steps(state)
    last = _last_attempted(placed, report)
    completed = report.status == "completed"
    # The current step completes a workflow (rule 3 of failover), with or without a callback.
    completed_by = last if completed else None
    steps: list[StepHistory] = []
    times: dict[int, datetime] = {}
    for index, uuid in enumerate(placed):
        statuses = _statuses(state.messages.get(uuid or ""), _entry(report, index))
        at = _reached_at(statuses, _goal(state, index, last=last))
        if index == completed_by and at in {None, _NEVER}:
            # Known only from the report, which lists the status or the condition that was met.
            at = report.at or _NEVER
        if at is not None:
            times[index] = at
        steps.append(_step(state, index, uuid, statuses, reached=at is not None))
    for uuid in unmatched:
        sent = state.messages[uuid]
        history = StepHistory(None, sent.channel, None, uuid, _statuses(sent, None), price=_price(sent, None))
        steps.append(history)
    first = min(times, key=lambda index: (times[index], index), default=None)
    started_at = min((at for sent in state.messages.values() for at in _moments(sent)), default=None)
    elapsed = None
    if first is not None and times[first] != _NEVER and started_at is not None:
        elapsed = max(times[first] - started_at, timedelta(0))
    cost, currency = _cost(state)
    return WorkflowResult(
        state.dispatch_uuid,
        ended=state.report is not None,
        status=report.status,
        reached=completed or first is not None,
        channel=None if first is None else steps[first].channel,
        step=None if first is None else first + 1,
        elapsed=elapsed,
        cost=cost,
        currency=currency,
        started_at=started_at,
        ended_at=report.at,
        steps=tuple(steps),
    )


def _entry(report: ReportFacts, index: int) -> ReportedEntry | None:
    return report.messages[index] if index < len(report.messages) else None


def _last_attempted(placed: list[str | None], report: ReportFacts) -> int | None:
    if report.messages:
        return len(report.messages) - 1
    return max((index for index, uuid in enumerate(placed) if uuid is not None), default=None)


def _goal(state: WorkflowState, index: int, *, last: int | None) -> str:
    """Return the status that the message of a step has to reach."""
    if index < len(state.plan):
        return state.plan[index].until or "delivered"
    # The steps are unknown. A step that continued after `delivered`, or may continue, may wait for `read`.
    return "delivered" if state.report is not None and index == last else "read"


def _statuses(sent: MessageFacts | None, entry: ReportedEntry | None) -> tuple[StatusEntry, ...]:
    found = [] if sent is None else [StatusEntry(name, at.at, at.code) for name, at in sent.statuses.items()]
    if entry is not None and entry.status and all(seen.status != entry.status for seen in found):
        found.append(StatusEntry(entry.status))
    return tuple(sorted(found, key=lambda seen: (seen.at or _NEVER, strength(seen.status), seen.status)))


def _reached_at(statuses: tuple[StatusEntry, ...], goal: str) -> datetime | None:
    return min((seen.at or _NEVER for seen in statuses if satisfies(seen.status, goal)), default=None)


def _step(
    state: WorkflowState, index: int, uuid: str | None, statuses: tuple[StatusEntry, ...], *, reached: bool
) -> StepHistory:
    sent = state.messages.get(uuid or "")
    entry = _entry(state.report or ReportFacts(), index)
    plan = state.plan[index] if index < len(state.plan) else None
    named = [source.channel for source in (sent, entry, plan) if source is not None and source.channel]
    return StepHistory(
        index + 1,
        named[0] if named else None,
        None if plan is None else plan.until,
        uuid,
        statuses,
        reached,
        _price(sent, entry),
    )


def _price(sent: MessageFacts | None, entry: ReportedEntry | None) -> Money | None:
    prices = [] if sent is None else [seen.price for seen in sent.statuses.values()]
    known = [price for price in (*prices, entry and entry.price) if price]
    return max(known, key=lambda price: (price.amount, str(price.amount), price.currency or ""), default=None)


def _moments(sent: MessageFacts) -> Iterable[datetime]:
    return (seen.at for seen in sent.statuses.values() if seen.at is not None)


def _cost(state: WorkflowState) -> tuple[Decimal | None, str | None]:
    report = state.report or ReportFacts()
    entries = {entry.message_uuid: entry for entry in report.messages}
    if report.total is None:
        unreported = [_price(sent, entries.get(uuid)) for uuid, sent in state.messages.items()]
        reported = [entry.price for entry in report.messages if entry.message_uuid not in state.messages]
    else:
        unreported = [
            _price(sent, None)
            for uuid, sent in state.messages.items()
            if not _is_included(sent, entries.get(uuid), report)
        ]
        reported = [report.total]
    known = [price for price in (*unreported, *reported) if price is not None]
    currencies = {money.currency for money in known if money.currency}
    if not known or len(currencies) > 1:
        return None, None
    amounts = sorted(money.amount for money in known)
    return functools.reduce(_EXACT.add, amounts, Decimal(0)), next(iter(currencies), None)


def _is_included(sent: MessageFacts, entry: ReportedEntry | None, report: ReportFacts) -> bool:
    """Return whether the total of the report includes the price of a message."""
    if entry is not None:
        return entry.price is not None
    if report.messages:
        return False
    # The report lists no messages, although it should: prices up to its time are included.
    priced = [seen.at for seen in sent.statuses.values() if seen.price is not None and seen.at is not None]
    return report.at is None or min(priced, default=report.at) <= report.at
