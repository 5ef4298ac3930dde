"""What a report says of one row: why a person was not reached, in words, and in which group it counts."""

from __future__ import annotations

from functools import reduce
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.bulk.ledger.folding import news_of_event
from nexmo_dispatch_async.bulk.ledger.records import News, Row
from nexmo_dispatch_async.bulk.ledger.transitions import merge
from nexmo_dispatch_async.bulk.report.counting import (
    BARS,
    CHANNEL_WORDS,
    MOST,
    OTHER,
    Counting,
    rounded_up,
    who,
    why_missed,
)
from nexmo_dispatch_async.bulk.report.figures import Bar, Flow, Times
from nexmo_dispatch_webhooks.events import Event, parse_event
from tests.bulk.callbacks import report, status, uuid_of


def row(*events: Event, key: str = "447700900123", **members: Any) -> Row:
    """A row, sent unless it says otherwise, with the news of events."""
    told = [news for event in events if (news := news_of_event(event, 0.0)) is not None]
    news = reduce(merge, told) if told else None
    settings = {
        "id": 1,
        "address": key,
        "fields": {},
        "bucket": "b",
        "state": "sent",
        "news": news,
        **members,
    }
    return Row(key=key, **settings)


def counted(*rows: Row, missed: int = 10, with_addresses: bool = False) -> Counting:
    counting = Counting(missed=missed, with_addresses=with_addresses)
    for each in rows:
        counting.add(each)
    return counting


GONE = status(1, 1, "undeliverable", at=1, code=1190)
ENDED = report(1, "error", ("whatsapp", "undeliverable"), at=2)


@pytest.mark.parametrize(
    ("missed", "why"),
    [
        (row(state="pending"), "Not sent yet"),
        (row(state="sending"), "Being sent"),
        (row(state="skipped"), "Skipped"),
        (row(state="skipped", skip="hold_out"), "Held out to compare with"),
        (row(state="unknown"), "Unknown whether it was sent: no answer came"),
        (row(state="refused"), "Refused: no reason given"),
        (row(state="refused", error="OddError"), "Refused: oddError"),
        (row(state="refused", code="1190"), "Refused: the number is no longer in use (1190)"),
        (row(state="refused", code="odd", error="OddError"), "Refused: oddError (odd)"),
        (
            row(state="refused", error="BadRequestError: Invalid params (from)"),
            "Refused: the service found a fault in the message: Invalid params (from)",
        ),
        (
            row(state="refused", code="1020", error="BadRequestError: Invalid params [1020] (from)"),
            "Refused: a parameter has an invalid value: Invalid params [1020] (from) (1020)",
        ),
        (row(), "Accepted, and nothing heard since"),
        (row(news=News(dispatch_uuid="d", at=1.0)), "On its way: no end yet"),
        (row(news=News(dispatch_uuid="d", at=1.0, ended=True)), "Not delivered, no reason given"),
        (
            row(news=News(dispatch_uuid="d", at=1.0, ended=True, code="1190")),
            "Not delivered: the number is no longer in use (1190)",
        ),
        (row(status(1, 1, "submitted", at=1)), "WhatsApp: submitted; no end yet"),
        (row(GONE), "WhatsApp: undeliverable, the number is no longer in use (1190); no end yet"),
        (row(GONE, ENDED), "WhatsApp: undeliverable, the number is no longer in use (1190)"),
        (
            row(
                *(status(1, 1, "submitted", at=1), status(1, 2, "submitted", at=2, channel="sms")),
                *(
                    status(1, 3, "submitted", at=3, channel="mms"),
                    status(1, 4, "rejected", at=4, channel="x"),
                ),
            ),
            "WhatsApp, SMS and MMS: submitted; x: rejected; no end yet",
        ),
    ],
)
def test_why_a_person_was_not_reached(missed: Row, why: str) -> None:
    """Step by step where callbacks tell of steps, or else from a small set of phrases."""
    assert why_missed(missed) == why


@pytest.mark.parametrize(
    ("key", "shown"),
    [("447700900123", "…23"), ("anna@mail.example", "…le"), ("order-17", "order-17")],
)
def test_a_key_is_shown_without_the_person(key: str, shown: str) -> None:
    """Unless the owner of the list asks for it."""
    assert who(row(key=key), with_addresses=False) == shown
    assert who(row(key=key), with_addresses=True) == key
    for asked, expected in ((False, shown), (True, key)):
        (missed,) = counted(row(key=key, line=4), with_addresses=asked).missed
        assert (missed.who, missed.line, missed.id, missed.state) == (expected, 4, 1, "sent")


def test_only_so_many_rows_are_listed_and_all_are_counted() -> None:
    """With their reasons, the most frequent first, and equal ones by name."""
    rows = [*(row(state="pending") for _ in range(2)), row(state="sending"), row(), row(GONE, state="sent")]

    counting = counted(*rows, missed=2)

    assert (len(counting.missed), counting.missed_rows, counting.rows) == (2, 5, 5)
    assert [(reason.why, reason.rows) for reason in counting.reasons()] == [
        ("Not sent yet", 2),
        ("Accepted, and nothing heard since", 1),
        ("Being sent", 1),
        ("On its way: no end yet", 1),
    ]


def test_each_channel_has_its_usual_name_and_each_bar_its_end() -> None:
    """The bars of a report are not to move from one campaign to the next."""
    assert CHANNEL_WORDS == {
        "sms": "SMS",
        "mms": "MMS",
        "whatsapp": "WhatsApp",
        "viber_service_msg": "Viber",
        "messenger": "Messenger",
    }
    assert BARS == (10, 60, 300, 900, 3600, 14_400, 86_400, 259_200)


@pytest.mark.parametrize(
    ("seconds", "rounded"),
    [(3599.9, 3600), (3600, 3600), (3600.5, 3660), (86_399, 86_400), (86_400, 86_400), (86_401, 90_000)],
)
def test_the_unit_of_a_time_changes_at_an_hour_and_at_a_day(seconds: float, rounded: float) -> None:
    """A time is never shown shorter than it was."""
    assert rounded_up(seconds) == rounded


def delivered(after: float, number: int = 1) -> Row:
    """A row whose message was delivered so long after it was submitted."""
    return row(status(number, 1, "submitted", at=0), status(number, 1, "delivered", at=after), id=number)


def test_times_are_nearest_ranks_in_their_bars() -> None:
    """Of ten, the fifth is the median and the ninth the 90th percentile; the longest time is two months."""
    seconds = (1, 10, 11, 60, 61, 300, 301, 7200, 200_000, 8_000_000)
    counting = counted(*(delivered(after, number) for number, after in enumerate(seconds, start=1)))

    times = counting.to_delivered.times()

    assert (times.count, times.median, times.p90, times.longest) == (10, 61, 201_600, 60 * 86_400)
    assert times.bars == (
        *(Bar(10, 2), Bar(60, 2), Bar(300, 2), Bar(900, 1), Bar(3600, 0), Bar(14_400, 1)),
        *(Bar(86_400, 0), Bar(259_200, 1), Bar(None, 1)),
    )
    (channel,) = counting.channels()
    assert channel.to_delivered == times
    assert channel.to_read == counting.to_read.times() == Times()


def test_a_status_that_came_alone_tells_no_time() -> None:
    """Of a row whose only status is that it was delivered, the beginning is not known."""
    counting = counted(row(status(1, 1, "delivered", at=5)), row(status(2, 1, "read", at=5), id=2))

    assert counting.to_delivered.times() == counting.to_read.times() == Times()
    (channel,) = counting.channels()
    assert (channel.channel, channel.attempted, channel.delivered, channel.read) == ("whatsapp", 2, 2, 1)
    assert (channel.people, channel.failed, channel.to_delivered) == (2, 0, Times())


def test_what_the_service_refused_is_in_the_table_of_errors() -> None:
    """Also without a code: the table says what the service said, and how many rows it cost."""
    said = "BadRequestError: Invalid params (from)"
    counting = counted(*(row(state="refused", error=said, id=n) for n in (1, 2)), row(state="refused", id=3))

    assert [(it.code, it.channel, it.meaning, it.messages, it.people) for it in counting.errors()] == [
        ("", "", "The service found a fault in the message: Invalid params (from)", 2, 2),
        ("", "", "No reason given", 1, 1),
    ]


def test_a_message_on_a_channel_that_was_not_told_counts_as_unknown() -> None:
    """And a step of which only the report tells, without a status, is no message."""
    link = {"dispatch": {"dispatch_uuid": uuid_of(1)}}
    body = {"message_uuid": uuid_of(11, "m"), "status": "delivered", "_links": link}
    unnamed = row(parse_event(msgspec.json.encode(body)))
    silent = row(
        status(2, 1, "rejected", at=1), report(2, "error", ("whatsapp", "rejected"), ("sms", ""), at=2)
    )

    counting = counted(unnamed, silent)

    assert [(it.channel, it.attempted, it.delivered) for it in counting.channels()] == [
        ("unknown", 1, 1),
        ("whatsapp", 1, 0),
    ]
    assert [it.people for it in counting.channels()] == [1, 0]
    assert Flow("accepted", "1 unknown", 1) in counting.flows()
    assert why_missed(silent) == "WhatsApp: rejected"


def test_a_row_flows_from_step_to_step() -> None:
    """In the order of the steps, the largest flow first."""
    failed_over = row(GONE, status(1, 2, "read", at=2, channel="sms"), report(1, "completed", at=3))

    flows = counted(failed_over, delivered(5, 2), delivered(5, 3), row(), row(state="pending")).flows()

    assert flows == (
        Flow("accepted", "1 whatsapp", 3),
        Flow("accepted", "nothing heard", 1),
        Flow("1 whatsapp", "delivered", 2),
        Flow("1 whatsapp", "2 sms", 1),
        Flow("2 sms", "read", 1),
    )


def test_errors_are_counted_by_code_and_channel() -> None:
    """The most frequent first; a refused row has no channel, and a pending one no error of its own."""
    errors = counted(
        *(row(GONE), row(GONE, status(1, 2, "delivered", at=2, channel="sms"), id=2)),
        *(
            row(state="refused", code="1360"),
            row(state="unknown", code="1050"),
            row(state="pending", code="1"),
        ),
        row(status(1, 1, "rejected", at=1)),
    ).errors()

    assert [(it.code, it.channel, it.messages, it.people) for it in errors] == [
        ("1190", "whatsapp", 2, 1),
        ("", "whatsapp", 1, 1),
        ("1050", "", 1, 1),
        ("1360", "", 1, 1),
    ]
    assert errors[1].meaning == "No code was given"


def test_names_are_counted_apart_up_to_a_limit() -> None:
    """So many names, and the rest as other: no list is a reason to run out of memory."""
    counting = counted(*(row(variant=f"v{number:04}", language="nl") for number in range(MOST + 2)))

    variants = counting.variants()
    assert [(group.name, group.rows) for group in variants if group.name == OTHER] == [(OTHER, 2)]
    assert len(variants) == MOST + 1
    assert [(it.name, it.rows, it.sent, it.delivered) for it in counting.languages()] == [
        ("nl", MOST + 2, MOST + 2, 0)
    ]


def test_the_first_and_the_last_moment_are_those_of_accepted_rows() -> None:
    """A row that was refused before or after says nothing of when the campaign was sent."""
    rows = [
        row(state="refused", changed=1.0),
        row(changed=5.0),
        row(changed=3.0),
        row(state="sending", changed=9.0),
    ]

    counting = counted(*rows, row(state="skipped", skip="capped"))

    assert (counting.begun, counting.finished) == (3.0, 5.0)
    assert dict(counting.states) == {"refused": 1, "sent": 2, "sending": 1, "skipped": 1}
    assert dict(counting.skipped) == {"capped": 1}


def test_costs_are_exact_in_groups_and_channels() -> None:
    """With the people who were reached, by the currency of what they cost."""
    priced = row(
        status(1, 1, "submitted", at=0, price="0.05"),
        status(1, 1, "delivered", at=1, price="0.05"),
        variant="a",
    )

    counting = counted(priced, row(GONE, ENDED, id=2, variant="a"))

    (group,) = counting.variants()
    (channel,) = counting.channels()
    assert (channel.spent, channel.people, channel.failed) == ({"EUR": "0.05"}, 1, 1)
    assert group.cost == counting.cost.texts() == {"EUR": "0.102"}
    assert counting.reached_by_currency == {"EUR": 1}
    assert (counting.heard, counting.ended, counting.delivered, counting.read) == (2, 1, 1, 0)
    assert (group.rows, group.sent, group.delivered, group.read) == (2, 2, 1, 0)


@pytest.mark.parametrize(
    ("late", "ends"),
    [
        ("read", ("sms", "delivered", "read elsewhere", "whatsapp")),
        ("delivered", ("sms", "undeliverable", "delivered elsewhere", "whatsapp")),
        ("delivered", ("sms", "delivered", "delivered", "sms")),
    ],
)
def test_a_late_status_of_an_earlier_step_is_not_ascribed_to_the_last_one(
    late: str, ends: tuple[str, str, str, str]
) -> None:
    """The flow, the people of the channels and the numbers of their messages agree."""
    last, its_status, end, channel = ends
    word = "completed" if its_status == "delivered" else "error"

    counting = counted(
        row(
            status(1, 1, "submitted", at=1),
            status(1, 2, its_status, at=605, channel=last),
            report(1, word, ("whatsapp", "submitted"), (last, its_status), at=606),
            status(1, 1, late, at=900),
        )
    )

    assert counting.flows()[-1] == Flow("2 sms", end, 1)
    assert {figures.channel: figures.people for figures in counting.channels()} == {
        name: int(name == channel) for name in ("whatsapp", "sms")
    }
