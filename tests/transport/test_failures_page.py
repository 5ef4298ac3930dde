"""The table of docs/failures.md, produced line by line by a server that misbehaves."""

from pathlib import Path

import pytest

from tests.failures import CASES, HEAD, Case, observe
from tests.support.paths import ROOT
from tests.transport.conftest import WIRES

PAGE = ROOT / "docs" / "failures.md"


def lines() -> list[str]:
    """Return the table as the page has it."""
    return PAGE.read_text("utf-8").partition(HEAD)[2].strip().partition("\n\n")[0].splitlines()


# Each line over TLS and without, each wire over TLS or without; `make test-long` does the rest.
SHORT = {(WIRES[0], "https"), (WIRES[1], "http")}


@pytest.mark.filterwarnings("ignore::nexmo_dispatch_async.urls.PlainHTTPWarning")
@pytest.mark.parametrize(
    ("wire", "case", "over"),
    [
        pytest.param(wire, case, over, marks=[pytest.mark.long] * ((wire, over) not in SHORT))
        for case in CASES
        for over in case.over
        for wire in WIRES
    ],
    indirect=["wire"],
    ids=lambda it: getattr(it, "name", it),
)
async def test_each_failure_does_what_the_page_says(case: Case, over: str, certificate: Path) -> None:
    """Contract 3.8: what may be repeated, and how many POSTs the server saw."""
    observed = await observe(case, over, certificate)

    assert observed in lines()


def test_the_page_has_these_lines_and_no_other() -> None:
    named = [line.split(" | ")[0].removeprefix("| ") for line in lines()]

    assert named == [case.name for case in CASES]


def test_nothing_that_left_is_repeated() -> None:
    """The rule that the table shows: an unknown outcome, one POST."""
    unknown = [line for line in lines() if "| unknown |" in line]

    assert len(unknown) > 15
    assert all(line.endswith("| 1 |") for line in unknown)
