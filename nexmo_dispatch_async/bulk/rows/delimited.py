"""CSV and TSV as spreadsheets and databases write them, one record at a time, with a bound for each.

A quote that is opened and not closed costs its own line and no other: the lines after it are read again.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from typing import TextIO

from nexmo_dispatch_async.bulk.rejects import RowError

__all__ = ["DELIMITERS", "LONGEST_LINE", "lines_of", "records_of", "sniff"]

DELIMITERS = (",", ";", "\t", "|")
#: Characters; a longer line is rejected without being held in memory.
LONGEST_LINE = 1 << 20
# A record with line breaks in its cells: an address, a note. Beyond this a quote was left open.
_MOST_LINES = 100
_MOST_CHARACTERS = 1 << 16

# What the error handler `surrogateescape` makes of bytes that do not belong there.
_UNREADABLE = re.compile("[\ud800-\udfff]")

Line = tuple[int, str | RowError]
Record = tuple[int, list[str] | RowError]


def lines_of(file: TextIO) -> Iterator[Line]:
    """Yield the number and the text of every line, or the error of one that is too long or unreadable."""
    number = 0
    while text := file.readline(LONGEST_LINE):
        number += 1
        if len(text) == LONGEST_LINE and text[-1] not in "\r\n":
            while (rest := file.readline(LONGEST_LINE)) and rest[-1] not in "\r\n":
                pass
            advice = f"has more than {LONGEST_LINE} characters; is this a text file with one row a line?"
            yield number, RowError("", "line-length", advice)
        elif not text.isascii() and _UNREADABLE.search(text):
            advice = 'is in another encoding: save the file as UTF-8, or set encoding = "cp1252" under [rows]'
            yield number, RowError("", "encoding", advice)
        else:
            yield number, text


def sniff(header: str) -> str:
    """Return the delimiter that stands most often in a header, outside of quotes; a comma if none does."""
    outside = "".join(header.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def records_of(lines: Iterator[Line], delimiter: str) -> Iterator[Record]:
    """Yield the number of the first line and the cells of every record; empty lines are left out.

    Args:
        lines: Of a file.
        delimiter: Between cells.
    """
    queue: deque[Line] = deque()
    width: int | None = None
    while (line := _next(queue, lines)) is not None:
        number, text = line
        if isinstance(text, RowError):
            yield number, text
            continue
        cells: list[str] | RowError
        if '"' not in text:
            cells = text.rstrip("\r\n").split(delimiter)
        else:
            cells, rest = _quoted(text, queue, lines, delimiter, width)
            queue.extendleft(reversed(rest))
        if isinstance(cells, list):
            if not any(cell and not cell.isspace() for cell in cells):
                continue
            if width is None:
                width = len(cells)
            elif len(cells) != width:
                cells = _fitted(cells, width)
        yield number, cells


def _next(queue: deque[Line], lines: Iterator[Line]) -> Line | None:
    return queue.popleft() if queue else next(lines, None)


def _quoted(
    text: str, queue: deque[Line], lines: Iterator[Line], delimiter: str, width: int | None
) -> tuple[list[str] | RowError, list[Line]]:
    """Read a record with quotes; returns its cells, and the lines that turned out not to be part of it."""
    taken: list[Line] = []
    while True:
        try:
            cells = next(csv.reader([text], delimiter=delimiter, strict=True))
        except csv.Error as error:
            if "field limit" in str(error):
                # The limit belongs to the process, so it is left as it is.
                advice = f"has a cell of more than {csv.field_size_limit()} characters; shorten it"
                return RowError("", "line-length", advice), taken
            if "unexpected end" not in str(error):
                return RowError(
                    "", "csv-quotes", "has a quote within a cell; double it, or leave it out"
                ), taken
        else:
            if taken and width is not None and isinstance(_fitted(cells, width), RowError):
                # Two stray quotes, lines apart, look like one long cell.
                break
            return cells, []
        more = _next(queue, lines) if len(taken) < _MOST_LINES and len(text) < _MOST_CHARACTERS else None
        if more is None:
            break
        taken.append(more)
        if isinstance(more[1], RowError):
            break
        text += more[1]
    return RowError("", "csv-quotes", "opens a quote that is not closed; close it, or leave it out"), taken


def _fitted(cells: list[str], width: int) -> list[str] | RowError:
    """Return as many cells as the header has; empty ones at the end, which spreadsheets add, do not count."""
    if len(cells) > width and not any(cell and not cell.isspace() for cell in cells[width:]):
        return cells[:width]
    if len(cells) == width:
        return cells
    advice = (
        f"has {len(cells)} cells, while the header has {width}; put a cell with the delimiter into quotes"
    )
    return RowError("", "columns", advice)
