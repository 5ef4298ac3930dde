"""`bulk refused`: why rows were refused, and the same rows sent again once the cause is cured."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from nexmo_dispatch_async.bulk import Campaign
from nexmo_dispatch_async.bulk.campaign_file import load, tariff_of, template_of
from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Control, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.cli import bulk_lists
from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_async.simulator import Fault, Simulator
from tests.bulk.callbacks import BEGIN
from tests.bulk.campaigns import recipients
from tests.bulk.killing import Process, kill_and_resume, sends, simulator
from tests.bulk.service import run
from tests.bulk.test_cli_bulk import CAMPAIGN

#: Code, error, and how many rows.
CAUSES = (
    ("1340", "BadRequestError", 1),
    ("invalid-params", "BadRequestError: Invalid params (from)", 3),
    ("", "RowError", 2),
    ("", "", 1),
    ("1240", "RefusedError", 1),
)
ROWS = sum(count for _, _, count in CAUSES)
REFUSAL = Fault(kind="error", route="POST /dispatch", status=400, form="problem")


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger of refused rows, in the order of `CAUSES`, and of one row that was sent."""
    path = tmp_path / "c.db"

    async def work() -> None:
        async with await SqliteLedger.open(path, clock=lambda: BEGIN) as opened:
            await opened.add(recipients(ROWS + 1))
            claimed = await opened.claim(ClaimRequest(limit=ROWS + 1, now=BEGIN))
            causes = [(code, error) for code, error, count in CAUSES for _ in range(count)]
            results = [
                Result(id=row.id, state="refused", at=BEGIN, code=code, error=error, attempts=1)
                for row, (code, error) in zip(claimed, causes, strict=False)
            ]
            await opened.record([*results, Result(id=claimed[-1].id, state="sent", at=BEGIN)])

    asyncio.run(work())
    return path


def states(path: Path) -> dict[str, int]:
    return dict(json.loads(run("status", path, "--json")[1])["counts"]["states"])


def test_refused_rows_are_listed_by_their_code(ledger: Path) -> None:
    """The most frequent first: how many, the code, what it means and what the service said; no numbers."""
    code, out, err = run("refused", "list", ledger)

    assert (code, err) == (0, "")
    assert [line.split(maxsplit=2) for line in out.splitlines()] == [
        ["3", "invalid-params", "The service found a fault in the message: Invalid params (from)"],
        ["2", "RowError", "The row could not be rendered, or breaks a rule"],
        ["1", "1240", "The recipient opted out, or is on a block list: skipped when sent again"],
        ["1", "1340", "The recipient wrote too long ago for a free text: use a template"],
        ["1", "none", "No reason given"],
    ]
    lines = [json.loads(line) for line in run("refused", "list", ledger, "--json")[1].splitlines()]
    assert [(line["code"], line["rows"], line["opted_out"]) for line in lines] == [
        ("invalid-params", 3, False),
        ("RowError", 2, False),
        ("1240", 1, True),
        ("1340", 1, False),
        ("none", 1, False),
    ]


def refuse(path: Path, *causes: tuple[str, str]) -> None:
    """Make a ledger of rows that were refused with these codes and errors."""

    async def work() -> None:
        async with await SqliteLedger.open(path, clock=lambda: BEGIN) as opened:
            await opened.add(recipients(len(causes)))
            claimed = await opened.claim(ClaimRequest(limit=len(causes), now=BEGIN))
            await opened.record(
                [
                    Result(id=row.id, state="refused", at=BEGIN, code=code, error=error)
                    for row, (code, error) in zip(claimed, causes, strict=True)
                ]
            )

    asyncio.run(work())


def test_a_code_with_many_reasons_is_one_line(tmp_path: Path) -> None:
    """With the most frequent one: no code is hidden by the reasons of another one."""
    ledger = tmp_path / "c.db"
    reasons = [("1020", f"BadRequestError: parameter {n % 40}") for n in range(1, 42)]
    refuse(ledger, *reasons, ("1340", "BadRequestError"))

    out = run("refused", "list", ledger)[1]

    assert [line.split(maxsplit=2)[:2] for line in out.splitlines()] == [["41", "1020"], ["1", "1340"]]
    assert out.splitlines()[0].endswith(": parameter 1, the most frequent of several reasons")
    assert "several" not in out.splitlines()[1]
    first = json.loads(run("refused", "list", ledger, "--json")[1].splitlines()[0])
    assert (first["code"], first["rows"], first["meaning"].endswith(": parameter 1")) == ("1020", 41, True)


def test_codes_beyond_the_longest_list_are_counted_and_are_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service may answer with any number of codes; the line of the rest cannot be taken for one of them."""
    monkeypatch.setattr(bulk_lists, "MOST", 2)
    ledger = tmp_path / "c.db"
    refuse(ledger, *((code, "BadRequestError") for code in ("a", "b", "c", "c", "d", "a")))

    lines = run("refused", "list", ledger)[1].splitlines()

    assert [line.split()[:2] for line in lines[:2]] == [["2", "a"], ["1", "b"]]
    assert lines[2:] == ["3 rows have other codes: nexmo-dispatch bulk export --state refused lists them"]
    last = json.loads(run("refused", "list", ledger, "--json")[1].splitlines()[-1])
    assert last == {"code": None, "meaning": "", "rows": 3, "opted_out": False}
    assert run("refused", "resend", ledger, "--code", "c")[0] == 0


@pytest.mark.parametrize("code", [" 77", "77\n", "\t77 "])
def test_a_code_with_blanks_around_it_is_named_without(tmp_path: Path, code: str) -> None:
    """So that it can be copied from the list."""
    ledger = tmp_path / "c.db"
    refuse(ledger, (code, "BadRequestError"), ("77", "BadRequestError"))

    assert [line.split()[:2] for line in run("refused", "list", ledger)[1].splitlines()] == [["2", "77"]]
    assert run("refused", "resend", ledger, "--code", "77")[0] == 0
    assert states(ledger) == {"pending": 2}


@pytest.mark.parametrize("group", ["refused", "unknown"])
def test_no_row_is_a_line_too(tmp_path: Path, group: str) -> None:
    """It tells a campaign without such rows from a fault; JSON has no line."""
    ledger = tmp_path / "c.db"

    async def fill() -> None:
        async with await SqliteLedger.open(ledger) as opened:
            await opened.add(recipients(1))

    asyncio.run(fill())

    assert run(group, "list", ledger) == (0, f"no row is {group}\n", "")
    assert run(group, "list", ledger, "--json") == (0, "", "")


@pytest.mark.parametrize(
    ("chosen", "number"),
    [
        (("--code", "1340"), 1),
        (("--code", "invalid-params", "--code", "RowError"), 5),
        (("--code", "none"), 1),
        (("all",), ROWS),
        (("1", "2"), 2),
    ],
)
def test_rows_are_sent_again_by_code_by_number_or_all(
    ledger: Path, chosen: tuple[str, ...], number: int
) -> None:
    """The others stay refused; the answer says how many, and what sends them."""
    code, out, err = run("refused", "resend", ledger, *chosen)

    rows = "1 row" if number == 1 else f"{number} rows"
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{rows} will be sent again by the next run",
        "nexmo-dispatch bulk run FILE goes on",
    ]
    left = {"refused": ROWS - number} if number < ROWS else {}
    assert states(ledger) == {"pending": number, "sent": 1, **left}


def test_what_is_not_refused_stays_as_it_is(ledger: Path) -> None:
    """A row that was sent, and a code of no row, are named; a script sees that not all was done."""
    code, out, err = run("refused", "resend", ledger, "1", str(ROWS + 1), "99", "--json")
    assert (code, json.loads(out)) == (1, {"resend": 1})
    assert err.splitlines() == [
        f"row {ROWS + 1} is not refused: it stays as it is",
        "row 99 is not refused: it stays as it is",
    ]

    code, out, err = run("refused", "resend", ledger, "--code", "1340", "--code", "RowError")
    assert (code, out.splitlines()[0]) == (1, "2 rows will be sent again by the next run")
    assert err == "no row is refused with the code 1340\n"
    assert run("refused", "resend", ledger, "--code", "1340")[:2] == (
        1,
        "0 rows will be sent again by the next run\n",
    )
    # The rows of the other command are none of its own.
    assert "row 2 is not unknown" in run("unknown", "resend", ledger, "2")[2]
    assert states(ledger) == {"pending": 3, "refused": ROWS - 3, "sent": 1}


@pytest.mark.parametrize("words", [(), ("all", "--code", "1340"), ("1", "--code", "1340"), ("x",)])
def test_which_rows_are_meant_has_to_be_said_once(ledger: Path, words: tuple[str, ...]) -> None:
    """Numbers, all, or codes: none of them, or two, are a mistake in the command line."""
    assert run("refused", "resend", ledger, *words)[0] == 2
    assert states(ledger) == {"refused": ROWS, "sent": 1}


def test_erased_rows_are_no_longer_sent_again(ledger: Path) -> None:
    """The list counts them apart."""
    assert run("forget", ledger, "--older", "1s")[0] == 0

    assert run("refused", "list", ledger)[1] == f"{ROWS} rows are erased, and cannot be sent again\n"
    assert run("refused", "resend", ledger, "all")[:2] == (0, "0 rows will be sent again by the next run\n")
    assert states(ledger) == {"refused": ROWS, "sent": 1}


def test_a_campaign_that_paused_for_its_refusals_is_resumed_next(ledger: Path) -> None:
    """The pause outlasts the process, so the answer names both commands."""

    async def pause() -> None:
        async with await SqliteLedger.open(ledger, observer=True) as opened:
            await opened.control(lambda known: known.paused("abort_if", "50 of the last 50 rows are refused"))

    asyncio.run(pause())

    words = "it stays paused: nexmo-dispatch bulk resume FILE, and nexmo-dispatch bulk run FILE goes on"
    assert words in run("refused", "resend", ledger, "all")[1].splitlines()[1]


def test_a_ledger_that_was_put_back_sends_no_refused_row_again(ledger: Path, tmp_path: Path) -> None:
    """The backup still has rows as refused that the original has sent since."""
    backup = tmp_path / "backup.db"
    shutil.copy(ledger, backup)
    assert run("refused", "resend", ledger, "all")[0] == 0

    async def send() -> None:
        async with await SqliteLedger.open(ledger, clock=lambda: BEGIN) as opened:
            rows = await opened.claim(ClaimRequest(limit=ROWS, now=BEGIN))
            assert len(rows) == ROWS - 1  # 1240: on the opt-out list
            await opened.record([Result(id=row.id, state="sent", at=BEGIN) for row in rows])

    asyncio.run(send())
    for name in ("c.db", "c.db-wal", "c.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(backup, ledger)

    code, out, err = run("refused", "resend", ledger, "all")

    assert (code, out) == (1, "")
    assert "--restored" in err
    assert states(ledger)["refused"] == ROWS


def accepted_by_person(sim: Simulator) -> Counter[str]:
    """Return how many workflows the service accepted for each person."""
    bodies = [request.body for request in sim.requests if request.path.endswith("/dispatch")]
    accepted = [request.status == 202 for request in sim.requests if request.path.endswith("/dispatch")]
    people = [json.loads(body)["workflow"][0]["to"]["number"] for body in bodies]
    return Counter(number for number, was_accepted in zip(people, accepted, strict=True) if was_accepted)


def test_a_campaign_whose_sends_were_refused_reaches_each_person_once(
    tmp_path: Path, service: Simulator
) -> None:
    """The service refuses them until it is cured: list, resend and run again, without another campaign."""
    lines = [f"+99900000{n:04d};Name {n};en" for n in range(30)]
    (tmp_path / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8")
    file = tmp_path / "spring.toml"
    file.write_text(CAMPAIGN, "utf-8")
    service.faults.add(Fault(kind="error", route="POST /dispatch", status=400, form="problem", skip=10))
    code, out, _ = run("run", file)
    assert code == 3
    assert "10 sent, 20 refused" in out
    assert f"20 rows were refused: nexmo-dispatch bulk refused list {file} says why" in out

    (cause,) = [json.loads(line) for line in run("refused", "list", file, "--json")[1].splitlines()]
    assert (cause["code"], cause["rows"]) == ("bad-request", 20)
    service.faults.clear()
    code, out, _ = run("refused", "resend", file, "--code", "bad-request")
    assert code == 0
    assert f"nexmo-dispatch bulk run {file} goes on" in out
    assert run("refused", "resend", file, "all")[1] == "0 rows will be sent again by the next run\n"
    assert run("run", file)[0] == 0

    assert run("status", file, "--verify")[1] == "spring: finished, 30 of 30 done, 30 sent\n"
    assert accepted_by_person(service) == {f"99900000{n:04d}": 1 for n in range(30)}


@pytest.fixture
def shortened(tmp_path: Path) -> Path:
    """A campaign of ten rows, half of them refused and half unknown; its list has three of each half."""
    file = tmp_path / "spring.toml"
    file.write_text(CAMPAIGN, "utf-8")
    write_list(tmp_path, range(10))

    async def work() -> None:
        settings = load(file)
        async with await SqliteLedger.open(settings.ledger, clock=lambda: BEGIN) as opened:
            campaign = Campaign(
                opened, template=template_of(settings), settings=settings, tariff=tariff_of(settings)
            )
            await campaign.add(settings.source)
            rows = await opened.claim(ClaimRequest(limit=10, now=BEGIN))
            await opened.record(
                [Result(id=row.id, state="refused" if row.id <= 5 else "unknown", at=BEGIN) for row in rows]
            )

    asyncio.run(work())
    write_list(tmp_path, range(2, 8))
    return file


def write_list(folder: Path, people: range) -> None:
    lines = [f"+99900000{n:04d};Name {n};en" for n in people]
    (folder / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8")


@pytest.mark.parametrize(("group", "gone"), [("refused", {1, 2}), ("unknown", {9, 10})])
def test_people_whose_lines_were_taken_out_of_the_list_are_not_sent_to_again(
    shortened: Path, service: Simulator, group: str, gone: set[int]
) -> None:
    """The answer says how many; their rows stay as they are, and the next run sends the others only."""
    code, out, err = run(group, "resend", shortened, "all")

    assert (code, out.splitlines()[0]) == (0, "3 rows will be sent again by the next run")
    assert err == "2 rows are no longer in customers.csv, and stay as they are\n"
    one = str(min(gone))
    assert run(group, "resend", shortened, one) == (
        1,
        "0 rows will be sent again by the next run\n",
        "1 row is no longer in customers.csv, and stays as it is\n",
    )
    left = {"refused": 5, "unknown": 5} | {group: 2}
    assert states(shortened) == {"pending": 3, **left}
    assert "no longer in" not in run("run", shortened)[2]
    assert not {f"99900000{n - 1:04d}" for n in gone} & set(accepted_by_person(service))


def test_a_code_whose_rows_are_all_out_of_the_list_is_a_code_of_refused_rows(shortened: Path) -> None:
    """It is named right, so nothing is wrong with the command."""
    write_list(shortened.parent, range(0))

    assert run("refused", "resend", shortened, "--code", "none") == (
        0,
        "0 rows will be sent again by the next run\n",
        "5 rows are no longer in customers.csv, and stay as they are\n",
    )


def test_a_ledger_knows_no_list_so_all_its_refused_rows_are_sent_again(shortened: Path) -> None:
    """Neither does a campaign file whose list is gone, which says so."""
    ledger = Path(load(shortened).ledger)
    code, out, err = run("refused", "resend", ledger, "1")
    assert (code, out.splitlines()[0], err) == (0, "1 row will be sent again by the next run", "")

    (shortened.parent / "customers.csv").unlink()
    code, out, err = run("refused", "resend", shortened, "all")

    assert (code, out.splitlines()[0]) == (0, "4 rows will be sent again by the next run")
    source = shortened.parent / "customers.csv"
    assert err == f"{source} is gone: rows whose lines were taken out of it before are sent again, too\n"


@pytest.mark.timeout(120)
async def test_processes_that_are_killed_around_a_resend_send_to_each_person_once(tmp_path: Path) -> None:
    """Paused by its refusals and killed, cured and resent, killed again and resumed."""
    file, count = tmp_path / "c.db", 90
    async with simulator() as sim:
        sim.faults.add(REFUSAL)
        process = Process(file, sim, count)
        await process.start()
        async with await SqliteLedger.open(file, observer=True) as ledger:

            async def is_paused() -> bool:
                counts = await ledger.counts()
                return (await ledger.control()).state == "pause" and not counts.states.get("sending")

            async with asyncio.timeout(60):
                while not await is_paused():  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.01)
        await process.end_by(signal.SIGKILL)
        async with Campaign.open(file) as campaign:
            refused = [row.id async for row in campaign.rows("refused")]
            assert 50 <= len(refused) < count
            assert await campaign.resend(*refused, state="refused") == len(refused)
            await campaign.resume()
        sim.faults.clear()

        await kill_and_resume(file, sim, count, 1, Random(7), report=print)

        assert len(sends(sim)) >= count - 32


@pytest.fixture(params=["database", "nats_url"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, on each engine."""
    return str(request.getfixturevalue(request.param))


@pytest.mark.engines
def test_refused_rows_of_a_store_are_taken_by_the_process_that_sends(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a stop: on servers the command works beside processes that send, and says so."""
    place = join_url(store, "spring")
    monkeypatch.setenv(STORE, place)

    async def work() -> None:
        async with await open_ledger(place, accept_loss=True) as ledger:
            await ledger.add(recipients(3))
            rows = await ledger.claim(ClaimRequest(limit=2, now=BEGIN))
            await ledger.record([Result(id=row.id, state="refused", at=BEGIN) for row in rows])
            code, out, err = await asyncio.to_thread(run, "refused", "resend", "1")
            assert (code, out.splitlines()[1:], err) == (0, ["the process that sends takes them"], "")
            wave = ClaimRequest(limit=9, now=BEGIN)
            rows = [*await ledger.claim(wave), *await ledger.claim(wave)]
            assert sorted((row.id, row.attempts) for row in rows) == [(1, 2), (3, 1)]
            await ledger.control(lambda _: Control(state="pause", by="abort_if"))
            code, out, err = await asyncio.to_thread(run, "refused", "resend", "all")
            words = "it was paused by abort_if before: nexmo-dispatch bulk resume FILE lets it go on"
            assert (code, out.splitlines()[1:], err) == (0, [words], "")
        code, out, _ = await asyncio.to_thread(run, "refused", "resend", "2")
        assert (code, out) == (1, "0 rows will be sent again by the next run\n")

    asyncio.run(work())
