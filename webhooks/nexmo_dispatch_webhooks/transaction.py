"""`Transaction`: the SQL statements that a handler commits together with the mark that it is done.

The class only collects statements, checked and with copies of their values. The SQLite inbox runs them after
the handler has returned, in the database transaction that marks the handler as done; the statements of a
handler that raises are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, cast

from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.exceptions import (
    ConfigurationError,
    InboxError,
    StatementError,
    TransactionError,
)

__all__ = ["Bound", "Parameters", "Statement", "StoreTransaction", "Transaction"]

#: Values for `?` or for `:name`.
Parameters = Sequence[Any] | Mapping[str, Any]
#: What SQLite stores; none of these changes later.
Bound = int | float | str | bytes | None
Statement = tuple[str, tuple[Bound, ...] | dict[str, Bound]]

# These would end the transaction that other events share, or cannot run inside of one.
_REFUSED: Final = frozenset(
    {"ATTACH", "BEGIN", "COMMIT", "DETACH", "END", "PRAGMA", "RELEASE", "ROLLBACK", "SAVEPOINT", "VACUUM"}
)
# The first word, behind blanks and comments.
_WORD: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
# Comments; strings and quoted names, in which nothing is a placeholder; names, which may hold a dollar;
# placeholders (https://sqlite.org/lang_expr.html#varparam); and what ends a statement.
_TOKEN: Final = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W\d][\w$]*"""
    r"""|(?P<placeholder>\?\d*|[:@$][\w$]+)|(?P<end>;)|\S""",
    re.DOTALL,
)
#: The whole numbers that SQLite stores.
_LEAST, _GREATEST = -(2**63), 2**63 - 1
_EXACT: Final = frozenset({int, float, str, bytes, type(None)})
_ADVICE: Final = (
    "SQLite stores None, int, float, str and bytes: convert it in the handler, as a Decimal with str() and a "
    "moment with isoformat(), or register an adapter with sqlite3.register_adapter"
)


class Transaction:
    """Collects SQL statements of one handler for one event; available as `context.transaction`."""

    __slots__ = ("closed", "statements")

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.closed: bool = False

    @shows_unfinished
    def __repr__(self) -> str:
        return f"<Transaction of {len(self.statements)} statements>"  # parameters may be personal data

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Add a statement; it runs when the handler has returned, in the order of the calls.

        The values are copied at the call, so later changes of *parameters* have no effect. Nothing can be
        read; express conditions in SQL (`INSERT … ON CONFLICT … DO UPDATE`, `UPDATE … SET n = n + 1`). A
        failed statement rolls back all statements of the handler, which then counts as failed.

        Args:
            sql: One statement for the file of the inbox; your tables live in it (`SqliteInbox(schema=…)`).
            parameters: Values for its placeholders: a sequence for `?`, a mapping for `:name`.

        Raises:
            StatementError: The statement would end or leave the transaction, a placeholder has no value or a
                value no placeholder, or a value is of a type that SQLite does not store.
            TransactionError: The handler has returned already.
        """
        self._require_open()
        text, placeholders = _read(sql)
        self.statements.append((text, _bind(placeholders, parameters)))

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Add a statement once for each of *rows*, all of them or none.

        Args:
            sql: As for `execute`.
            rows: The values of the placeholders, one row per statement, as for `execute`.

        Raises:
            StatementError: As for `execute`; the message says which row.
            TransactionError: The handler has returned already.
        """
        self._require_open()
        text, placeholders = _read(sql)
        self.statements += [
            (text, _bind(placeholders, row, f"row {number}: ")) for number, row in enumerate(_rows(rows), 1)
        ]

    @property
    def used(self) -> bool:
        """Whether there is something to commit."""
        return bool(self.statements)

    async def connection(self) -> Any:  # Any: the class is that of the store's driver
        """Return a connection inside of the transaction; what it writes is committed with the mark.

        Raises:
            ConfigurationError: The store collects statements and lends no connection.
        """
        raise ConfigurationError(
            "context.transaction.connection() needs an inbox on Postgres: an SQLite inbox takes statements, "
            "with context.transaction.execute(…)"
        )

    def close(self) -> None:
        """Refuse further statements: the handler has returned, and its statements are being committed."""
        self.closed = True

    def _require_open(self) -> None:
        if self.closed:
            raise TransactionError(
                "context.transaction is closed: the handler has returned, and its statements are committed "
                "without this one; await in the handler whatever is to add statements"
            )


class StoreTransaction(Transaction):
    """A transaction that its store carries out itself, instead of `InboxStore.commit`."""

    __slots__ = ()

    def trouble(self, error: BaseException) -> InboxError | None:
        """Return the failure of the store that a handler met with; None for a failure of the handler."""
        raise NotImplementedError

    async def commit(self, handler: str, *, finish: bool) -> None:
        """Commit the writes of a handler together with its mark.

        Args:
            handler: The name of the handler.
            finish: Whether to mark the whole event as handled, since no other handler remains.

        Raises:
            TransactionError: The statements failed; nothing was stored.
            LostClaimError: Another process may have the event, or the handler is done already; nothing was
                stored.
            InboxError: The store failed, and the handler did not.
        """
        raise NotImplementedError

    async def roll_back(self) -> None:
        """Undo what the handler wrote: it failed."""
        raise NotImplementedError


@lru_cache(maxsize=256)
def _placeholders(sql: str) -> tuple[str, ...]:
    """Return the placeholders of a statement in their order.

    Raises:
        StatementError: It would end the transaction, or is more than one.
    """
    found = _WORD.match(sql)
    word = found[1].upper() if found is not None else ""
    if word in _REFUSED:
        raise StatementError(f"{word} is not possible inside of the transaction of the inbox")
    placeholders: list[str] = []
    ended = False
    for token in _TOKEN.finditer(sql):
        if token["comment"]:
            continue
        if ended and word != "CREATE" and not token["end"]:  # a trigger holds statements
            raise StatementError("execute takes one statement: give each of several to a call of its own")
        ended |= bool(token["end"])
        if token["placeholder"]:
            placeholders.append(token["placeholder"])
    return tuple(placeholders)


def _read(sql: object) -> tuple[str, tuple[str, ...]]:
    if not isinstance(sql, str):
        raise StatementError(f"a statement must be text, not {_name(type(sql))}")
    return sql, _placeholders(sql)


def _rows(rows: object) -> Iterable[object]:
    name = _name(type(rows))
    if isinstance(rows, Iterable) and not isinstance(rows, str | bytes | bytearray | Mapping):
        return cast("Iterable[object]", rows)
    raise StatementError(f"executemany takes a list of rows, not {name}")


def _bind(
    placeholders: Sequence[str], parameters: object, where: str = ""
) -> tuple[Bound, ...] | dict[str, Bound]:
    """Return copies of the values for the placeholders of a statement.

    Args:
        placeholders: Of the statement, in their order.
        parameters: The parameters of the handler.
        where: Beginning of an error message.

    Raises:
        StatementError: The parameters do not fit; the message contains no value.
    """
    name = _name(type(parameters))
    if isinstance(parameters, Mapping):
        return _bind_names(placeholders, cast("Mapping[str, object]", parameters), where)
    if not isinstance(parameters, Sequence) or isinstance(parameters, str | bytes | bytearray | memoryview):
        raise StatementError(
            f"{where}parameters must be a sequence for `?` or a mapping for `:name`, not {name}; "
            "a single value is written (value,)"
        )
    values = cast("Sequence[object]", parameters)
    named = next((item for item in placeholders if item[0] != "?"), None)
    if named is not None:
        raise StatementError(f"{where}{named} takes its value from a mapping, not from a sequence")
    count = 0
    for item in placeholders:
        count = max(count, int(item[1:])) if item[1:] else count + 1
    if count != len(values):
        raise StatementError(f"{where}the statement has {count} placeholders, and {len(values)} parameters")
    return tuple(_copy(value, f"{where}parameter {number}") for number, value in enumerate(values, 1))


def _bind_names(placeholders: Sequence[str], values: Mapping[str, object], where: str) -> dict[str, Bound]:
    bound: dict[str, Bound] = {}
    for item in placeholders:
        name = item[1:]
        if not name:
            raise StatementError(f"{where}? takes its value from a sequence, not from a mapping")
        try:
            value = values[name]
        except KeyError:
            raise StatementError(f"{where}there is no parameter for {item}") from None
        bound[name] = _copy(value, f"{where}parameter {item}")
    return bound


def _copy(value: object, what: str) -> Bound:
    """Return a value as SQLite stores it, immutable from now on.

    Raises:
        StatementError: It cannot be stored.
    """
    if type(value) not in _EXACT:
        value = _adapted(value)
    # copies of the plain value, since a subclass (StrEnum, bool) can be adapted once more
    if isinstance(value, int):
        if not _LEAST <= value <= _GREATEST:
            raise StatementError(f"{what} is a whole number of more than 64 bits: store it as text")
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StatementError(f"{what} is text with half a surrogate, which is not UTF-8") from None
        return str.__str__(value)
    if value is None:
        return None
    try:
        return memoryview(cast("bytes", value)).tobytes()
    except TypeError:
        raise StatementError(f"{what} is of type {_name(type(value))}; {_ADVICE}") from None


def _adapted(value: object) -> object:
    """Adapt a value as the sqlite3 module would: adapters of the application come first."""
    import sqlite3  # only here: a receiver without an inbox does not load it

    return cast("object", sqlite3.adapt(value, sqlite3.PrepareProtocol, value))


def _name(kind: type[object]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
