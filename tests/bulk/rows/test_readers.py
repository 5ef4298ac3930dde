"""Every source gives numbered rows, and a bad line costs itself and no other."""

import asyncio
import csv
import io
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.rows.delimited import lines_of, records_of
from nexmo_dispatch_async.bulk.rows.readers import Rows, SourceError, batches, rows_of
from nexmo_dispatch_async.bulk.settings import Source
from nexmo_dispatch_async.exceptions import ConfigurationError

ANN = {"phone": "0617185666", "first name": "Ann"}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def shown(source: str | Path | Source) -> list[tuple[int, Any]]:
    """Return the rows of a source, errors by their rule."""
    return [(line, row.rule if isinstance(row, RowError) else row) for line, row in rows_of(source)]


async def collected(rows: Rows) -> list[tuple[int, Any]]:
    return [each async for batch in batches(rows, 2) for each in batch]


@pytest.mark.parametrize(
    "text",
    [
        "phone,first name\n0617185666,Ann\n",
        "phone;first name\r\n0617185666;Ann\r\n",
        "\ufeffphone;first name\r\n0617185666;Ann",
        "phone\tfirst name\n0617185666\tAnn\n",
        "phone|first name\r0617185666|Ann\r",
        " phone , first  name \n 0617185666 , Ann \n",
        '"phone";"first name"\n"0617185666";"Ann"\n',
        "\n\n\nphone,first name\n0617185666,Ann\n,\n\n",
        "sep=;\r\nphone;first name\r\n0617185666;Ann\r\n",
        "phone,first name,\n0617185666,Ann,,,\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_csv_reads_alike_however_it_was_saved(text: str, encoding: str, tmp_path: Path) -> None:
    """Delimiter, byte-order mark, line ends, quotes, blanks and empty lines make no difference."""
    path = written(tmp_path / "people.csv", text.encode(encoding))

    assert [row for _, row in shown(path)] == [ANN]


def test_lines_keep_their_numbers_and_bad_ones_cost_themselves_only(tmp_path: Path) -> None:
    """Each bad line is an error with its number, and every line around it is read."""
    lines = [
        b"phone;name;note",  # 1
        b"061;Ann;ok",
        b"062;Bob",  # 3: a cell is missing
        b"063;Cas;a;b",  # 4: one too many
        b'064;"Dee;x',  # 5: a quote left open
        b"065;Eve;ok",
        b'066;"Fay";"two',  # 7: a line break in a cell
        b'lines"',
        b'067;"Gus"x;y',  # 9: text after a quote
        b'068;5" pipe;ok',  # 10: a quote within a cell that has none around it
        b'069;"H ""the"" I";ok',
        b"",
        b"070;Ren\xe9;cp1252",  # 13
        b'071;"Kim;open again',  # 14
        b"072;Leo;last",
    ]
    path = written(tmp_path / "people.csv", b"\r\n".join(lines))

    rows = shown(path)

    good = {line: row["name"] for line, row in rows if isinstance(row, dict)}
    bad = {line: row for line, row in rows if not isinstance(row, dict)}
    assert good == {2: "Ann", 6: "Eve", 7: "Fay", 10: '5" pipe', 11: 'H "the" I', 15: "Leo"}
    assert bad == {
        3: "columns",
        4: "columns",
        5: "csv-quotes",
        9: "csv-quotes",
        13: "encoding",
        14: "csv-quotes",
    }
    assert next(row["note"] for line, row in rows if line == 7) == "two\r\nlines"


def test_a_cell_or_a_line_that_is_too_long_costs_itself(tmp_path: Path) -> None:
    """The limit of the csv module is that of the process and stays; the lines after are read."""
    limit = csv.field_size_limit()
    lines = [
        b"phone;name",
        b'061;"' + b"x" * (limit + 1) + b'"',
        b"062;Bob",
        b"063;" + b"y" * 1_100_000,
        b"064;Dee",
    ]

    rows = shown(written(tmp_path / "people.csv", b"\n".join(lines)))

    assert [(line, row if isinstance(row, str) else row["name"]) for line, row in rows] == [
        (2, "line-length"),
        (3, "Bob"),
        (4, "line-length"),
        (5, "Dee"),
    ]
    assert csv.field_size_limit() == limit


def test_other_encodings_are_read_when_they_are_named(tmp_path: Path) -> None:
    """A list that Windows saved reads right once its encoding is said."""
    path = written(tmp_path / "people.csv", "phone,name\n061,René\n".encode("cp1252"))

    assert shown(Source(str(path), encoding="cp1252")) == [(2, {"phone": "061", "name": "René"})]
    with pytest.raises(SourceError, match="no encoding"):
        shown(Source(str(path), encoding="klingon"))


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=8), min_size=2, max_size=2
        ),
        min_size=1,
        max_size=8,
    )
)
def test_what_the_csv_module_writes_is_read_back(table: list[list[str]]) -> None:
    """Any cells that are written as CSV come back as they were, blank records apart."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(table)

    read = [cells for _, cells in records_of(lines_of(io.StringIO(file.getvalue(), newline="")), ",")]

    assert read == [row for row in table if any(cell and not cell.isspace() for cell in row)]


@given(st.text(st.sampled_from('ab",;\n\r '), max_size=80))
def test_any_text_gives_records_and_never_raises(text: str) -> None:
    """No line is lost: each stands in a record, in an error, or is empty."""
    lines = list(lines_of(io.StringIO(text, newline="")))
    seen = 0

    for number, _ in records_of(iter(lines), ","):
        assert number > seen
        seen = number

    assert seen <= len(lines)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n \n", "is empty"),
        ("a.csv", b"0617185666,Ann\n0617185667,Bob\n", "holds data"),
        ("a.csv", b"phone,phone\n1,2\n", "two columns are named 'phone'"),
        ("a.csv", b'"phone,name\n1,2\n', "opens a quote"),
        ("a.csv", b"ph\xf6ne\n1\n", "save the file as UTF-8"),
        ("a.xlsx", b"phone,name\n", "no Excel workbook"),
        ("a.xls", b"x", "save it as .xlsx"),
        ("a.pdf", b"x", "the ending is none of"),
    ],
)
def test_a_source_that_is_none_says_why(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    """The error names the file and the cure, and repeats no cell of the data."""
    with pytest.raises(SourceError, match=words) as caught:
        shown(written(tmp_path / name, data))

    assert name in str(caught.value)
    assert "0617185666" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Missing files and folders are errors of the source."""
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.xlsx", "folder.csv"):
        with pytest.raises(SourceError, match=name):
            shown(tmp_path / name)


def test_json_lines_give_texts(tmp_path: Path) -> None:
    """Numbers, booleans and nulls become texts; what is no flat object is an error of its line."""
    path = written(
        tmp_path / "people.jsonl",
        b'\xef\xbb\xbf{"phone":"061","n":7,"ok":true,"none":null,"price":1.50}\n\n[1]\n{"phone":\n{"a":{"b":1}}\n'
        b'{"phone": "062"}',
    )

    assert shown(path) == [
        (1, {"phone": "061", "n": "7", "ok": "true", "none": "", "price": "1.5"}),
        (3, "type"),
        (4, "json"),
        (5, "type"),
        (6, {"phone": "062"}),
    ]


def test_a_workbook_gives_what_its_cells_show(tmp_path: Path) -> None:
    """Numbers that a spreadsheet keeps as floats, dates and empty rows come out as people mean them."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "people"
    table: list[list[Any]] = [
        [None, None],
        [" phone ", "name", "day", None],
        [31617185666.0, "Ann ", date(2026, 3, 29), "ignored"],
        [None, None, None],
        ["06-17185667", None, 7.5],
    ]
    for cells in table:
        sheet.append(cells)
    book.create_sheet("other").append(["code"])
    book.save(tmp_path / "people.xlsx")

    assert shown(tmp_path / "people.xlsx") == [
        (3, {"phone": "31617185666", "name": "Ann", "day": "2026-03-29T00:00:00"}),
        (5, {"phone": "06-17185667", "name": "", "day": "7.5"}),
    ]
    assert shown(Source(str(tmp_path / "people.xlsx"), sheet="other")) == []
    with pytest.raises(SourceError, match="it has people, other"):
        shown(Source(str(tmp_path / "people.xlsx"), sheet="third"))


def test_excel_without_its_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said before anything is read."""
    monkeypatch.setitem(__import__("sys").modules, "openpyxl", None)

    with pytest.raises(ConfigurationError, match=r"nexmo-dispatch-async\[excel\]"):
        shown(written(tmp_path / "a.xlsx", b""))


async def test_rows_come_from_python_too(tmp_path: Path) -> None:
    """Lists, generators and asynchronous generators give the same rows as a file."""
    rows: list[Any] = [{"a": "1"}, {"a": 2, "b": Decimal("1E+2")}, "x", {"a": object()}, {1: "a"}]

    async def later() -> AsyncIterator[Any]:
        for each in rows:
            await asyncio.sleep(0)
            yield each

    expected = [(1, {"a": "1"}), (2, {"a": "2", "b": "100"}), (3, "type"), (4, "type"), (5, "type")]
    for source in (rows, iter(rows), later()):
        read = [
            (line, row.rule if isinstance(row, RowError) else row) for line, row in await collected(source)
        ]
        assert read == expected
    path = written(tmp_path / "a.csv", b"a\n1\n2\n3\n")
    assert await collected(path) == [(2, {"a": "1"}), (3, {"a": "2"}), (4, {"a": "3"})]


async def test_what_the_rows_of_a_caller_raise_is_chained() -> None:
    """A source that fails names the row after which it did, with the caller's own error as its cause."""

    def failing() -> Iterator[dict[str, str]]:
        yield {"a": "1"}
        raise OSError("the database is gone")

    with pytest.raises(SourceError, match="OSError after row 1") as caught:
        await collected(failing())
    assert isinstance(caught.value.__cause__, OSError)

    for wrong in ({"a": "1"}, b"abc", 7):
        with pytest.raises(ConfigurationError, match="iterable of mappings"):
            await collected(wrong)  # type: ignore[arg-type] # what callers without types pass


class Endless(io.RawIOBase):
    """A file that is made while it is read."""

    def __init__(self, head: bytes, block: bytes, times: int) -> None:
        self._left, self._block, self._times = head, block, times

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left and self._times:
            self._left, self._times = self._block, self._times - 1
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


@pytest.mark.parametrize(
    ("block", "total", "most"),
    [
        # A line of at most 1 MiB, which is 4 bytes a character for a moment; without a limit it takes 24 MB.
        (b"x" * 8192, 12_000_000, 6_000_000),
        (b'"' * 8192, 12_000_000, 6_000_000),
        (b'061;"open\n' * 500, 150_000, 100_000),
        (b"061;Ann\n" * 500, 150_000, 100_000),
    ],
    ids=["one line", "one quote", "open quotes", "rows"],
)
def test_memory_is_bounded_whatever_the_lines(block: bytes, total: int, most: int) -> None:
    """One endless line, or thousands of open quotes, take no more memory than one batch."""
    raw = io.BufferedReader(Endless(b"phone;name\n", block, total // len(block)))
    text = io.TextIOWrapper(raw, newline="")
    tracemalloc.start()
    try:
        for _ in records_of(lines_of(text), ";"):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < most
