"""A day of callbacks that are lost, doubled, late and out of order: the ledger knows what was told."""

from __future__ import annotations

from collections import defaultdict
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from nexmo_dispatch_async.bulk.callbacks import attach
from nexmo_dispatch_async.bulk.ledger.ledger import rows_of
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient, Result, Row
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.report.report import report_of
from nexmo_dispatch_async.channels import sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.world.faults import Fault
from nexmo_dispatch_async.simulator.world.history import CallbackAttempt, StatusReached, WorkflowEnded
from nexmo_dispatch_async.workflow import Workflow
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup

PEOPLE, UNHEARD, UNKNOWN, DAY = 150, 6, 5, 86_400.0
_RANK = {"delivered": 1, "read": 2}


def address(number: int) -> str:
    """Typical people, but for the first ones, whose callbacks are all lost."""
    return f"9990{number:08d}" if number < UNHEARD else f"9999{number:08d}"


def workflow(to: str, client_ref: str) -> Workflow:
    template = whatsapp.template("ns:parcel", ["today"], from_="447418342140", to=to, locale="en-GB")
    return Workflow.failover(
        template.until("read", within=3600), sms.text("It is here", from_="31647356950", to=to)
    ).with_client_ref(client_ref)


class Truth:
    """What the simulator did, and which of its callbacks got through, from its own records."""

    def __init__(self, sim: Simulator) -> None:
        self.reached: dict[str, int] = defaultdict(int)
        self.ended: dict[str, str] = {}
        self.heard: dict[str, int] = defaultdict(int)
        self.callbacks: dict[str, int] = defaultdict(int)
        self.reports: dict[str, int] = {}
        kinds: dict[str, int] = defaultdict(int)
        for record in sim.records:
            if isinstance(record, StatusReached):
                rank = _RANK.get(record.status, 0)
                self.reached[record.dispatch_uuid] = max(self.reached[record.dispatch_uuid], rank)
            elif isinstance(record, WorkflowEnded):
                self.ended[record.dispatch_uuid] = record.status
            elif isinstance(record, CallbackAttempt) and record.status == 200:
                kinds["delivered"] += 1
                kinds[record.fault or "plain"] += 1
                self._take(record)
            elif isinstance(record, CallbackAttempt) and record.failure == "lost":
                kinds["lost"] += 1
        self.kinds = dict(kinds)

    def _take(self, record: CallbackAttempt) -> None:
        body = msgspec.json.decode(record.body)
        links = body["_links"]
        if record.kind == "final-report":
            uuid = body["dispatch_uuid"]
            told = max((_RANK.get(entry["status"], 0) for entry in links["messages"]), default=0)
            self.reports[uuid] = 1
            self.heard[uuid] = max(self.heard[uuid], told, int(body["status"] == "completed"))
        else:
            uuid = links["dispatch"]["dispatch_uuid"]
            self.heard[uuid] = max(self.heard[uuid], _RANK.get(body["status"], 0))
        self.callbacks[uuid] += 1


@pytest.mark.long
async def test_a_day_of_bad_callbacks(tmp_path: Path) -> None:
    """Every row equals what got through at least once; rows of which nothing got through are listed."""
    async with Simulator(seed=11) as sim, AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(
            await SqliteLedger.open(tmp_path / "day.db", clock=sim.timestamp)
        )
        router = Router()
        outcomes = attach(router, ledger, clock=sim.timestamp)
        app = web.Application()
        setup(app, router, "/w", secrets={sim.api_key: sim.signature_secret}, clock=sim.timestamp)
        server = await stack.enter_async_context(TestServer(app))
        sim.create_application(status_url=str(server.make_url("/w")))
        for number in range(UNHEARD):
            sim.faults.add(Fault(kind="lost", recipient=address(number)))
        sim.faults.add(Fault(kind="lost", probability=0.08))
        sim.faults.add(Fault(kind="duplicate", probability=0.2, seconds=3000))
        sim.faults.add(Fault(kind="reorder", probability=0.2))
        sim.faults.add(Fault(kind="late", probability=0.1, seconds=20_000))
        sim.faults.add(Fault(kind="receiver_down", probability=0.1, status=503))

        uuids = await _send(sim, ledger)
        for _ in range(24):
            await sim.advance(DAY / 24)
        await sim.advance(DAY)  # callbacks come for a day after the last status
        await outcomes.reconcile()

        truth = Truth(sim)
        assert truth.kinds["lost"] > 30
        assert {"duplicate", "reorder", "late"} <= {name for kind in truth.kinds for name in kind.split("+")}
        rows = {row.id: row async for row in rows_of(ledger)}
        differing = [row.id for row in rows.values() if not _agrees(row, uuids[row.id], truth)]
        assert differing == []
        unheard = {row_id for row_id, uuid in uuids.items() if not truth.callbacks[uuid]}
        assert {rows[row_id].line for row_id in unheard} >= set(range(1, UNHEARD + 1))
        report = await report_of(ledger, clock=sim.timestamp)
        listed = {missed.line for missed in report.missed if "nothing heard" in missed.why}
        unknown = {missed.line for missed in report.missed if missed.state == "unknown"}
        assert listed | unknown == {rows[row_id].line for row_id in unheard}
        print(f"{PEOPLE} people, {truth.kinds}; {len(unheard)} unheard of, {report.delivered} reached")


async def _send(sim: Simulator, ledger: SqliteLedger) -> dict[int, str]:
    """Send everything; of the last ones the answer is lost, so that only the reference can tell."""
    people = [
        Recipient(key=address(n), address=address(n), fields={}, bucket="whatsapp|447418342140", line=n + 1)
        for n in range(PEOPLE)
    ]
    await ledger.add(people)
    uuids: dict[int, str] = {}
    async with sim.client() as client:
        while claimed := await ledger.claim(ClaimRequest(limit=50, now=sim.timestamp())):
            results: list[Result] = []
            for row in claimed:
                sent = await client.send(workflow(row.address, f"{ledger.reference}-{row.id}"))
                uuids[row.id] = sent.dispatch_uuid
                known = row.id <= PEOPLE - UNKNOWN
                results.append(
                    Result(
                        id=row.id,
                        state="sent" if known else "unknown",
                        at=sim.timestamp(),
                        dispatch_uuid=sent.dispatch_uuid if known else "",
                    )
                )
            await ledger.record(results)
    return uuids


def _agrees(row: Row, uuid: str, truth: Truth) -> bool:
    if not truth.callbacks[uuid]:
        return row.news is None
    news = row.news
    if news is None or row.state != "sent" or row.dispatch_uuid != uuid:
        return False
    rank = {"": 0, **_RANK}[news.reached]
    # What got through is known; and nothing that did not happen is.
    return rank == truth.heard[uuid] <= truth.reached[uuid] and news.ended == (uuid in truth.reports)
