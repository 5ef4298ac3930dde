"""The failover rules of a workflow, once, as a state machine that the simulator and the tracking share.

It only decides: no clock, no network, no messages. The caller carries the decisions out.

Rule 1: a workflow is a row of steps; exactly one of them is the current one, and a step is sent at most once.
Rule 2: every step but the last waits for a status (`condition_status`) for a time (`expiry_time`). The time
        counts from the moment the step is sent; a status at the very instant of expiry is still in time.
Rule 3: only the current step decides. What is heard of earlier steps is recorded and changes nothing.
Rule 4: the end is final: nothing that comes afterwards is acted upon, it is only recorded.

What a status says depends on what the step waits for (contract 3.6, 5.3, 9.12-9.15):

    status heard            waits for "delivered"   waits for "read"   last step
    ----------------------  ----------------------  -----------------  ---------
    submitted               PROGRESS                PROGRESS           PROGRESS
    delivered               MET                     PROGRESS           MET
    read                    MET  (implies it)       MET                MET
    rejected, undeliverable FAILED                  FAILED             FAILED
    anything else           PROGRESS                PROGRESS           PROGRESS

and what follows from it depends on the phase of the step it was heard of:

    phase     it means                          MET         FAILED   EXPIRED   PROGRESS
    --------  --------------------------------  ----------  -------  --------  --------
    UNSENT    not reached yet                   -           -        -         -
    TIMED     current, and another one follows  completed   next     next      -
    LAST      current, and no other follows     completed   error    -         -
    PASSED    an earlier step, already left     -           -        -         -
    OVER      the workflow has ended            -           -        -         -

`next` sends the following step; `completed` and `error` end the workflow with that final status. The table is
`TRANSITIONS` below, cell by cell; a missing cell is a dash.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

import msgspec

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
    """What a step waits for, and how long: the `failover` object of contract 3.5."""

    condition_status: str
    expiry_time: float


class Send(NamedTuple):
    """Send this step now; steps count from 0."""

    step: int


class Arm(NamedTuple):
    """Call `expired(step)` after so many seconds, unless told to disarm."""

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
    """Where a step stands: the rows of the second table."""

    UNSENT = enum.auto()
    TIMED = enum.auto()
    LAST = enum.auto()
    PASSED = enum.auto()
    OVER = enum.auto()


class Meaning(enum.Enum):
    """What an event says: the columns of the second table."""

    MET = enum.auto()
    FAILED = enum.auto()
    EXPIRED = enum.auto()
    PROGRESS = enum.auto()


class Move(enum.Enum):
    """What follows: the cells of the second table."""

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

# Which statuses satisfy what a step waits for; reading implies delivery, and statuses may be reordered.
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


def strongest(known: str | None, heard: str) -> str:
    """Return the one of two statuses of a message that says more (contract 5.3); unknown ones say least."""
    if known is None or strength(heard) > strength(known):
        return heard
    return known


def strength(status: str) -> int:
    """Return how much a status of a message says (contract 5.3), 0 for an unknown one."""
    return _STRENGTH.get(status, 0)


def satisfies(heard: str, wanted: str) -> bool:
    """Say whether a status is what was waited for; reading implies delivery (contract 3.6)."""
    return heard in _SATISFIED_BY.get(wanted, ())


class FailoverState:
    """One workflow's place in the tables above.

    Args:
        conditions: One entry a step, in order; `None` for the last step, which waits for nothing.

    Raises:
        ValueError: There is no step, a step before the last has no condition, or the last has one.
    """

    __slots__ = ("conditions", "current", "outcome", "statuses")

    def __init__(self, conditions: Sequence[FailoverCondition | None]) -> None:
        self.conditions: tuple[FailoverCondition | None, ...] = tuple(conditions)
        if not self.conditions:
            raise ValueError("a workflow has at least one step")
        if self.conditions[-1] is not None or None in self.conditions[:-1]:
            raise ValueError("every step except the last has a condition, the last has none")
        #: the step that decides; -1 before `start()`
        self.current: int = -1
        #: how the workflow ended, None while it runs
        self.outcome: FinalStatus | None = None
        #: the strongest status heard of each step
        self.statuses: list[str | None] = [None] * len(self.conditions)

    def __repr__(self) -> str:
        place = self.outcome or f"step {self.current + 1} of {len(self.conditions)}"
        return f"<FailoverState {place}>"

    def start(self) -> tuple[Decision, ...]:
        """Send the first step; starting twice changes nothing."""
        return self._send_next() if self.current < 0 else ()

    def heard(self, step: int, status: str) -> tuple[Decision, ...]:
        """Say what follows when the message of `step` reaches `status`.

        Raises:
            IndexError: The workflow has no such step.
        """
        step, status = self._checked(step), status.strip().lower()
        self.statuses[step] = strongest(self.statuses[step], status)
        return self._apply(step, self._meaning(step, status))

    def expired(self, step: int) -> tuple[Decision, ...]:
        """Say what follows when the time of `step` has passed.

        Raises:
            IndexError: The workflow has no such step.
        """
        return self._apply(self._checked(step), Meaning.EXPIRED)

    def armed(self, step: int) -> bool:
        """Say whether the expiry of `step` still matters."""
        return self.phase(step) is StepPhase.TIMED

    def phase(self, step: int) -> StepPhase:
        """Say where `step` stands."""
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
        # The last step waits for nothing; being delivered ends the workflow (contract 3.6).
        wanted = "delivered" if condition is None else condition.condition_status
        return Meaning.MET if satisfies(status, wanted) else Meaning.PROGRESS

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
