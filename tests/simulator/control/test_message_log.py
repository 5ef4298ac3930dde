"""The log of messages is collected from the records on demand, not before."""

from nexmo_dispatch_async.simulator.callbacks.bodies import Answer
from nexmo_dispatch_async.simulator.control.message_log import MessageLog, Moment
from tests.simulator.support import box, step

TO = "999500000001"


def test_statuses_expiries_and_reports_are_remembered() -> None:
    parts = box()
    run = parts.accept(step("whatsapp", TO, within=60, until="read"), step("sms", "999313000001"))
    parts.run(70)
    story = MessageLog(parts.engine)

    story.catch_up()

    first, second = (message.uuid for message in run.messages)
    assert story.moments(first) == [Moment(at_ms=100, status="submitted")]
    assert [(m.status, m.code) for m in story.moments(second)] == [("rejected", 1300)]
    assert (story.expired(run.dispatch_uuid, 0), story.expired(run.dispatch_uuid, 1)) == (True, False)
    report = story.report(run.dispatch_uuid)
    assert report is not None
    assert report.status == 200


def test_catching_up_twice_changes_nothing() -> None:
    parts = box()
    run = parts.accept(step("sms", TO))
    parts.run(1)
    story = MessageLog(parts.engine)

    story.catch_up()
    story.catch_up()

    assert len(story.moments(run.messages[0].uuid)) == 1


def test_a_reply_belongs_to_the_newest_message_between_the_two() -> None:
    """Nothing in an inbound message names what it answers (contract 5.5): addresses and time have to do."""
    parts = box()
    old, other, new = (parts.accept(step("sms", to)) for to in (TO, "999500000002", TO))
    parts.engine.reply(old.messages[0].uuid, "Yes")
    parts.run(1)
    story = MessageLog(parts.engine)

    story.catch_up()

    replies = {run.number: [r.text for r in story.replies(run.messages[0].uuid)] for run in (old, other, new)}
    assert replies == {1: [], 2: [], 3: ["Yes"]}


def test_a_repeated_delivery_is_one_reply() -> None:
    parts = box()
    run = parts.accept(step("sms", TO))
    parts.engine.reply(run.messages[0].uuid, "Yes")
    parts.run(30, Answer(503))
    story = MessageLog(parts.engine)

    story.catch_up()

    assert len(story.replies(run.messages[0].uuid)) == 1


def test_memory_is_bounded() -> None:
    parts = box()
    runs = [parts.accept(step("sms", f"9995{number:08d}")) for number in range(30)]
    parts.run(1)
    story = MessageLog(parts.engine, keep=10)

    story.catch_up()

    assert [bool(story.moments(run.messages[0].uuid)) for run in runs] == [False] * 20 + [True] * 10
