"""What `nexmo-dispatch bulk` says to the person who sends: local times, what is left to do, and no lies."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from msgspec.json import decode, encode
from msgspec.structs import replace
from rich.console import Console

from nexmo_dispatch_async.bulk.ledger.records import Control, Counts
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.progress import Status, Wait
from nexmo_dispatch_async.bulk.sending.safety import Budget, Hold
from nexmo_dispatch_async.cli.bulk_live import LiveStatus
from nexmo_dispatch_async.cli.bulk_progress import LogDisplay
from nexmo_dispatch_async.cli.bulk_run import RunOptions, _ended
from nexmo_dispatch_async.cli.bulk_words import line_of, next_run_in_words, pause_in_words, wait_in_words
from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.callbacks import BEGIN
from tests.bulk.random_campaign import fill as random_rows
from tests.bulk.service import run
from tests.bulk.test_cli_bulk import CAMPAIGN, fill

#: Linux gives no process such an id.
NO_PROCESS = 1 << 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of four people."""
    lines = [f"+99950000{n:04d};Name {n};nl" for n in range(4)]
    (tmp_path / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8")
    path = tmp_path / "spring.toml"
    path.write_text(CAMPAIGN, "utf-8")
    return path


def test_refusals_say_why_in_report_and_export(file: Path, service: Simulator) -> None:
    """Rows that the service refuses with a 400 name its reason in the report and in the export."""
    service.faults.add({"kind": "error", "route": "POST /dispatch", "status": 400, "form": "problem"})

    assert f"4 rows were refused: nexmo-dispatch bulk refused list {file} says why" in run("run", file)[1]

    assert service.accepted == 0
    said = "Bad Request [bad-request]"
    assert f"4 messages, The service found a fault in the message: {said}" in run("report", file)[1]
    out = file.with_name("refused.csv")
    assert run("export", file, "--state", "refused", "--out", out)[0] == 0
    assert out.read_text("utf-8-sig").count(f"BadRequestError: {said}") == 4


def test_times_are_those_of_the_campaign(file: Path) -> None:
    """A plan that is read in Amsterdam says when it begins in Amsterdam."""
    text = CAMPAIGN.replace("[rows]", "start_at = 2126-07-01T18:00:00\n[rows]", 1)
    file.write_text(text, "utf-8")

    assert "begins 2126-07-01 18:00:00 CEST, takes 0 s" in run("plan", file)[1]

    quiet = Wait(reason="quiet_hours", until=BEGIN + 3600)
    assert "2026-11-02 20:00:00 CET (in 1 h 0 min)" in wait_in_words(quiet, BEGIN, "Europe/Amsterdam")


def test_a_wait_reads_as_a_sentence() -> None:
    """The setting keeps its name, and a service that does not answer is not a property of the gateway."""
    begin = Wait(reason="start_at", until=BEGIN + 60)
    away = Wait(reason="unreachable", until=BEGIN + 1, bucket="gateway")

    assert wait_in_words(begin, BEGIN).startswith("waiting for start_at until ")
    assert wait_in_words(away, BEGIN).startswith("the service cannot be reached, next try at ")


def test_a_service_that_refuses_everything_says_until_when() -> None:
    """Why, when one send is tried again, and when the campaign pauses if that is refused too."""
    wait = Wait(
        reason="service", until=BEGIN + 5, bucket="gateway", words="404 Not Found", pauses_at=BEGIN + 300
    )

    assert wait_in_words(wait, BEGIN) == (
        "waiting for service of gateway: 404 Not Found, next try at 2026-11-02 18:00:05 UTC (in 5 s), "
        "it pauses at 2026-11-02 18:05:00 UTC if that does not help"
    )


def test_a_campaign_to_which_no_row_was_added_is_not_finished(tmp_path: Path) -> None:
    """A run that could not begin leaves an empty ledger: nothing was sent, so the exit code is not 0."""
    path = tmp_path / "c.db"

    async def work() -> None:
        async with await SqliteLedger.open(path):
            pass

    asyncio.run(work())
    code, out, _ = run("status", path)

    assert code == 4
    assert out.startswith("c: idle, 0 of 0 done\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells among which processes an id is unique")
def test_a_process_that_was_killed_does_not_run(tmp_path: Path) -> None:
    """The status that a killed process left is not repeated: no process sends, and a run goes on."""
    path = tmp_path / "c.db"
    fill(path, "sent", "pending")
    program = (
        "import asyncio, sys, time\n"
        "from pathlib import Path\n"
        "from nexmo_dispatch_async.bulk.ledger.records import Counts\n"
        "from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger\n"
        "from nexmo_dispatch_async.bulk.progress import Status\n"
        "from nexmo_dispatch_async.cli.bulk_live import LiveStatus\n"
        "async def main():\n"
        "    async with await SqliteLedger.open(sys.argv[1]):\n"
        "        counts = Counts(states={'sent': 1, 'pending': 1})\n"
        "        status = Status(state='running', counts=counts, at=time.time())\n"
        "        LiveStatus(Path(sys.argv[1])).write(status)\n"
        "        print('written', flush=True)\n"
        "        sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        assert run("status", path)[1] == "c: running, 1 of 2 done, 1 sent\n"
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)

    code, out, _ = run("status", path, "--verify")

    assert code == 4
    assert out.splitlines() == [
        "c: idle, 1 of 2 done, 1 sent",
        "no process sends it: nexmo-dispatch bulk run FILE goes on",
    ]


def test_rows_in_flight_of_a_killed_process_are_told_before_the_next_run(tmp_path: Path) -> None:
    """They are not unknown yet, and must not look as if nothing had happened to them."""
    path = tmp_path / "c.db"
    fill(path, "sent", "pending", "pending")
    program = (
        "import asyncio, os, sys\n"
        "from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest\n"
        "from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger\n"
        "async def main():\n"
        "    ledger = await SqliteLedger.open(sys.argv[1])\n"
        "    await ledger.claim(ClaimRequest(limit=1, now=4e9))\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)

    words = "1 row is in flight, or of a process that has ended: the next run tells which"
    assert run("unknown", "list", path)[1].splitlines() == [words]
    assert run("status", path)[1].splitlines() == [
        "c: idle, 1 of 3 done, 1 sent",
        "1 row was in flight when its process ended: the next run calls them unknown",
        "no process sends it: nexmo-dispatch bulk run FILE goes on",
    ]


def name_owner(path: Path, **changes: object) -> None:
    """Let a ledger say of another process that it opened the file last."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        ((owner,),) = db.execute("SELECT value FROM meta WHERE name = 'owner'")
        db.execute("UPDATE meta SET value = ? WHERE name = 'owner'", (encode({**decode(owner), **changes}),))


def test_a_status_of_another_container_is_believed(tmp_path: Path) -> None:
    """The ids of processes elsewhere say nothing here: only the age of the status counts."""
    path = tmp_path / "c.db"
    fill(path, "sent", "pending")
    status = Status(state="running", counts=Counts(states={"sent": 1, "pending": 1}), at=time.time())
    LiveStatus(path).write(status)
    name_owner(path, pid=NO_PROCESS, container="of another machine")

    assert run("status", path)[1] == "c: running, 1 of 2 done, 1 sent\n"


def test_what_has_no_end_after_the_wait_is_counted(file: Path, service: Simulator) -> None:
    """`--wait` that ran out says how many rows have no final report, and how to hear of them later."""
    code, out, _ = run("run", file, "--wait", "1s")

    assert code == 0
    assert f"4 rows have no final report yet: nexmo-dispatch bulk listen {file} hears of it" in out
    assert "no final report" not in run("run", file)[1]


def test_one_is_a_line(file: Path) -> None:
    """Numbers agree with their nouns."""
    with (file.parent / "customers.csv").open("a", encoding="utf-8") as rows:
        rows.write("\n;Eve;nl\n")

    out = run("plan", file)[1]

    assert "line 6: phone: is empty; fill in the number, or leave the row out [number-missing]" in out
    assert "warning: 1 of 5 rows is rejected" in out


def test_many_bad_lines_are_counted_by_rule(file: Path) -> None:
    """A column that is wrong in every line is one mistake: its rule and count come before the first lines."""
    with (file.parent / "customers.csv").open("a", encoding="utf-8") as rows:
        rows.write("\n" + "x;Eve;nl\n" * 30 + ";Fay;nl\n")

    out = run("plan", file)[1].splitlines()

    place = out.index("  rejected: number-form 30, number-missing 1")
    assert out[place + 1].startswith("  line 6: phone: must be one number")
    assert "  and 11 more in " in "\n".join(out)


def test_the_report_in_words_has_languages_times_and_money(file: Path) -> None:
    """What the page shows at a glance, the terminal shows too."""
    path = file.parent / "c.db"
    fill(path, "sent", "refused")

    out = run("report", path)[1]

    assert "0 of 2 rows reached" in out
    assert "within" not in out  # nothing is known of times
    assert "by language" not in out  # and no row names one


def test_the_people_of_a_channel_are_the_same_in_words_json_and_page(file: Path) -> None:
    """Each person who was reached counts on one channel, so that the channels add up to all who were."""
    path = file.parent / "c.db"

    async def make() -> None:
        async with await SqliteLedger.open(path) as ledger:
            await random_rows(ledger, 100)

    asyncio.run(make())

    figures = decode(run("report", path, "--json")[1])
    people = {channel["channel"]: channel["people"] for channel in figures["channels"]}
    assert sum(people.values()) == figures["delivered"] > len(people) > 1
    listed = ", ".join(f"{name} {count}" for name, count in people.items())
    told = "people, each where the message was read, or else where the last one was delivered: "
    assert f"  {told}{listed}\n" in run("report", path)[1]
    page = file.parent / "report.html"
    assert run("report", path, "--html", page)[0] == 0
    html = page.read_text("utf-8")
    assert [html.count(f"{count} people count here") for count in people.values()] == [1] * len(people)


def test_a_pace_that_is_not_that_of_the_file_is_told(file: Path, service: Simulator) -> None:
    """What `resume --rate` set holds for later runs too: a run says so, and how to go back."""
    assert run("run", file)[0] == 0
    assert run("resume", file, "--rate", "50", "--limit", "8")[0] == 0

    told = "the pace is that of bulk resume --rate 50 --limit 8, not that of the file; --rate 0 --limit 0"
    assert told in run("run", file)[2]

    assert run("resume", file, "--rate", "0", "--limit", "0")[0] == 0
    assert "pace" not in run("run", file)[2]


def test_a_pause_from_before_names_the_command_that_ends_it() -> None:
    """A run that begins paused says what lets it go on; a budget is looked at anew."""
    assert pause_in_words(Control(state="pause", by="service", reason="401"), "spring.toml") == (
        "it was paused by service before: nexmo-dispatch bulk resume spring.toml lets it go on"
    )
    assert pause_in_words(Control(state="pause"), "spring.toml").startswith("it was paused before: ")
    assert pause_in_words(Control(state="stop", held=True), "spring.toml").startswith(
        "it was paused before: "
    )
    assert pause_in_words(Control(state="stop", by="max_spend", held=True), "spring.toml") == ""
    assert pause_in_words(Control(state="pause", by="max_spend"), "spring.toml") == ""
    assert pause_in_words(Control(), "spring.toml") == ""


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (
            Control(state="pause", by="max_spend"),
            "raise it in spring.toml, end a run with nexmo-dispatch bulk stop",
        ),
        (
            Control(state="pause", by="canary"),
            "nexmo-dispatch bulk resume spring.toml --release lets all rows go",
        ),
        (Control(state="pause", by="abort_if"), "spring may run"),
    ],
)
def test_resume_says_what_a_hold_needs(
    file: Path, hold: Control, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary and a budget hold on after it, so `may run` would be false."""
    monkeypatch.chdir(file.parent)
    fill(file.with_name("spring.db"), "sent", "pending")

    async def pause() -> None:
        async with await SqliteLedger.open(file.with_name("spring.db"), observer=True) as ledger:
            await ledger.control(lambda _: hold)

    asyncio.run(pause())

    assert words in run("resume", "spring.toml")[1]
    if hold.by == "canary":
        asyncio.run(pause())
        assert "bulk resume FILE --release" in run("resume", "spring.db")[1]  # a URL may hold a password
        asyncio.run(pause())
        assert "spring may run" in run("resume", "spring.toml", "--release")[1]


@pytest.mark.parametrize(
    ("hold", "words"),
    [
        (Control(), "{run} goes on"),
        (
            Control(state="pause", by="max_spend"),
            "raise max_spend in {file}, and {run} goes on",
        ),
        (
            Control(state="pause", by="canary"),
            "it stays paused: nexmo-dispatch bulk resume {file} --release, and {run} goes on",
        ),
        (
            Control(state="pause", by="abort_if"),
            (
                "it stays paused: nexmo-dispatch bulk resume {file}, and {run} goes on"
                " with the same messages; corrected ones need a new campaign that excludes this one"
            ),
        ),
        (
            Control(state="stop", by="command", held=True),
            "it stays paused: nexmo-dispatch bulk resume {file}, and {run} goes on",
        ),
    ],
)
def test_what_the_next_run_needs_is_told_by_run_and_stop_alike(
    file: Path, service: Simulator, hold: Control, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A spent budget is looked at anew, any other pause outlasts the run."""
    path = file.with_name("spring.db")
    fill(path, "sent", "pending")

    async def pause() -> None:
        async with await SqliteLedger.open(path, observer=True) as ledger:
            await ledger.control(lambda _: hold)

    asyncio.run(pause())
    words = words.format(file=file, run=f"nexmo-dispatch bulk run {file}")

    assert words == next_run_in_words(hold, file)
    counts = Counts(states={"sent": 1, "pending": 1})
    assert _ended(file, counts, hold, RunOptions()) == 4
    assert f"1 row is left: {words}\n" in capsys.readouterr().out
    stopped = run("stop", file)[1]
    assert (words in stopped) is (hold.state != "run")


def test_a_line_of_a_log_says_why_nothing_moves_before_its_numbers() -> None:
    """A terminal cuts long lines; what to do comes last."""
    wait = Wait(reason="paused", by="canary", words="the first 10 rows were sent")
    status = Status(state="paused", counts=Counts(states={"sent": 10, "pending": 5}), at=BEGIN, wait=wait)

    line = line_of("spring", status)

    assert line.startswith("spring: paused by canary: the first 10 rows were sent, 10 of 15 done, 10 sent; ")
    assert line.endswith("nexmo-dispatch bulk resume FILE --release")


def test_a_campaign_that_stands_still_is_a_line_every_ten_minutes() -> None:
    """What is new comes at once, numbers that move every ten seconds."""
    page = io.StringIO()
    log = LogDisplay("spring", Console(file=page, width=200))

    def lines(seconds: range, status: Status) -> list[str]:
        page.seek(page.truncate(0))
        for second in seconds:
            log.update(replace(status, at=BEGIN + second))
        return page.getvalue().splitlines()

    paused = Status(
        state="paused",
        counts=Counts(states={"pending": 5}),
        at=BEGIN,
        wait=Wait(reason="paused", by="command", words="lunch"),
    )
    running = replace(paused, state="running", wait=None)

    assert lines(range(1201), paused) == ["spring: paused by command: lunch, 0 of 5 done"] * 3
    assert len(lines(range(1201, 1203), replace(paused, wait=Wait(reason="paused", by="abort_if")))) == 1
    assert len(lines(range(1203, 1204), running)) == 1
    sent = [replace(running, counts=Counts(states={"sent": n, "pending": 5 - n})) for n in range(5)]
    assert [len(lines(range(1204 + 5 * n, 1209 + 5 * n), sent[n])) for n in range(5)] == [0, 1, 0, 1, 0]


def test_a_spent_budget_gives_its_advice_once() -> None:
    """The reason in the ledger names what a program does, and the command names its own."""
    budget = Budget(Decimal(1), worst=Decimal("0.50"))
    hold = budget.room(Counts(states={"sent": 2}, ended=2, cost={"EUR": "0.9"}))
    assert isinstance(hold, Hold)

    assert wait_in_words(Wait(reason="paused", by="max_spend", words=hold.reason), BEGIN) == (
        "paused by max_spend: 0.9 EUR were charged of 1 allowed, and the next row may cost up to 0.50; "
        "to go on: raise max_spend in the file, bulk stop, bulk run"
    )


def test_resume_of_a_canary_that_no_process_runs_needs_its_release(file: Path) -> None:
    """The first rows are sent: the next run would hold at once."""
    file.write_text(CAMPAIGN + "[canary]\nfirst = 1\n", "utf-8")
    fill(file.with_name("spring.db"), "sent", "pending")

    assert "--release lets all rows go" in run("resume", file)[1]
    assert "spring may run" in run("resume", file, "--release")[1]


def test_a_hold_is_named_as_in_the_runbook_and_with_its_cure() -> None:
    """`max_spend`, not `max spend`; of a canary and of a budget the next step is told."""
    spend = wait_in_words(Wait(reason="max_spend", words="9.80 EUR were charged"), BEGIN)
    canary = wait_in_words(Wait(reason="canary", words="the first 10 rows were sent"), BEGIN)
    paused = wait_in_words(Wait(reason="paused", by="max_spend", words="spent"), BEGIN)

    assert spend.startswith(
        "waiting for max_spend: 9.80 EUR were charged; to go on: raise max_spend in the file"
    )
    assert canary.endswith("nexmo-dispatch bulk resume FILE --release")
    assert "bulk stop, bulk run" in paused


def test_a_wrong_encoding_is_one_line(file: Path) -> None:
    """It is one fault of the file, and the line names the setting; other rejects keep their lines."""
    lines = ["phone;name;language", *(f"+99950000{n:04d};Zoë {n};nl" for n in range(30)), "06-12;Short;nl"]
    (file.parent / "customers.csv").write_bytes("\n".join(lines).encode("cp1252"))

    _, out, _ = run("plan", file)

    (line,) = [each for each in out.splitlines() if "[encoding]" in each]
    assert line.startswith(
        "  line 2 and 29 more: is in another encoding: save the file as UTF-8, or set encoding = "
    )
    assert "under [rows]" in line
    assert "rejects.csv" in out


def test_a_plan_shows_the_messages_to_those_who_approve(file: Path) -> None:
    """One row of each kind with its fields, and no number; control characters do nothing."""
    with (file.parent / "customers.csv").open("a", encoding="utf-8") as rows:
        rows.write("\n+999000000001;Zoë \x1b[31m;en\n+999000000002;Bob;en\n")

    assert run("plan", file)[1].startswith("6 rows")
    out = run("plan", file, "--samples")[1]

    assert out.splitlines()[:5] == [
        "line 2: nl, sms",
        "  sms: Hallo Name 0",
        "line 6: en, sms",
        "  sms: Hello Zoë \\u001b[31m",
        "6 rows, 6 to send, 0 rejected, 0 held out",
    ]
    assert "99900" not in out


def test_a_pause_is_seen_before_the_process_tells_of_it(tmp_path: Path) -> None:
    """A process leaves its status once a second, and that one still said running after the pause."""
    path = tmp_path / "c.db"
    fill(path, "sent", "pending")
    counts = Counts(states={"sent": 1, "pending": 1})
    LiveStatus(path).write(Status(state="running", counts=counts, at=time.time()))

    begun = time.time()
    assert run("pause", path, "--reason", "lunch")[0] == 0
    assert run("status", path)[1] == "c: paused by command: lunch, 1 of 2 done, 1 sent\n"
    wait = json.loads(run("status", path, "--json")[1])["wait"]
    assert (wait["reason"], begun <= wait["since"] <= time.time()) == ("paused", True)

    paused = Wait(reason="paused", by="command", words="lunch")
    LiveStatus(path).write(Status(state="paused", counts=counts, at=time.time(), wait=paused))
    assert run("resume", path)[0] == 0
    assert run("status", path)[1] == "c: running, 1 of 2 done, 1 sent\n"
