"""What every command about a campaign shares: which ledger is meant, how it is opened, how it ends.

A command takes the campaign's TOML file, or the ledger itself: a file, or the URL of a shared store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.places import is_url, name_at, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.bulk.plan import is_missing, new_ledger, new_list
from nexmo_dispatch_async.bulk.settings import CampaignSettings
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_async.exceptions import DispatchError

if TYPE_CHECKING:
    from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
    from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

__all__ = [
    "DONE",
    "FAILED",
    "NOT_ALL_SENT",
    "REFUSED",
    "UNFINISHED",
    "as_json",
    "campaign_stores",
    "code_of",
    "ended",
    "ledger_of",
    "name_of",
    "opened",
    "rejects_path",
    "settings_of",
    "zone_of",
]

#: Exit codes, as docs/campaigns.md lists them; 2 is a mistake in the command line.
DONE: Final = 0
FAILED: Final = 1
NOT_ALL_SENT: Final = 3
UNFINISHED: Final = 4
REFUSED: Final = 5


def code_of(counts: Counts) -> int:
    """Return the exit code for a campaign: rows are left, some were not sent, or all is done."""
    if counts.open:
        return UNFINISHED
    failed = counts.states.get("unknown", 0) + counts.states.get("refused", 0)
    return NOT_ALL_SENT if failed else DONE


def settings_of(place: Place) -> CampaignSettings | None:
    """Return the settings of a campaign file; `None` for a ledger.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    return load(place) if isinstance(place, Path) and place.suffix.lower() == ".toml" else None


def ledger_of(place: Place) -> Place:
    """Return the ledger of a campaign file; any other file, and a URL, is the ledger itself.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    settings = settings_of(place)
    if settings is None:
        return place
    return settings.ledger if is_url(settings.ledger) else Path(settings.ledger)


def rejects_path(place: Place) -> Path | None:
    """Return where the lines that were not taken are listed: beside the ledger, or beside the campaign file.

    Returns:
        The path; `None` where only the URL of a ledger is known.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    ledger = ledger_of(place)
    beside = ledger if isinstance(ledger, Path) else place
    return beside.with_suffix(".rejects.csv") if isinstance(beside, Path) else None


def name_of(place: Place) -> str:
    """Return the campaign's name; for a ledger the name of the file, or that in the URL.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    settings = settings_of(place)
    return name_at(place) if settings is None else settings.name


def zone_of(place: Place) -> str:
    """Return the campaign's time zone; for a ledger `UTC`.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    settings = settings_of(place)
    return "UTC" if settings is None else settings.zone


@asynccontextmanager
async def opened(
    place: Place, *, observer: bool = False, restored: bool = False, create: bool = False
) -> AsyncGenerator[SqliteLedger | PostgresLedger | JetStreamLedger]:
    """Open the ledger of a campaign that was begun.

    Args:
        place: The campaign file or the ledger.
        observer: Only look, and ask for something with `control`: another process may have it.
        restored: It was copied or put back, and is used all the same.
        create: Make the ledger of a campaign file that has not been run yet.

    Raises:
        DispatchError: The file is wrong, or the ledger cannot be opened.
    """
    ledger = await open_ledger(ledger_of(place), observer=observer, restored=restored, create=create)
    async with ledger:
        yield ledger


async def campaign_stores(
    settings: CampaignSettings,
    stack: AsyncExitStack,
    *,
    restored: bool = False,
    accept_loss: bool = False,
    sends: bool = True,
) -> tuple[SqliteLedger | PostgresLedger | JetStreamLedger, OptOutList | None]:
    """Open the ledger of a campaign for this process, and the opt-out list that its file names.

    Args:
        settings: The settings of the campaign file.
        stack: Closes both.
        restored: The ledger was copied or put back, and is used all the same.
        accept_loss: The store may lose what it acknowledged, and is used all the same.
        sends: Whether the process sends: then a ledger that is missing is made.

    Raises:
        LedgerError: The ledger cannot be opened.
        OptOutError: The opt-out list cannot be opened.
    """
    opt_outs: OptOutList | None = None
    if settings.people.file:
        if sends and await is_missing(settings.people.file):
            show(new_list(settings.people.file), error=True)
        opt_outs = await stack.enter_async_context(OptOutList.open(settings.people.file))
    ledger = await open_ledger(
        settings.ledger,
        opt_outs=opt_outs,
        restored=restored,
        accept_loss=accept_loss,
        create=sends,
        sends=sends,
    )
    stack.push_async_callback(ledger.aclose)
    if ledger.reaped:
        were = "row was" if ledger.reaped == 1 else "rows were"
        show(f"{ledger.reaped} {were} in flight when the run before ended: unknown", error=True)
    if sends and not (await ledger.counts()).total:
        show(new_ledger(settings.ledger), error=True)
    return ledger, opt_outs


async def ended(work: Callable[[], Awaitable[int]]) -> int:
    """Do the work of a command; what cannot be done is said in a line, and ends with `FAILED`."""
    try:
        return await work()
    except DispatchError as error:
        show(str(error), error=True, lines=True)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        show(f"cannot use{where}: {error.strerror or type(error).__name__}", error=True)
    return FAILED


def as_json(value: Any) -> str:
    """Return a value as one line of JSON.

    Args:
        value: Anything that msgspec encodes.
    """
    return msgspec.json.encode(value).decode()
