"""STOP replies in a report: those of people whom the campaign sent to, since then, wherever rows are kept."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, rows_of
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.opt_outs import MemoryOptOutStore, OptOutList
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result, Suppressed
from nexmo_dispatch_async.bulk.report.figures import Report
from nexmo_dispatch_async.bulk.report.page import report_page
from nexmo_dispatch_async.bulk.report.report import report_csv, report_json, report_of
from nexmo_dispatch_webhooks import Router
from tests.bulk.callbacks import BEGIN
from tests.bulk.ledger.test_opt_outs import reply
from tests.bulk.random_campaign import fill, now, random_campaign

LATER = BEGIN + 3600


async def replies(ledger: Ledger, opt_outs: OptOutList, *, seed: int = 7) -> int:
    """Let some people reply STOP, of each state, and a stranger; return how many of them were sent to."""
    router = Router()
    opt_outs.attach(router)
    rows = [row async for row in rows_of(ledger)]
    people = random.Random(seed).sample(rows, 80)
    for address in [*(row.address for row in people), "447700900009"]:
        (await router.dispatch(reply("Stop", sender=address))).raise_for_failures()
    others = [row.address for row in rows if row not in people and row.state == "sent"]
    await opt_outs.suppress(*others[:20], reason="by hand")
    await opt_outs.suppress(*others[20:30], reason="1050")
    return sum(row.state == "sent" for row in people)


@pytest.mark.parametrize(
    "place",
    [
        "memory",
        "file",
        pytest.param("database", marks=pytest.mark.engines),
        pytest.param("nats_url", marks=pytest.mark.engines),
    ],
)
async def test_replies_of_people_who_were_sent_to_count_on_each_store(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """For one seed the number is the same, and that of a recount; other entries of the list do not count."""
    memory = await random_campaign(400)
    memory.opt_outs = OptOutList(clock=lambda: LATER)
    expected = await replies(memory, memory.opt_outs)
    report = await report_of(memory, opt_outs=memory.opt_outs, clock=now)
    assert report.stopped == expected > 50
    if place == "memory":
        return

    where: str | Path = tmp_path / "a.db"
    if place != "file":
        where = join_url(request.getfixturevalue(place), "spring")
    async with await open_ledger(where, accept_loss=True, clock=lambda: LATER) as ledger:
        await fill(ledger, 400)
        assert await replies(ledger, ledger.opt_outs) == expected
        assert await report_of(ledger, opt_outs=ledger.opt_outs, clock=now) == report


async def sent(ledger: MemoryLedger, count: int) -> None:
    """Send to so many people: `p0`, `p1` and so on."""
    await ledger.add([Recipient(key=f"p{n}", address=f"p{n}", fields={}, bucket="b") for n in range(count)])
    claimed = await ledger.claim(ClaimRequest(limit=count, now=BEGIN))
    await ledger.record(
        [Result(id=row.id, state="sent", at=BEGIN, dispatch_uuid=f"uuid {row.id}") for row in claimed]
    )


async def stopped(ledger: MemoryLedger, opt_outs: OptOutList) -> int | None:
    return (await report_of(ledger, opt_outs=opt_outs)).stopped


async def test_a_reply_counts_from_the_send_on_and_until_the_person_returns() -> None:
    """An address that was linked only later to a person of the list did not reply to this campaign."""
    clock = [BEGIN - 60]
    opt_outs = OptOutList(clock=lambda: clock[0])
    ledger = MemoryLedger(opt_outs, clock=now)
    await opt_outs.suppress("other", reason="stop")
    await sent(ledger, 5)
    await opt_outs.link("p0", "other")
    assert await stopped(ledger, opt_outs) == 0

    clock[0] = BEGIN
    await opt_outs.link("p2", "messenger id")
    await opt_outs.suppress("p1", "messenger id", reason="stop")
    assert await stopped(ledger, opt_outs) == 2
    await opt_outs.unsuppress("p1")
    assert await stopped(ledger, opt_outs) == 1


async def test_a_list_is_looked_into_once_for_each_page() -> None:
    """However long the list is, only the people of the campaign are looked for, many with one call."""
    looks: list[int] = []

    class Counting(MemoryOptOutStore):
        async def find(self, addresses: Sequence[str]) -> list[Suppressed]:
            looks.append(len(addresses))
            return await super().find(addresses)

        async def list(self, *, after: str, limit: int) -> list[Suppressed]:
            raise AssertionError("the whole list is read")

    ledger = MemoryLedger(OptOutList(Counting()), clock=now)
    await sent(ledger, 1001)
    await ledger.add([Recipient(key="late", address="late", fields={}, bucket="b")])

    assert await stopped(ledger, ledger.opt_outs) == 0
    assert looks == [200] * 5 + [1]


@pytest.mark.parametrize(
    ("count", "reached", "words"),
    [
        (0, 3, "0 people replied STOP (0.0 % of those reached)."),
        (1, 3, "1 person replied STOP (33.3 % of those reached)."),
        (2, 3, "2 people replied STOP (66.7 % of those reached)."),
        (1, 0, "1 person replied STOP."),
        (None, 3, None),
    ],
)
def test_one_line_tells_it_everywhere(count: int | None, reached: int, words: str | None) -> None:
    """The page, the CSV and the JSON; without a list nothing is claimed."""
    report = Report(name="spring", made_at=BEGIN, rows=5, delivered=reached, stopped=count)

    page = report_page(report).replace("\u00a0", " ")
    assert (words in page) if words is not None else ("STOP" not in page)
    assert (f"campaign,spring,stopped,{count}\r\n" in report_csv(report)) == (count is not None)
    assert json.loads(report_json(report))["stopped"] == count
