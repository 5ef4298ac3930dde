"""Lanes: pure bookkeeping, so every order can be tried."""

from hypothesis import example, given
from hypothesis import strategies as st

from nexmo_dispatch_webhooks.inbox.lanes import Lanes
from nexmo_dispatch_webhooks.inbox.records import PendingEvent


@given(st.lists(st.integers(0, 2), max_size=12), st.randoms(use_true_random=False))
def test_any_schedule_keeps_each_lane_in_order(arrivals: list[int], random: "st.random.Random") -> None:  # type: ignore[name-defined]  # hypothesis does not export the name
    """Whatever is taken, finished, postponed and released in between, and nothing is left in the end."""
    lanes, now, under_way, finished = Lanes(), 0.0, list[PendingEvent](), list[PendingEvent]()
    todo = list(enumerate(arrivals, start=1))
    while todo or len(lanes):
        choice = random.randrange(5)
        if choice == 0 and todo:
            record_id, lane = todo.pop(0)
            lanes.add(PendingEvent(record_id, lane, now))
        elif choice == 1 and (item := lanes.take()) is not None:
            assert item.lane not in {other.lane for other in under_way}
            under_way.append(item)
        elif choice == 2 and under_way:
            finished.append(under_way.pop(random.randrange(len(under_way))))
            lanes.finish(finished[-1])
        elif choice == 3 and under_way:
            lanes.postpone(under_way.pop(random.randrange(len(under_way))), now + random.randrange(1, 5))
        else:
            now += 1
            lanes.release(now)

    for lane in set(arrivals):
        ids = [item.id for item in finished if item.lane == lane]
        assert ids == sorted(ids)
    assert len(finished) == len(arrivals)
    assert (lanes.oldest, lanes.next_due, lanes.ready, lanes.retrying) == (None, None, False, 0)
    assert repr(lanes) == "<Lanes: 0 events in 0 lanes, 0 ready>"


def test_what_is_due_later_waits_also_when_it_comes_from_the_store() -> None:
    """After a restart: the first of its lane is due in the future, so the second waits as well."""
    lanes = Lanes()
    lanes.add(PendingEvent(1, 7, 0.0, ready_at=10.0))
    lanes.add(PendingEvent(2, 7, 0.0))

    assert lanes.take() is None
    assert (lanes.next_due, lanes.retrying, lanes.oldest) == (10.0, 1, 0.0)
    assert lanes.release(9.9) == 0
    assert lanes.hurry(frozenset({2})) == 0
    assert lanes.hurry(frozenset({1, 2})) == 1
    first = lanes.take()

    assert first is not None
    assert (first.id, first.ready_at, lanes.take()) == (1, 0.0, None)


def postponed(*dues: float) -> Lanes:
    """A lane for each time, whose first event failed and is due then; ids and names of lanes count from 1."""
    lanes = Lanes()
    for number, due in enumerate(dues, start=1):
        lanes.add(PendingEvent(number, number, 0.0))
        item = lanes.take()
        assert item is not None
        item.attempts = 1
        lanes.postpone(item, due)
    return lanes


def taken(lanes: Lanes) -> list[int]:
    """The ids that are ready, in the order in which they are taken."""
    return [item.id for item in iter(lanes.take, None)]


def test_what_is_hurried_runs_once_and_the_others_when_they_are_due() -> None:
    """One of three that wait is asked for: it no longer waits, and the two others still do."""
    lanes = postponed(10.0, 20.0, 30.0)

    assert lanes.hurry(frozenset({1})) == 1

    assert (lanes.retrying, lanes.next_due, lanes.ready) == (2, 20.0, True)
    hurried = lanes.take()
    assert hurried is not None
    assert (hurried.id, hurried.attempts, hurried.due) == (1, 0, 0.0)
    assert (lanes.release(10.0), lanes.take()) == (0, None)
    assert (lanes.release(20.0), taken(lanes)) == (1, [2])
    assert (lanes.release(1e9), taken(lanes)) == (1, [3])
    assert (lanes.release(1e9), lanes.retrying, lanes.next_due) == (0, 0, None)


@given(st.permutations(range(1, 8)), st.sets(st.integers(1, 7)))
@example([1, 5, 2, 6, 7, 3, 4], {1})
def test_whichever_are_hurried_the_others_keep_their_times(dues: list[int], ids: set[int]) -> None:
    """The hurried ones come in order of arrival, the others in order of their times, each exactly once."""
    lanes = postponed(*map(float, dues))
    later = sorted((due, number) for number, due in enumerate(dues, start=1) if number not in ids)

    assert lanes.hurry(frozenset(ids)) == len(ids)

    assert taken(lanes) == sorted(ids)
    for due, number in later:
        assert lanes.next_due == due
        assert (lanes.release(due), taken(lanes)) == (1, [number])
    assert lanes.retrying == 0


def test_releasing_tells_how_many_became_ready() -> None:
    """All that are due by now, the earliest first, and no other."""
    lanes = postponed(30.0, 10.0, 20.0)

    assert (lanes.release(20.0), taken(lanes), lanes.retrying) == (2, [2, 3], 1)


def lane_of_three() -> Lanes:
    """Events 1 to 3 of one conversation, 4 of another, and 5 of a third one, whose attempt failed."""
    lanes = Lanes(places=3)
    lanes.add(PendingEvent(5, 9, 0.0, ready_at=50.0))
    for number, lane in ((1, 7), (2, 7), (4, 8), (3, 7)):
        lanes.add(PendingEvent(number, lane, 0.0))
    return lanes


def running(lanes: Lanes) -> PendingEvent:
    """Take the next event, which gets a place."""
    item = lanes.take()
    assert item is not None
    assert lanes.admit(item, ("handler",))
    return item


def test_what_is_abandoned_goes_with_all_that_waits_for_it() -> None:
    """Any process may handle the conversation from now on; its place is free, and other lanes stay."""
    lanes = lane_of_three()

    removed = lanes.abandon(running(lanes))

    assert [item.id for item in removed] == [1, 2, 3]
    assert [item.id for item in lanes] == [5, 4]
    assert [number in lanes for number in range(1, 6)] == [False, False, False, True, True]
    assert [item.id for item in lanes.abandon(running(lanes))] == [4]
    lanes.add(PendingEvent(6, 7, 0.0))
    assert running(lanes).id == 6


def test_only_what_is_being_handled_is_not_left_to_others() -> None:
    """It ends here; what waits behind it, in other lanes or for its next attempt, ends elsewhere."""
    lanes = lane_of_three()
    item = running(lanes)

    lanes.leave_to_others()

    assert [each.id for each in lanes] == [1]
    assert (lanes.ready, lanes.retrying, lanes.next_due, lanes.release(1e9)) == (False, 0, None, 0)
    lanes.finish(item)
    assert (len(lanes), lanes.take()) == (0, None)


def test_one_group_of_handlers_takes_half_of_32_places() -> None:
    """The default number; what ends, or waits for its next attempt, frees its place."""
    lanes = Lanes()
    for number in range(20):
        lanes.add(PendingEvent(number, number, 0.0))

    taken_places = [item for item in iter(lanes.take, None) if lanes.admit(item, ("handler",))]

    assert len(taken_places) == 16
    assert not lanes.ready
    lanes.finish(taken_places[0])
    lanes.postpone(taken_places[1], 9.0)
    assert len(taken(lanes)) == 2


def test_what_waits_for_its_share_keeps_its_turn_and_is_left_to_others_as_well() -> None:
    """A place that becomes free is not for the event that was taken last."""
    lanes = Lanes(places=2)
    for number in (1, 2, 3):
        lanes.add(PendingEvent(number, number, 0.0))
    first, second, third = iter(lanes.take, None)

    admitted = [lanes.admit(item, ("handler",)) for item in (first, second)]
    ready_before = lanes.ready
    lanes.finish(first)
    admitted.append(lanes.admit(third, ("handler",)))

    assert admitted == [True, False, False]
    assert (ready_before, lanes.ready) == (False, True)
    lanes.leave_to_others()
    assert (lanes.ready, len(lanes), lanes.take()) == (False, 0, None)
