"""The figures of a report equal a recount by hand, and its files say the same."""

from __future__ import annotations

import asyncio
import csv
import io
import math
import tracemalloc
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, News, Recipient, Result, Row
from nexmo_dispatch_async.bulk.rejects import Reject
from nexmo_dispatch_async.bulk.report.counting import MOST, OTHER, Counting, rounded_up
from nexmo_dispatch_async.bulk.report.figures import (
    Bar,
    ChannelFigures,
    ErrorFigures,
    Flow,
    Group,
    Missed,
    Reason,
    Report,
    Times,
)
from nexmo_dispatch_async.bulk.report.report import report_csv, report_json, report_of
from nexmo_dispatch_async.bulk.safe_cells import safe_cell
from tests.bulk.callbacks import BEGIN, status, uuid_of
from tests.bulk.random_campaign import random_campaign


@pytest.fixture(scope="module")
def ledger() -> MemoryLedger:
    return asyncio.run(random_campaign(600))


@pytest.fixture(scope="module")
def rows(ledger: MemoryLedger) -> list[Row]:
    return asyncio.run(ledger.scan(limit=10_000))


@pytest.fixture(scope="module")
def report(ledger: MemoryLedger) -> Report:
    return asyncio.run(report_of(ledger, name="spring", clock=lambda: BEGIN, missed=50))


def messages(rows: Iterable[Row]) -> list[tuple[Row, str, dict[str, Any]]]:
    """Every message that callbacks told of, read without the code that wrote it: row, channel, statuses."""
    found: list[tuple[Row, str, dict[str, Any]]] = []
    for row in rows:
        workflows: list[Any] = [] if row.news is None else msgspec.json.decode(row.news.steps)
        for workflow in workflows:
            found += [(row, sent["channel"], sent["statuses"]) for sent in workflow["messages"].values()]
    return found


def test_rows_states_and_cost_equal_a_recount(rows: list[Row], report: Report) -> None:
    """Each number by a single pass over the rows."""
    told = [row.news for row in rows if row.news is not None]

    assert report.rows == len(rows) == 600
    assert report.states == dict(Counter(row.state for row in rows))
    assert report.skipped == dict(Counter(row.skip for row in rows if row.skip))
    assert (report.accepted, report.heard) == (report.states["sent"], len(told))
    assert report.ended == sum(news.ended for news in told)
    assert report.delivered == sum(news.reached in ("delivered", "read") for news in told) > 300
    assert report.read == sum(news.reached == "read" for news in told) > 100
    total = sum((Decimal(news.cost or 0) for news in told), Decimal(0))
    assert Decimal(report.cost["EUR"]) == total
    assert abs(Decimal(report.cost_each["EUR"]) - total / report.delivered) <= Decimal("0.00005")
    assert report.missed_rows == report.rows - report.delivered == sum(r.rows for r in report.reasons)


def test_channels_equal_a_recount(rows: list[Row], report: Report) -> None:
    """Messages, and not rows: a person may have got two."""
    sent = messages(rows)
    for figures in report.channels:
        own = [statuses for _, channel, statuses in sent if channel == figures.channel]
        assert figures.attempted == len(own) > 50
        assert figures.delivered == sum("delivered" in s or "read" in s for s in own)
        assert figures.read == sum("read" in s for s in own)
        assert figures.failed == sum("rejected" in s or "undeliverable" in s for s in own)
        assert figures.silent == sum(set(s) == {"submitted"} for s in own)
        assert figures.people == sum(
            r.news is not None and bool(r.news.reached) and r.news.channel == figures.channel for r in rows
        )
    assert {figures.channel for figures in report.channels} == {"whatsapp", "sms"}


def test_flows_keep_every_row(report: Report) -> None:
    """What goes into a place comes out of it, and what begins ends."""
    into: Counter[str] = Counter()
    out: Counter[str] = Counter()
    for flow in report.flows:
        out[flow.source] += flow.rows
        into[flow.target] += flow.rows

    assert out["accepted"] == report.accepted
    assert all(out[place] == into[place] for place in out if place != "accepted")
    ends = into.keys() - out.keys()
    assert ends == {
        *("read", "delivered", "delivered elsewhere", "not reached", "no end yet", "nothing heard")
    }
    assert sum(into[end] for end in ends) == report.accepted
    delivered = into["delivered"] + into["delivered elsewhere"]
    assert (into["read"], delivered) == (report.read, report.delivered - report.read)
    assert into["nothing heard"] == report.accepted - report.heard > 0


def test_times_equal_a_recount(rows: list[Row], report: Report) -> None:
    """Quantiles are nearest ranks of times rounded up; the bars hold all of them."""
    firsts = {
        row.id: min(s["at"] for _, _, statuses in messages([row]) for s in statuses.values())
        for row in rows
        if messages([row])
    }
    times: list[float] = []
    for row in rows:
        if row.news is not None and row.news.delivered_at is not None:
            first = datetime.fromisoformat(str(firsts[row.id])).timestamp()
            times.append(rounded_up(row.news.delivered_at - first))
    times.sort()

    assert report.to_delivered.count == len(times) == report.delivered
    assert report.to_delivered.median == times[math.ceil(len(times) * 0.5) - 1]
    assert report.to_delivered.p90 == times[math.ceil(len(times) * 0.9) - 1]
    assert report.to_delivered.longest == times[-1]
    bars = report.to_delivered.bars
    assert sum(bar.count for bar in bars) == len(times)
    assert bars[0].count == sum(t <= 10 for t in times)
    assert bars[1].count == sum(10 < t <= 60 for t in times)
    assert bars[-1].upto is None


def test_errors_equal_a_recount(rows: list[Row], report: Report) -> None:
    """Failed messages by code and channel, refused rows by code and reason, with what it means."""
    counted: Counter[tuple[str, str]] = Counter()
    for _, channel, statuses in messages(rows):
        for word in ("rejected", "undeliverable"):
            if word in statuses:
                counted[str(statuses[word].get("code", "")), channel] += 1
    counted.update((row.code, "") for row in rows if row.state == "refused")

    found: Counter[tuple[str, str]] = Counter()
    for e in report.errors:
        found[e.code, e.channel] += e.messages
    assert found == counted
    by_code = {e.code: e for e in report.errors if e.channel}
    assert (by_code["1300"].meaning, by_code["1300"].kind) == (
        "The recipient does not use this channel",
        "permanent",
    )
    assert by_code[""].meaning == "No code was given"
    assert all(e.people <= e.messages for e in report.errors)
    for error in report.errors[:3]:
        lost = [
            row
            for row, channel, statuses in messages(rows)
            if channel == error.channel and (row.news is None or not row.news.reached)
            for word in ("rejected", "undeliverable")
            if word in statuses and str(statuses[word].get("code", "")) == error.code
        ]
        assert error.people == len(lost)


def test_variants_and_languages_equal_a_recount(rows: list[Row], report: Report) -> None:
    """The hold-out is in the numbers of its variant as rows that were not sent."""
    for group in report.variants:
        own = [row for row in rows if row.variant == group.name]
        assert (group.rows, group.sent) == (len(own), sum(row.state == "sent" for row in own))
        assert group.delivered == sum(row.news is not None and bool(row.news.reached) for row in own)
        cost = sum(Decimal(row.news.cost or 0) for row in own if row.news is not None)
        assert Decimal(group.cost["EUR"]) == cost
    assert [group.name for group in report.variants] == ["a", "b"]
    assert [group.name for group in report.languages] == ["", "en", "nl"]
    assert sum(group.rows for group in report.languages) == report.rows


def test_who_was_not_reached_and_why(rows: list[Row], report: Report) -> None:
    """Line by line in the order of the source, step by step, with numbers masked."""
    lost = [row for row in rows if row.news is None or not row.news.reached]

    assert [missed.line for missed in report.missed] == [row.line for row in lost[:50]]
    assert all(
        missed.who.startswith("…") and missed.who[1:] == row.key[-2:]
        for missed, row in zip(report.missed, lost, strict=False)
    )
    whys = " | ".join(missed.why for missed in report.missed)
    assert "WhatsApp: undeliverable, the number is no longer in use (1190); SMS: rejected" in whys
    assert "Held out to compare with" in whys
    assert "99900" not in repr(report) + repr(report.missed)


async def test_addresses_only_when_asked_for(ledger: MemoryLedger, rows: list[Row]) -> None:
    """Keys in full for the owner of the list."""
    report = await report_of(ledger, with_addresses=True, missed=3)

    keys = {row.line: row.key for row in rows}
    assert [missed.who for missed in report.missed] == [keys[missed.line] for missed in report.missed]


def test_json_and_csv_say_the_same(report: Report) -> None:
    """JSON decodes to the report; every number of it stands in the CSV."""
    assert msgspec.json.decode(report_json(report), type=Report) == report
    assert report_json(report).startswith(b'{\n  "name": "spring",\n')
    assert report_json(report).endswith(b"}\n")

    lines = list(csv.DictReader(io.StringIO(report_csv(report))))
    cells = {(line["section"], line["of"], line["figure"]): line["value"] for line in lines}
    assert cells["campaign", "spring", "delivered"] == str(report.delivered)
    assert cells["cost", "EUR", "total"] == report.cost["EUR"]
    for channel in report.channels:
        assert cells["channel", channel.channel, "read"] == str(channel.read)
        assert (
            cells["channel", channel.channel, "to_delivered_median_seconds"]
            == f"{channel.to_delivered.median:g}"
        )
    for flow in report.flows:
        assert cells["flow", flow.source, flow.target] == str(flow.rows)
    assert sum(line["section"] == "missed" for line in lines) == len(report.missed)


def test_the_lines_of_the_csv_are_those_of_every_figure() -> None:
    """Names of sections and figures stay, for spreadsheets; an unknown time has no line."""
    times = Times(count=3, median=5, p90=3660, longest=90000, bars=(Bar(10, 2), Bar(60.5, 1), Bar(None, 0)))
    group = Group(name="en", rows=11, sent=12, delivered=13, read=14, cost={"EUR": "1.5"})
    error = ErrorFigures(
        code="1300", channel="sms", kind="permanent", meaning="Not there", messages=15, people=16
    )
    report = Report(
        name="spring",
        made_at=BEGIN,
        rows=1,
        accepted=2,
        heard=3,
        ended=4,
        delivered=5,
        read=6,
        missed_rows=7,
        rejected=8,
        states={"sent": 9},
        skipped={"holdout": 10},
        cost={"EUR": "2.5"},
        cost_each={"EUR": "0.5000"},
        to_delivered=times,
        channels=(
            ChannelFigures(
                channel="sms",
                attempted=20,
                delivered=9,
                read=8,
                failed=7,
                people=6,
                spent={"EUR": "3"},
                to_delivered=Times(count=1, bars=(Bar(10, 1),)),
                to_read=times,
            ),
        ),
        flows=(Flow("accepted", "1 sms", 17),),
        errors=(error, msgspec.structs.replace(error, code="", channel="")),
        variants=(group,),
        languages=(msgspec.structs.replace(group, name="nl"),),
        reasons=(Reason("=gone", 18),),
        missed=(Missed(id=1, line=19, who="…01", state="sent", why="too late"),),
        rejects=(Reject(20, "phone", "e164", "add the country"),),
    )

    assert report_csv(report).split("\r\n") == CSV.split("\n")


CSV = """\
section,of,figure,value
campaign,spring,rows,1
campaign,spring,accepted,2
campaign,spring,heard,3
campaign,spring,ended,4
campaign,spring,delivered,5
campaign,spring,read,6
campaign,spring,missed_rows,7
campaign,spring,rejected,8
state,sent,rows,9
skipped,holdout,rows,10
cost,EUR,total,2.5
cost,EUR,per_person,0.5000
time,to_delivered,count,3
time,to_delivered,median_seconds,5
time,to_delivered,p90_seconds,3660
time,to_delivered,longest_seconds,90000
time,to_delivered,upto_10_seconds,2
time,to_delivered,upto_60.5_seconds,1
time,to_delivered,longer,0
time,to_read,count,0
channel,sms,attempted,20
channel,sms,delivered,9
channel,sms,read,8
channel,sms,failed,7
channel,sms,silent,4
channel,sms,people,6
channel,sms,spent_EUR,3
channel,sms,to_delivered_count,1
channel,sms,to_delivered_upto_10_seconds,1
channel,sms,to_read_count,3
channel,sms,to_read_median_seconds,5
channel,sms,to_read_p90_seconds,3660
channel,sms,to_read_longest_seconds,90000
channel,sms,to_read_upto_10_seconds,2
channel,sms,to_read_upto_60.5_seconds,1
channel,sms,to_read_longer,0
flow,accepted,1 sms,17
error,1300 sms,meaning,Not there
error,1300 sms,class,permanent
error,1300 sms,messages,15
error,1300 sms,people,16
error,none,meaning,Not there
error,none,class,permanent
error,none,messages,15
error,none,people,16
variant,en,rows,11
variant,en,sent,12
variant,en,delivered,13
variant,en,read,14
variant,en,cost_EUR,1.5
language,nl,rows,11
language,nl,sent,12
language,nl,delivered,13
language,nl,read,14
language,nl,cost_EUR,1.5
reason,'=gone,rows,18
missed,line 19,…01,too late
reject,line 20,phone,add the country [e164]
"""


async def test_rejected_lines_are_counted_and_listed(ledger: MemoryLedger) -> None:
    """A line that never became a row belongs to those who were not reached."""
    rejects = [Reject(n, "phone", "number", "write it with its country") for n in range(1, 6)]

    report = await report_of(ledger, rejects=iter(rejects), missed=2)

    assert (report.rejected, report.rejects) == (5, tuple(rejects[:2]))
    assert "write it with its country [number]" in report_csv(report)


async def test_an_empty_campaign_has_a_report() -> None:
    """Nothing divides by zero."""
    report = await report_of(MemoryLedger())

    assert (report.rows, report.cost_each, report.to_read.median) == (0, {}, None)
    assert (report.begun, report.finished, report.name) == (None, None, "")
    assert report_csv(report).startswith("section,of,figure,value\r\n")


def test_memory_does_not_grow_with_names() -> None:
    """A variant for each person, or a code, ends as `other`."""
    counting = Counting(missed=10, with_addresses=False)
    tracemalloc.start()
    before = 0
    for number in range(5 * MOST):
        counting.add(
            Row(
                id=number,
                key=f"k{number}",
                address="",
                fields={},
                bucket="",
                state="refused",
                variant=f"v{number}",
                code=f"e{number}",
                error=f"E{number}",
            )
        )
        if number == 2 * MOST:
            before = tracemalloc.get_traced_memory()[0]
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    variants = counting.variants()
    assert len(variants) <= MOST + 1
    assert sum(group.rows for group in variants) == 5 * MOST
    assert OTHER in {group.name for group in variants}
    assert len(counting.errors()) <= MOST + 1
    assert sum(error.messages for error in counting.errors()) == 5 * MOST
    assert grown < 100_000


async def test_costs_of_several_currencies_stay_apart() -> None:
    """Money of two currencies is not added up, nor divided by people who cost another one."""
    ledger = MemoryLedger()
    await ledger.add([Recipient(key=str(n), address=str(n), fields={}, bucket="b") for n in range(4)])
    for row in await ledger.claim(ClaimRequest(limit=4, now=BEGIN)):
        await ledger.record([Result(id=row.id, state="sent", at=BEGIN, dispatch_uuid=uuid_of(row.id))])
    for number, currency in enumerate(("EUR", "EUR", "USD", "GBP"), start=1):
        reached = "" if number in (2, 4) else "read"
        await ledger.observe(
            [News(dispatch_uuid=uuid_of(number), at=BEGIN, cost="0.1", currency=currency, reached=reached)]
        )

    report = await report_of(ledger, clock=lambda: BEGIN + 60)

    assert (report.begun, report.finished, report.made_at) == (BEGIN, BEGIN, BEGIN + 60)
    assert (report.cost, report.cost_each) == (
        {"EUR": "0.2", "USD": "0.1", "GBP": "0.1"},
        {"EUR": "0.2000", "USD": "0.1000"},
    )


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("@x", "'@x"),
        ("-1", "-1"),
        ("+31612345678", "+31612345678"),
        ("-1+1", "'-1+1"),
        ("a", "a"),
    ],
)
def test_no_cell_is_a_formula(cell: str, safe: str) -> None:
    """What a customer's list says is a text in every spreadsheet."""
    assert safe_cell(cell) == safe


@pytest.mark.parametrize(
    ("seconds", "rounded"),
    [(0.2, 1), (10, 10), (10.01, 11), (3599.2, 3600), (3601, 3660), (90000, 90000), (90001, 93600)],
)
def test_times_are_rounded_up(seconds: float, rounded: float) -> None:
    """To a second, a minute, an hour: so that a month of them takes a few thousand counters."""
    assert rounded_up(seconds) == rounded


async def test_what_failed_alike_is_said_once() -> None:
    """A number that is gone is gone on every channel: one reason, and which channels tried."""
    ledger = MemoryLedger()
    await ledger.add([Recipient(key="k", address="999000000001", fields={}, bucket="whatsapp|x")])
    await ledger.claim(ClaimRequest(limit=1, now=BEGIN))
    await ledger.record([Result(id=1, state="sent", at=BEGIN, dispatch_uuid=uuid_of(1))])
    callbacks = CampaignCallbacks(ledger)
    await callbacks.receive(status(1, 1, "undeliverable", at=1, code=1190))
    await callbacks.receive(status(1, 2, "undeliverable", at=2, channel="sms", code=1190))

    (missed,) = (await report_of(ledger)).missed

    assert missed.why == "WhatsApp and SMS: undeliverable, the number is no longer in use (1190); no end yet"
