"""`Transaction`: the SQL that a handler wants committed together with the mark that it is done.

It only collects statements. The SQLite inbox runs them after the handler returned, in the database
transaction that marks the handler as done; a handler that raises leaves nothing behind.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Parameters", "Statement", "Transaction"]

#: Values for `?` or for `:name`.
Parameters = Sequence[Any] | Mapping[str, Any]
Statement = tuple[str, Parameters]

# These would end the transaction that other events share, or cannot run inside of one.
_REFUSED = frozenset(
    {"ATTACH", "BEGIN", "COMMIT", "DETACH", "END", "PRAGMA", "RELEASE", "ROLLBACK", "SAVEPOINT", "VACUUM"}
)
# The first word, behind blanks and comments.
_WORD = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)


class Transaction:
    """Collects SQL statements of one handler for one event; `context.transaction` gives it."""

    __slots__ = ("statements",)

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    def __repr__(self) -> str:
        return f"<Transaction of {len(self.statements)} statements>"  # parameters may be personal data

    def execute(self, sql: str, parameters: Parameters = ()) -> None:
        """Add a statement; it runs when the handler has returned, in the order of the calls.

        Nothing is read back: say it in SQL (`INSERT … ON CONFLICT … DO UPDATE`, `UPDATE … SET n = n + 1`).
        When a statement fails, all of this handler's are rolled back, and the handler counts as failed.

        Args:
            sql: one statement for the file of the inbox; your tables live in it (`SqliteInbox(schema=…)`).
            parameters: values for its placeholders.

        Raises:
            ValueError: the statement would end or leave the transaction.
        """
        found = _WORD.match(sql)
        word = found[1].upper() if found is not None else ""
        if word in _REFUSED:
            raise ValueError(f"{word} is not possible inside of the transaction of the inbox")
        self.statements.append((sql, parameters))
