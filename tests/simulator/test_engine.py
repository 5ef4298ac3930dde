"""What happens after a workflow was accepted: the timelines of contract 10, on a clock moved by hand."""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.simulator.callbacks.bodies import Answer, Delivery
from nexmo_dispatch_async.simulator.engine import Engine, Run
from nexmo_dispatch_async.simulator.world.faults import Fault
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt, StatusReached
from nexmo_dispatch_async.simulator.world.people import Person
from tests.simulator.model import Told, expected_report
from tests.simulator.support import Box, box, step

STATUSES = {"submitted", "delivered", "read", "completed"}
NEVER_READS, SILENT, DEFAULT = "999100000001", "999500000001", "999000000001"


def whats(parts: Box, seconds: float) -> list[str]:
    return [what for _, what in parts.story(seconds)]


def test_condition_met(parts: Box) -> None:
    """Contract 10.1."""
    parts.accept(step("whatsapp", DEFAULT, within=600, until="read"), step("sms", DEFAULT))

    story = parts.story(600)

    assert [what for _, what in story] == [
        "whatsapp submitted",
        "whatsapp delivered",
        "whatsapp read",
        "report completed",
    ]
    assert story[0][0] == 0.1
    assert story[2][0] == 10
    assert 0.040 <= round(story[3][0] - story[2][0], 3) <= 0.065


def test_expiry(parts: Box) -> None:
    """Contract 10.2; the clock starts when the step is sent."""
    run = parts.accept(step("whatsapp", NEVER_READS, within=600, until="read"), step("sms", DEFAULT))

    assert whats(parts, 599.999) == ["whatsapp submitted", "whatsapp delivered"]
    story = parts.story(5)

    assert [what for _, what in story] == ["sms submitted", "sms delivered", "report completed"]
    assert story[0][0] == 600.1
    assert run.messages[1].sent_ms == 600_000


def test_a_status_at_the_instant_of_expiry_is_in_time(parts: Box) -> None:
    parts.accept(step("whatsapp", "999206000001", within=600, until="read"), step("sms", DEFAULT))

    assert whats(parts, 700)[-2:] == ["whatsapp read", "report completed"]


def test_immediate_failure(parts: Box) -> None:
    """Contract 10.3."""
    parts.accept(step("viber_service_msg", "999313000001", within=600), step("sms", DEFAULT))

    deliveries = parts.run(5)

    bodies = [json.loads(delivery.body) for delivery in deliveries]
    assert bodies[0]["error"] == {"code": 1300, "reason": "Not part of the provider network"}
    assert [b["status"] for b in bodies] == ["rejected", "submitted", "delivered", "completed"]
    assert [m["status"] for m in bodies[-1]["_links"]["messages"]] == ["rejected", "delivered"]
    assert bodies[-1]["usage"]["price"] == "0.0353"


def test_all_fail(parts: Box) -> None:
    """Contract 10.4."""
    parts.accept(step("viber_service_msg", "999313000001", within=600), step("sms", "999411900001"))

    assert whats(parts, 5) == [
        "viber_service_msg rejected",
        "sms submitted",
        "sms undeliverable",
        "report error",
    ]


def test_a_late_status_comes_after_the_report(parts: Box) -> None:
    """Contract 3.6: earlier steps may still report, and the report does not change."""
    parts.accept(step("sms", "999609000001", within=15), step("sms", DEFAULT))

    assert whats(parts, 899)[-1] == "report completed"
    assert whats(parts, 2) == ["sms delivered"]


def test_retries_carry_the_same_bytes(parts: Box) -> None:
    """Contract 10.6, 5.10."""
    parts.accept(step("sms", SILENT))

    attempts = parts.run(40, Answer(503, b"down"))

    assert [delivery.at_ms / 1000 for delivery in attempts] == [0.1, 5.1, 15.1, 35.1]
    assert len({(delivery.body, delivery.headers["Authorization"]) for delivery in attempts}) == 1
    log = [record for record in parts.history if isinstance(record, CallbackAttempt)]
    assert [(r.attempt, r.status, r.answer, r.retry_at_ms) for r in log[:2]] == [
        (1, 503, "down", 5_100),
        (2, 503, "down", 15_100),
    ]


def test_retries_can_be_signed_anew(parts: Box) -> None:
    """Contract 9.26, as a switch."""
    parts.settings.resign_retries = True
    parts.accept(step("sms", SILENT))

    attempts = parts.run(10, Answer(503))

    assert len(attempts) == 2
    log = [record.authorization for record in parts.history if isinstance(record, CallbackAttempt)]
    assert len(set(log)) == 2


def test_a_callback_is_given_up_after_a_day(parts: Box) -> None:
    parts.accept(step("sms", SILENT))

    attempts = parts.run(3 * 86_400, Answer(failure="connection refused"))

    assert attempts[-1].at_ms <= 86_400_100
    assert 100 < len(attempts) < 110
    assert parts.engine.next_at() is None


def test_a_receiver_that_says_no_is_not_asked_again(parts: Box) -> None:
    parts.accept(step("sms", SILENT))

    assert len(parts.run(3600, Answer(400))) == 1


def test_a_silent_last_step_never_ends(parts: Box) -> None:
    """Contract 9.12."""
    parts.accept(step("sms", SILENT))

    assert whats(parts, 1e6) == ["sms submitted"]
    assert parts.engine.in_flight == 1


def test_a_silent_last_step_is_closed_by_a_switch(parts: Box) -> None:
    parts.settings.close_silent_after = 3600
    parts.accept(step("sms", SILENT))
    parts.accept(step("sms", DEFAULT))

    story = parts.story(4000)

    assert [what for _, what in story if "report" in what] == ["report completed", "report error"]
    assert parts.engine.in_flight == 0


def test_a_message_without_any_status_is_reported_as_submitted(parts: Box) -> None:
    parts.people["1"] = Person(submitted_after=None, outcome="silent")
    parts.accept(step("sms", "1", within=15), step("sms", DEFAULT))

    (report,) = [json.loads(d.body) for d in parts.run(20) if b"template" in d.body]

    assert [m["status"] for m in report["_links"]["messages"]] == ["submitted", "delivered"]


@pytest.mark.parametrize(
    ("channel", "to", "from_"),
    [
        ("sms", "number", "number"),
        ("whatsapp", "number", "number"),
        ("viber_service_msg", "id", "number"),
        ("messenger", "id", "id"),
    ],
)
def test_a_reply_swaps_the_addresses(parts: Box, channel: str, to: str, from_: str) -> None:
    """Contract 5.5.1."""
    run = parts.accept(step(channel, "999700000001"))

    (inbound,) = [d for d in parts.run(60) if d.callback.kind == "inbound-message"]

    body = json.loads(inbound.body)
    assert inbound.url == "http://receiver/inbound"
    assert body["message"]["content"] == {"type": "text", "text": "Hello"}
    assert body["to"] == run.steps[0].sender
    assert list(body["to"]) == ["type", to]
    assert body["from"] == {"type": channel, from_: "999700000001"}


def test_a_reply_opens_the_care_window_for_a_day(parts: Box) -> None:
    """Contract 7.1."""
    parts.settings.care_window = True
    template = step("whatsapp", "447700900123")
    template["message"]["content"] = {"type": "template", "template": {"name": "ns:hello"}}
    text = step("whatsapp", "447700900123")

    run = parts.accept(template)
    parts.run(20)
    parts.accept(text)
    assert "whatsapp rejected" in whats(parts, 5)
    parts.engine.reply(run.messages[0].uuid, "Hi")
    parts.run(86_399)
    parts.accept(text)
    assert "whatsapp delivered" in whats(parts, 5)
    parts.accept(text)
    assert "whatsapp rejected" in whats(parts, 5)


def test_stop_ends_what_this_business_may_send_on_this_channel(parts: Box) -> None:
    """Contract 6.1, 1240: the recipient opted out."""
    person = "999800000001"
    parts.accept(step("sms", person))
    assert whats(parts, 30)[-1] == "sms STOP"

    again, other = parts.accept(step("sms", person)), parts.accept(step("whatsapp", person))
    bodies = [json.loads(d.body) for d in parts.run(5)]

    assert [b["error"]["code"] for b in bodies if "error" in b] == [1240]
    assert (again.messages[0].status, other.messages[0].status) == ("rejected", "delivered")


def test_a_script_answers_one_message_after_another(parts: Box) -> None:
    parts.people["1"] = Person(reply=("Who is this?", "OK"), reply_after=1)

    told: list[str] = []
    for _ in range(3):
        parts.accept(step("sms", "1"))
        told += [what for what in whats(parts, 10) if what.split(" ", 1)[1] not in STATUSES]

    assert told == ["sms Who is this?", "sms OK"]


def test_a_person_leaves_the_channel(parts: Box) -> None:
    """Contract 6.1, 1300: seconds count from the first message."""
    parts.people["1"] = Person(off_after=100)
    parts.accept(step("whatsapp", "1"))
    parts.run(99)
    parts.accept(step("whatsapp", "1"))
    assert "whatsapp delivered" in whats(parts, 2)

    parts.accept(step("whatsapp", "1"))

    assert "whatsapp rejected" in whats(parts, 2)


def test_an_application_has_one_account_on_each_platform(parts: Box) -> None:
    """Contract 7.5; an SMS may come from any number."""

    def other(channel: str) -> dict[str, Any]:
        raw = step(channel, DEFAULT)
        raw["from"] = {"type": channel, "number": "31612345678"}
        return raw

    parts.accept(step("whatsapp", DEFAULT))
    parts.accept(step("sms", DEFAULT))
    refused, sms = parts.accept(other("whatsapp")), parts.accept(other("sms"))
    codes = [json.loads(d.body).get("error", {}).get("code") for d in parts.run(5)]

    assert (refused.messages[0].status, sms.messages[0].status) == ("rejected", "delivered")
    assert [code for code in codes if code] == [1120]
    parts.settings.one_account = False
    assert parts.accept(other("whatsapp")).messages[0].status is None
    assert "whatsapp delivered" in whats(parts, 5)


def test_client_ref_is_echoed_in_every_status(parts: Box) -> None:
    """Contract 3.2."""
    parts.accept(step("sms", DEFAULT, client_ref="order-1"))

    bodies = [json.loads(delivery.body) for delivery in parts.run(5)]

    assert [body.get("client_ref") for body in bodies] == ["order-1", "order-1", None]


def test_the_link_is_a_switch(parts: Box) -> None:
    """Contract 9.2."""
    parts.settings.dispatch_link = "workflow"
    run = parts.accept(step("sms", SILENT))

    (status,) = parts.run(1)

    assert json.loads(status.body)["_links"] == {
        "workflow": {"href": f"/workflows/{run.dispatch_uuid}", "dispatch_uuid": run.dispatch_uuid}
    }


def test_an_application_without_urls_or_deleted_gets_nothing() -> None:
    nowhere, deleted = box(urls=False), box()
    nowhere.accept(step("sms", "999700000001"))
    deleted.accept(step("sms", "999700000001"))
    deleted.engine.applications.delete(deleted.application)

    assert nowhere.run(60) == deleted.run(60) == []
    assert nowhere.engine.in_flight == 0


def test_a_hand_moves_a_message(parts: Box) -> None:
    run = parts.accept(step("whatsapp", NEVER_READS, within=600, until="read"), step("sms", DEFAULT))
    parts.run(5)

    parts.engine.intervene(run.messages[0].uuid, "read")

    assert whats(parts, 1) == ["whatsapp read", "report completed"]


def test_the_script_does_not_contradict_a_hand(parts: Box) -> None:
    run = parts.accept(step("whatsapp", DEFAULT))
    parts.engine.intervene(run.messages[0].uuid, "read")

    assert whats(parts, 60) == ["whatsapp read", "report completed"]


@pytest.mark.parametrize(("code", "error"), [(1300, "Not part of the provider network"), (None, None)])
def test_a_hand_rejects(parts: Box, code: int | None, error: str | None) -> None:
    run = parts.accept(step("sms", SILENT))
    parts.engine.intervene(run.messages[0].uuid, "rejected", code=code)

    (rejected, report) = (json.loads(d.body) for d in parts.run(1))

    assert rejected.get("error", {}).get("reason") == error
    assert report["status"] == "error"


def test_a_delivery_can_be_put_back(parts: Box) -> None:
    parts.accept(step("sms", SILENT))
    delivery = parts.engine.next_delivery(1000)
    assert delivery is not None

    parts.engine.put_back(delivery)

    assert parts.engine.next_at() == parts.engine.now_ms
    assert parts.engine.next_delivery(1000) is delivery


def test_a_disarmed_expiry_does_not_keep_the_clock_busy(parts: Box) -> None:
    parts.accept(step("sms", DEFAULT, within=86_400), step("sms", DEFAULT))

    parts.run(5)

    assert parts.engine.next_at() is None
    assert parts.engine.settled


def test_the_clock_never_goes_back(parts: Box) -> None:
    parts.run(100)

    assert parts.engine.next_delivery(50_000) is None
    assert parts.engine.now_ms == 100_000
    assert repr(parts.engine) == "<Engine at 100 s, workflows in flight: 0>"


def test_ended_workflows_are_forgotten_in_time() -> None:
    parts = box(keep=1)
    first, second = parts.accept(step("sms", DEFAULT)), parts.accept(step("sms", DEFAULT))

    parts.run(10)

    assert list(parts.engine.runs) != [first.dispatch_uuid, second.dispatch_uuid]
    assert len(parts.engine.runs) == len(parts.engine.messages) == 1


def test_one_seed_one_story_and_ids_do_not_depend_on_neighbours() -> None:
    same, again, other = box(1), box(1), box(2)
    for parts in (same, again, other):
        parts.accept(step("sms", DEFAULT))
        parts.run(10)

    assert same.history.transcript() == again.history.transcript() != other.history.transcript()


def test_thousands_of_workflows_for_a_day_are_cheap(engine: Engine, parts: Box) -> None:
    """No task, no timer, no thread for a workflow: a heap entry each."""
    parts.application.urls.clear()
    for number in range(2_000):
        steps = (
            step("viber_service_msg", f"9991{number:08}", within=86_400, until="read"),
            step("sms", DEFAULT),
        )
        parts.accept(*steps)

    parts.run(90_000)

    assert engine.in_flight == 0
    assert engine.accepted == 2_000


whole_seconds = st.integers(1, 40)
persons = st.builds(
    Person,
    submitted_after=st.just(0),
    outcome=st.sampled_from(["delivered", "rejected", "undeliverable", "silent"]),
    outcome_after=whole_seconds,
    read_after=st.none() | whole_seconds,
)
raw_steps = st.tuples(
    st.sampled_from(["sms", "whatsapp", "viber_service_msg", "messenger"]),
    st.integers(15, 30),
    st.sampled_from(["delivered", "read"]),
    persons,
)
workflows = st.lists(raw_steps, min_size=1, max_size=4)
callback_faults = st.builds(
    Fault,
    kind=st.sampled_from(["late", "reorder", "duplicate", "unsigned", "receiver_down"]),
    status=st.sampled_from([None, 429, 503]),
    route=st.sampled_from(["*", "message-status", "final-report"]),
    recipient=st.sampled_from(["*", "44770090*0", "44770090*1"]),
    probability=st.sampled_from([1.0, 0.5]),
    skip=st.integers(0, 2),
    count=st.none() | st.integers(0, 4),
    seconds=st.sampled_from([0, 0.02, 5, 100]),
).filter(lambda fault: fault.kind != "receiver_down" or fault.count is not None)


def play(
    parts: Box, drawn: list[tuple[str, int, str, Person]]
) -> tuple[Told, Run, list[dict[str, Any]], list[Delivery]]:
    """Send a drawn workflow; return what the model says, the workflow, what arrived, all attempts."""
    raws: list[dict[str, Any]] = []
    for place, (channel, within, until, person) in enumerate(drawn):
        address = f"44770090{place:04}"
        parts.people[address] = person
        last = place == len(drawn) - 1
        raws.append(step(channel, address, within=None if last else within, until=until))
    run = parts.accept(*raws)
    deliveries = parts.run(200_000)
    arrived = {d.callback.number: d for d in deliveries if d.verdict is None}
    told = expected_report(raws, [person for *_, person in drawn])
    return told, run, [json.loads(d.body) for d in arrived.values()], deliveries


@given(workflows)
def test_any_workflow_ends_as_the_rules_say(drawn: list[tuple[str, int, str, Person]]) -> None:
    """Against a brute-force model that shares no code with the engine (contract 3.6)."""
    parts = box()

    told, run, bodies, deliveries = play(parts, drawn)

    reports = [body for body in bodies if "template" in body]
    assert [report["status"] for report in reports] == ([told.status] if told.status else [])
    for report in reports:
        assert [message["status"] for message in report["_links"]["messages"]] == told.messages
        paid = sum(Decimal(m["usage"]["price"]) for m in report["_links"]["messages"] if "usage" in m)
        assert Decimal(report["usage"]["price"]) == paid + Decimal("0.002")
    assert [message.sent_ms / 1000 for message in run.messages] == told.sent
    reached = [record for record in parts.history if isinstance(record, StatusReached)]
    assert len({(r.message_uuid, r.status) for r in reached}) == len(reached)
    assert [d.at_ms for d in deliveries] == sorted(d.at_ms for d in deliveries)


@given(workflows, st.lists(callback_faults, min_size=1, max_size=3))
def test_faults_of_callbacks_change_their_way_and_nothing_else(
    drawn: list[tuple[str, int, str, Person]], faults: list[Fault]
) -> None:
    """Late, swapped, doubled or refused: what happened is the same, every body arrives, once in the end."""
    plain, spoilt = box(), box()
    for fault in faults:
        spoilt.faults.add(fault)

    told, _, bodies, _ = play(plain, drawn)
    _, run, again, deliveries = play(spoilt, drawn)

    assert sorted(map(str, again)) == sorted(map(str, bodies))
    assert [message.sent_ms / 1000 for message in run.messages] == told.sent
    assert run.failover.outcome == told.status
    copies = Counter(d.callback.number for d in deliveries if d.callback.copy)
    assert all(count == 1 for count in copies.values())
    assert spoilt.engine.next_at() is None
