"""`bulk opt-out`: who gets nothing from a campaign, and from those that share its opt-out list."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

import anyio.to_thread

from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.plan import is_missing
from nexmo_dispatch_async.bulk.rejects import RowError
from nexmo_dispatch_async.bulk.rows.numbers import RowNumbers
from nexmo_dispatch_async.cli.bulk_files import DONE, FAILED, as_json, opened, settings_of
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_async.exceptions import LedgerMissingError
from nexmo_dispatch_async.redaction import mask

__all__ = ["change_opt_outs", "show_opt_outs"]

#: Addresses that are changed together.
_PIECE: Final = 5000
#: A longer line is not read as a number.
_LINE: Final = 1000
_DIGIT: Final = re.compile(r"\d")


async def show_opt_outs(place: Place, *, with_addresses: bool, json: bool) -> int:
    """Print the opt-out list of a campaign, and make none; see `bulk opt-out list`."""
    settings = settings_of(place)
    try:
        if settings is not None and await is_missing(settings.people.file or settings.ledger):
            raise LedgerMissingError
        async with _list_of(place, observer=True) as opt_outs:
            count = await _show(opt_outs, with_addresses=with_addresses, json=json)
    except LedgerMissingError:
        if settings is None:
            raise
        show("there is no opt-out list yet, and no person is on it", error=True)
    else:
        if not json:
            show(f"{_entries(count)} on the opt-out list", error=True)
    return DONE


async def _show(opt_outs: OptOutList, *, with_addresses: bool, json: bool) -> int:
    """Print the entries of a list; return their number."""
    count, after = 0, ""
    while page := await opt_outs.list(after=after):
        after = page[-1].address
        count += len(page)
        for entry in page:
            address = entry.address if with_addresses else mask(entry.address)
            at = datetime.fromtimestamp(entry.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            if json:
                show(as_json({"address": address, "reason": entry.reason, "at": at}))
            else:
                show(f"{address}  {at}  {entry.reason}")
    return count


async def change_opt_outs(
    place: Place,
    action: Literal["add", "remove"],
    numbers: Sequence[str],
    source: Path | None,
    *,
    reason: str = "",
    json: bool,
) -> int:
    """Add people to the opt-out list of a campaign, or remove them; see `bulk opt-out add` and `remove`.

    Args:
        place: The campaign file or the ledger.
        action: What to do.
        numbers: Numbers or user ids.
        source: A file with one more of them a line.
        reason: Reason of new entries.
        json: Print JSON.
    """
    settings = settings_of(place)
    country = "" if settings is None else settings.country
    normal = RowNumbers(country)
    changed = refused = unchanged = 0

    def next_piece(lines: Iterator[tuple[str, str]]) -> tuple[list[str], list[str], bool]:
        """Read so many addresses, what is wrong with the others, and whether more may follow."""
        found: list[str] = []
        wrong: list[str] = []
        for where, text in lines:
            try:
                found.append(normal(text))
            except RowError as error:
                wrong.append(f"{where}: {error.advice}")
            if len(found) + len(wrong) >= _PIECE:
                return found, wrong, True
        return found, wrong, False

    async with _list_of(place) as opt_outs:
        with closing(_lines(numbers, source)) as lines:
            more = True
            while more:
                found, wrong, more = await anyio.to_thread.run_sync(next_piece, lines)
                refused += len(wrong)
                for advice in wrong:
                    show(advice, error=True)
                done = 0
                if found and action == "add":
                    done = await opt_outs.suppress(*found, reason=reason or "by hand")
                elif found:
                    done = await opt_outs.unsuppress(*found)
                changed += done
                unchanged += max(0, len(set(found)) - done)
    if json:
        show(as_json({action: changed, "unchanged": unchanged, "refused": refused}))
    else:
        words = "added to" if action == "add" else "removed from"
        known = "already on it" if action == "add" else "not on it"
        rest = [f"{number:,} {what}" for number, what in ((unchanged, known), (refused, "refused")) if number]
        show(", ".join([f"{_entries(changed)} {words} the opt-out list", *rest]))
    return FAILED if refused else DONE


@asynccontextmanager
async def _list_of(place: Place, *, observer: bool = False) -> AsyncGenerator[OptOutList]:
    """Open the list that a campaign shares with others, or that of its ledger, which no run may have then.

    People are added before the first run, so the ledger that a campaign file names is made if there is none.
    An observer only looks: it makes none, and a run may have the ledger.
    """
    settings = settings_of(place)
    if settings is not None and settings.people.file:
        async with OptOutList.open(settings.people.file) as opt_outs:
            yield opt_outs
    else:
        create = settings is not None and not observer
        async with opened(place, observer=observer, create=create) as ledger:
            yield ledger.opt_outs


def _lines(numbers: Iterable[str], source: Path | None) -> Generator[tuple[str, str]]:
    """Yield the place and the text of each number."""
    for position, text in enumerate(numbers, 1):
        yield f"number {position}", text
    if source is None:
        return
    with source.open(encoding="utf-8-sig", errors="replace") as file:
        for line in range(1, 1 << 62):
            text = file.readline(_LINE)
            if not text:
                return
            # The name of a column is no number that was mistyped.
            if text.strip() and (line > 1 or _DIGIT.search(text)):
                yield f"line {line}", text.strip().strip('"')


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"
