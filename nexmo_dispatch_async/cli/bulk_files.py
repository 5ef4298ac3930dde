"""What every command about a campaign shares: which ledger is meant, how it is opened, how it ends.

A command takes the campaign's TOML file, or the ledger itself.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.exceptions import DispatchError

__all__ = [
    "DONE",
    "FAILED",
    "REFUSED",
    "UNFINISHED",
    "UNKNOWN",
    "as_json",
    "ended",
    "ledger_of",
    "name_of",
    "opened",
    "zone_of",
]

#: Exit codes, as docs/campaigns.md lists them; 2 is a mistake in the command line.
DONE: Final = 0
FAILED: Final = 1
UNKNOWN: Final = 3
UNFINISHED: Final = 4
REFUSED: Final = 5


def ledger_of(file: Path) -> Path:
    """Return the ledger of a campaign file; any other file is the ledger itself.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    return Path(load(file).ledger) if file.suffix.lower() == ".toml" else file


def name_of(file: Path) -> str:
    """Return the campaign's name; for a ledger the name of the file.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    return load(file).name if file.suffix.lower() == ".toml" else file.stem


def zone_of(file: Path) -> str:
    """Return the campaign's time zone; for a ledger `UTC`.

    Raises:
        CampaignFileError: The campaign file cannot be read, or something in it is wrong.
    """
    return load(file).zone if file.suffix.lower() == ".toml" else "UTC"


@asynccontextmanager
async def opened(
    file: Path, *, observer: bool = False, restored: bool = False
) -> AsyncGenerator[SqliteLedger]:
    """Open the ledger of a campaign that was begun.

    Args:
        file: The campaign file or the ledger.
        observer: Only look, and ask for something with `control`: another process may have it.
        restored: It was copied or put back, and is used all the same.

    Raises:
        DispatchError: The file is wrong, or the ledger cannot be opened.
    """
    path = ledger_of(file)
    async with await SqliteLedger.open(path, observer=observer, restored=restored, create=False) as ledger:
        yield ledger


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
