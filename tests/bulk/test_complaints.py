"""What users of other systems complained of, each as a campaign that must not do it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Recipient
from nexmo_dispatch_async.bulk.report.report import report_of
from nexmo_dispatch_async.bulk.sending.calendar import Calendar
from nexmo_dispatch_async.bulk.settings import QuietHours
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.channels import sms
from nexmo_dispatch_async.cli.app import app
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.world.history import RequestSeen
from tests.bulk.service import running_service

TEMPLATE = WorkflowTemplate(sms.text("Hello {name}", from_="31647356950", to="{phone}"))

FILE = """
[campaign]
name = "spring"
ledger = "{ledger}"
[rows]
file = "customers.csv"
[people]
exclude = [{exclude}]
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{{phone}}"
text = "Hello {{name}}"
"""


def write(folder: Path, count: int, ledger: str = "spring.db", exclude: str = "") -> Path:
    lines = [f"+99900000{n:04d},Name {n}" for n in range(count)]
    (folder / "customers.csv").write_text("\n".join(["phone,name", *lines]), "utf-8")
    path = folder / f"{Path(ledger).stem}.toml"
    path.write_text(FILE.format(ledger=ledger, exclude=f'"{exclude}"' if exclude else ""), "utf-8")
    return path


def sent_to(sim: Simulator) -> Counter[str]:
    """How many workflows were accepted for each number."""
    found: Counter[str] = Counter()
    for record in sim.records:
        if isinstance(record, RequestSeen) and record.status == 202:
            found[json.loads(record.body)["workflow"][0]["to"]["number"]] += 1
    return found


@pytest.mark.long
def test_two_processes_that_start_at_once_send_no_row_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has the ledger, the other is refused; the one is killed in the middle, and the next one goes on."""
    file = write(tmp_path, 300)
    settings = file.read_text("utf-8")
    # Ten seconds: the second process finds the first at work, however slowly it starts.
    file.write_text(settings + '[pace]\nrate = "30/s"\n', "utf-8")
    command = [sys.executable, "-m", "nexmo_dispatch_async.cli", "bulk", "run", str(file), "--json"]
    with running_service(monkeypatch) as sim:
        pair = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        try:
            while not any(process.poll() is not None for process in pair) or sim.accepted < 20:
                if all(process.poll() is not None for process in pair):
                    break
                time.sleep(0.02)  # they are other processes: looked at again, within the time of the test
        finally:
            for process in pair:
                process.kill()
        ended = [(*process.communicate(timeout=20), process.returncode) for process in pair]
        assert sorted(code for _, _, code in ended) in ([-9, 1], [0, 1]), ended
        file.write_text(settings + '[pace]\nrate = "500/s"\n', "utf-8")
        code = CliRunner().invoke(app, ["bulk", "run", str(file)]).exit_code

        counts = sent_to(sim)
        status = json.loads(CliRunner().invoke(app, ["bulk", "status", str(file), "--json"]).stdout)["counts"]
    assert code in {0, 3}
    assert max(counts.values()) == 1
    assert status["states"].get("unknown", 0) <= 64
    assert len(counts) >= status["states"]["sent"]
    assert sum(status["states"].values()) == 300


async def test_an_edited_list_changes_nothing_that_was_added(tmp_path: Path) -> None:
    """The audience is a snapshot of texts and people, and the final report counts the last batch too."""
    write(tmp_path, 100)
    source = tmp_path / "customers.csv"
    async with (
        Simulator() as sim,
        sim.client() as client,
        Campaign.open(tmp_path / "c.db", client=client, template=TEMPLATE, limit=4) as campaign,
    ):
        await campaign.add(source)
        source.write_text("phone,name\n+999000009999,Other\n", "utf-8")
        counts = await campaign.run()
        report = await campaign.report()
        recount = (await campaign.status(verify=True)).counts

        assert sent_to(sim) == {f"99900000{n:04d}": 1 for n in range(100)}
        bodies = [record.body for record in sim.requests if record.status == 202]
        assert not any("Other" in body for body in bodies)
        assert sum("Name 7" in body for body in bodies) == 11
    assert recount == counts
    assert (report.rows, report.accepted, report.states) == (100, 100, {"sent": 100})


@pytest.mark.parametrize(
    ("zone", "moment", "may"),
    [
        ("Europe/Amsterdam", "2026-03-29T06:59", False),  # 08:59 of the summer that began this night
        ("Europe/Amsterdam", "2026-03-29T07:00", True),
        ("Europe/Amsterdam", "2026-10-25T07:59", False),  # 08:59 of the winter that began this night
        ("Europe/Amsterdam", "2026-10-25T08:00", True),
        ("Asia/Tokyo", "2026-03-29T12:00", False),  # 21:00
        ("Asia/Tokyo", "2026-03-29T11:59", True),
        ("", "2026-03-29T07:00", True),  # unknown: that of the campaign
    ],
)
async def test_no_person_is_woken(zone: str, moment: str, may: bool) -> None:
    """Local time of the person, on the days that change the clock too; no one is left out for good."""
    at = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    calendar = Calendar("Europe/Amsterdam", QuietHours(21 * 60, 9 * 60))
    ledger = MemoryLedger()
    await ledger.add([Recipient(key="k", address="999000000001", fields={}, bucket="b", zone=zone)])

    closed = calendar.closed(await ledger.zones(), at)
    claimed = await ledger.claim(ClaimRequest(limit=1, now=at, closed_zones=closed))

    assert bool(claimed) is may
    local = datetime.fromtimestamp(calendar.opens(zone, at), ZoneInfo(zone or "Europe/Amsterdam"))
    assert 9 <= local.hour < 21


@pytest.mark.timeout(60)
def test_who_got_it_is_an_export_and_the_next_campaign_goes_to_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No SQL on internal tables: a documented export, and an exclusion that leaves out exactly those."""
    first = write(tmp_path, 20)
    with running_service(monkeypatch) as sim:
        assert CliRunner().invoke(app, ["bulk", "run", str(first)]).exit_code == 0
        done = CliRunner().invoke(app, ["bulk", "export", str(first), "--state", "sent", "--with-addresses"])
        got_it = {row["address"] for row in csv.DictReader(io.StringIO(done.stdout))}
        second = write(tmp_path, 30, "summer.db", exclude="spring.db")
        assert load(second).people.exclude
        assert CliRunner().invoke(app, ["bulk", "run", str(second)]).exit_code == 0
        counts = sent_to(sim)

    assert got_it == {f"99900000{n:04d}" for n in range(20)}
    assert counts == {f"99900000{n:04d}": 1 for n in range(30)}


async def test_a_report_shows_those_who_were_left_out() -> None:
    """They stay in sight, with the reason."""
    ledger = MemoryLedger()
    await ledger.add([Recipient(key="k", address="999000000001", fields={}, bucket="b", skip="excluded")])

    report = await report_of(ledger)

    assert [(each.why, each.rows) for each in report.reasons] == [("Got a message from another campaign", 1)]
