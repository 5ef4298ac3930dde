"""The log of what happened."""

import json

from nexmo_dispatch_async.simulator.world.history import History, Record, RequestSeen, WorkflowEnded


def ended(number: int) -> WorkflowEnded:
    return WorkflowEnded(at_ms=number, dispatch_uuid="u", status="completed")


def test_the_newest_are_kept_and_the_rest_is_counted() -> None:
    history = History(2)
    for number in range(5):
        history.add(ended(number))

    lines = [json.loads(line) for line in history.transcript().splitlines()]

    assert len(history) == 2
    assert [record.at_ms for record in history] == [3, 4]
    assert lines[0] == {"record": "dropped", "count": 3}
    assert lines[1]["record"] == "workflow_ended"


def test_an_observer_hears_of_everything() -> None:
    heard: list[Record] = []
    history = History(1, heard.append)

    history.add(ended(1))
    history.add(ended(2))

    assert heard == [ended(1), ended(2)]


def test_loopback_ports_do_not_show() -> None:
    """The operating system chooses them; two equal runs would differ."""
    history = History(5)
    for url in (
        "http://127.0.0.1:4711/x",
        "http://[::1]:4711/x",
        "http://localhost:4711/x",
        "http://a:4711/x",
    ):
        history.add(RequestSeen(at_ms=0, method="POST", path="/", status=200, body=url))

    bodies = [json.loads(line)["body"] for line in history.transcript().splitlines()]

    assert bodies == ["http://127.0.0.1:*/x", "http://[::1]:*/x", "http://localhost:*/x", "http://a:4711/x"]


def test_a_record_is_found_by_its_place() -> None:
    """Places count from 1; those that were dropped or not yet taken are empty."""
    history = History(2)
    for at in range(3):
        history.add(ended(at))

    found = [history.at(place) for place in range(5)]

    assert [None if record is None else record.at_ms for record in found] == [None, None, 1, 2, None]


def test_a_cleared_history_goes_on_counting() -> None:
    history = History(10)
    history.add(ended(0))

    history.clear()
    history.add(ended(1))

    assert [record.at_ms for record in history] == [1]
    assert (history.total, history.cleared, history.at(1)) == (2, 1, None)
    assert history.since(1) == list(history)
