"""`nexmo-dispatch bulk`: from a list and a TOML file to a report, against the simulator."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from rich.console import Console

from nexmo_dispatch_async.bulk.ledger.records import STATES, ClaimRequest, Counts, Recipient, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.progress import Status, Wait
from nexmo_dispatch_async.cli.bulk import RowState
from nexmo_dispatch_async.cli.bulk_live import LiveStatus
from nexmo_dispatch_async.cli.bulk_progress import LogDisplay, TerminalDisplay
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.simulator.world.faults import Fault
from tests.bulk.callbacks import BEGIN, uuid_of
from tests.bulk.service import run

CAMPAIGN = """
[campaign]
name = "spring"
ledger = "spring.db"
zone = "Europe/Amsterdam"
[rows]
file = "customers.csv"
[columns]
language = "language"
[tariff.prices]
sms = "0.07"
[template]
default_language = "en"
[[template.message]]
channel = "sms"
language = "nl"
from = "31647356950"
to = "{phone}"
text = "Hallo {name}"
[[template.message]]
channel = "sms"
language = "en"
from = "31647356950"
to = "{phone}"
text = "Hello {name}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of thirty people and two bad lines."""
    lines = [f"+99900000{n:04d};Name {n};{'nl' if n % 2 else 'en'}" for n in range(30)]
    lines[7] = "06-12;Short;nl"
    lines[9] = "+999000000001;Twice;nl"
    (tmp_path / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8-sig")
    path = tmp_path / "spring.toml"
    path.write_text(CAMPAIGN, "utf-8")
    return path


def fill(path: Path, *states: Literal["sent", "refused", "unknown", "pending"]) -> None:
    """Make a ledger whose rows have these states."""

    async def work() -> None:
        async with await SqliteLedger.open(path, clock=lambda: BEGIN) as ledger:
            opt_outs = [
                Recipient(
                    key=f"99900000{n:04d}",
                    address=f"99900000{n:04d}",
                    fields={"name": "=1+1"},
                    bucket="sms|x",
                    line=n + 2,
                )
                for n in range(len(states))
            ]
            await ledger.add(opt_outs)
            claimed = await ledger.claim(ClaimRequest(limit=len(states), now=BEGIN))
            uuids = {
                row.id: uuid_of(row.id) for row, state in zip(claimed, states, strict=True) if state == "sent"
            }
            results = [
                Result(id=row.id, state=state, at=BEGIN, dispatch_uuid=uuids.get(row.id, ""))
                for row, state in zip(claimed, states, strict=True)
            ]
            await ledger.record(results)

    asyncio.run(work())


def test_the_plan_says_what_would_happen(file: Path) -> None:
    """Counts, the bad lines with what to do, cost, duration, a hash; nothing is made but the rejects."""
    code, out, err = run("plan", file)

    assert (code, err) == (0, "")
    assert "30 rows, 28 to send, 2 rejected, 0 held out" in out
    assert "line 9: phone:" in out
    assert "line 11:" in out
    assert "cost EUR 2.016 at best" in out
    assert out.splitlines()[-1].startswith("plan ")
    assert not (file.parent / "spring.db").exists()
    made = json.loads(run("plan", file, "--json")[1])
    assert made["hash"] == out.split()[-1]
    assert "9990" not in out


def test_a_campaign_from_plan_to_report(file: Path, service: Simulator) -> None:
    """Approve, send, look, report, export, forget: each with its exit code."""
    approved = json.loads(run("plan", file, "--json")[1])["hash"]
    code, _, err = run("run", file, "--plan", "0" * 32)
    assert (code, service.accepted) == (5, 0)
    assert approved in err

    code, out, err = run("run", file, "--plan", approved)
    assert (code, service.accepted) == (0, 28)
    assert "30 rows read, 28 added" in out
    assert "2 lines were not taken" in err
    assert "28 sent" in out
    assert run("run", file)[0] == 0
    assert service.accepted == 28

    code, out, _ = run("status", file, "--verify")
    assert (code, out) == (0, "spring: finished, 28 of 28 done, 28 sent\n")
    page = file.parent / "report.html"
    assert run("report", file, "--html", page)[0] == 0
    assert "Lines that were not taken" in page.read_text("utf-8")
    assert page.stat().st_mode & 0o077 == 0
    code, out, _ = run("report", file)
    assert "0 of 28 rows reached" in out
    assert f"lines that were not taken: 2, in {file.with_name('spring.rejects.csv')}\n" in out

    code, out, _ = run("export", file)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(rows)) == (0, 28)
    assert {row["state"] for row in rows} == {"sent"}
    assert "9990" not in out.replace("31647356950", "")
    full = json.loads(run("export", file, "--json", "--with-addresses")[1].splitlines()[0])
    assert (full["address"], full["fields"]["name"]) == ("999000000000", "Name 0")

    assert run("forget", file, "--older", "1s")[0] == 0


def test_the_command_knows_every_state_of_a_row() -> None:
    """It has a list of its own, since the one of the ledger costs every command the import of campaigns."""
    assert get_args(RowState) == STATES


def test_a_status_that_is_still_written_at_the_end_is_removed(
    file: Path, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow disk leaves no status of a run that has ended: `status` would say for 15 s that it sends."""
    write, remove, removed = LiveStatus.write, LiveStatus.remove, threading.Event()

    def write_late(live: LiveStatus, status: Status) -> None:
        removed.wait(0.2)
        write(live, status)

    def remove_and_tell(live: LiveStatus) -> None:
        remove(live)
        removed.set()

    monkeypatch.setattr(LiveStatus, "write", write_late)
    monkeypatch.setattr(LiveStatus, "remove", remove_and_tell)

    assert run("run", file)[0] == 0

    assert service.accepted == 28
    assert run("status", file)[1] == "spring: finished, 28 of 28 done, 28 sent\n"


def test_a_test_send_reaches_one_number_and_no_ledger(file: Path, service: Simulator) -> None:
    """One row of each language, to the number of the owner."""
    code, out, _ = run("run", file, "--test", "+999000009999")

    assert (code, service.accepted) == (0, 2)
    assert "2 test messages sent" in out
    assert not (file.parent / "spring.db").exists()
    bodies = [record.body for record in service.requests if record.path.endswith("/dispatch")]
    assert all("999000009999" in body for body in bodies)
    assert any("Hallo" in body for body in bodies)


def test_what_is_wrong_with_the_file_is_said_at_once(file: Path) -> None:
    """A mistake is a line on the error output and exit code 1; no traceback."""
    file.write_text(CAMPAIGN.replace("default_language", "default_langage"), "utf-8")

    code, out, err = run("plan", file)

    assert (code, out) == (1, "")
    assert "default_language" in err


def test_json_for_machines(file: Path, service: Simulator) -> None:
    """Every line is an object: what was added, statuses, how it ended."""
    code, out, _ = run("run", file, "--json")

    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert lines[0]["added"]["added"] == 28
    assert lines[-1]["ended"]["states"] == {"sent": 28}
    assert any("status" in line for line in lines)


def test_unknown_rows_are_listed_and_decided(tmp_path: Path) -> None:
    """An operator sees them, without numbers, and resends or drops them; others are left alone."""
    path = tmp_path / "c.db"
    fill(path, "sent", "unknown", "unknown", "unknown")

    code, out, _ = run("unknown", "list", path)
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()] == [
        ["2", "line", "3"],
        ["3", "line", "4"],
        ["4", "line", "5"],
    ]
    assert "9990" not in out
    assert run("status", path)[0] == 3
    code, out, err = run("unknown", "resend", path, "1", "2")
    words = ["1 row will be sent again by the next run", "nexmo-dispatch bulk run FILE goes on"]
    assert (code, out.splitlines()) == (1, words)
    assert "row 1 is not unknown" in err
    assert json.loads(run("unknown", "drop", path, "all", "--json")[1]) == {"drop": 2}
    code, out, _ = run("status", path, "--json")
    assert (code, json.loads(out)["counts"]["states"]) == (4, {"pending": 1, "sent": 1, "skipped": 2})


def test_refused_rows_are_no_success(tmp_path: Path) -> None:
    """No row is left, and some were refused: a script must not take that for sent."""
    path = tmp_path / "c.db"
    fill(path, "sent", "refused")

    assert run("status", path)[0] == 3


def test_export_by_state_and_those_who_were_missed(tmp_path: Path) -> None:
    """Who was not reached and why; no cell is a formula; the file is for its owner only."""
    path, out = tmp_path / "c.db", tmp_path / "rows.csv"
    fill(path, "sent", "refused", "unknown")

    assert run("export", path, "--missed", "--with-addresses", "--out", out)[0] == 0
    rows = list(csv.DictReader(io.StringIO(out.read_text("utf-8"))))

    assert [row["why"] for row in rows] == [
        "Accepted, and nothing heard since",
        "Refused: no reason given",
        "Unknown whether it was sent: no answer came",
    ]
    assert rows[0]["address"] == "999000000000"
    assert out.stat().st_mode & 0o077 == 0
    assert len(run("export", path, "--state", "unknown")[1].splitlines()) == 2


def test_pause_from_another_terminal(tmp_path: Path) -> None:
    """What was asked for is seen by the next look, with the reason; resume with another pace."""
    path = tmp_path / "c.db"
    fill(path, "pending", "pending")

    assert run("pause", path, "--reason", "prices changed")[0] == 0
    code, out, _ = run("status", path)
    assert (code, out) == (4, "c: paused by command: prices changed, 0 of 2 done\n")
    assert "it stays paused" in run("stop", path, "--reason", "restart")[1]
    assert run("status", path)[1] == out
    assert json.loads(run("resume", path, "--rate", "5", "--release", "--json")[1])["rate"] == 5.0
    assert run("status", path)[1].startswith("c: idle, 0 of 2 done\n")
    assert run("stop", path)[0] == 0


def test_verify_finds_numbers_that_are_not_those_of_the_rows(tmp_path: Path) -> None:
    """The counts of the sending process are compared with the rows; without one, only the rows count."""
    path = tmp_path / "c.db"
    fill(path, "sent", "sent", "pending")
    assert run("status", path, "--verify")[0] == 4

    live = LiveStatus(path)
    live.write(Status(state="running", counts=Counts(states={"sent": 1, "pending": 2}), at=time.time() + 5))
    assert run("status", path, "--verify")[0] == 1  # one was sent, and it never said so
    live.write(Status(state="running", counts=Counts(states={"sent": 2, "pending": 1}), at=time.time() + 5))
    assert run("status", path, "--verify")[0] == 4
    live.write(Status(state="running", counts=Counts(states={"sent": 3}), at=time.time() + 5))
    code, _, err = run("status", path, "--verify")
    assert (code, "differ from a recount" in err) == (1, True)
    live.remove()


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """A status of a campaign that never ran says so, and makes no file."""
    (tmp_path / "customers.csv").write_text("phone;name;language\n", "utf-8")
    file = tmp_path / "spring.toml"
    file.write_text(CAMPAIGN, "utf-8")

    code, _, err = run("status", file)

    assert code == 1
    assert err
    assert not (tmp_path / "spring.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("unknown", "drop", "{}", "x"),
        ("forget", "{}", "--older", "soon"),
        ("run", "{}", "--listen", "8702"),
        ("run", "{}", "--wait", "soon"),
        ("resume", "{}", "--rate", "nan"),
        ("resume", "{}", "--rate", "inf"),
        ("resume", "{}", "--limit", f"1{'0' * 30}"),
    ],
)
def test_mistakes_in_the_command_line(arguments: tuple[str, ...], file: Path) -> None:
    """Exit code 2, and which option it is about."""
    assert run(*(argument.format(file) for argument in arguments))[0] == 2


# --- another process


def start(file: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "nexmo_dispatch_async.cli", "bulk", "run", str(file), *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
    )


def until(process: subprocess.Popen[str], found: Callable[[dict[str, Any]], bool]) -> None:
    """Read the lines of `--json` until one fits."""
    assert process.stdout is not None
    for line in process.stdout:
        if found(json.loads(line)):
            return
    raise AssertionError("it ended before")


def test_a_second_run_is_refused_and_a_first_signal_drains(file: Path, service: Simulator) -> None:
    """The second names the first; Ctrl-C ends the first in good order, and the next run goes on."""
    file.write_text(CAMPAIGN + '[pace]\nrate = "5/s"\n', "utf-8")
    with start(file, "--json") as process:
        try:
            until(
                process,
                lambda line: "status" in line and line["status"]["counts"]["states"].get("sent", 0) > 0,
            )
            code, _, err = run("run", file)
            assert code == 1
            assert str(process.pid) in err
            code, out, _ = run("status", file, "--json")
            assert (code, json.loads(out)["state"] in {"running", "waiting"}) == (4, True)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 4
    assert not (file.parent / "spring.db-status").exists()

    file.write_text(CAMPAIGN, "utf-8")
    assert run("run", file)[0] == 0
    assert service.accepted == 28


def test_a_run_is_seen_from_its_first_send(file: Path, service: Simulator) -> None:
    """From the first request on `status` says that a process sends, and advises no second run."""
    service.faults.add(Fault(kind="latency", route="POST /dispatch", seconds=60))
    with start(file) as process:
        try:
            while not service.counts["POST /dispatch"]:
                assert process.poll() is None
                time.sleep(0.005)
            code, out, _ = run("status", file)
        finally:
            process.kill()
    assert code == 4
    assert out.startswith("spring: running")
    assert "no process" not in out


def test_a_pause_from_another_terminal_reaches_the_run(file: Path, service: Simulator) -> None:
    """The status tells why nothing moves; a stop ends the run with what is left."""
    file.write_text(CAMPAIGN + '[pace]\nrate = "5/s"\n', "utf-8")
    with start(file, "--json") as process:
        try:
            until(process, lambda line: "status" in line and line["status"]["state"] == "running")
            assert run("pause", file, "--reason", "lunch")[0] == 0
            until(process, lambda line: "status" in line and line["status"]["state"] == "paused")
            assert run("stop", file)[0] == 0
            process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 4


@pytest.mark.long
def test_a_second_signal_gives_up_what_is_in_flight(file: Path, service: Simulator) -> None:
    """The first drains; who cannot wait ends it honestly: those rows are unknown, and are not sent again."""
    service.faults.add(Fault(kind="latency", route="POST /dispatch", seconds=60))
    with start(file, "--json") as process:
        try:
            until(process, lambda line: "status" in line and line["status"]["in_flight"] == 28)
            process.send_signal(signal.SIGINT)
            until(process, lambda line: "status" in line and line["status"]["state"] == "stopping")
            process.send_signal(signal.SIGINT)
            out, _ = process.communicate(timeout=20)
        finally:
            process.kill()
    ended = json.loads(out.splitlines()[-1])["ended"]["states"]
    assert process.returncode in {3, 4}
    assert ended["unknown"] == 28
    assert run("status", file)[0] == 3


# --- on a screen


def drawn(*statuses: Status) -> str:
    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=100, color_system=None)
    with TerminalDisplay("spring \x1b[31m", console) as display:
        for status in statuses:
            display.update(status)
    return page.getvalue()


def test_a_terminal_shows_the_rate_and_what_is_left() -> None:
    """A bar, numbers, money; a hostile name does nothing."""
    counts = Counts(states={"sent": 40, "pending": 60}, reached={"read": 9}, cost={"EUR": "2.80"})
    status = Status(state="running", counts=counts, at=BEGIN, rate=12.5, in_flight=8, eta=BEGIN + 75)

    out = drawn(status)

    for words in (
        "running",
        "12.5/s",
        "1 min 15 s left",
        "8 in flight",
        "40 of 100 done",
        "9 reached",
        "EUR 2.80",
    ):
        assert words in out
    assert "\x1b[31m" not in out
    assert not any("━" in line and "done" in line for line in out.splitlines())


def test_a_screen_says_why_nothing_moves_and_until_when() -> None:
    """Whatever the display: the reason, who asked for it, and the time."""
    counts = Counts(states={"pending": 5})
    quiet = Wait(reason="quiet_hours", until=BEGIN + 3600)
    waiting = Status(state="waiting", counts=counts, at=BEGIN, wait=quiet)
    paused = Status(
        state="paused",
        counts=counts,
        at=BEGIN,
        wait=Wait(reason="paused", by="abort_if", words="7 of 200 refused"),
    )
    page = io.StringIO()
    log = LogDisplay("spring", Console(file=page, width=200))
    for status in (waiting, waiting, paused):
        log.update(status)
    lines = page.getvalue().splitlines()

    assert lines == [
        "spring: waiting for quiet_hours until 2026-11-02 19:00:00 UTC (in 1 h 0 min), 0 of 5 done",
        "spring: paused by abort_if: 7 of 200 refused, 0 of 5 done",
    ]
    assert "quiet_hours until 2026-11-02 19:00:00 UTC (in 1 h 0 min)" in drawn(waiting)
