"""What callbacks tell of a row, in any order and number."""

from __future__ import annotations

import functools
import random

import msgspec

from nexmo_dispatch_async.bulk.ledger.folding import join, news_of_event, outcomes_of, started_at
from nexmo_dispatch_async.bulk.ledger.records import News
from nexmo_dispatch_async.bulk.ledger.transitions import merge
from nexmo_dispatch_webhooks.events import Event, parse_event
from tests.bulk.callbacks import BEGIN, report, status, status_v1, uuid_of

FAILOVER = (
    status(1, 1, "submitted", at=0.1, client_ref="ref-1"),
    status(1, 1, "undeliverable", at=5, code=1190),
    status(1, 2, "submitted", at=5.2, channel="sms", price="0.07"),
    status(1, 2, "delivered", at=9, channel="sms", price="0.07"),
    report(
        1, "completed", ("whatsapp", "undeliverable"), ("sms", "delivered", "0.07"), at=9.1, price="0.072"
    ),
)


def told(event: Event) -> News:
    news = news_of_event(event, 0.0)
    assert news is not None
    return news


def fold(events: tuple[Event, ...]) -> News:
    return functools.reduce(merge, map(told, events))


def test_a_failover_in_order() -> None:
    """The row knows who was reached where, when, at what cost, and what failed before."""
    news = fold(FAILOVER)

    assert (news.ended, news.reached, news.channel, news.code) == (True, "delivered", "sms", "1190")
    assert (news.cost, news.currency, news.client_ref) == ("0.072", "EUR", "ref-1")
    assert (news.delivered_at, news.read_at, news.at) == (BEGIN + 9, None, BEGIN + 9.1)
    assert started_at(outcomes_of(news)) == BEGIN + 0.1


def test_order_and_number_of_callbacks_change_nothing() -> None:
    """Doubled and shuffled, alone or joined in groups first: one and the same row."""
    chance = random.Random(1)
    expected = fold(FAILOVER)
    for _ in range(200):
        events = [event for event in FAILOVER for _ in range(chance.randint(1, 3))]
        chance.shuffle(events)
        cut = chance.randint(1, len(events) - 1)

        assert merge(fold(tuple(events[:cut])), fold(tuple(events[cut:]))) == expected


def test_news_after_a_restart_join_those_before() -> None:
    """A callback that a new process hears alone adds to what the row knows, instead of replacing it."""
    news = merge(fold(FAILOVER[:4]), told(FAILOVER[4]))

    (outcome,) = outcomes_of(news)
    assert [step.status for step in outcome.steps] == ["undeliverable", "delivered"]


def test_a_row_that_was_sent_again_has_two_workflows() -> None:
    """After an operator's resend both cost, the person is reached once, and it ends when both have."""
    again = (
        status(2, 1, "read", at=60, price="0.05"),
        report(2, "completed", ("whatsapp", "read", "0.05"), at=61),
    )
    half = fold((*FAILOVER, again[0]))
    whole = fold((*FAILOVER, *again))

    assert (half.ended, whole.ended) == (False, True)
    assert (whole.reached, whole.cost, whole.dispatch_uuid) == ("read", "0.124", uuid_of(1))
    assert len(outcomes_of(whole)) == 2
    assert fold((*again, *FAILOVER)) == whole


def test_the_v1_form_tells_the_same() -> None:
    """A status of v1 names its workflow and its step in another place."""
    news = told(status_v1(3, 1, "read", at=4, client_ref="ref-3"))

    assert (news.dispatch_uuid, news.client_ref, news.reached, news.read_at) == (
        uuid_of(3),
        "ref-3",
        "read",
        BEGIN + 4,
    )


def test_being_read_proves_being_delivered_and_a_report_tells_what_no_status_did() -> None:
    """The times are the earliest proof of each."""
    assert told(status(1, 1, "read", at=30)).delivered_at == BEGIN + 30
    assert told(report(1, "completed", ("sms", "delivered"), at=50)).delivered_at == BEGIN + 50
    assert told(report(1, "error", ("sms", "rejected"), at=50)).delivered_at is None


def test_news_without_facts_yield_to_news_with_facts() -> None:
    """What was made by hand keeps its own rules, and mixing both does not depend on the order."""
    by_hand = News(dispatch_uuid=uuid_of(1), at=BEGIN + 99, reached="read", cost="9")
    facts = fold(FAILOVER)

    assert join(by_hand, by_hand) is None
    assert merge(by_hand, facts) == merge(facts, by_hand)
    assert (merge(by_hand, facts).cost, merge(by_hand, facts).at) == ("0.072", BEGIN + 99)


def test_events_of_no_workflow_are_no_news() -> None:
    """An inbound message tells nothing of a row."""
    inbound = news_of_event(status_of_no_workflow(), 0.0)

    assert inbound is None


def status_of_no_workflow() -> Event:
    body = b'{"message_uuid": "m", "to": {"type": "sms"}, "from": {"type": "sms"}, "status": "read"}'
    return parse_event(body)


def raw_status(word: str, **members: object) -> Event:
    """A status without any time of its own."""
    link = {"dispatch": {"dispatch_uuid": uuid_of(1)}}
    ends = {
        "to": {"type": "sms", "number": "999000000001"},
        "from": {"type": "sms", "number": "447418342140"},
    }
    body = {"message_uuid": uuid_of(11, "m"), "status": word, "_links": link, **ends, **members}
    return parse_event(msgspec.json.encode(body))


def test_a_callback_without_a_time_is_of_now() -> None:
    """And it says nothing of when a person was reached."""
    news = news_of_event(raw_status("delivered"), 77.0)

    assert news is not None
    assert (news.at, news.reached, news.channel, news.delivered_at) == (77.0, "delivered", "sms", None)
    assert started_at(outcomes_of(news)) is None


def test_before_the_end_the_channel_is_the_one_that_got_furthest() -> None:
    """A person is reached by what was delivered; what was only submitted reached no person."""
    submitted = fold((status(1, 1, "submitted", at=1), status(1, 2, "submitted", at=2, channel="sms")))
    delivered = fold((status(1, 1, "submitted", at=1), status(1, 2, "delivered", at=2, channel="sms")))
    read = fold((status(1, 1, "read", at=3), status(1, 2, "delivered", at=2, channel="sms")))
    both = fold((status(1, 1, "delivered", at=1), status(1, 2, "delivered", at=2, channel="sms")))

    assert [(it.reached, it.channel) for it in (submitted, delivered, read, both)] == [
        ("", ""),
        ("delivered", "sms"),
        ("read", "whatsapp"),
        ("delivered", "whatsapp"),
    ]
    assert (both.delivered_at, read.delivered_at, read.read_at) == (BEGIN + 1, BEGIN + 2, BEGIN + 3)


def test_at_the_end_the_channel_is_that_of_the_step_that_completed_the_workflow() -> None:
    """WhatsApp had delivered as well, and its step went on since it waited for more."""
    news = fold(
        (
            status(1, 1, "delivered", at=1),
            status(1, 2, "delivered", at=2, channel="sms"),
            report(1, "completed", ("whatsapp", "delivered"), ("sms", "delivered"), at=3),
        )
    )

    assert (news.reached, news.channel, news.ended) == ("delivered", "sms", True)


def test_a_channel_that_is_not_told_is_not_guessed() -> None:
    """A status may come without its addresses: no other step takes its place."""
    unnamed = raw_status("delivered", **{"to": None, "from": None})
    beside = status(1, 9, "rejected", at=1)

    assert [(it.reached, it.channel) for it in (fold((unnamed,)), fold((beside, unnamed)))] == [
        ("delivered", ""),
        ("delivered", ""),
    ]


def test_a_code_before_a_person_read_is_no_failure() -> None:
    """A warning of a message that arrived says nothing of why a person was not reached."""
    assert fold((status(1, 1, "submitted", at=1, code=1190), status(1, 1, "read", at=2))).code == ""


def test_the_code_is_that_of_the_last_failed_step() -> None:
    """A step that failed before a later one arrived stays in the list; one without a code has none."""
    twice = fold((status(1, 1, "rejected", at=1, code=1190), status(1, 2, "undeliverable", at=2, code=1360)))
    arrived = fold((status(1, 1, "rejected", at=1, code=1190), status(1, 2, "delivered", at=2)))
    silent = fold((status(1, 1, "rejected", at=1),))

    assert [it.code for it in (twice, arrived, silent)] == ["1360", "1190", ""]


def test_costs_in_two_currencies_are_no_sum() -> None:
    """Of one currency they are; a price without one is a sum without one."""
    first = report(1, "completed", ("sms", "delivered"), at=1, price="0.05")
    dollars = {"usage": {"price": "0.07", "currency": "USD"}}
    nothing = {"usage": {"price": "0.07"}}
    again = {"_links": {"dispatch": {"dispatch_uuid": uuid_of(2)}}, "message_uuid": uuid_of(21, "m")}

    mixed = fold((first, raw_status("delivered", **dollars, **again)))
    plain = fold((raw_status("delivered", **nothing),))

    assert (mixed.cost, mixed.currency) == ("", "")
    assert (plain.cost, plain.currency) == ("0.07", "")


def test_a_row_without_news_has_no_outcome() -> None:
    """Nor has one whose news were made by hand in another form."""
    by_hand = News(dispatch_uuid=uuid_of(1), at=1.0, steps=b"a text")

    assert outcomes_of(None) == outcomes_of(by_hand) == ()
    assert join(by_hand, by_hand) is None
    assert started_at(()) is None
    assert join(by_hand, told(FAILOVER[0])) is not None


def test_a_late_read_of_an_earlier_step_is_of_its_channel() -> None:
    """The SMS ended the workflow, and the person read on WhatsApp: the row says so."""
    news = fold(
        (
            status(1, 1, "delivered", at=2),
            status(1, 2, "delivered", at=605, channel="sms"),
            report(1, "completed", ("whatsapp", "delivered"), ("sms", "delivered"), at=606),
            status(1, 1, "read", at=900),
        )
    )

    assert (news.reached, news.channel, news.ended) == ("read", "whatsapp", True)
    assert (news.delivered_at, news.read_at) == (BEGIN + 2, BEGIN + 900)
