"""Matches the messages of a workflow with its steps (contract 9.29).

The 202 names no messages, and callbacks name no step. In this order:

1. the final report lists the attempted messages in the order of the steps, and steps are never skipped;
2. in the v1 format a message has its position (contract 5.8);
3. otherwise the messages, by their first timestamp, belong to the steps in order, each to a step of the same
   channel, preferably with the same recipient.

Only the facts count; the order in which callbacks arrived does not.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

from nexmo_dispatch_async.tracking.reducer import MessageFacts, PlannedStep, WorkflowState

__all__ = ["match_steps"]

# A greater position is an error of the sender.
_MOST_STEPS = 100
_NEVER = datetime.max.replace(tzinfo=UTC)
_Found: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...]]
_NOTHING: _Found = (0, (), ())


def match_steps(state: WorkflowState) -> tuple[list[str | None], list[str]]:
    """Match the messages of a workflow with its steps.

    Returns:
        The message_uuid of each step, None where none is known; and the messages that fit no step. Without a
        plan there are as many steps as messages, or as the greatest position of a message.
    """
    reported = state.report.messages if state.report else ()
    places: list[str | None] = [None] * max(len(state.plan), len(reported))
    for index, entry in enumerate(reported):
        if entry.message_uuid not in places:
            places[index] = entry.message_uuid
    rest = sorted(
        (uuid for uuid in state.messages if uuid not in places), key=lambda uuid: _order(state, uuid)
    )
    for uuid in tuple(rest):
        index = (state.messages[uuid].position or 0) - 1
        if not state.plan and len(places) <= index < _MOST_STEPS:
            places += [None] * (index + 1 - len(places))
        if 0 <= index < len(places) and places[index] is None:
            places[index] = uuid
            rest.remove(uuid)
    if not state.plan:
        for index in range(len(reported), len(places)):
            if places[index] is None and rest:
                places[index] = rest.pop(0)
        return places + rest, []
    free = [index for index in range(len(state.plan)) if places[index] is None]
    for uuid, index in _align(state, rest, free):
        places[index] = uuid
        rest.remove(uuid)
    # Out of order: no timestamp could be read, or two are equal.
    for uuid in tuple(rest):
        open_ = [index for index in range(len(state.plan)) if places[index] is None]
        scores = [_fit(state.messages[uuid], state.plan[index]) for index in open_]
        if any(scores):
            places[open_[scores.index(max(scores))]] = uuid
            rest.remove(uuid)
    return places, rest


def _order(state: WorkflowState, uuid: str) -> tuple[int, datetime, str]:
    sent = state.messages[uuid]
    times = [seen.at for seen in sent.statuses.values() if seen.at is not None]
    return sent.position or len(state.messages), min(times, default=_NEVER), uuid


def _fit(sent: MessageFacts, step: PlannedStep) -> int:
    """How well a message fits a step; 0 when it does not."""
    if sent.channel is None:
        return 100
    if sent.channel != step.channel:
        return 0
    # The recipient decides between steps of one channel only: a service may write a number differently.
    return 102 if step.recipient in (sent.recipient, sent.user) else 101


def _align(state: WorkflowState, uuids: list[str], free: list[int]) -> list[tuple[str, int]]:
    """The best assignment that keeps both orders.

    Among equally good ones that with the earliest steps, and then that with the earliest messages.
    """
    # For the messages from here on, by the first step that they may take: the score, and the pairs that make
    # it. Their columns and rows are negated, since the greatest wins.
    below: list[_Found] = [_NOTHING] * (len(free) + 1)
    for row in reversed(range(len(uuids))):
        sent = state.messages[uuids[row]]
        found: list[_Found] = [_NOTHING] * (len(free) + 1)
        for column in reversed(range(len(free))):
            best = max(below[column], found[column + 1])
            if fit := _fit(sent, state.plan[free[column]]):
                score, columns, rows = below[column + 1]
                best = max(best, (score + fit, (-column, *columns), (-row, *rows)))
            found[column] = best
        below = found
    _, columns, rows = below[0]
    return [(uuids[-row], free[-column]) for row, column in zip(rows, columns, strict=True)]
