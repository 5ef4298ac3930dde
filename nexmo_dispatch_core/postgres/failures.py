"""The meaning of exceptions of psycopg, in words without personal data.

The text of an error of the server may quote values (`Key (address)=(…) already exists`) and the address of
the server, so only its class, its SQLSTATE and names of the schema are shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

import psycopg
from msgspec import Struct
from psycopg import errors
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

__all__ = ["POSTGRES_ERRORS", "Failure", "MakeError", "failure_of", "is_store_failure"]

#: `away`: no connection, or it was cut; `full`: no room on the disk; `rights`: the role may not do it;
#: `missing`: tables are not there; `closed`: the store was closed; `other`: the statement itself.
FailureKind = Literal["away", "full", "rights", "missing", "closed", "other"]

#: The exceptions that a call of psycopg may raise.
POSTGRES_ERRORS: Final = (psycopg.Error, PoolClosed, PoolTimeout, TooManyRequests, OSError, TimeoutError)
_FULL: Final = frozenset({"53100", "53200"})
_MISSING: Final = frozenset({"42P01", "3F000", "42703"})
# Classes of SQLSTATE about the server and not a statement: connections, resources, intervention of an
# operator, system errors, and transactions to be repeated.
_SERVER: Final = ("08", "53", "57", "58", "40", "55")
# the connection leads to a server that is a standby since a failover
_READ_ONLY: Final = "25006"


class Failure(Struct, frozen=True):
    """The reason of a failed call."""

    kind: FailureKind
    #: For a message, without personal data and without the URL.
    text: str


#: Makes the error that a package raises.
MakeError = Callable[[Failure], Exception]


def failure_of(error: BaseException) -> Failure:
    """Return the failure for an exception of `POSTGRES_ERRORS`."""
    if isinstance(error, PoolClosed):
        return Failure("closed", "it is closed")
    if isinstance(error, PoolTimeout | TooManyRequests):
        return Failure("away", "no connection to Postgres became free in time")
    if isinstance(error, TimeoutError):
        return Failure("away", "Postgres did not respond in time")
    if not isinstance(error, psycopg.Error):
        return Failure("away", f"Postgres cannot be reached ({type(error).__name__})")
    state = error.sqlstate
    if isinstance(error, errors.InsufficientPrivilege):
        return Failure("rights", f"the role may not do this ({_where(error)})")
    if state in _FULL:
        return Failure("full", f"Postgres has no room ({_where(error)})")
    if state in _MISSING:
        return Failure("missing", f"tables are missing ({_where(error)})")
    if is_store_failure(error):
        if state is None:
            return Failure(
                "away", f"Postgres cannot be reached, or the connection was cut ({_reason(error)})"
            )
        return Failure("away", f"Postgres cannot serve now ({_where(error)})")
    return Failure("other", _where(error))


def is_store_failure(error: BaseException) -> bool:
    """Return whether the server or the connection failed, and not a statement."""
    if not isinstance(error, psycopg.Error):
        return True
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in _SERVER or state == _READ_ONLY


def _where(error: psycopg.Error) -> str:
    """Return the class, the SQLSTATE and the names of the schema that an error holds."""
    parts = [type(error).__name__, f"SQLSTATE {error.sqlstate}"]
    if error.diag.table_name:
        parts.append(f"table {error.diag.table_name}")
    if error.diag.constraint_name:
        parts.append(f"constraint {error.diag.constraint_name}")
    return ", ".join(parts)


def _reason(error: psycopg.Error) -> str:
    """Return a reason from a few known ones: the text of libpq names users, hosts and addresses."""
    text = str(error).lower()
    for what in ("database", "role"):
        if re.search(rf'{what} "[^"]*" does not exist', text):
            return f"the {what} does not exist"
    for word in (
        "password authentication failed",
        "connection refused",
        "no such file or directory",
        "could not translate host name",
        "does not exist",
        "no pg_hba.conf entry",
        "certificate",
        "ssl",
        "timeout expired",
        "too many clients",
    ):
        if word in text:
            return word
    return type(error).__name__
