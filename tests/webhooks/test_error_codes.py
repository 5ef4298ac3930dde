"""The error classes, compared with the table in the contract itself."""

import re
from pathlib import Path

import pytest

from nexmo_dispatch_webhooks.events.error_codes import ERROR_CLASSES, classify_error

CONTRACT = Path(__file__).parent.parent.parent / "docs" / "contract.md"
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
