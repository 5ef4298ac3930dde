"""A customer list as people keep it, from the file to the ledger: every line has one end."""

import os
from collections import Counter
from pathlib import Path

from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.bulk.rejects import RejectsFile
from nexmo_dispatch_async.bulk.rows.intake import Intake
from nexmo_dispatch_async.bulk.settings import Columns
from nexmo_dispatch_async.bulk.templates.template import WorkflowTemplate
from nexmo_dispatch_async.channels import sms
from tests.bulk.rows.customer_list import CustomerList

TEMPLATE = WorkflowTemplate(sms.text("Hi {name}, {code}", from_="31647356950", to="{phone}"))
BLOCKS = 400


def intake() -> Intake:
    return Intake(TEMPLATE, country="GB", columns=Columns(key="id"))


async def test_every_line_is_a_row_or_a_reject_and_a_corrected_file_adds_the_rest(tmp_path: Path) -> None:
    """Bad lines, BOM, CRLF, quotes, empty lines: counts are exact, and adding again sends nothing twice."""
    bad, good = CustomerList(BLOCKS), CustomerList(BLOCKS, corrected=True)
    path = bad.write(tmp_path / "people.csv")
    async with await SqliteLedger.open(tmp_path / "spring.db") as ledger:
        with RejectsFile(tmp_path / "rejects.csv") as rejects:
            first = await intake().take(path, ledger, rejects=rejects)
        lines = (tmp_path / "rejects.csv").read_text("utf-8-sig").splitlines()[1:]

        good.write(path)
        second = await intake().take(path, ledger)
        third = await intake().take(path, ledger)
        total = (await ledger.counts(verify=True)).total
        rows = await ledger.scan(limit=12)

    assert (first.rows, first.added, first.rejected) == (BLOCKS * 10, BLOCKS * 5, BLOCKS * 5)
    assert Counter(line.split(",")[2] for line in lines) == bad.rejects
    # The lines of the second block, counted as an editor does.
    assert [int(line.split(",")[0]) for line in lines][5:10] == [21, 22, 23, 24, 25]
    assert (second.added, second.already, second.rejected) == (BLOCKS * 4, BLOCKS * 5, BLOCKS)
    assert (third.added, third.already) == (0, BLOCKS * 9)
    assert total == good.good == BLOCKS * 9
    assert [row.fields["name"] for row in rows][:5] == ["Ann", 'O"Neil; B', "Cas", 'Dee "5"" D', "Renée"]
    assert {row.address for row in rows} == {
        f"4477009{number:05}" for number in (*range(5), *range(6, 11), 12, 13)
    }


async def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """What cannot be read twice is read once: a pipe of another program will do."""
    pipe = tmp_path / "people.csv"
    os.mkfifo(pipe)
    people = CustomerList(3)
    thread = people.feed(pipe)
    async with await SqliteLedger.open(tmp_path / "spring.db") as ledger:
        taken = await intake().take(pipe, ledger)
    thread.join(10)

    assert (taken.added, taken.rejected) == (people.good, sum(people.rejects.values()))
