"""A Postgres database for `nexmo-dispatch migrate` and `nexmo-dispatch doctor`: its tables, its health."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from nexmo_dispatch_async.bulk.ledger.places import split_url
from nexmo_dispatch_async.cli import screen
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError
from nexmo_dispatch_core.findings import Finding, bad

__all__ = ["examine_store", "migrate"]


class _StoreError(DispatchError):
    """The database cannot be used; the message names neither user nor password."""

    def __init__(self, failure: Any) -> None:  # Any: a class that needs psycopg
        super().__init__(failure.text)
        self.failure = failure


async def migrate(store: str, role: str | None, json: bool = False) -> int:
    """Bring all tables to the version of this release, and give a role the least rights."""
    try:
        database, components = _opened(store)
        from nexmo_dispatch_core.postgres import schema

        versions = await schema.migrate(database, components, _error)
        if role is not None:
            await schema.grant(database, role)
    except DispatchError as error:
        screen.show(str(error), error=True)
        return 1
    if json:
        tables = {name: {"before": before, "after": after} for name, (before, after) in versions.items()}
        screen.show_json({"tables": tables, "granted": role is not None})
        return 0
    for name, (before, after) in versions.items():
        screen.show(f"{name}: version {after}" + ("" if before == after else f", was {before}"))
    if role is not None:
        screen.show("the role may read and write rows, and change no table")
    return 0


async def examine_store(store: str) -> list[Finding]:
    """Return what may go wrong with a database, each finding with its cure.

    Args:
        store: The URL of the database.

    Raises:
        DispatchError: The URL cannot be read.
    """
    if find_spec("psycopg") is None or find_spec("psycopg_pool") is None:
        cure = "pip install 'nexmo-dispatch-async[postgres]' where this program runs"
        return [bad("dependency-missing", "a store on Postgres needs psycopg, which is not installed", cure)]
    database, components = _opened(store)
    from psycopg.conninfo import conninfo_to_dict

    from nexmo_dispatch_core.postgres.examination import examine, failure_finding

    try:
        return await examine(database, components)
    except _StoreError as error:
        named = conninfo_to_dict(split_url(store)[0])
        return [
            failure_finding(
                error.failure, database=str(named.get("dbname", "")), role=str(named.get("user", ""))
            )
        ]


def _opened(store: str) -> tuple[Any, Sequence[Any]]:  # Any, twice: classes that need psycopg
    if store.partition("://")[0] not in {"postgresql", "postgres"}:
        raise ConfigurationError("--store takes the URL of a Postgres database: postgresql://user@host/name")
    try:
        from nexmo_dispatch_async.bulk.ledger.postgres_tables import CAMPAIGNS
        from nexmo_dispatch_async.tracking.postgres import TRACKING
        from nexmo_dispatch_core.postgres.database import Database
        from nexmo_dispatch_webhooks.inbox.postgres_statements import INBOX
    except ImportError:
        raise ConfigurationError(
            "Postgres needs psycopg: pip install 'nexmo-dispatch-async[postgres]'"
        ) from None
    try:
        database = Database(split_url(store)[0], error=_error, name="nexmo-dispatch", connections=1)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    return database, (INBOX, TRACKING, CAMPAIGNS)


def _error(failure: Any) -> _StoreError:  # Any: a class that needs psycopg
    return _StoreError(failure)
