"""`bulk opt-out`: people who are added by hand or from a list get nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.service import run
from tests.bulk.test_cli_bulk import CAMPAIGN, fill


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A campaign of four people with numbers as the Dutch write them, which shares its list with others."""
    lines = [f"06 17 18 56 6{n};Name {n};nl" for n in range(4)]
    (tmp_path / "customers.csv").write_text("\n".join(["phone;name;language", *lines]), "utf-8")
    path = tmp_path / "spring.toml"
    text = CAMPAIGN.replace("[columns]", 'country = "NL"\n[people]\nfile = "opt-outs.db"\n[columns]')
    path.write_text(text, "utf-8")
    return path


def test_people_on_the_list_get_nothing(file: Path, service: Simulator) -> None:
    """Before the first run: any spelling, by hand and from a file; a line that is no number is told."""
    kept = file.parent / "list.txt"
    kept.write_text("phone\n06-17185661\n\n+31 6 17185662\n06-17\n", "utf-8-sig")

    code, out, err = run("opt-out", "add", file, "0031 6 17185660", "--file", kept, "--reason", "letter")

    assert (code, out) == (1, "3 entries added to the opt-out list, 1 refused\n")
    assert err == "line 5: has 3 digits after the country code 31, which takes 9\n"
    assert "1 to send" in run("plan", file)[1]
    assert run("run", file)[0] == 0
    assert service.accepted == 1


def test_the_list_is_shown_masked_and_people_may_come_back(file: Path) -> None:
    """Why and since when, numbers in full only when asked for; who opts in again is removed."""
    assert run("opt-out", "add", file, "06 17 18 56 61")[:2] == (0, "1 entry added to the opt-out list\n")
    again = run("opt-out", "add", file, "+31617185661")
    assert again[:2] == (0, "0 entries added to the opt-out list, 1 already on it\n")

    code, out, err = run("opt-out", "list", file)
    assert (code, err) == (0, "1 entry on the opt-out list\n")
    assert out.endswith("  by hand\n")
    assert "617185661" not in out
    entry = json.loads(run("opt-out", "list", file, "--json", "--with-addresses")[1])
    assert (entry["address"], entry["reason"]) == ("31617185661", "by hand")

    assert run("opt-out", "remove", file, "0617185661")[1] == "1 entry removed from the opt-out list\n"
    assert run("opt-out", "list", file)[1:] == ("", "0 entries on the opt-out list\n")


def test_a_number_that_is_not_on_the_list_is_told(file: Path) -> None:
    """It may be mistyped, and the right one gets nothing still; what is wished is so, hence the code is 0."""
    run("opt-out", "add", file, "06 17 18 56 61")

    numbers = ["06 17 18 56 62", "0617185661"]
    done = run("opt-out", "remove", file, *numbers)

    assert done[:2] == (0, "1 entry removed from the opt-out list, 1 not on it\n")
    report = json.loads(run("opt-out", "remove", file, *numbers, "--json")[1])
    assert report == {"remove": 0, "unchanged": 2, "refused": 0}


def test_a_campaign_with_a_list_of_its_own(tmp_path: Path) -> None:
    """Without `[people] file` the list is in the ledger, and the ledger alone names it."""
    path = tmp_path / "c.db"
    fill(path, "sent", "pending")

    assert run("opt-out", "add", path, "+999000000001")[0] == 0
    assert run("opt-out", "list", path, "--with-addresses")[1].startswith("999000000001  ")


def test_a_list_of_its_own_may_begin_before_the_first_run(file: Path, service: Simulator) -> None:
    """The ledger that the campaign file names is made; neither plan nor run sends to a person on its list."""
    file.write_text(file.read_text("utf-8").replace('[people]\nfile = "opt-outs.db"\n', ""), "utf-8")

    assert run("opt-out", "add", file, "06 17 18 56 60")[:2] == (0, "1 entry added to the opt-out list\n")

    assert "3 to send" in run("plan", file)[1]
    assert run("run", file)[0] == 0
    assert service.accepted == 3
    assert run("opt-out", "remove", file, "06 17 18 56 60")[1] == "1 entry removed from the opt-out list\n"


def test_the_report_counts_replies_on_the_list_that_the_file_names(file: Path, service: Simulator) -> None:
    """In words and as JSON; the ledger alone does not name the list, and then the report claims nothing."""
    assert run("run", file)[0] == 0
    assert "0 people replied STOP\n" in run("report", file)[1]
    run("opt-out", "add", file, "06 17 18 56 60", "--reason", "stop")  # as the receiver of another campaign

    assert "1 person replied STOP\n" in run("report", file)[1]
    assert json.loads(run("report", file, "--json")[1])["stopped"] == 1
    alone = file.with_name("spring.db")
    assert "STOP" not in run("report", alone)[1]
    assert json.loads(run("report", alone, "--json")[1])["stopped"] is None
    (file.parent / "opt-outs.db").unlink()
    assert "STOP" not in run("report", file)[1]
    assert not (file.parent / "opt-outs.db").exists()


def test_the_report_counts_replies_on_a_list_of_its_own(tmp_path: Path) -> None:
    """The list in the ledger is the only one then."""
    path = tmp_path / "c.db"
    fill(path, "sent", "pending")
    run("opt-out", "add", path, "+999000000000", "--reason", "stop")

    assert "1 person replied STOP\n" in run("report", path)[1]


def test_a_number_or_a_file_must_be_named(file: Path) -> None:
    """Nothing to add is a mistake in the command line."""
    assert run("opt-out", "add", file)[0] == 2
    assert run("opt-out", "remove", file)[0] == 2


@pytest.mark.parametrize("shared", [True, False])
def test_to_look_at_a_list_makes_none(file: Path, shared: bool) -> None:
    """Neither the file of the list nor the ledger of a campaign that never ran."""
    if not shared:
        file.write_text(file.read_text("utf-8").replace('[people]\nfile = "opt-outs.db"\n', ""), "utf-8")

    code, out, err = run("opt-out", "list", file)

    assert (code, out, err) == (0, "", "there is no opt-out list yet, and no person is on it\n")
    assert not list(file.parent.glob("*.db*"))
