"""The facts about a workflow: the same ones for every order and any number of deliveries (contract 5.10)."""

import json
import random
from decimal import Decimal
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexmo_dispatch_async.channels import sms, viber
from nexmo_dispatch_async.models import Address
from nexmo_dispatch_async.tracking import Money, WorkflowResult, WorkflowState, conclude
from nexmo_dispatch_async.tracking.reducer import PlannedStep, ReportedEntry, observe, planned
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import Event, MessageStatus, parse_event
from tests.simulator.support import box, step, workflow
from tests.support.callbacks import (
    NUMBER,
    PSID,
    UUID,
    WHATSAPP_THEN_SMS,
    moment,
    report,
    result_of,
    state_of,
    status,
)
from tests.webhooks.payloads import inbound_body

MESSAGES = st.sampled_from(["m1", "m2", "M2", "m3"])
CHANNELS = st.sampled_from(["sms", "whatsapp", "viber_service_msg", "fax"])
STATUSES = st.sampled_from(["submitted", "delivered", "read", "rejected", "undeliverable", "seen", "Odd"])
TIMES = st.one_of(st.none(), st.integers(0, 5), st.integers(0, 900))
PRICES = st.sampled_from([None, "0.1", "0.10", "0.0333", "1E-2", "words", "1E20", "4E-20"])

a_status = st.builds(
    status,
    MESSAGES,
    STATUSES,
    TIMES,
    channel=CHANNELS,
    to=st.sampled_from([NUMBER, "+" + NUMBER, "447700900999"]),
    code=st.sampled_from([None, 1300, 1340]),
    price=PRICES,
    workflow=st.sampled_from([None, {"id": "w", "items_number": "2", "items_total": "2"}]),
)
a_report = st.builds(
    lambda how, at, entries, total: report(how, at, *entries, total=total),
    st.sampled_from(["completed", "error", "odd", None]),
    TIMES,
    st.lists(
        st.one_of(
            st.tuples(st.one_of(st.none(), MESSAGES), CHANNELS, STATUSES),
            st.tuples(MESSAGES, CHANNELS, STATUSES, st.sampled_from(["0.1", "0.0333"])),
        ),
        max_size=3,
    ),
    PRICES,
)
some_events = st.lists(st.one_of(a_status, a_status, a_report), max_size=7)
a_plan = st.sampled_from([None, WHATSAPP_THEN_SMS])


def everything(state: WorkflowState) -> tuple[bytes, WorkflowResult]:
    """All that can be seen of a state: its stored bytes, which tell "0.1" from "0.10", and its result."""
    return msgspec.json.encode(state, order="sorted"), conclude(state)


@given(some_events, a_plan, st.randoms(use_true_random=False))
def test_order_and_repetition_make_no_difference(
    events: list[Event], plan: Workflow | None, order: random.Random
) -> None:
    """Contract 5.10: any permutation with any duplicates ends in the same state and the same result."""
    shuffled = [*events, *order.choices(events, k=order.randrange(6))] if events else []
    order.shuffle(shuffled)

    assert everything(state_of(*shuffled, workflow=plan)) == everything(state_of(*events, workflow=plan))


@given(some_events, some_events, some_events, a_plan)
def test_merging_is_a_join(
    one: list[Event], two: list[Event], three: list[Event], plan: Workflow | None
) -> None:
    """Parts that were gathered apart, by two processes say, merge to the same in any grouping."""
    a, b, c = state_of(*one, workflow=plan), state_of(*two), state_of(*three)

    assert everything(a.merge(b).merge(c)) == everything(a.merge(b.merge(c)))
    assert everything(a.merge(b)) == everything(b.merge(a))
    assert everything(a.merge(a)) == everything(a)


@pytest.mark.parametrize("seed", range(3))
def test_invented_names_are_bounded_in_any_order(seed: int) -> None:
    """A peer that makes up messages and statuses fills no memory, and the same ones are kept in any order."""
    events = [status(f"m{n:04d}", f"word {n % 300:03d}") for n in range(600)]
    events += [status("m0000", f"word {n:03d}") for n in range(300)]
    shuffled = random.Random(seed).sample(events, len(events))
    half = state_of(*shuffled[:450]).merge(state_of(*shuffled[450:]))

    assert everything(half) == everything(state_of(*events))
    assert sorted(half.messages) == [f"m{n:04d}" for n in range(200)]
    assert len(half.messages["m0000"].statuses) == 200


@given(some_events, a_plan)
def test_a_state_survives_storage(events: list[Event], plan: Workflow | None) -> None:
    state = state_of(*events, workflow=plan)

    restored = msgspec.json.decode(msgspec.json.encode(state), type=WorkflowState)

    assert everything(restored) == everything(state)


@given(some_events, some_events)
def test_nothing_that_was_known_is_lost(known: list[Event], news: list[Event]) -> None:
    """Monotone: news never take back an end, a status or a message."""
    before, after = result_of(*known), result_of(*known, *news)

    assert after.ended >= before.ended
    assert after.has("delivered") >= before.has("delivered") or after.ended
    heard = {(s.message_uuid, seen.status) for s in before.steps for seen in s.statuses if seen.at}
    assert heard <= {(s.message_uuid, seen.status) for s in after.steps for seen in s.statuses}


PEOPLE = st.sampled_from(
    ["9990", "9991", "99920030", "99920700", "99931300", "99941190", "9995", "99960030", "99960700"]
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["sms", "whatsapp", "viber_service_msg", "messenger"]),
        PEOPLE,
        st.sampled_from([15, 600]),
        st.sampled_from(["delivered", "read"]),
    ),
    min_size=1,
    max_size=4,
)


@given(STEPS, st.integers(0, 5), st.booleans(), st.randoms(use_true_random=False))
def test_simulated_workflows_are_understood_in_any_order(
    wanted: list[tuple[str, str, int, str]], seed: int, reported: bool, order: random.Random
) -> None:
    """Contract 9.29: whatever the service does, each message is put to its step and the end is the same.

    Without the final report as well, since the timestamps tell the order.
    """
    steps = [
        step(
            channel,
            f"{person}{index:04}",
            **(dict[str, Any]() if last else {"within": within, "until": until}),
        )
        for index, (channel, person, within, until) in enumerate(wanted)
        for last in [index == len(wanted) - 1]
    ]
    parts = box(seed)
    run = parts.accept(*steps)
    events = [parse_event(delivery.body) for delivery in parts.run(4000)]
    if not reported:
        events = [event for event in events if isinstance(event, MessageStatus)]
    shuffled = [*events, *order.choices(events, k=5)]
    order.shuffle(shuffled)
    state = planned(run.dispatch_uuid, Workflow.from_json(json.dumps(workflow(*steps))))
    for event in shuffled:
        state = state.merge(observe(event) or state)

    result = conclude(state)

    heard = {event.message_uuid for event in events if isinstance(event, MessageStatus)}
    sent = [message.uuid if message.uuid in heard else None for message in run.messages]
    assert [s.message_uuid for s in result.steps] == sent + [None] * (len(steps) - len(sent))
    assert result.status == (run.failover.outcome if reported else None)
    if run.failover.outcome == "completed":
        assert result.reached
        assert result.elapsed is not None


def test_the_earliest_time_and_the_highest_price_of_a_status_count() -> None:
    """Two deliveries of one event (contract 5.10) that differ in detail still make one status."""
    events = [
        status("m", "delivered", 5, price="0.03"),
        status("M", "DELIVERED", 3, code=1300),
        status("m", "delivered", None, price="0.04"),
    ]

    (sent,) = state_of(*events).messages.values()

    assert list(sent.statuses) == ["delivered"]
    seen = sent.statuses["delivered"]
    assert (seen.at, seen.code) == (moment(3), 1300)
    assert seen.price is not None
    assert (seen.price.amount, seen.price.currency) == (Decimal("0.04"), "EUR")


def test_the_later_of_two_reports_counts() -> None:
    early, late = report("error", 10, total="0.1"), report("completed", 20, total="0.2")

    assert result_of(late, early) == result_of(early, late)
    assert result_of(late, early).status == "completed"


def test_two_reports_of_one_time_complete_each_other() -> None:
    """A redelivery (contract 5.10) that says less takes nothing away."""
    full = report("completed", 9, ("a", "whatsapp", "read", "0.06"), total="0.07")
    bare, priceless = report("completed", 9), report(None, 9, ("a", "whatsapp", "read"))

    assert result_of(bare, full) == result_of(full, bare, priceless) == result_of(full)


def test_events_of_no_workflow_say_nothing() -> None:
    """A plain Messages status has no links (contract 5.2); an inbound message is of no workflow (5.5)."""
    plain = status("m", "delivered", dispatch=None)
    inbound = parse_event(json.dumps(inbound_body({"type": "text", "text": "Hi"})))
    nameless = parse_event('{"template": "failover", "status": "completed"}')
    unknown = parse_event("{}")

    assert [observe(event) for event in (plain, inbound, nameless, unknown)] == [None] * 4


def test_a_status_of_the_v1_format_names_its_workflow_and_position() -> None:
    """Contract 5.8: `workflow: {id, items_number, items_total}`, all text."""
    event = status("m", "delivered", dispatch=None, workflow={"id": UUID, "items_number": "2"})

    state = observe(event)

    assert state is not None
    assert state.dispatch_uuid == UUID
    assert state.messages["m"].position == 2


def test_ids_compare_without_case() -> None:
    """Contract 5.11."""
    state = observe(status("ABC", "read", dispatch=UUID.upper()))

    assert state is not None
    assert (state.dispatch_uuid, list(state.messages)) == (UUID, ["abc"])


def test_states_of_two_workflows_do_not_merge() -> None:
    with pytest.raises(ValueError, match="two workflows"):
        WorkflowState("a").merge(WorkflowState("b"))


@pytest.mark.parametrize("price", ["1E+999999", "0E-999999", "words", None])
def test_a_senseless_price_is_no_price(price: str | None) -> None:
    """Contract 5.11: a price that makes no sense is None, not zero, and must not break the sum."""
    result = result_of(status("m", "delivered", price=price), status("n", "delivered", price="0.5"))

    assert result.cost == Decimal("0.5")


@pytest.mark.parametrize(
    ("price", "known"),
    [("9E20", True), ("1E21", False), ("1E-20", True), ("9E-21", False), ("-9E20", True), ("-1E21", False)],
)
def test_a_price_makes_sense_within_twenty_digits(price: str, known: bool) -> None:
    """So that any sum of prices is exact: both borders, and either sign."""
    result = result_of(status("m", "delivered", price=price))

    assert result.cost == (Decimal(price) if known else None)


def test_of_two_equal_prices_the_same_one_is_kept_in_any_order() -> None:
    """Redeliveries (contract 5.10) may write one amount in two ways, with and without a currency."""
    events = [
        status("m", "delivered", 1, usage={"price": price, "currency": currency})
        for price, currency in (("0.1", "EUR"), ("0.10", ""), ("0.10", "EUR"))
    ]

    kept = {str(state_of(*order).messages["m"].statuses["delivered"].price) for order in permutations(events)}

    assert kept == {str(Money(Decimal("0.10"), "EUR"))}


def test_an_entry_of_a_report_may_lack_everything() -> None:
    """Contract 5.4: no member is certain to be there; what is missing is unknown and no text."""
    entry: dict[str, Any] = {"dispatch_uuid": UUID, "template": "failover", "_links": {"messages": [{}]}}

    state = observe(parse_event(json.dumps(entry)))

    assert state is not None
    assert state.report is not None
    assert state.report.messages == (ReportedEntry(),)
    assert state.report.status is None


def test_of_two_plans_of_a_workflow_one_is_kept_whole_and_always_the_same() -> None:
    """A mistake of the caller: no plan is made up of both, and none takes the place of one that is known."""
    first, last = WHATSAPP_THEN_SMS.steps
    other_steps = first.until("delivered", within=60), last
    one, other = planned(UUID, WHATSAPP_THEN_SMS), planned(UUID, Workflow.failover(*other_steps))
    none = planned(UUID, None)

    assert one.merge(other) == other.merge(one)
    assert one.merge(other).plan in (one.plan, other.plan)
    for state in (one, other):
        assert state.merge(none).plan == none.merge(state).plan == state.plan


def test_what_was_asked_for_is_followed_and_what_was_heard_of_is_not() -> None:
    """And it stays followed, whichever of the two comes first."""
    asked, heard = planned(UUID, None), observe(status("m", "read"))
    assert heard is not None

    followed = [each.followed for each in (asked, heard, asked.merge(heard), heard.merge(asked))]

    assert followed == [True, False, True, True]


@pytest.mark.parametrize(("channel", "address"), [("messenger", PSID), ("viber_service_msg", NUMBER)])
def test_a_step_with_number_and_id_is_known_by_the_one_of_its_channel(channel: str, address: str) -> None:
    """Contract 3.3, 9.3: the id on Messenger, the number elsewhere, as the receiver's own events have it."""
    ends = msgspec.structs.replace(WHATSAPP_THEN_SMS.steps[0].to, type=channel, number=NUMBER, id=PSID)
    both = msgspec.structs.replace(WHATSAPP_THEN_SMS.steps[0], to=ends)

    (step,) = planned(UUID, Workflow.failover(both)).plan

    sent = observe(status("m", "read", to={"type": channel, "number": NUMBER, "id": PSID}))
    plain = observe(status("m", "read", channel="sms", to=address))
    assert sent is not None
    assert plain is not None
    assert step.recipient == sent.messages["m"].recipient == plain.messages["m"].recipient


@pytest.mark.parametrize(("length", "kept"), [(199, 199), (200, 200), (201, 200)])
def test_of_a_word_200_characters_are_kept(length: int, kept: int) -> None:
    """Ids, statuses and currencies are short: what a sender invents fills no store."""
    word = "x" * length
    event = status(word, word, dispatch=word, channel=word, usage={"price": "1", "currency": word})

    state = observe(event)

    assert state is not None
    ((uuid, sent),) = state.messages.items()
    ((name, seen),) = sent.statuses.items()
    words = [state.dispatch_uuid, uuid, name, sent.channel or "", str(seen.price and seen.price.currency)]
    assert [len(each) for each in words] == [kept] * 5


def test_half_surrogates_and_nuls_are_storable() -> None:
    """Contract 5.11: they survive parsing; not every store could write them."""
    event = parse_event(
        '{"message_uuid": "m\\ud800", "status": "odd\\udfff\\u0000"'
        ', "to": {"type": "x\\ud800", "number": "\\ud800"}, "usage": {"price": "0.1", "currency": "E\\ud800"}'
        f', "_links": {{"dispatch": {{"dispatch_uuid": "{UUID}"}}}}}}'
    )

    state = observe(event)

    assert state is not None
    assert msgspec.json.decode(msgspec.json.encode(state), type=WorkflowState) == state
    (sent,) = state.messages.values()
    assert list(sent.statuses) == ["odd\\udfff\\x00"]


def test_the_words_of_a_report_are_kept_in_one_form() -> None:
    """Contract 5.11: unknown ones in lower case, and half surrogates as what can be stored."""
    state = observe(report("ODD\ud800", 9, ("M", "FAX", "ODD\ud800")))

    assert state is not None
    assert state.report is not None
    assert state.report.status == "odd\\ud800"
    assert state.report.messages == (ReportedEntry("m", "fax", "odd\\ud800"),)


def test_a_step_that_names_neither_channel_nor_recipient_can_be_stored() -> None:
    """The rules name what is missing; following the workflow fails nowhere."""
    step = msgspec.structs.replace(WHATSAPP_THEN_SMS.steps[1], to=Address(type="unknown"))
    other = msgspec.structs.replace(step, to=Address(type="viber_service_message"))

    state = planned(UUID, Workflow((step, other)))

    assert state.plan == (PlannedStep("", ""), PlannedStep("viber_service_msg", ""))
    assert msgspec.json.decode(msgspec.json.encode(state), type=WorkflowState) == state


def test_no_personal_data_is_kept_or_shown() -> None:
    """Neither number, text, reference nor reason; a recipient is 16 bits, which many numbers share."""
    workflow = Workflow.failover(sms.text("Dear Ms Jansen", from_="31647356950", to=NUMBER))
    state = state_of(status("m", "rejected", client_ref="jansen-1", code=1300), workflow=workflow)

    stored = msgspec.json.encode(state).decode()

    for secret in (NUMBER, "31647356950", "Jansen", "jansen", "reason"):
        assert secret not in stored + repr(state) + repr(conclude(state))
    assert len(state.plan[0].recipient) == 4
    assert state.plan[0].recipient == state.messages["m"].recipient


def test_the_same_recipient_is_another_tag_in_another_workflow() -> None:
    """Rows of a store cannot be joined by recipient."""
    tags = {planned(str(n), WHATSAPP_THEN_SMS).plan[1].recipient for n in range(8)}

    assert len(tags) > 1


@pytest.mark.parametrize("written", [f" {NUMBER}", f"\t{NUMBER} ", f"+{NUMBER}"])
def test_recipients_compare_without_blanks(written: str) -> None:
    """Contract 3.3: a captured address came with a leading tab."""
    one, other = observe(status("m", "read", to=NUMBER)), observe(status("m", "read", to=written))

    assert one == other


def test_a_viber_recipient_may_be_an_id() -> None:
    """Contract 9.3: the phone number stands in `id` there, and the number wins when both are there."""
    by_id = Workflow.failover(viber.text("Hi", from_="VSM", to=NUMBER, to_as="id"))
    by_number = Workflow.failover(viber.text("Hi", from_="VSM", to=NUMBER))

    assert planned(UUID, by_id) == planned(UUID, by_number)
