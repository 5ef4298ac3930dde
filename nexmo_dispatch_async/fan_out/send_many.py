"""The work of `client.send_many()`: one outcome for each workflow, and a brake for all."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

from nexmo_dispatch_async.exceptions import InvalidWorkflowError
from nexmo_dispatch_async.fan_out.brake import Brake, Braking
from nexmo_dispatch_async.fan_out.fan_out import (
    FanOut,
    NotSent,
    SendOutcome,
    Unknown,
    keyed,
    outcome_of,
    outcome_of_interruption,
)
from nexmo_dispatch_async.interruption import Interruption, tell
from nexmo_dispatch_async.models.responses import Dispatch
from nexmo_dispatch_async.workflow import Workflow

__all__ = ["many"]


def many(
    items: Iterable[Any] | AsyncIterable[Any],
    send: Callable[[Workflow], Awaitable[Dispatch]],
    *,
    limit: int,
    brake: Brake | None,
    pause: Callable[[float], Awaitable[object]],
) -> FanOut[Any, SendOutcome[Any]]:
    """Return the iterator over the outcomes.

    Args:
        items: Workflows, or pairs of a key and a workflow.
        send: Sends one workflow.
        limit: Maximum number of workflows in flight and of outcomes not yet consumed, together.
        brake: When to pause and to stop; None for no brake.
        pause: Waits for a number of seconds.
    """
    braking = Braking(brake, pause)

    async def work(item: object) -> SendOutcome[Any]:
        key, workflow = keyed(item)
        trial = await braking.enter()
        if trial is None:
            stopped = braking.error()
            tell(stopped, workflow)
            return NotSent(workflow, stopped, key=key)
        try:
            outcome = await outcome_of(workflow, send(workflow), key)
        except BaseException:
            braking.abandon(trial)
            raise
        _learn(braking, trial, outcome)
        return outcome

    def cut_short(item: object, known: Interruption) -> SendOutcome[Any]:
        key, workflow = keyed(item)
        return outcome_of_interruption(workflow, known, key)

    return FanOut(items, work, limit=limit, cut_short=cut_short)


def _learn(braking: Braking, trial: int, outcome: SendOutcome[Any]) -> None:
    if isinstance(outcome, Unknown | NotSent):
        braking.leave(trial, outcome.error)
    elif outcome.outcome == "refused" and isinstance(outcome.error, InvalidWorkflowError):
        # A rule refused the workflow before the network: that says nothing about the service.
        braking.abandon(trial)
    else:
        braking.leave(trial, None)
