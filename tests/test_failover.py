"""The failover rules of contract 3.6, cell by cell, and what holds for any events in any order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.failover import (
    TRANSITIONS,
    Arm,
    Decision,
    Disarm,
    FailoverCondition,
    FailoverState,
    Finish,
    Meaning,
    Send,
    StepPhase,
    strongest,
)

READ_600 = FailoverCondition("read", 600)
DELIVERED_60 = FailoverCondition("delivered", 60)


def started(*conditions: FailoverCondition | None) -> FailoverState:
    state = FailoverState(conditions)
    state.start()
    return state


def test_the_first_step_is_sent_at_once_and_its_time_runs() -> None:
    state = FailoverState([READ_600, None])

    decisions = state.start()

    assert decisions == (Send(0), Arm(0, 600))
    assert state.start() == ()


def test_a_single_step_has_no_time() -> None:
    state = FailoverState([None])

    assert state.start() == (Send(0),)
    assert not state.is_armed(0)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(READ_600, "read"), (DELIVERED_60, "delivered"), (DELIVERED_60, "read")],
)
def test_a_condition_that_is_met_completes_the_workflow(condition: FailoverCondition, status: str) -> None:
    """Contract 3.6; read satisfies delivered."""
    state = started(condition, None)

    assert state.observe(0, status) == (Disarm(0), Finish("completed"))
    assert state.outcome == "completed"


@pytest.mark.parametrize("status", ["submitted", "delivered", "accepted", "seen", "", "READING"])
def test_a_status_that_says_less_than_wanted_changes_nothing(status: str) -> None:
    """Contract 9.15: a non-terminal status never triggers, an unknown one neither."""
    state = started(READ_600, None)

    assert state.observe(0, status) == ()
    assert state.is_armed(0)


@pytest.mark.parametrize("status", ["rejected", "undeliverable", " Rejected "])
def test_a_failing_step_gives_way_at_once(status: str) -> None:
    """Contract 3.6, 9.14."""
    state = started(READ_600, DELIVERED_60, None)

    assert state.observe(0, status) == (Disarm(0), Send(1), Arm(1, 60))


def test_an_expired_step_gives_way() -> None:
    state = started(READ_600, None)

    assert state.expire(0) == (Send(1),)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("delivered", "completed"), ("read", "completed"), ("rejected", "error"), ("undeliverable", "error")],
)
def test_the_last_step_ends_the_workflow(status: str, outcome: str) -> None:
    """Contract 3.6; 9.13: an earlier failure does not make it an error."""
    state = started(DELIVERED_60, None)
    state.observe(0, "rejected")

    decisions = state.observe(1, status)

    assert [str(decision.status) for decision in decisions if isinstance(decision, Finish)] == [outcome]


def test_a_silent_last_step_ends_nothing() -> None:
    """Contract 9.12."""
    state = started(None)

    assert state.observe(0, "submitted") == ()
    assert state.expire(0) == ()
    assert state.outcome is None


@pytest.mark.parametrize("late", ["delivered", "read", "rejected"])
def test_late_news_of_an_earlier_step_is_recorded_and_changes_nothing(late: str) -> None:
    state = started(READ_600, None)
    state.expire(0)

    assert state.observe(0, late) == ()
    assert state.expire(0) == ()
    assert state.statuses[0] == late


def test_nothing_follows_the_end() -> None:
    state = started(READ_600, None)
    state.observe(0, "read")

    assert state.observe(0, "rejected") == ()
    assert state.observe(1, "delivered") == ()
    assert state.phase(1) is StepPhase.OVER


def test_news_of_a_step_that_was_not_sent_changes_nothing() -> None:
    state = started(READ_600, None)

    assert state.observe(1, "delivered") == ()
    assert state.phase(1) is StepPhase.UNSENT


def test_an_unknown_condition_can_never_be_met() -> None:
    """What is enumerated is open on the way in: the tracking may hear of unknown conditions."""
    state = started(FailoverCondition("seen", 60), None)

    assert state.observe(0, "seen") == ()


@pytest.mark.parametrize(
    "conditions", [[], [READ_600], [None, None], [None, READ_600], [READ_600, None, None]]
)
def test_a_workflow_that_cannot_be_is_refused(conditions: list[FailoverCondition | None]) -> None:
    with pytest.raises(ValueError, match="step"):
        FailoverState(conditions)


@pytest.mark.parametrize("step", [-1, 2])
def test_a_step_that_does_not_exist_is_refused(step: int) -> None:
    state = started(READ_600, None)

    with pytest.raises(IndexError, match="2 steps"):
        state.observe(step, "read")
    with pytest.raises(IndexError, match="2 steps"):
        state.expire(step)


def test_a_late_delivery_outranks_a_failure() -> None:
    """Contract 5.3: carriers do that, and it must not be lost."""
    assert strongest("undeliverable", "delivered") == "delivered"
    assert strongest("delivered", "undeliverable") == "delivered"
    assert strongest(None, "submitted") == "submitted"
    assert strongest("submitted", "whatever") == "submitted"


@pytest.mark.parametrize(
    ("known", "heard", "kept"),
    [
        ("rejected", "undeliverable", "rejected"),
        ("undeliverable", "rejected", "undeliverable"),
        ("delivered", "delivered", "delivered"),
        ("seen", "odd", "seen"),
        (None, "seen", "seen"),
        ("seen", "submitted", "submitted"),
        ("submitted", "seen", "submitted"),
        ("undeliverable", "submitted", "undeliverable"),
        ("submitted", "undeliverable", "undeliverable"),
        ("rejected", "submitted", "rejected"),
        ("submitted", "rejected", "rejected"),
        ("delivered", "read", "read"),
    ],
)
def test_of_two_statuses_the_stronger_is_kept_and_of_equals_the_first(
    known: str | None, heard: str, kept: str
) -> None:
    """Contract 5.3, 5.11: an unknown status says least, and still more than nothing."""
    assert strongest(known, heard) == kept


def test_a_step_stands_where_the_table_says() -> None:
    """Each row of the table, of a workflow that has left its first step."""
    state = started(READ_600, DELIVERED_60, None)
    before = [state.phase(step) for step in range(3)]
    state.expire(0)
    between = [state.phase(step) for step in range(3)]
    state.expire(1)
    last = [state.phase(step) for step in range(3)]
    state.observe(2, "delivered")

    assert before == [StepPhase.TIMED, StepPhase.UNSENT, StepPhase.UNSENT]
    assert between == [StepPhase.PASSED, StepPhase.TIMED, StepPhase.UNSENT]
    assert last == [StepPhase.PASSED, StepPhase.PASSED, StepPhase.LAST]
    assert [state.phase(step) for step in range(3)] == [StepPhase.OVER] * 3


def test_state_shows_in_repr() -> None:
    state = started(READ_600, None)

    assert repr(state) == "<FailoverState step 1 of 2>"
    state.observe(0, "read")
    assert repr(state) == "<FailoverState completed>"


def test_every_transition_of_the_table_can_happen() -> None:
    """No cell is dead: each is reached by a workflow of two steps."""
    reached: set[tuple[StepPhase, Meaning]] = set()
    for last in (False, True):
        for event in ("read", "rejected", "expire"):
            state = started(READ_600, None)
            if last:
                state.expire(0)
            current = state.current
            phase = state.phase(current)
            decisions = state.expire(current) if event == "expire" else state.observe(current, event)
            if decisions:
                meaning = {"read": Meaning.MET, "rejected": Meaning.FAILED, "expire": Meaning.EXPIRED}[event]
                reached.add((phase, meaning))

    assert reached == set(TRANSITIONS)


statuses = st.sampled_from(
    ["submitted", "delivered", "read", "rejected", "undeliverable", "unknown", "READ "]
)
conditions = st.lists(
    st.builds(FailoverCondition, st.sampled_from(["delivered", "read"]), st.integers(15, 86400)), max_size=4
).map(lambda some: [*some, None])
events = st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), statuses)), max_size=40)


def play(state: FailoverState, happenings: list[tuple[int, str | None]]) -> list[Decision]:
    decisions: list[Decision] = list(state.start())
    for step, status in happenings:
        if step < len(state.conditions):
            decisions.extend(state.expire(step) if status is None else state.observe(step, status))
    return decisions


@given(conditions, events)
def test_no_step_is_sent_twice_and_steps_go_in_order(
    steps: list[FailoverCondition | None], happenings: list[tuple[int, str | None]]
) -> None:
    decisions = play(FailoverState(steps), happenings)

    sent = [decision.step for decision in decisions if isinstance(decision, Send)]
    assert sent == list(range(len(sent)))


@given(conditions, events)
def test_there_is_one_end_and_nothing_after_it(
    steps: list[FailoverCondition | None], happenings: list[tuple[int, str | None]]
) -> None:
    decisions = play(FailoverState(steps), happenings)

    ends = [place for place, decision in enumerate(decisions) if isinstance(decision, Finish)]
    assert ends in ([], [len(decisions) - 1])


@given(conditions, events)
def test_every_expiry_is_armed_once_and_matters_for_the_current_step_only(
    steps: list[FailoverCondition | None], happenings: list[tuple[int, str | None]]
) -> None:
    state = FailoverState(steps)

    decisions = play(state, happenings)

    armed = [decision.step for decision in decisions if isinstance(decision, Arm)]
    assert armed == sorted(set(armed))
    mattering = [step for step in range(len(steps)) if state.is_armed(step)]
    assert mattering in ([], [state.current])


@given(conditions, events)
def test_hearing_everything_twice_is_hearing_it_once(
    steps: list[FailoverCondition | None], happenings: list[tuple[int, str | None]]
) -> None:
    """Callbacks are delivered at least once (contract 5.10): a duplicate decides nothing."""
    once, twice = FailoverState(steps), FailoverState(steps)

    decisions = play(once, happenings)
    doubled = play(twice, [event for event in happenings for _ in range(2)])

    assert doubled == decisions
    assert twice.statuses == once.statuses


@given(conditions, events, statuses)
def test_statuses_only_grow(
    steps: list[FailoverCondition | None], happenings: list[tuple[int, str | None]], status: str
) -> None:
    state = FailoverState(steps)
    play(state, happenings)
    before = state.statuses[0]

    state.observe(0, status)

    assert before is None or strongest(before, state.statuses[0] or "") == state.statuses[0]
