"""Which message belongs to which step: held against every assignment there is (contract 9.29)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import combinations, product

import pytest

from nexmo_dispatch_async.tracking.reducer import (
    MessageFacts,
    PlannedStep,
    ReportedEntry,
    ReportFacts,
    StatusFacts,
    WorkflowState,
)
from nexmo_dispatch_async.tracking.step_matching import match_steps

START = datetime(2025, 3, 11, 8, 21, tzinfo=UTC)
# A step, and what a message may look like: of the channel and the recipient, of one of them, of neither.
STEPS = [("sms", "a"), ("sms", "b"), ("whatsapp", "a")]
MESSAGES = [("sms", "a"), ("sms", "b"), ("whatsapp", "c"), (None, None), ("fax", "a")]


def sent(
    channel: str | None = "sms",
    recipient: str | None = "a",
    *,
    at: float | None = 0,
    position: int | None = None,
) -> MessageFacts:
    """A message that was submitted so many seconds after the start."""
    moment = None if at is None else START + timedelta(seconds=at)
    return MessageFacts(channel, recipient, position, {"submitted": StatusFacts(moment)})


def state(
    *plan: str, known: Mapping[str, MessageFacts], report: tuple[str | None, ...] | None = None
) -> WorkflowState:
    """What is known of a workflow; a step is its channel, or the channel and the recipient."""
    steps = tuple(PlannedStep(*([*each.split(), "a"][:2])) for each in plan)
    told = None if report is None else ReportFacts(messages=tuple(ReportedEntry(uuid) for uuid in report))
    return WorkflowState("w", plan=steps, messages={**known}, report=told)


def fit(message: tuple[str | None, str | None], step: tuple[str, str]) -> int:
    """How well they fit: by the channel, then by the recipient; without a channel it fits every step."""
    if message[0] is None:
        return 100
    return 0 if message[0] != step[0] else 101 + (message == step)


def best_by_brute_force(
    messages: tuple[tuple[str | None, str | None], ...], steps: tuple[tuple[str, str], ...]
) -> list[int | None]:
    """The step of each message in the best of all assignments that keep both orders."""
    best: tuple[int, list[int], list[int]] = (0, [], [])
    for count in range(1, min(len(messages), len(steps)) + 1):
        for rows, columns in product(
            combinations(range(len(messages)), count), combinations(range(len(steps)), count)
        ):
            fits = [fit(messages[row], steps[column]) for row, column in zip(rows, columns, strict=True)]
            found = (sum(fits), [-column for column in columns], [-row for row in rows])
            if all(fits) and found > best:
                best = found
    steps_of = {-row: -column for row, column in zip(best[2], best[1], strict=True)}
    return [steps_of.get(row) for row in range(len(messages))]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_messages_go_to_their_steps_as_well_as_they_can(size: int) -> None:
    """No assignment in order fits better, and no equally good one has earlier steps, or earlier messages."""
    for steps in product(STEPS, repeat=size):
        plan = [" ".join(step) for step in steps]
        for messages in (found for n in range(4) for found in product(MESSAGES, repeat=n)):
            known = {f"m{n}": sent(*message, at=n) for n, message in enumerate(messages)}

            places, left = match_steps(state(*plan, known=known))

            expected = best_by_brute_force(messages, steps)
            for row, column in enumerate(expected):
                if column is not None:
                    assert places[column] == f"m{row}", (plan, messages)
            assert sorted([*filter(None, places), *left]) == sorted(known), "each is somewhere, once"
            # What is left over is out of order with the rest: it may take a step that fits, or none.
            for column, uuid in enumerate(places):
                assert uuid is None or fit(messages[int(uuid[1:])], steps[column]), (plan, messages)


def test_a_stray_message_takes_no_step_from_the_next() -> None:
    """It fits no step, and the SMS after it fits both: the SMS is the first one."""
    known = {"stray": sent("fax", at=0), "sms-1": sent(at=1)}

    assert match_steps(state("sms", "sms", known=known)) == (["sms-1", None], ["stray"])


def test_a_uuid_that_the_report_names_twice_has_its_first_place() -> None:
    """The second entry names a message that is not known; one of the channel may still stand there."""
    known = {"a": sent(), "b": sent(at=1)}

    assert match_steps(state("sms", "sms", report=("a", "a"), known={"a": sent()})) == (["a", None], [])
    assert match_steps(state("sms", "sms", report=("a", "a"), known=known)) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("position", "steps"),
    [(1, 1), (2, 2), (100, 100), (101, 1), (0, 1), (-1, 1), (None, 1)],
)
def test_without_steps_positions_up_to_100_count(position: int | None, steps: int) -> None:
    """Contract 5.8; a position beyond is a mistake of the sender, and makes no steps."""
    places, left = match_steps(state(known={"m": sent(position=position)}))

    assert (len(places), places[-1], left) == (steps, "m", [])


def test_a_position_in_the_plan_decides_and_a_taken_one_does_not() -> None:
    """Contract 5.8: of two that name the first step the earlier one has it."""
    known = {"x": sent(at=5, position=1), "y": sent(at=9, position=1)}

    assert match_steps(state("sms", "sms", known=known)) == (["x", "y"], [])
    assert match_steps(state("sms", "sms", report=("r",), known=known)) == (["r", "x"], ["y"])
    assert match_steps(state("sms", known={"x": sent(position=2), "y": sent(position=1)})) == (["y"], ["x"])


def test_a_position_decides_before_the_channel() -> None:
    """Contract 5.8: what the service says of the order is no guess."""
    assert match_steps(state("whatsapp", "sms", known={"m": sent("sms", position=1)})) == (["m", None], [])


def test_a_position_right_after_the_report_is_a_step_of_its_own() -> None:
    """Without steps: an earlier message without a position comes after it."""
    known = {"x": sent(at=0), "y": sent(at=5, position=2)}

    assert match_steps(state(report=("r",), known=known)) == (["r", "y", "x"], [])


def test_without_steps_the_places_before_a_position_are_filled_in_order() -> None:
    """Contract 5.8: two messages of the v0.1 format came before the one that is the third."""
    known = {"c": sent(at=9, position=3), "d": sent(at=3), "b": sent(at=2), "a": sent(at=1)}

    assert match_steps(state(known=known)) == (["a", "b", "c", "d"], [])


def test_an_entry_of_the_report_without_uuid_is_not_filled() -> None:
    """The report tells the order of the steps, and which message that one was is not guessed."""
    known = {"a": sent(), "b": sent(at=1)}

    assert match_steps(state("sms", report=("a", None), known=known)) == (["a", None], ["b"])
    assert match_steps(state(report=(None, "b"), known={"m": sent()})) == ([None, "b", "m"], [])


def test_positions_come_before_times_and_times_before_uuids() -> None:
    """Without steps the messages are numbered: by position, by the first status, and then always alike."""
    known = {"c": sent(at=1), "b": sent(at=1), "a": sent(at=None)}
    positioned = {"y": sent(at=5, position=1), "z": sent(at=3, position=1)}

    assert match_steps(state(known={**known, **positioned})) == (["z", "y", "b", "c", "a"], [])


def test_the_earliest_status_of_a_message_is_its_time() -> None:
    """Of several statuses the first counts, and one whose time cannot be read counts for nothing."""
    late = {
        "read": StatusFacts(START + timedelta(seconds=9)),
        "submitted": StatusFacts(START),
        "seen": StatusFacts(None),
    }
    known = {"a": sent(at=5), "b": MessageFacts("sms", "a", None, late)}

    assert match_steps(state("sms", "sms", known=known)) == (["b", "a"], [])


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (("sms x", "sms b"), [None, "m"]),  # the recipient decides between two of one channel
        (("sms x", "sms y"), ["m", None]),  # written differently, it does not matter
        (("whatsapp b", "sms x"), [None, "m"]),  # and never makes up for another channel
    ],
)
def test_the_channel_comes_before_the_recipient(plan: tuple[str, ...], expected: list[str | None]) -> None:
    """Contract 9.29, also for what is out of order: equal times leave it for the second round."""
    assert match_steps(state(*plan, known={"m": sent("sms", "b")})) == (expected, [])
    first = {"z": sent("whatsapp", "b", at=None), "m": sent("sms", "b", at=None)}
    places, _ = match_steps(state("whatsapp b", *plan, known=first))
    assert places[1:] == expected
