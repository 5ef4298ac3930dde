"""The failover rules of a workflow as one state machine, shared by the simulator and the tracking.

The machine only decides: it has no clock, no network and no messages. The caller carries the decisions out.

Rule 1: a workflow is a sequence of steps; exactly one step is current, and a step is sent at most once.
Rule 2: every step but the last waits for a status (`condition_status`) for a time (`expiry_time`). The time
        counts from the send of the step; a status at the very instant of expiry is in time.
Rule 3: only the current step decides. Statuses of earlier steps are recorded and change nothing.
Rule 4: the end is final: later statuses are recorded and change nothing.

The meaning of a status depends on the condition of the step (contract 3.6, 5.3, 9.12-9.15):

    status                  waits for "delivered"   waits for "read"   last step
    ----------------------  ----------------------  -----------------  ---------
    submitted               PROGRESS                PROGRESS           PROGRESS
    delivered               MET                     PROGRESS           MET
    read                    MET  (implies it)       MET                MET
    rejected, undeliverable FAILED                  FAILED             FAILED
    anything else           PROGRESS                PROGRESS           PROGRESS

The decision depends on the phase of the step:

    phase     description                       MET         FAILED   EXPIRED   PROGRESS
    --------  --------------------------------  ----------  -------  --------  --------
    UNSENT    not sent yet                      -           -        -         -
    TIMED     current; another step follows     completed   next     next      -
    LAST      current; no step follows          completed   error    -         -
    PASSED    an earlier step                   -           -        -         -
    OVER      the workflow has ended            -           -        -         -

`next` sends the next step; `completed` and `error` end the workflow with that final status. `TRANSITIONS` is
this table, cell by cell; a missing cell is a dash.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_core.vocabulary import FAILED_STATUSES

__all__ = [
    "Arm",
    "Decision",
    "Disarm",
    "FailoverCondition",
    "FailoverState",
    "Finish",
    "Send",
    "satisfies",
    "strength",
    "strongest",
]

FinalStatus = Literal["completed", "error"]


class FailoverCondition(msgspec.Struct, frozen=True, gc=False):
    """The status that a step waits for, and for how long: the `failover` object of contract 3.5.

    Attributes:
        condition_status: `delivered` or `read`.
        expiry_time: Seconds from the send of the step.
    """

    condition_status: str
    expiry_time: float


class Send(NamedTuple):
    """Send this step now; steps count from 0."""

    step: int


class Arm(NamedTuple):
    """Call `expired(step)` after `seconds`, unless a `Disarm` of the step comes first."""

    step: int
    seconds: float


class Disarm(NamedTuple):
    """The expiry of this step no longer matters."""

    step: int


class Finish(NamedTuple):
    """The workflow has ended with this final status."""

    status: FinalStatus


Decision = Send | Arm | Disarm | Finish


class StepPhase(enum.Enum):
    """The phase of a step: the rows of the second table."""

    UNSENT = enum.auto()
    TIMED = enum.auto()
    LAST = enum.auto()
    PASSED = enum.auto()
    OVER = enum.auto()


class Meaning(enum.Enum):
    """The meaning of an event: the columns of the second table."""

    MET = enum.auto()
    FAILED = enum.auto()
    EXPIRED = enum.auto()
    PROGRESS = enum.auto()


class Move(enum.Enum):
    """The consequence of an event: the cells of the second table."""

    NEXT = enum.auto()
    COMPLETED = enum.auto()
    ERROR = enum.auto()


TRANSITIONS: Final[dict[tuple[StepPhase, Meaning], Move]] = {
    (StepPhase.TIMED, Meaning.MET): Move.COMPLETED,
    (StepPhase.TIMED, Meaning.FAILED): Move.NEXT,
    (StepPhase.TIMED, Meaning.EXPIRED): Move.NEXT,
    (StepPhase.LAST, Meaning.MET): Move.COMPLETED,
    (StepPhase.LAST, Meaning.FAILED): Move.ERROR,
}

# The statuses that satisfy a condition; `read` implies `delivered`, and statuses may arrive in any order.
_SATISFIED_BY: Final[dict[str, frozenset[str]]] = {
    "delivered": frozenset({"delivered", "read"}),
    "read": frozenset({"read"}),
}

# A late `delivered` after `undeliverable` must not be lost (contract 5.3), so success outranks failure.
_STRENGTH: Final[dict[str, int]] = {
    "submitted": 1,
    "rejected": 2,
    "undeliverable": 2,
    "delivered": 3,
    "read": 4,
}


def strongest(known: str | None, status: str) -> str:
    """Return the stronger of two statuses of a message (contract 5.3); an unknown status is the weakest."""
    if known is None or strength(status) > strength(known):
        return status
    return known


def strength(status: str) -> int:
    """Return the rank of a status of a message (contract 5.3), 0 for an unknown status."""
    return _STRENGTH.get(status, 0)


def satisfies(status: str, target: str) -> bool:
    """Return whether a status satisfies a condition; `read` implies `delivered` (contract 3.6)."""
    return status in _SATISFIED_BY.get(target, ())


class FailoverState:
    """The state of one workflow in the tables above.

    Args:
        conditions: One condition per step, in order; `None` for the last step, which waits for nothing.

    Raises:
        ValueError: There is no step, a step before the last has no condition, or the last step has one.
    """

    __slots__ = ("conditions", "current", "outcome", "statuses")

    def __init__(self, conditions: Sequence[FailoverCondition | None]) -> None:
        self.conditions: tuple[FailoverCondition | None, ...] = tuple(conditions)
        if not self.conditions:
            raise ValueError("a workflow has at least one step")
        if self.conditions[-1] is not None or None in self.conditions[:-1]:
            raise ValueError("every step except the last has a condition, the last has none")
        #: Index of the current step, from 0; -1 before `start()`.
        self.current: int = -1
        #: Final status of the workflow; None while it runs.
        self.outcome: FinalStatus | None = None
        #: The strongest status of each step so far.
        self.statuses: list[str | None] = [None] * len(self.conditions)

    @shows_unfinished
    def __repr__(self) -> str:
        place = self.outcome or f"step {self.current + 1} of {len(self.conditions)}"
        return f"<FailoverState {place}>"

    def start(self) -> tuple[Decision, ...]:
        """Return the decision to send the first step; a second call returns none."""
        return self._send_next() if self.current < 0 else ()

    def observe(self, step: int, status: str) -> tuple[Decision, ...]:
        """Record a status of the message of `step`; return the decisions that follow.

        Args:
            step: Index of the step, from 0.
            status: The status.

        Raises:
            IndexError: The workflow has no such step.
        """
        step, status = self._checked(step), status.strip().lower()
        self.statuses[step] = strongest(self.statuses[step], status)
        return self._apply(step, self._meaning(step, status))

    def expire(self, step: int) -> tuple[Decision, ...]:
        """Return the decisions that follow from the expiry of `step`.

        Args:
            step: Index of the step, from 0.

        Raises:
            IndexError: The workflow has no such step.
        """
        return self._apply(self._checked(step), Meaning.EXPIRED)

    def is_armed(self, step: int) -> bool:
        """Return whether the expiry of `step` still matters."""
        return self.phase(step) is StepPhase.TIMED

    def phase(self, step: int) -> StepPhase:
        """Return the phase of `step`."""
        if self.outcome is not None:
            return StepPhase.OVER
        if step != self.current:
            return StepPhase.PASSED if step < self.current else StepPhase.UNSENT
        return StepPhase.LAST if self.conditions[step] is None else StepPhase.TIMED

    def _checked(self, step: int) -> int:
        if not 0 <= step < len(self.conditions):
            raise IndexError(f"the workflow has {len(self.conditions)} steps, there is no step {step}")
        return step

    def _meaning(self, step: int, status: str) -> Meaning:
        if status in FAILED_STATUSES:
            return Meaning.FAILED
        condition = self.conditions[step]
        # The last step has no condition; `delivered` ends the workflow (contract 3.6).
        target = "delivered" if condition is None else condition.condition_status
        return Meaning.MET if satisfies(status, target) else Meaning.PROGRESS

    def _apply(self, step: int, meaning: Meaning) -> tuple[Decision, ...]:
        phase = self.phase(step)
        move = TRANSITIONS.get((phase, meaning))
        if move is None:
            return ()
        disarm: tuple[Decision, ...] = ()
        if phase is StepPhase.TIMED and meaning is not Meaning.EXPIRED:
            disarm = (Disarm(step),)
        if move is Move.NEXT:
            return (*disarm, *self._send_next())
        self.outcome = "completed" if move is Move.COMPLETED else "error"
        return (*disarm, Finish(self.outcome))

    def _send_next(self) -> tuple[Decision, ...]:
        self.current += 1
        condition = self.conditions[self.current]
        if condition is None:
            return (Send(self.current),)
        return (Send(self.current), Arm(self.current, condition.expiry_time))
