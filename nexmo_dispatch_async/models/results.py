"""What tracking gives: the result of a workflow, of its steps and their statuses, as data.

`tracking.result` concludes it from the facts.
"""

from __future__ import annotations

import functools
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import Struct

from nexmo_dispatch_async.failover import satisfies, strongest
from nexmo_dispatch_core.vocabulary import FAILED_STATUSES, ErrorClass, classify_error

__all__ = ["Money", "StatusEntry", "StepHistory", "WorkflowResult"]


class Money(Struct, frozen=True):
    """An amount and its currency, which may be missing."""

    amount: Decimal
    currency: str | None = None


class StatusEntry(Struct, frozen=True):
    """A status that a message had.

    Attributes:
        status: As in contract 5.3; an unknown one as it came.
        at: By the service's clock; None when only the final report has the status, or the time is unreadable.
        error_code: The reason of a failure (contract 6.1).
    """

    status: str
    at: datetime | None = None
    error_code: int | None = None

    @property
    def error_class(self) -> ErrorClass:
        """`temporary`, `permanent`, `configuration`, `request` or `unknown` (contract 6.1)."""
        return classify_error(self.error_code)


class StepHistory(Struct, frozen=True):
    """The history of one step.

    Attributes:
        step: The number of the step from 1, as in findings; None for a message that fits no step.
        channel: The channel of the message, or of the plan; None when it is unknown.
        until: The status that the step waits for; None for the last step, and when the steps are unknown.
        message_uuid: The message of the step; None when it was not sent, or has no callback yet.
        statuses: In the order of the service's clock.
        reached: Whether the message got the status `until`, or `delivered` for the last step. This may be too
            late for the workflow, which continued then.
        price: The price of the message, None when it is unknown.
    """

    step: int | None
    channel: str | None
    until: str | None = None
    message_uuid: str | None = None
    statuses: tuple[StatusEntry, ...] = ()
    reached: bool = False
    price: Money | None = None

    @property
    def status(self) -> str | None:
        """The strongest status of the message (contract 5.3)."""
        return functools.reduce(strongest, (seen.status for seen in self.statuses), None)

    @property
    def failed(self) -> bool:
        """Whether the message was rejected or undeliverable, and was not delivered later."""
        return self.status in FAILED_STATUSES

    @property
    def error_code(self) -> int | None:
        """The error code of the first status that has one, None without such a status."""
        return next((seen.error_code for seen in self.statuses if seen.error_code is not None), None)


class WorkflowResult(Struct, frozen=True):
    """The result of a workflow, as far as it is known.

    Attributes:
        dispatch_uuid: The id of the workflow.
        ended: Whether the final report has arrived.
        status: The status of the final report: `completed` or `error`.
        reached: Whether a step reached its recipient, or the report says `completed`.
        channel: The channel that reached the recipient first.
        step: The number of that step, from 1.
        elapsed: The time from the first status of the workflow until the recipient was reached. For a last
            status without a callback the time of the final report counts, some 50 ms later (contract 3.6).
        cost: The known cost: the total of the final report, which includes a workflow fee, and the prices of
            messages that the total does not include, since a late delivery costs as well (contract 3.6, 5.4).
            None when no price is known, or the prices have several currencies.
        currency: The currency of the cost.
        started_at: The time of the first status of the workflow.
        ended_at: The timestamp of the final report.
        steps: One entry for each step in order, then messages that fit no step.
    """

    dispatch_uuid: str
    ended: bool = False
    status: str | None = None
    reached: bool = False
    channel: str | None = None
    step: int | None = None
    elapsed: timedelta | None = None
    cost: Decimal | None = None
    currency: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    steps: tuple[StepHistory, ...] = ()

    @property
    def known(self) -> bool:
        """Whether the tracker knows the steps of the workflow or a callback of it.

        It knows nothing of an id that is wrong, and of a workflow whose time is over (`keep`, `keep_open`).
        """
        return self.ended or bool(self.steps)

    def has(self, status: str) -> bool:
        """Return whether a message of any step was `delivered` or `read`; `read` implies `delivered`."""
        if self.status == "completed" and satisfies("delivered", status):
            return True
        return any(
            any(satisfies(seen.status, status) for seen in step.statuses)
            # The report may come before the status that ended the workflow (contract 10.5).
            or (step.reached and satisfies(step.until or "delivered", status))
            for step in self.steps
        )

    def __str__(self) -> str:
        """Return a short text, for example `reached on whatsapp after 12 s, EUR 0.035`."""
        if not self.known:
            return "nothing is known"
        if self.reached:
            words = f"reached on {self.channel}" if self.channel else "reached"
            if self.elapsed is not None:
                words += f" after {f'{self.elapsed.total_seconds():.3f}'.rstrip('0').rstrip('.')} s"
        else:
            words = "not reached"
        if self.cost is not None:
            words += f", {self.currency or 'cost'} {self.cost:f}"
        return words if self.ended else words + ", not ended"
