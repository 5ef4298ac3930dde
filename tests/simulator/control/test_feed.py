"""The views tell the engine's state, and a feed tells what changed: all of it, once, and never too much."""

import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.simulator.callbacks.bodies import Answer
from nexmo_dispatch_async.simulator.control.feed import Feed, View
from nexmo_dispatch_async.simulator.control.views import FaultView, Patch, Snapshot
from tests.simulator.support import EPOCH, Box, box, step

TO = "999500000001"


def view_of(parts: Box) -> View:
    """Return a view of an engine whose clock is moved by hand."""
    return View(parts.engine, epoch=EPOCH, speed=lambda: None, catch_up=lambda: None)


def test_a_workflow_tells_its_next_failover_and_its_cost() -> None:
    parts = box()
    run = parts.accept(step("whatsapp", "999100000001", within=600, until="read"), step("sms", TO))
    parts.run(5)
    view = view_of(parts)

    shown = view.snapshot().workflows[0]

    assert (shown.uuid, shown.deadline_ms, shown.current) == (run.dispatch_uuid, 600_000, 0)
    assert shown.cost == "0.0645"
    assert [s.phase for s in shown.steps] == ["current", "waiting"]


def test_an_ended_workflow_has_no_deadline_and_a_report() -> None:
    parts = box()
    parts.accept(step("whatsapp", "999000000001", within=600, until="read"), step("sms", TO))
    parts.run(20, Answer(503, b"later"))

    shown = view_of(parts).snapshot().workflows[0]

    assert (shown.outcome, shown.deadline_ms) == ("completed", None)
    assert [s.phase for s in shown.steps] == ["over", "unused"]
    assert shown.report is not None
    assert shown.report.status == 503


@pytest.mark.parametrize(
    ("status", "can"),
    [
        ("submitted", ["delivered", "read", "rejected", "undeliverable"]),
        ("delivered", ["read"]),
        ("read", []),
        ("rejected", []),
        ("undeliverable", ["delivered"]),
    ],
)
def test_what_a_hand_may_still_do(status: str, can: list[str]) -> None:
    parts = box()
    run = parts.accept(step("whatsapp", TO))
    parts.engine.intervene(run.messages[0].uuid, status)

    shown = view_of(parts).snapshot().workflows[0]

    assert shown.steps[0].message is not None
    assert shown.steps[0].message.can == can


def test_an_sms_is_never_read() -> None:
    parts = box()
    parts.accept(step("sms", TO))

    shown = view_of(parts).snapshot().workflows[0].steps[0].message

    assert shown is not None
    assert "read" not in shown.can


def test_a_callback_that_was_not_answered_tells_why_and_when_again() -> None:
    parts = box()
    parts.accept(step("sms", TO))
    parts.run(1, Answer(failure="timeout"))

    (shown,) = view_of(parts).callbacks()

    assert (shown.answer, shown.failure, shown.retry_at_ms) == (None, "timeout", 5_100)
    assert (shown.channel, shown.about) == ("sms", "submitted")


def test_callbacks_are_counted_by_place_and_bounded() -> None:
    parts = box()
    for _ in range(5):
        parts.accept(step("sms", TO))
    parts.run(1)
    view = view_of(parts)

    everything = view.callbacks()
    some = view.callbacks(limit=2)

    assert [c.id for c in everything] == sorted((c.id for c in everything), reverse=True)
    assert len({c.id for c in everything}) == 5
    assert some == everything[:2]
    assert view.callbacks(after=everything[2].id) == everything[:2]


def test_callbacks_name_their_workflow_and_are_found_by_it() -> None:
    """A status, a report and a reply; an inbound message that answers nothing belongs to no workflow."""
    parts = box()
    run = parts.accept(step("whatsapp", "999700000001"))
    other = parts.accept(step("sms", TO))
    parts.run(30, Answer(503))
    parts.engine.inbound(
        parts.application,
        to={"type": "sms", "number": "31600000000"},
        from_={"type": "sms", "number": TO},
        content="Hi",
    )
    parts.run(0)
    view = view_of(parts)

    everything, own = view.callbacks(), view.callbacks_of(run.dispatch_uuid)

    assert [(c.workflow, c.dispatch_uuid) for c in everything if c.about == ""][:1] == [(None, "")]
    assert own == [c for c in everything if c.workflow == 1]
    assert {c.kind for c in own} == {"message-status", "inbound-message", "final-report"}
    assert {c.dispatch_uuid for c in own} == {run.dispatch_uuid}
    assert view.callbacks_of(run.dispatch_uuid, after=own[2].id) == own[:2]
    assert view.callbacks_of(run.dispatch_uuid, limit=3) == own[:3]
    counts = {shown.number: shown.callbacks for shown in view.snapshot().workflows}
    assert counts == {1: len(own), 2: len(view.callbacks_of(other.dispatch_uuid))}


@pytest.mark.parametrize("version", ["v0.1", "v1"])
def test_a_reply_belongs_to_its_workflow_in_each_format(version: Literal["v0.1", "v1"]) -> None:
    parts = box()
    parts.settings.webhook_version = version
    run = parts.accept(step("viber_service_msg", TO))
    parts.engine.reply(run.messages[0].uuid, "On my way")
    parts.run(0)
    view = view_of(parts)

    (callback,) = view.callbacks()
    message = view.snapshot().workflows[0].steps[0].message

    assert (callback.kind, callback.workflow) == ("inbound-message", 1)
    assert message is not None
    assert [reply.text for reply in message.replies] == ["On my way"]


# ---- the feed


def test_a_feed_begins_with_everything_and_is_then_quiet() -> None:
    parts = box()
    parts.accept(step("sms", TO))
    feed = Feed(view_of(parts))

    first, second = feed.next(), feed.next()

    assert isinstance(first, Snapshot)
    assert len(first.workflows) == 1
    assert second is None


def test_a_patch_tells_each_changed_workflow_once() -> None:
    """Many records of one workflow are one view of it; what did not change is not told."""
    parts = box()
    parts.accept(step("sms", TO))
    parts.run(1)
    feed = Feed(view_of(parts))
    feed.next()

    run = parts.accept(step("messenger", "999000000001"))
    parts.run(30)
    patch = feed.next()

    assert isinstance(patch, Patch)
    assert [w.uuid for w in patch.workflows] == [run.dispatch_uuid]
    assert [c.about for c in patch.callbacks] == ["read", "completed", "delivered", "submitted"]


def test_a_moved_clock_is_news() -> None:
    parts = box()
    feed = Feed(view_of(parts))
    feed.next()

    parts.run(10)
    patch = feed.next()

    assert isinstance(patch, Patch)
    assert patch.clock.now_ms == 10_000


def test_faults_are_told_when_they_change() -> None:
    """Arming one is news, and so is each hit; otherwise a patch leaves them out."""
    parts, faults = box(), list[FaultView]()
    latency = FaultView(kind="latency", id=1, met=0, hits=0, spent=False)
    view = View(
        parts.engine, epoch=EPOCH, speed=lambda: None, catch_up=lambda: None, faults=lambda: list(faults)
    )
    feed = Feed(view)
    feed.next()

    faults.append(latency)
    armed = feed.next()
    parts.run(1)
    moved = feed.next()

    assert isinstance(armed, Patch)
    assert isinstance(moved, Patch)
    assert armed.faults == [latency]
    assert moved.faults is msgspec.UNSET


def test_who_falls_behind_starts_over() -> None:
    parts = box()
    feed = Feed(view_of(parts), behind=10)
    feed.next()

    for _ in range(20):
        parts.accept(step("sms", TO))

    assert isinstance(feed.next(), Snapshot)


def test_who_watches_a_clearing_starts_over() -> None:
    """Nothing of what was cleared is told again, and numbers go on."""
    parts = box()
    parts.accept(step("whatsapp", "999700000001"))
    parts.run(30)
    feed = Feed(view_of(parts))
    feed.next()

    parts.engine.clear()
    cleared = feed.next()
    parts.accept(step("sms", TO))
    after = feed.next()

    assert isinstance(cleared, Snapshot)
    assert (cleared.workflows, cleared.callbacks, cleared.totals.accepted) == ([], [], 0)
    assert isinstance(after, Patch)
    assert [(w.number, w.callbacks) for w in after.workflows] == [(2, 0)]


def test_a_feed_is_bounded() -> None:
    parts = box()
    feed = Feed(view_of(parts), limit=3, callbacks=2)
    feed.next()

    for _ in range(20):
        parts.accept(step("sms", TO))
    parts.run(1)
    patch = feed.next()

    assert isinstance(patch, Patch)
    assert [w.number for w in patch.workflows] == [20, 19, 18]
    assert len(patch.callbacks) == 2


def test_workflows_that_were_forgotten_are_not_told() -> None:
    """The engine keeps a number of ended workflows only."""
    parts = box(keep=2)
    feed = Feed(view_of(parts))
    feed.next()

    for _ in range(6):
        parts.accept(step("sms", "999000000001"))
    parts.run(10)
    patch = feed.next()

    assert isinstance(patch, Patch)
    assert {w.uuid for w in patch.workflows} == set(parts.engine.runs)
    assert len(patch.workflows) == 2


def plain(value: Any) -> Any:
    """Return a view as a page receives it."""
    return json.loads(msgspec.json.encode(value))


MOVES = st.lists(
    st.one_of(
        st.tuples(
            st.just("send"), st.sampled_from(["999000000001", "999313000001", "999500000001", "999700000001"])
        ),
        st.tuples(st.just("run"), st.sampled_from([0.05, 1.0, 15.0, 60.0])),
        st.tuples(st.just("look"), st.none()),
    ),
    max_size=25,
)


@given(MOVES)
def test_patches_add_up_to_the_snapshot(moves: list[tuple[str, Any]]) -> None:
    """A watcher that followed the patches has the same state as one that starts now."""
    parts = box()
    view = view_of(parts)
    feed = Feed(view)
    known: dict[str, Any] = {}
    callbacks: list[Any] = []

    for move, argument in [*moves, ("look", None)]:
        if move == "send":
            parts.accept(step("whatsapp", argument, within=30, until="read"), step("sms", argument))
        elif move == "run":
            parts.run(argument)
        elif (news := feed.next()) is not None:
            known.update({w["uuid"]: w for w in plain(news.workflows)})
            callbacks = plain(news.callbacks) + callbacks

    now = view.snapshot()
    assert known == {w["uuid"]: w for w in plain(now.workflows)}
    assert callbacks[:100] == plain(now.callbacks)
