"""A campaign that is planned or run again: in another folder, after a part was sent, with another list."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import load, tariff_of, template_of
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.service import run
from tests.bulk.test_cli_bulk import CAMPAIGN
from tests.bulk.test_cli_bulk_words import NO_PROCESS, name_owner

NEW_LEDGER = "new ledger spring.db: no row counts as sent"
NEW_LIST = "new opt-out list opt-outs.db: no person is on it"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of four people, which shares its opt-out list with others."""
    write_list(tmp_path, range(4))
    path = tmp_path / "spring.toml"
    path.write_text(CAMPAIGN + '[people]\nfile = "opt-outs.db"\n', "utf-8")
    return path


def write_list(folder: Path, people: range) -> None:
    lines = [f"+99900000{n:04d};Name {n};nl" for n in people]
    (folder / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8")


def test_a_copied_campaign_says_that_its_ledger_and_its_list_are_new(
    file: Path, tmp_path_factory: pytest.TempPathFactory, service: Simulator
) -> None:
    """All rows would be sent again, also to those who said STOP: plan and run say so, and only then."""
    assert json.loads(run("plan", file, "--json")[1])["stores"] == [NEW_LEDGER, NEW_LIST]
    assert run("run", file)[2].splitlines() == [NEW_LIST, NEW_LEDGER]
    again = "ledger spring.db has 4 rows already, 0 of them to send; the plan counts the whole list"
    assert json.loads(run("plan", file, "--json")[1])["stores"] == [again]
    assert again in run("plan", file)[1].splitlines()
    assert "new" not in run("run", file)[2]

    elsewhere = tmp_path_factory.mktemp("copy")
    for name in ("spring.toml", "customers.csv"):
        shutil.copy(file.with_name(name), elsewhere)

    told = run("plan", elsewhere / "spring.toml")[1].splitlines()
    assert {NEW_LEDGER, NEW_LIST} <= set(told)
    assert not (elsewhere / "spring.db").exists()


def test_a_wrong_name_of_the_opt_out_list_is_told(file: Path, service: Simulator) -> None:
    """A list that is made at that moment is empty, and those who said STOP are on the other one."""
    assert run("run", file)[0] == 0
    file.write_text(CAMPAIGN + '[people]\nfile = "optouts.db"\n', "utf-8")
    words = "new opt-out list optouts.db: no person is on it"

    assert words in run("plan", file)[1].splitlines()
    assert run("run", file)[2].splitlines() == [words]


def test_a_plan_is_made_while_its_ledger_cannot_be_read(file: Path) -> None:
    """A plan of the list needs nothing of it, where the opt-out list is another file."""
    file.with_name("spring.db").write_text("no ledger", "utf-8")

    code, out, _ = run("plan", file)

    assert (code, "4 to send" in out, "new ledger" in out) == (0, True, False)


@pytest.fixture
def stopped(file: Path, service: Simulator) -> Path:
    """The campaign with its four rows to send, of which the list has two and a new one."""

    async def add() -> None:
        settings = load(file)
        async with await SqliteLedger.open(settings.ledger) as ledger:
            template, tariff = template_of(settings), tariff_of(settings)
            await Campaign(ledger, template=template, settings=settings, tariff=tariff).add(settings.source)

    asyncio.run(add())
    write_list(file.parent, range(2, 5))
    return file


def test_rows_that_the_list_has_no_more_are_told(stopped: Path, service: Simulator) -> None:
    """The ledger keeps what was added, so they are sent: plan and run say how many."""
    gone = (
        "ledger spring.db has 4 rows already, 4 of them to send, 2 of these no longer in the list; the plan"
    )
    assert gone in run("plan", stopped)[1]

    code, out, err = run("run", stopped)

    assert (code, service.accepted) == (0, 5)
    assert "3 rows read, 1 added, 2 were there and stay as they were added" in out
    words = "2 pending rows are no longer in customers.csv, and sent all the same"
    assert f"{words}: nexmo-dispatch bulk withdraw {stopped} gives such rows up\n" in err
    assert "no longer in" not in run("run", stopped)[2]


def test_a_run_says_how_long_a_callback_may_prove_an_unknown_row(stopped: Path, service: Simulator) -> None:
    """It names what hears the callback before what decides about the row."""

    async def lose_a_result() -> None:
        async with await SqliteLedger.open(load(stopped).ledger) as ledger:
            (row,) = await ledger.claim(ClaimRequest(limit=1, now=time.time()))
            await ledger.record([Result(id=row.id, state="unknown", at=time.time())])

    asyncio.run(lose_a_result())

    code, out, _ = run("run", stopped)

    words = f"a callback may prove it within 24 hours, nexmo-dispatch bulk listen {stopped} hears it"
    assert code == 3
    assert f"1 row is unknown: {words}; then nexmo-dispatch bulk unknown list {stopped}\n" in out


@pytest.mark.parametrize(("more", "words"), [(1, "1 row has"), (2, "2 rows have")])
def test_people_with_several_rows_are_told_by_plan_and_run(
    file: Path, service: Simulator, more: int, words: str
) -> None:
    """A number under several keys gets several messages; a list that is read again says so no more."""
    file.write_text(CAMPAIGN.replace("[columns]", '[columns]\nkey = "name"'), "utf-8")
    with (file.parent / "customers.csv").open("a", encoding="utf-8") as rows:
        rows.write("".join(f"\n+999000000000;Again {n};nl" for n in range(more)))
    told = f"{words} an address that came before under another key: one person gets several messages, unless"

    assert f"warning: {told}" in run("plan", file)[1]
    _, _, err = run("run", file)

    assert (service.accepted, told in err) == (4 + more, True)
    assert told not in run("run", file)[2]
    assert f"{4 + more} rows reached" in run("report", file)[1]


def test_rows_that_were_taken_out_of_the_list_may_be_withdrawn(stopped: Path, service: Simulator) -> None:
    """They are counted first and given up on request; no other campaign is barred to their people."""
    assert (
        run("withdraw", stopped)[1] == "2 of 4 pending rows are no longer in the list: --yes gives them up\n"
    )
    assert json.loads(run("withdraw", stopped, "--json")[1]) == {"unlisted": 2}
    assert run("withdraw", stopped, "--yes")[:2] == (0, "2 of 4 pending rows are given up\n")
    assert json.loads(run("withdraw", stopped, "--yes", "--json")[1]) == {"withdrawn": 0}

    _, _, err = run("run", stopped)

    assert (service.accepted, "no longer in" in err) == (3, False)
    assert json.loads(run("status", stopped, "--json")[1])["counts"]["skipped"] == {"dropped": 2}
    assert run("opt-out", "list", stopped)[1] == ""


def test_a_run_that_has_the_ledger_is_ended_before_rows_are_withdrawn(stopped: Path) -> None:
    """The count says so: a script that goes on would send to those who were taken out."""

    async def withdraw(*options: str, sends: bool = True) -> tuple[int, str, str]:
        async with await SqliteLedger.open(load(stopped).ledger, sends=sends):
            return await asyncio.to_thread(run, "withdraw", stopped, *options)

    code, out, err = asyncio.run(withdraw())
    beside_listener = asyncio.run(withdraw(sends=False))
    refused = asyncio.run(withdraw("--yes"))

    assert (code, out.startswith("2 of 4 pending rows")) == (0, True)
    assert err == (
        f"a process may have the ledger, also while it is paused: nexmo-dispatch bulk stop {stopped} first\n"
    )
    listens = "a process that listens has the ledger: end nexmo-dispatch bulk listen first\n"
    assert beside_listener[2] == listens
    assert (refused[0], "is in use" in refused[2]) == (1, True)
    assert run("withdraw", stopped, "--yes")[0] == 0


def test_another_text_is_refused_with_what_keeps_people_from_a_second_message(
    file: Path, service: Simulator
) -> None:
    """A new campaign knows nothing of those who got the first text, unless it excludes them."""
    assert run("run", file)[0] == 0
    file.write_text(file.read_text("utf-8").replace("Hallo", "Dag"), "utf-8")

    code, _, err = run("run", file)

    assert code == 5
    words = "start a new campaign for another, and name this ledger under its [people] exclude"
    assert words in err
    assert f"warning: bulk run refuses this: {err.splitlines()[0]}" in run("plan", file)[1].splitlines()
    name_owner(file.with_name("spring.db"), pid=NO_PROCESS)
    assert run("resume", file)[1] == f"spring was resumed, but {err.splitlines()[0]}\n"


def test_a_process_that_sends_keeps_its_template_after_a_resume(file: Path, service: Simulator) -> None:
    """The file may have another text by then, and the operator reads that it is not sent."""
    assert run("run", file)[0] == 0
    file.write_text(file.read_text("utf-8").replace("Hallo", "Dag"), "utf-8")

    code, out, err = run("resume", file)  # this process opened the ledger, and lives

    assert (code, out) == (0, "spring may run\n")
    assert err.startswith("what sends keeps its own messages: the template is not the one that the rows were")
