"""Where the ledger of a campaign is: a file, or a campaign of a Postgres database, and how it is opened.

The URL of a database holds any number of campaigns: `postgresql://user@host/database?campaign=spring`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.exceptions import ConfigurationError

if TYPE_CHECKING:
    from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

__all__ = ["is_url", "join_url", "name_at", "open_ledger", "split_url"]


def is_url(place: object) -> bool:
    """Return whether a ledger is named by a URL, and not by the path of a file."""
    return isinstance(place, str) and "://" in place


def split_url(url: str) -> tuple[str, str]:
    """Return the URL of a database without `campaign=…`, and the name there, `campaign` by default."""
    front, mark, query = url.partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    names = [unquote(pair.partition("=")[2]) for pair in pairs if pair.startswith("campaign=")]
    rest = "&".join(pair for pair in pairs if not pair.startswith("campaign="))
    return front + (mark + rest if rest else ""), names[-1] if names and names[-1] else "campaign"


def join_url(url: str, name: str) -> str:
    """Return the URL of a campaign; a name that the URL has already stays."""
    if "campaign=" in url.partition("?")[2]:
        return url
    return f"{url}{'&' if '?' in url else '?'}campaign={quote(name, safe='')}"


def name_at(place: str | os.PathLike[str]) -> str:
    """Return the name of a campaign by its place: that of the URL, or that of the file."""
    return split_url(place)[1] if isinstance(place, str) and is_url(place) else Path(place).stem


async def open_ledger(
    place: str | os.PathLike[str],
    *,
    name: str = "",
    opt_outs: OptOutList | None = None,
    observer: bool = False,
    restored: bool = False,
    create: bool = True,
    lease: float = 120.0,
    clock: Callable[[], float] = time.time,
) -> SqliteLedger | PostgresLedger:
    """Open the ledger at a place.

    Args:
        place: Path of a file, or `postgresql://…?campaign=name`.
        name: Of the campaign in a database, instead of the one in the URL.
        opt_outs: Opt-out list that campaigns share.
        observer: Whether to only inspect and control a campaign that another process runs.
        restored: Whether to use a file that was copied or restored from a backup.
        create: Whether a ledger that is missing is made.
        lease: Seconds without a sign of life after which a process that shares a database is taken for dead.
        clock: Returns epoch seconds.

    Raises:
        LedgerError: The ledger cannot be used.
        ConfigurationError: The URL is that of no ledger, or the extra `postgres` is not installed.
    """
    if isinstance(place, str) and is_url(place):
        _require_postgres(place)
        try:
            from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
        except ImportError:
            raise ConfigurationError(
                "a campaign on Postgres needs psycopg: pip install 'nexmo-dispatch-async[postgres]'"
            ) from None
        url, named = split_url(place)
        return await PostgresLedger.open(
            url,
            name or named,
            opt_outs=opt_outs,
            observer=observer,
            create=create,
            lease=lease,
            clock=clock,
        )
    # Imported here, since most programs have no campaign, and the import of sqlite3 takes time.
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

    return await SqliteLedger.open(
        place, opt_outs=opt_outs, observer=observer, restored=restored, create=create, clock=clock
    )


def _require_postgres(url: str) -> None:
    if url.partition("://")[0].lower() not in {"postgresql", "postgres"}:
        raise ConfigurationError("a ledger takes the URL of a Postgres database: postgresql://user@host/name")
