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
