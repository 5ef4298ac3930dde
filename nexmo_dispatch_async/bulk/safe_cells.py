"""Cells of a CSV file that no spreadsheet computes as a formula: their texts come from customers' lists."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["safe_cell"]

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d+)?")


def safe_cell(text: str) -> str:
    """Return a cell, with an apostrophe before text that a spreadsheet would compute; numbers stay."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text
