"""Folds callbacks into the facts of a row, kept in `News.steps` as facts of tracking, which only grow.

The row is the only place of the facts. Therefore a restart loses nothing, several processes may observe the
same campaign, waiting rows take no memory, and a callback is stored in the transaction that finds its row.
The `News` of one event are small; a store combines them with those of the row by `join`, which is
commutative, associative and idempotent, as tracking's facts are. The module does no I/O.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import msgspec

from nexmo_dispatch_async.bulk.ledger.records import News
from nexmo_dispatch_async.failover import satisfies, strength
from nexmo_dispatch_async.tracking.reducer import WorkflowState, observe
from nexmo_dispatch_async.tracking.result import WorkflowResult, conclude
from nexmo_dispatch_core.vocabulary import FAILED_STATUSES
from nexmo_dispatch_webhooks.events import Event, MessageStatus

__all__ = ["join", "news_of_event", "outcomes_of", "started_at"]

_decode: Final = msgspec.json.Decoder(list[WorkflowState]).decode
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
# Equal facts are equal bytes, whatever their order of arrival.
_encode: Final = msgspec.json.Encoder(order="deterministic").encode


def news_of_event(event: Event, now: float) -> News | None:
    """Return the news of one callback; `None` for a callback without a workflow.

    Args:
        event: A message status or a final report, in the v0.1 or the v1 form (contract 5.2, 5.4, 5.8).
        now: Epoch seconds, for a callback whose own timestamp is missing or cannot be read.
    """
    state = observe(event)
    if state is None:
        return None
    client_ref = (event.client_ref or "") if isinstance(event, MessageStatus) else ""
    stamp = getattr(event, "timestamp", None)
    at = stamp.timestamp() if isinstance(stamp, datetime) else now
    return _news([state], dispatch_uuid=state.dispatch_uuid, client_ref=client_ref, at=at)


def join(one: News, other: News) -> News | None:
    """Return the combined news, from the facts in their `steps`; `None` when neither has facts.

    Of news without facts, which a caller may make by hand, only time and ids are added to news with facts.
    """
    mine, theirs = _states(one.steps), _states(other.steps)
    if not mine and not theirs:
        return None
    by_uuid = {state.dispatch_uuid: state for state in mine}
    for state in theirs:
        known = by_uuid.get(state.dispatch_uuid)
        by_uuid[state.dispatch_uuid] = state if known is None else known.merge(state)
    return _news(
        [by_uuid[uuid] for uuid in sorted(by_uuid)],
        dispatch_uuid=min(filter(None, (one.dispatch_uuid, other.dispatch_uuid)), default=""),
        client_ref=max(one.client_ref, other.client_ref),
        at=max(one.at, other.at),
    )


def outcomes_of(news: News | None) -> tuple[WorkflowResult, ...]:
    """Return the result of each workflow of a row; there are several if an operator sent the row again."""
    return () if news is None else tuple(conclude(state) for state in _states(news.steps))


def started_at(outcomes: tuple[WorkflowResult, ...]) -> float | None:
    """Return the first time of a row by the service's clock, in epoch seconds."""
    return min((o.started_at.timestamp() for o in outcomes if o.started_at is not None), default=None)


def _states(steps: bytes) -> list[WorkflowState]:
    if not steps:
        return []
    try:
        return _decode(steps)
    except msgspec.DecodeError:
        return []  # news made by hand may have another form


def _news(states: list[WorkflowState], *, dispatch_uuid: str, client_ref: str, at: float) -> News:
    outcomes = [conclude(state) for state in states]
    reached = "read" if any(o.has("read") for o in outcomes) else ""
    reached = reached or ("delivered" if any(o.has("delivered") for o in outcomes) else "")
    cost, currency = _cost(outcomes)
    return News(
        dispatch_uuid=dispatch_uuid,
        client_ref=client_ref,
        at=at,
        ended=all(o.ended for o in outcomes),
        reached=reached,
        channel=_channel(outcomes, reached) if reached else "",
        delivered_at=_first(outcomes, "delivered"),
        read_at=_first(outcomes, "read"),
        cost=cost,
        currency=currency,
        code=_code(outcomes),
        steps=_encode(states),
    )


def _channel(outcomes: list[WorkflowResult], reached: str) -> str:
    """Return the channel where the person read, or else that reached the person or got furthest so far.

    An earlier step may be read after the next one was sent and ended the workflow (contract 3.6).
    """
    if reached == "read":
        reads = [
            (seen.at or _NEVER, step.channel or "")
            for outcome in outcomes
            for step in outcome.steps
            for seen in step.statuses
            if satisfies(seen.status, "read")
        ]
        if reads:
            return min(reads)[1]
    for outcome in outcomes:
        if outcome.channel is not None:
            return outcome.channel
    best = max(
        (step for outcome in outcomes for step in outcome.steps if step.channel is not None),
        key=lambda step: strength(step.status or ""),  # of equals the first step
        default=None,
    )
    if best is None or not satisfies(best.status or "", "delivered"):
        return ""
    return best.channel or ""


def _first(outcomes: list[WorkflowResult], status: str) -> float | None:
    """Return the first time of a status; `read` proves `delivered`."""
    moments = [
        seen.at
        for outcome in outcomes
        for step in outcome.steps
        for seen in step.statuses
        if seen.at is not None and satisfies(seen.status, status)
    ]
    if not moments:
        # A report may contain a status without a callback; its time is some 50 ms later (contract 3.6).
        moments = [o.ended_at for o in outcomes if o.ended_at is not None and o.has(status)]
    return min(moments).timestamp() if moments else None


def _code(outcomes: list[WorkflowResult]) -> str:
    """Return the code of the last failed step."""
    codes = [
        step.error_code
        for outcome in outcomes
        for step in outcome.steps
        if step.error_code is not None and (step.status in FAILED_STATUSES or not step.reached)
    ]
    return str(codes[-1]) if codes else ""


def _cost(outcomes: list[WorkflowResult]) -> tuple[str, str]:
    known = [(o.cost, o.currency or "") for o in outcomes if o.cost is not None]
    currencies = {currency for _, currency in known}
    if not known or len(currencies) > 1:
        return "", ""
    total = sum((cost for cost, _ in known), Decimal(0))
    return format(total, "f"), currencies.pop()
