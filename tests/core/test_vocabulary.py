"""The error codes and their classes, compared with the tables in the contract itself."""

import re

import pytest

from nexmo_dispatch_core.vocabulary import ERROR_CLASSES, classify_code, classify_error
from tests.support.paths import ROOT

CONTRACT = ROOT / "docs" / "contract.md"
LETTERS = {"T": "temporary", "P": "permanent", "C": "configuration", "R": "request"}


def table() -> dict[int, str]:
    """Read contract 6.1: single codes, lists with slashes or commas, and ranges."""
    section = CONTRACT.read_text("utf-8").split("### 6.1")[1].split("### 6.2")[0]
    found: dict[int, str] = {}
    for row in re.findall(r"^\| ([\d /,\u2013]+) \|.*\| ([TPCR]) \|$", section, re.MULTILINE):
        for part in re.split(r"[/,]", row[0]):
            first, _, last = part.strip().partition("\u2013")
            found.update(dict.fromkeys(range(int(first), int(last or first) + 1), LETTERS[row[1]]))
    return found


def test_classes_are_those_of_the_contract() -> None:
    """Not one code more or less."""
    assert table() == ERROR_CLASSES


@pytest.mark.parametrize("code", [None, 0, 999, 9999, -1])
def test_unknown_codes_are_unknown(code: int | None) -> None:
    """Unknown codes are accepted (contract 6.1)."""
    assert classify_error(code) == "unknown"


@pytest.mark.parametrize("code", ["", "9999", "11500", "\u0661\u0660\u0660\u0660", "not-found", "1000x"])
def test_other_codes_have_no_class(code: str) -> None:
    """Neither a number of contract 6.1 nor a name of 6.2."""
    assert classify_code(code) is None


def test_every_name_that_has_a_class_is_in_the_contract() -> None:
    """Contract 6.2: names whose status alone would say something else."""
    section = CONTRACT.read_text("utf-8").split("### 6.2")[1]
    names = set(re.findall(r"`([a-z-]+)`", section))

    assert {name for name in names if classify_code(name)} == {
        "account-suspended",
        "application-suspended",
        "invalid-ip",
        "low-balance",
        "rate-limit",
        "throttled",
        "unavailable-legal",
        "unprovisioned",
    }
