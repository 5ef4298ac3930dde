"""Where the ledger of a campaign is: a file, or a campaign on Postgres or NATS, and how it is opened.

A URL holds any number of campaigns: `postgresql://user@host/database?campaign=spring`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import quote, unquote

from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.tenure import check_lease
from nexmo_dispatch_async.exceptions import ConfigurationError

if TYPE_CHECKING:
    from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
    from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

__all__ = [
    "STORES",
    "Engine",
    "engine_of",
    "is_url",
    "join_url",
    "name_at",
    "needs",
    "open_ledger",
    "split_url",
]

Engine = Literal["postgres", "nats"]
#: The URLs of stores that processes share, for messages.
STORES: Final = "postgresql://user@host/database or nats://host/name"
_ENGINES: Final[dict[str, Engine]] = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "nats": "nats",
    "tls": "nats",
}


def is_url(place: object) -> bool:
    """Return whether a ledger is named by a URL, and not by the path of a file."""
    return isinstance(place, str) and "://" in place


def engine_of(url: str) -> Engine | None:
    """Return the engine that a URL names; `None` for the URL of something else."""
    return _ENGINES.get(url.partition("://")[0].lower())


def split_url(url: str) -> tuple[str, str]:
    """Return the URL of a store without `campaign=…`, and the name there, `campaign` by default."""
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
    if isinstance(place, str) and is_url(place):
        return split_url(place)[1]
    # the name of a file may be bytes of another encoding, which Python reads as half surrogates
    return Path(place).stem.encode("utf-8", "replace").decode()


async def open_ledger(
    place: str | os.PathLike[str],
    *,
    name: str = "",
    opt_outs: OptOutList | None = None,
    observer: bool = False,
    restored: bool = False,
    create: bool = True,
    lease: float = 120.0,
    accept_loss: bool = False,
    sends: bool = True,
    clock: Callable[[], float] = time.time,
) -> SqliteLedger | PostgresLedger | JetStreamLedger:
    """Open the ledger at a place.

    Args:
        place: Path of a file, `postgresql://…?campaign=name` or `nats://…?campaign=name`.
        name: Of the campaign in a shared store, instead of the one in the URL.
        opt_outs: Opt-out list that campaigns share.
        observer: Whether to only inspect and control a campaign that another process runs.
        restored: Whether to use a ledger that was copied or restored from a backup.
        create: Whether a ledger that is missing is made.
        lease: Seconds without a sign of life after which a process that shares a store is taken for dead;
            above 0, and at most a day.
        accept_loss: Whether to use a shared store that may lose what it acknowledged.
        sends: Whether this process sends; one that hears callbacks only takes no part of a shared quota, and
            other processes see that it sends nothing.
        clock: Returns epoch seconds.

    Raises:
        LedgerError: The ledger cannot be used.
        ConfigurationError: The URL is that of no ledger, the extra of its engine is not installed, or an
            argument is wrong.
    """
    check_lease(lease)
    if isinstance(place, str) and is_url(place):
        url, named = split_url(place)
        opening = _shared(place)
        if engine_of(place) == "postgres":  # on NATS a process takes part when it claims rows
            opening = partial(opening, sends=sends)
        return await opening(
            url,
            name or named,
            opt_outs=opt_outs,
            observer=observer,
            restored=restored,
            create=create,
            lease=lease,
            accept_loss=accept_loss,
            clock=clock,
        )
    # Imported here, since most programs have no campaign, and the import of sqlite3 takes time.
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

    return await SqliteLedger.open(
        place,
        opt_outs=opt_outs,
        observer=observer,
        restored=restored,
        create=create,
        sends=sends,
        clock=clock,
    )


def _shared(url: str) -> Callable[..., Awaitable[PostgresLedger | JetStreamLedger]]:
    """Return what opens a ledger of the engine that a URL names."""
    engine = engine_of(url)
    if engine is None:
        raise ConfigurationError(f"a ledger is a file, {STORES}: the URL is none of these")
    try:
        if engine == "nats":
            from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger

            return JetStreamLedger.open
        from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
    except ImportError:
        raise ConfigurationError(needs(engine, "a campaign")) from None
    return PostgresLedger.open


def needs(engine: Engine, what: str) -> str:
    """Return the message for an extra that is not installed."""
    driver, shown = ("nats-py", "NATS") if engine == "nats" else ("psycopg", "Postgres")
    return f"{what} on {shown} needs {driver}: pip install 'nexmo-dispatch-async[{engine}]'"
