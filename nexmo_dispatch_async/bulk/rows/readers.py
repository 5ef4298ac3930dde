"""Reads rows from files and from Python as numbered rows; a bad row is an item like any other.

At most a batch of rows is in memory; files are read in a worker thread.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterable, AsyncIterator, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date, datetime, time
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast
from uuid import UUID

import anyio.lowlevel
import anyio.to_thread
import msgspec

from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.rows.delimited import lines_of, records_of, sniff
from nexmo_dispatch_async.bulk.settings import Source
from nexmo_dispatch_async.checks import checks
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_core.lenient import UNREADABLE

if TYPE_CHECKING:
    from openpyxl.workbook import Workbook

__all__ = ["Numbered", "Rows", "SourceError", "batches", "rows_of"]

#: Line of the source, from 1, and the fields of the row, or the reason why the row cannot be read.
Numbered = tuple[int, dict[str, str] | RowError]
#: The sources of rows.
Rows = str | Path | Source | Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]]

_BATCH = 1000
_FORMATS = {
    ".csv": "csv",
    ".txt": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
}
_MARKS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class SourceError(DispatchError, ValueError):
    """A source of rows cannot be read any further; the text names it and says what to do.

    Attributes:
        line: Line of the source, from 1; 0 for an error without a line.
    """

    def __init__(self, message: str, line: int = 0) -> None:
        self.line = line
        super().__init__(message)

    def __reduce__(self) -> tuple[type[SourceError], tuple[str, int]]:
        return type(self), (str(self), self.line)


async def batches(rows: Rows, size: int = _BATCH) -> AsyncIterator[list[Numbered]]:
    """Yield the rows of a source in lists of at most `size`.

    Args:
        rows: Path of a CSV, TSV, JSON lines or Excel file, a `Source`, or an (async) iterable of mappings.
        size: Rows in memory at a time.

    Raises:
        SourceError: The source cannot be read any further.
    """
    if isinstance(rows, str | Path | Source):
        with closing(rows_of(rows)) as reader:
            while batch := await anyio.to_thread.run_sync(lambda: list(islice(reader, size))):
                yield batch
    elif isinstance(rows, AsyncIterable):
        async for batch in _of_async(rows, size):
            yield batch
    else:
        # In the caller's thread: the iterable may use a database connection of that thread.
        given = _numbered(rows)
        while batch := list(islice(given, size)):
            yield batch
            await anyio.lowlevel.checkpoint()


def rows_of(source: str | Path | Source) -> Generator[Numbered, None, None]:
    """Yield the rows of a file.

    Raises:
        SourceError: The file is missing, empty, in another encoding, or has no usable header.
        ConfigurationError: The path holds a NUL character.
    """
    if not isinstance(source, Source):
        source = Source(str(source))
    checks.path("the path of the rows", source.file)
    path = Path(source.file)
    kind = source.format or _FORMATS.get(path.suffix.lower(), "")
    if not kind:
        hint = "; save it as .xlsx or CSV" if path.suffix.lower() in (".xls", ".ods", ".numbers") else ""
        known = ", ".join(sorted({*_FORMATS}))
        raise SourceError(f"{path.name}: the ending is none of {known}{hint}, or say format=")
    if kind == "xlsx":
        yield from _excel(path, source.sheet)
        return
    try:
        file = _opened(path, source.encoding)
    except LookupError:
        raise SourceError(f"{path.name}: there is no encoding {source.encoding!r}") from None
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be read: {error.strerror or type(error).__name__}") from None
    line = 0
    with file:
        try:
            reader = _json_lines(file) if kind == "jsonl" else _delimited(path, file, source, kind)
            for line, fields in reader:
                yield line, fields
        except UnicodeError:
            raise SourceError(
                f"{path.name}: soon after line {line} stands what is not {file.encoding}; save it as UTF-8, "
                "or name its encoding under [rows]",
                line,
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise SourceError(f"{path.name}: reading ended after line {line}: {reason}", line) from None


def _opened(path: Path, encoding: str) -> TextIO:
    raw = path.open("rb")
    try:
        # Without seeking, so that a pipe works as well.
        start = raw.peek(4)
        marked = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8-sig")
        return io.TextIOWrapper(raw, encoding=encoding or marked, newline="", errors="surrogateescape")
    except BaseException:
        raw.close()
        raise


def _delimited(path: Path, file: TextIO, source: Source, kind: str) -> Iterator[Numbered]:
    lines = lines_of(file)
    delimiter: str = source.delimiter or ("\t" if kind == "tsv" else "")
    kept: list[tuple[int, str | RowError]] = []
    for line in lines:
        text = line[1]
        if isinstance(text, str) and text.strip().lower().startswith("sep=") and not kept:
            # Excel's own declaration of the delimiter, before the header.
            delimiter = source.delimiter or text.strip()[4:5] or delimiter
        elif isinstance(text, RowError) or text.strip():
            kept.append(line)
            break
    if not kept:
        raise SourceError(f"{path.name}: is empty; the first line names the columns")
    first = kept[0][1]
    if not delimiter:
        delimiter = sniff(first) if isinstance(first, str) else ","
    records = records_of(_chained(kept, lines), delimiter)
    number, header = next(records)
    if isinstance(header, RowError):
        raise SourceError(f"{path.name}, line {number}: the header {header.advice}", number)
    names = _names(header, path.name, number)
    for number, cells in records:
        if isinstance(cells, RowError):
            yield number, cells
        else:
            yield number, {name: cells[n].strip() for n, name in names}


def _chained(
    kept: list[tuple[int, str | RowError]], lines: Iterator[tuple[int, str | RowError]]
) -> Iterator[tuple[int, str | RowError]]:
    yield from kept
    yield from lines


def _names(header: Iterable[object], where: str, line: int) -> list[tuple[int, str]]:
    """Return position and name of every column that has a name."""
    names = [
        (n, " ".join(str(cell).removeprefix("\ufeff").split()))
        for n, cell in enumerate(header)
        if cell not in (None, "")
    ]
    names = [(n, name) for n, name in names if name]
    if any(sum(letter.isdigit() for letter in name) >= 7 for _, name in names):
        raise SourceError(f"{where}, line {line}: holds data, while the first line names the columns", line)
    seen: set[str] = set()
    for _, name in names:
        if name in seen:
            raise SourceError(f"{where}, line {line}: two columns are named {name!r}; rename one", line)
        seen.add(name)
    if not names:
        raise SourceError(f"{where}, line {line}: names no column", line)
    return names


def _json_lines(file: TextIO) -> Iterator[Numbered]:
    decode = msgspec.json.Decoder().decode
    for number, text in lines_of(file):
        if isinstance(text, RowError):
            yield number, text
            continue
        if text.isspace():
            continue
        try:
            value = cast("object", decode(text))
        except UNREADABLE:
            yield number, RowError("", "json", 'cannot be read as JSON; write {"name": "…"} on one line')
            continue
        yield number, _fields(value)


def _excel(path: Path, sheet: str) -> Iterator[Numbered]:
    book = _workbook(path)
    with closing(book):
        if sheet and sheet not in book.sheetnames:
            raise SourceError(f"{path.name}: has no sheet {sheet!r}; it has {', '.join(book.sheetnames)}")
        table = book[sheet] if sheet else book.worksheets[0]
        number, names = 0, list[tuple[int, str]]()
        try:
            for number, cells in enumerate(table.iter_rows(values_only=True), 1):
                if all(cell is None or (isinstance(cell, str) and not cell.strip()) for cell in cells):
                    continue
                if not names:
                    names = _names(cells, path.name, number)
                else:
                    row = {name: cells[n] if n < len(cells) else None for n, name in names}
                    fields = _fields(row)
                    if isinstance(fields, dict):
                        fields = {name: value.strip() for name, value in fields.items()}
                    yield number, fields
        except (GeneratorExit, DispatchError):
            raise
        except Exception as error:  # noqa: BLE001 - a broken workbook raises anything
            kind = type(error).__name__
            raise SourceError(f"{path.name}: is broken after line {number} ({kind})", number) from None
        if not names:
            raise SourceError(f"{path.name}: the sheet is empty; its first line names the columns")


def _workbook(path: Path) -> Workbook:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise ConfigurationError(
            "Excel needs openpyxl: pip install 'nexmo-dispatch-async[excel]', or save the sheet as CSV"
        ) from None
    try:
        return load_workbook(path, read_only=True, data_only=True)
    except OSError as error:
        raise SourceError(f"{path.name}: cannot be read: {error.strerror or type(error).__name__}") from None
    except Exception as error:  # noqa: BLE001 - what is no workbook raises anything
        kind = type(error).__name__
        raise SourceError(f"{path.name}: is no Excel workbook ({kind}); save it as .xlsx anew") from None


async def _of_async(rows: AsyncIterable[Mapping[str, Any]], size: int) -> AsyncIterator[list[Numbered]]:
    batch: list[Numbered] = []
    number = 0
    try:
        async for row in rows:
            number += 1
            batch.append((number, _fields(row)))
            if len(batch) == size:
                yield batch
                batch = []
    except Exception as error:
        raise _ended(number, error) from error
    if batch:
        yield batch


def _numbered(rows: object) -> Iterator[Numbered]:
    kind = type(rows).__name__
    if isinstance(rows, Mapping | bytes) or not isinstance(rows, Iterable):
        raise ConfigurationError(
            f"rows must be a path, or an iterable of mappings such as [{{'phone': …}}], not a {kind}"
        )
    number = 0
    try:
        for row in cast("Iterable[object]", rows):
            number += 1
            yield number, _fields(row)
    except GeneratorExit:
        raise
    except Exception as error:
        raise _ended(number, error) from error


def _ended(number: int, error: Exception) -> SourceError:
    return SourceError(f"the rows ended with a {type(error).__name__} after row {number}", number)


def _fields(row: object) -> dict[str, str] | RowError:
    """Return the fields of a mapping as text, or the reason why the row is rejected."""
    if not isinstance(row, Mapping):
        return RowError("", "type", f"is a {type(row).__name__}, while a row is a mapping of names to values")
    fields: dict[str, str] = {}
    for name, value in cast("Mapping[object, object]", row).items():
        if type(name) is not str:
            return RowError("", "type", f"has a name that is a {type(name).__name__}; names are texts")
        text = value if type(value) is str else _text(value)
        if text is None:
            kind = type(value).__name__
            return RowError(name.strip(), "type", f"is a {kind}; give text, a number or a date")
        fields[name.strip()] = text
    return fields


def _text(value: object) -> str | None:
    """Return a value as people write it; `None` if there is no unique spelling."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            # A number of a spreadsheet, which has no integers.
            return str(int(value))
        case Decimal():
            return format(value, "f")
        case datetime() | date() | time():
            return value.isoformat()
        case str() | int() | float() | UUID():
            try:
                return str(value)
            except ValueError:  # more digits than Python converts
                return None
        case _:
            return None
