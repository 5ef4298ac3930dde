"""`context.transaction.execute`: what it is given is copied and checked at the call, and never afterwards."""

import enum
import sqlite3
from collections import UserDict, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_webhooks import Context, Event, StatementError, Transaction, TransactionError
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy
from tests.webhooks.inbox.support import Make, frozen, put, status_bytes

SCHEMA = "CREATE TABLE IF NOT EXISTS notes (name TEXT, value);"
BY_NAME = "INSERT INTO notes VALUES (:name, :value)"
BY_POSITION = "INSERT INTO notes VALUES (?, ?)"
NUMBER = "447700900555"


class Channel(str, enum.Enum):  # noqa: UP042 - its str() differs from its value, unlike that of StrEnum
    SMS = "sms"


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __conform__(self, protocol: object) -> int:
        return self.cents


def notes(folder: Path) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(folder / "inbox.db")
    found = db.execute("SELECT name, value FROM notes ORDER BY rowid").fetchall()
    db.close()
    return found


async def test_a_mapping_or_a_list_that_is_used_again_is_written_as_it_was(
    make_sqlite: Make, tmp_path: Path
) -> None:
    """Each statement has the values of its call, whatever becomes of their container and of buffers."""

    async def note(event: Event, context: Context) -> None:
        row: dict[str, object] = {}
        values: list[object] = [None, None]
        data = bytearray(b"first")
        for name in ("a", "b"):
            row.update(name=name, value=data)
            context.transaction.execute(BY_NAME, row)
            values[:] = [name, 1]
            context.transaction.execute(BY_POSITION, values)
            data[:] = b"later"

    inbox = make_sqlite(schema=SCHEMA)
    await inbox.start(frozen(note))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert notes(tmp_path) == [("a", b"first"), ("a", 1), ("b", b"later"), ("b", 1)]


async def test_everything_that_sqlite_stores_arrives_as_its_plain_value(
    make_sqlite: Make, tmp_path: Path
) -> None:
    """Subclasses, buffers, and types that the application adapted; a mapping may be any."""
    values = [None, True, 2**63 - 1, 0.5, "é\0", b"\0", memoryview(b"m"), Channel.SMS, Money(7)]

    async def note(event: Event, context: Context) -> None:
        for value in values:
            context.transaction.execute(BY_POSITION, ("x", value))
        context.transaction.execute(BY_NAME, UserDict(name="x", value=1, unused=Decimal(1)))
        context.transaction.execute(BY_NAME, defaultdict(lambda: "default", name="x"))

    inbox = make_sqlite(schema=SCHEMA)
    await inbox.start(frozen(note))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    stored = [None, 1, 2**63 - 1, 0.5, "é\0", b"\0", b"m", "sms", 7, 1, "default"]
    assert [value for _, value in notes(tmp_path)] == stored


@pytest.mark.parametrize(
    ("sql", "parameters", "where"),
    [
        (BY_POSITION, ("x", Decimal(NUMBER)), "parameter 2"),
        (BY_NAME, {"name": "x", "value": Decimal(NUMBER)}, "parameter :value"),
    ],
)
def test_a_type_that_sqlite_does_not_store_is_refused_at_the_call(
    sql: str, parameters: Any, where: str
) -> None:
    """The handler learns of it, by position or name and with what to do; the value stays out of the error."""
    transaction = Transaction()

    with pytest.raises(StatementError) as caught:
        transaction.execute(sql, parameters)

    assert str(caught.value).startswith(f"{where} is of type decimal.Decimal; ")
    assert "convert it in the handler, as a Decimal with str()" in str(caught.value)
    assert NUMBER not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert transaction.statements == []


@pytest.mark.parametrize(
    ("sql", "parameters", "message"),
    [
        (BY_POSITION, ("x",), "the statement has 2 placeholders, and 1 parameters"),
        ("INSERT INTO notes VALUES (?2, ?)", ("x", 1), "has 3 placeholders, and 2 parameters"),
        (BY_POSITION, (), "has 2 placeholders, and 0 parameters"),
        (BY_NAME, (), ":name takes its value from a mapping"),
        (BY_NAME, {"name": "x"}, "there is no parameter for :value"),
        (BY_POSITION, {"name": "x"}, r"\? takes its value from a sequence"),
        (BY_POSITION, "ab", r"not str; a single value is written \(value,\)"),
        (BY_POSITION, {"a", "b"}, "not set; a single value"),
        (BY_POSITION, None, "not NoneType; a single value"),
        (BY_POSITION, ("x", 2**63), "parameter 2 is a whole number of more than 64 bits"),
        (BY_POSITION, ("x", "\ud83d"), "parameter 2 is text with half a surrogate"),
        (BY_POSITION, ("x", [1]), "parameter 2 is of type list"),
        (b"SELECT 1", (), "a statement must be text, not bytes"),
        ("DELETE FROM notes; DELETE FROM notes", (), "execute takes one statement"),
    ],
)
def test_what_could_not_be_bound_is_refused_at_the_call(sql: Any, parameters: Any, message: str) -> None:
    """Not in the writer, which would have the handler tried again and again."""
    with pytest.raises(StatementError, match=message):
        Transaction().execute(sql, parameters)


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("INSERT INTO notes VALUES ('?', \"?\"), (`:a`, [?]) -- ?", ()),
        ("/* :a */ UPDATE notes SET value = ?1 || ?1 || 'it''s ?'; -- done;", ("x",)),
        ("UPDATE notes SET a$b = @name, c = $name", {"name": 1}),
        ("CREATE TRIGGER t AFTER INSERT ON notes BEGIN DELETE FROM notes; SELECT 1; END", ()),
        ("SELECT ?1", {"1": "x"}),
    ],
)
def test_placeholders_are_found_where_sqlite_finds_them(sql: str, parameters: Any) -> None:
    """Not in strings, quoted names and comments."""
    transaction = Transaction()

    transaction.execute(sql, parameters)

    assert len(transaction.statements) == 1


async def test_many_rows_are_added_with_one_call(make_sqlite: Make, tmp_path: Path) -> None:
    """Sequences or mappings, from any iterable; each row is copied before the next is made."""

    async def note(event: Event, context: Context) -> None:
        row: dict[str, object] = {}

        def rows() -> Any:
            for number in range(3):
                row.update(name="x", value=number)
                yield row

        context.transaction.executemany(BY_NAME, rows())
        context.transaction.executemany(BY_POSITION, [("y", 1), ["y", 2]])

    inbox = make_sqlite(schema=SCHEMA)
    await inbox.start(frozen(note))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    assert notes(tmp_path) == [("x", 0), ("x", 1), ("x", 2), ("y", 1), ("y", 2)]


def test_of_many_rows_all_are_added_or_none() -> None:
    """The message says which row."""
    transaction = Transaction()

    with pytest.raises(StatementError, match=r"row 2: parameter 1 is of type decimal\.Decimal"):
        transaction.executemany("INSERT INTO notes VALUES (?)", [("x",), (Decimal(1),)])
    for rows in ("ab", {"a": 1}, 5):
        with pytest.raises(StatementError, match="executemany takes a list of rows, not"):
            transaction.executemany(BY_POSITION, rows)  # type: ignore[arg-type]  # what a type checker refuses

    assert transaction.statements == []


async def test_a_handler_that_returned_adds_nothing_more(make_sqlite: Make, tmp_path: Path) -> None:
    """A task that it left behind gets an error, where its statement used to be dropped."""
    kept: list[Transaction] = []

    async def note(event: Event, context: Context) -> None:
        kept.append(context.transaction)
        context.transaction.execute(BY_POSITION, ("x", 1))

    async def bad(event: Event, context: Context) -> None:
        kept.append(context.transaction)
        raise LookupError

    inbox = make_sqlite(schema=SCHEMA, retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(note, bad))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    late: list[Callable[[], None]] = [
        lambda: kept[0].execute(BY_POSITION, ("x", 2)),
        lambda: kept[0].executemany(BY_POSITION, [("x", 2)]),
        lambda: kept[1].execute(BY_POSITION, ("x", 2)),
    ]
    for call in late:
        with pytest.raises(TransactionError, match="is closed: the handler has returned"):
            call()
    assert notes(tmp_path) == [("x", 1)]


async def test_a_refused_statement_is_the_failure_of_its_handler(
    make_sqlite: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what to do and shows no value; a handler may also catch the error and go on."""

    async def careless(event: Event, context: Context) -> None:
        context.transaction.execute(BY_POSITION, (NUMBER, Decimal(NUMBER)))

    async def careful(event: Event, context: Context) -> None:
        try:
            context.transaction.execute(BY_POSITION, ("moment", (datetime.now(UTC), 1)))
        except TransactionError:
            context.transaction.execute(BY_POSITION, ("moment", None))

    inbox = make_sqlite(schema=SCHEMA, retry=HandlerRetryPolicy(attempts=1))
    await inbox.start(frozen(careless, careful))
    await put(inbox, status_bytes(1))
    await inbox.idle()

    (failure,) = (await inbox.show(1)).failed
    assert failure.error == "StatementError"
    assert "parameter 2 is of type decimal.Decimal" in caplog.text
    assert NUMBER not in caplog.text
    assert notes(tmp_path) == [("moment", None)]
