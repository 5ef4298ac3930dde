"""`PostgresTransaction`: the writes of a handler, committed together with the mark that it is done.

It collects portable statements, as on SQLite, or lends the connection of the transaction. The transaction
locks the row of the event when it begins: until it ends, no other process can mark the event.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final, cast
from uuid import UUID

import anyio

from nexmo_dispatch_core.postgres.database import Connection, Database
from nexmo_dispatch_core.postgres.failures import POSTGRES_ERRORS, failure_of, is_store_failure
from nexmo_dispatch_core.unfinished import shows_unfinished
from nexmo_dispatch_webhooks.exceptions import InboxError, LostClaimError, StatementError, TransactionError
from nexmo_dispatch_webhooks.inbox import postgres_statements as sql
from nexmo_dispatch_webhooks.transaction import Parameters, StoreTransaction

__all__ = ["PostgresTransaction"]

_REFUSED: Final = frozenset({"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "START"})
_WORD: Final = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
# As in `transaction`: comments, strings, quoted names and dollar-quoted bodies contain no placeholders, and
# `::` is a cast.
_TOKEN: Final = re.compile(
    r"""(?P<plain>--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?P<tag>\$\w*\$).*?(?P=tag)|::|[^\W\d][\w$]*)"""
    r"""|(?P<name>:[A-Za-z_]\w*)|(?P<place>\?)|(?P<end>;)|(?P<other>.)""",
    re.DOTALL,
)
#: Values that do not change later.
_VALUES: Final = (
    *(type(None), bool, int, float, str, bytes, Decimal, UUID),
    *(dt.datetime, dt.date, dt.time, dt.timedelta),
)
Write = tuple[str, dict[str, object] | tuple[object, ...]]
_ADVICE: Final = "give None, bool, int, float, Decimal, str, bytes, UUID or a moment, or use connection()"


class PostgresTransaction(StoreTransaction):
    """The transaction of one handler for one event, `context.transaction`.

    Args:
        database: Connections for handlers.
        record_id: The id of the event.
        token: The token of the claim.
        now: Returns the time of the store's clock; None for the clock of the server.
    """

    __slots__ = ("_connection", "_database", "_now", "_record_id", "_token", "_writes")

    def __init__(
        self, database: Database, record_id: int, token: int, now: Callable[[], float | None]
    ) -> None:
        super().__init__()
        self._database = database
        self._record_id = record_id
        self._token = token
        self._now = now
        self._writes: list[Write] = []
        self._connection: Connection | None = None

    @shows_unfinished
    def __repr__(self) -> str:
        lent = ", connection lent" if self._connection is not None else ""
        return f"<Transaction of {len(self._writes)} statements{lent}>"

    @property
    def used(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._writes) or self._connection is not None

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Add a statement; it runs after the handler has returned and after all writes on `connection()`.

        Placeholders are `?` and `:name`, as on SQLite. For operators of Postgres with a question mark, and to
        read, use `connection()`.

        Args:
            sql: One statement.
            parameters: Values for its placeholders: a sequence for `?`, a mapping for `:name`.

        Raises:
            StatementError: The statement would end the transaction, a placeholder has no value or a value no
                placeholder, or a value may change later.
            TransactionError: The handler has returned already.
        """
        self._require_open()
        self._writes.append(_bound(sql, parameters, ""))

    def executemany(self, sql: str, rows: Iterable[Parameters]) -> None:
        """Add a statement once for each of *rows*: all of them, or none after an error."""
        self._require_open()
        self._writes += [_bound(sql, row, f"row {number}: ") for number, row in enumerate(rows, 1)]

    async def connection(self) -> Connection:
        """Return the connection of the transaction, which has begun; do not end the transaction.

        The handler may use the connection until it returns. If it raises, nothing is stored.

        Raises:
            LostClaimError: Another process may have the event.
            InboxError: No connection could be had within `timeout`.
            TransactionError: The handler has returned already.
        """
        self._require_open()
        return await self._begin("")

    async def _begin(self, handler: str) -> Connection:
        """Begin the transaction, and lock the event; *handler* must not be done."""
        if self._connection is None:
            self._connection = await self._database.borrow()
            values = {"id": self._record_id, "token": self._token, "handler": handler}
            try:
                await self._connection.set_autocommit(False)
                found = await (await self._connection.execute(sql.LOCK, values)).fetchone()
            except POSTGRES_ERRORS as error:
                failure: InboxError = InboxError(f"the inbox cannot be read: {failure_of(error).text}")
            else:
                if found is not None:
                    return self._connection
                failure = LostClaimError(
                    f"record {self._record_id} is not pending, or another process may have it: "
                    "nothing was stored"
                )
            await self.roll_back()
            raise failure
        return self._connection

    def trouble(self, error: BaseException) -> InboxError | None:
        """Return the failure of the database that a handler met with, also on the connection that it got."""
        if isinstance(error, InboxError) and not isinstance(error, TransactionError):
            return error
        if self._connection is not None and self._connection.broken:
            return InboxError("the inbox cannot be written: the connection to Postgres was cut")
        return None

    async def commit(self, handler: str, *, finish: bool) -> None:
        """Run the statements, mark the handler as done, and commit."""
        number = 0
        failure: InboxError | None = None
        try:
            connection = await self._begin(handler)
            for text, values in self._writes:
                number += 1
                await connection.execute(text.encode(), values)
            number = 0
            marks = {"id": self._record_id, "token": self._token, "handler": handler, "finish": finish}
            found = await connection.execute(sql.MARK, {**marks, "now": self._now()})
            if found.rowcount == 1:
                await connection.commit()
            else:
                # A commit whose result was lost leads here too: the event is given up and read again, and
                # then this handler is left out.
                failure = LostClaimError(
                    f"record {self._record_id} is not pending, another process may have it, or the handler "
                    "is done already: nothing was stored"
                )
        except POSTGRES_ERRORS as error:
            why = failure_of(error).text
            if is_store_failure(error):
                failure = InboxError(f"the inbox cannot be written: {why}")
            else:
                which = f"statement {number} of {len(self._writes)}" if number else "what connection() wrote"
                failure = TransactionError(f"{which} in context.transaction failed: {why}")
        finally:
            await self.roll_back()  # after the commit it only returns the connection
        if failure is not None:
            raise failure

    async def roll_back(self) -> None:
        """Undo what the handler wrote, and return the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with anyio.CancelScope(shield=True):  # also when the inbox ends
                try:
                    with contextlib.suppress(*POSTGRES_ERRORS):
                        await connection.rollback()
                        await connection.set_autocommit(True)
                finally:  # or it would be lost to the pool
                    await self._database.give_back(connection)


def _bound(text: object, parameters: object, where: str) -> Write:
    """Return a statement as psycopg takes it, with its values.

    Raises:
        StatementError: They do not fit; the message holds none of the values.
    """
    if not isinstance(text, str):
        raise StatementError(f"a statement must be text, not {type(text).__qualname__}")
    translated, names = _translated(text)
    kind = type(parameters).__qualname__
    if isinstance(parameters, Mapping):
        if None in names:
            raise StatementError(f"{where}? takes its value from a sequence, not from a mapping")
        given = cast("Mapping[str, object]", parameters)
        if missing := [name for name in names if name not in given]:
            raise StatementError(f"{where}there is no parameter for :{missing[0]}")
        return translated, {
            str(name): _value(given[str(name)], f"{where}parameter :{name}") for name in names
        }
    if not isinstance(parameters, Sequence) or isinstance(parameters, str | bytes | bytearray | memoryview):
        raise StatementError(
            f"{where}parameters must be a sequence for `?` or a mapping for `:name`, not "
            f"{kind}; a single value is written (value,)"
        )
    values = cast("Sequence[object]", parameters)
    if named := [name for name in names if name is not None]:
        raise StatementError(f"{where}:{named[0]} takes its value from a mapping, not from a sequence")
    if len(names) != len(values):
        raise StatementError(
            f"{where}the statement has {len(names)} placeholders, and {len(values)} parameters"
        )
    return translated, tuple(_value(value, f"{where}parameter {n}") for n, value in enumerate(values, 1))


def _value(value: object, what: str) -> object:
    """Return a value that does not change later.

    Raises:
        StatementError: It may change, or Postgres cannot store it.
    """
    if not isinstance(value, _VALUES):
        raise StatementError(f"{what} is of type {type(value).__qualname__}; {_ADVICE}")
    if isinstance(value, str):
        if "\0" in value:
            raise StatementError(f"{what} is text with a NUL, which Postgres does not store")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StatementError(f"{what} is text with half a surrogate, which is not UTF-8") from None
        return str.__str__(value)
    return value


@lru_cache(maxsize=256)
def _translated(text: str) -> tuple[str, tuple[str | None, ...]]:
    """Return a statement with the placeholders of psycopg, and its names; None for each `?`.

    Raises:
        StatementError: It would end the transaction, or is more than one.
    """
    found = _WORD.match(text)
    word = found[1].upper() if found is not None else ""
    if word in _REFUSED:
        raise StatementError(f"{word} is not possible inside of the transaction of the inbox")
    parts: list[str] = []
    names: list[str | None] = []
    ended = False
    for token in _TOKEN.finditer(text):
        piece = token[0]
        if ended and not piece.isspace() and not piece.startswith(("--", "/*", ";")):
            raise StatementError("execute takes one statement: give each of several to a call of its own")
        ended |= token["end"] is not None
        if token["name"]:
            names.append(piece[1:])
            piece = f"%({piece[1:]})s"
        elif token["place"]:
            names.append(None)
            piece = "%s"
        else:
            piece = piece.replace("%", "%%")
        parts.append(piece)
    if None in names and any(names):
        raise StatementError("a statement has either ? or :name, not both")
    return "".join(parts), tuple(names)
