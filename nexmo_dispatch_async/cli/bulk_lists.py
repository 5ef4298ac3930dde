"""`bulk unknown`, `withdraw`, `export` and `forget`: the rows of a campaign, one by one."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks
from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, TellsLife, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import normal_address
from nexmo_dispatch_async.bulk.ledger.records import Row, State
from nexmo_dispatch_async.bulk.plan import unlisted
from nexmo_dispatch_async.bulk.report.counting import is_reached, who, why_missed
from nexmo_dispatch_async.bulk.safe_cells import safe_cell
from nexmo_dispatch_async.bulk.unmatched_callbacks import Candidate
from nexmo_dispatch_async.cli.bulk_files import DONE, FAILED, as_json, opened
from nexmo_dispatch_async.cli.inbox import inbox_at
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_core import private_files
from nexmo_dispatch_webhooks import InvalidBodyError, MessageStatus, WebhookError, parse_event

__all__ = ["COLUMNS", "change_unknown", "export", "forget", "list_unknown", "withdraw"]

Which = list[int] | Literal["all"]

#: Columns of an export, in their order; `address` and the fields only when asked for.
COLUMNS: Final = (
    *("id", "line", "key", "state", "skip", "variant", "language", "bucket", "attempts", "changed"),
    *("dispatch_uuid", "error", "code", "ended", "reached", "channel", "delivered_at", "read_at"),
    *("cost", "currency", "why"),
)
_PAGE: Final = 500
#: In place of an error: the process ended, or lost its ledger, before it recorded a result.
_NO_RESULT = "no result was recorded"


async def list_unknown(place: Place, inbox: Place | None, *, with_addresses: bool, json: bool) -> int:
    """Print the unknown rows, and what they may have been; see `bulk unknown list`."""
    candidates = [] if inbox is None else await _candidates(inbox)
    async with opened(place, observer=True) as ledger:
        hints: dict[int, list[Any]] = {}
        for hint in await CampaignCallbacks(ledger).suggest(candidates=candidates):
            hints.setdefault(hint.id, []).append(hint)
        async for row in rows_of(ledger, "unknown"):
            name, at = who(row, with_addresses=with_addresses), _time(row.changed)
            own = hints.get(row.id, [])
            if json:
                line = {"id": row.id, "line": row.line, "who": name, "at": at, "error": row.error}
                show(as_json({**line, "suggestions": own}))
                continue
            show(f"{row.id:>8}  line {row.line:<8}  {at}  {name}  {row.error or _NO_RESULT}")
            for hint in own:
                show(f"          may be {hint.dispatch_uuid}, heard of {hint.seconds:+.0f} s from then")
        sending = (await ledger.counts()).states.get("sending", 0)
    if sending and not json:
        are = "row is" if sending == 1 else "rows are"
        show(f"{sending:,} {are} in flight, or of a process that has ended: the next run tells which")
    return DONE


async def change_unknown(place: Place, which: Which, action: Literal["resend", "drop"], *, json: bool) -> int:
    """Send unknown rows again, or give them up; see `bulk unknown resend` and `drop`."""
    changed = 0
    async with opened(place) as ledger:
        change = ledger.resend if action == "resend" else ledger.drop
        if which == "all":
            # By ascending id: where others send, a row may be unknown again, and is not resent once more.
            after = 0
            while page := await ledger.scan("unknown", after=after, limit=_PAGE):
                after = page[-1].id
                changed += await change([row.id for row in page])
        else:
            unknown = {row_id for row_id in which if await _state(ledger, row_id) == "unknown"}
            changed = await change(sorted(unknown))
            for row_id in sorted(set(which) - unknown):
                show(f"row {row_id} is not unknown: it stays as it is", error=True)
    words = "will be sent again by the next run" if action == "resend" else "given up"
    show(as_json({action: changed}) if json else f"{changed} row{'' if changed == 1 else 's'} {words}")
    return DONE if which == "all" or changed == len(set(which)) else FAILED


async def withdraw(file: Path, *, yes: bool, json: bool) -> int:
    """Give up pending rows that are no longer in the list; see `bulk withdraw`."""
    settings, piece, count = load(file), list[int](), 0
    async with opened(file, observer=not yes) as ledger:
        pending = (await ledger.counts()).states.get("pending", 0)
        async for row_id in unlisted(settings, ledger):
            piece.append(row_id)
            if len(piece) == _PAGE:
                count += await ledger.drop(piece) if yes else len(piece)
                piece.clear()
        count += await ledger.drop(piece) if yes else len(piece)
        holder = None if yes or isinstance(ledger, TellsLife) else await ledger.holder()
    are = "row is" if count == 1 else "rows are"
    done = "given up" if yes else "no longer in the list: --yes gives them up"
    words = f"{count:,} of {pending:,} pending {are} {done}"
    show(as_json({"withdrawn" if yes else "unlisted": count}) if json else words)
    if count and holder == "sender":
        words = "a process may have the ledger, also while it is paused"
        show(f"{words}: nexmo-dispatch bulk stop {file} first", error=True)
    elif count and holder == "listener":
        words = "a process that listens has the ledger: end nexmo-dispatch bulk listen first"
        show(words, error=True)
    return DONE


async def export(
    place: Place,
    *,
    state: State | None,
    missed: bool,
    with_addresses: bool,
    out: Path | None,
    json: bool,
) -> int:
    """Write rows as CSV, or as JSON lines; see `bulk export`."""
    async with AsyncExitStack() as stack:
        ledger = await stack.enter_async_context(opened(place, observer=True))
        write: Callable[[str], object] = _print
        if out is not None:
            descriptor = private_files.open_for_writing(out)
            target: IO[str] = stack.enter_context(os.fdopen(descriptor, "w", encoding="utf-8", newline=""))
            write = target.write
        line = _as_json if json else _as_csv
        if not json:
            head = (*COLUMNS, "address", "fields") if with_addresses else COLUMNS
            write(_csv_line(head))
        count = 0
        async for row in rows_of(ledger, state):
            if missed and is_reached(row):
                continue
            write(line(_cells(row, with_addresses=with_addresses)))
            count += 1
    if out is not None:
        show(f"{count} row{'' if count == 1 else 's'} in {out}", error=True)
    return DONE


async def forget(place: Place, older: float, *, json: bool) -> int:
    """Erase personal data of rows that ended so many seconds ago; see `bulk forget`."""
    async with opened(place) as ledger:
        control = await ledger.control()
        if not control.forgot:  # before the first one is erased
            await ledger.control(lambda known: replace(known, forgot=True))
        count = await ledger.forget(time.time() - older)
        if not count and not control.forgot:
            await ledger.control(lambda known: replace(known, forgot=False))
    show(as_json({"forgotten": count}) if json else f"{count} row{'' if count == 1 else 's'} forgotten")
    return DONE


def _print(line: str) -> None:
    show(line.removesuffix("\n"), lines=True)


async def _candidates(inbox: Place) -> list[Candidate]:
    """Return the workflows that a receiver's inbox knows, with whom they were sent to and since when."""
    found: dict[str, Candidate] = {}
    try:
        async with inbox_at(inbox) as store:
            after = 0
            while records := await store.list(limit=_PAGE, after=after):
                after = records[-1].id
                for record in records:
                    if record.kind != "message-status":
                        continue
                    event = _event((await store.show(record.id)).body)
                    if isinstance(event, MessageStatus) and event.recipient and event.dispatch_uuid:
                        uuid, at = (
                            event.dispatch_uuid.lower(),
                            (event.timestamp or record.received_at).timestamp(),
                        )
                        known = found.get(uuid)
                        at = at if known is None else min(at, known.at)
                        address = normal_address(event.recipient)
                        found[uuid] = Candidate(dispatch_uuid=uuid, address=address, at=at)
    except WebhookError as error:
        named = f"the inbox {inbox}" if isinstance(inbox, Path) else "the inbox"
        raise ConfigurationError(f"{named} cannot be read: {error}") from None
    return list(found.values())


def _event(body: bytes | None) -> object:
    try:
        return None if body is None else parse_event(body)
    except InvalidBodyError:
        return None


async def _state(ledger: Ledger, row_id: int) -> str:
    rows = await ledger.scan(after=row_id - 1, limit=1)
    return rows[0].state if rows and rows[0].id == row_id else ""


def _cells(row: Row, *, with_addresses: bool) -> dict[str, Any]:
    news = row.news
    cells: dict[str, Any] = {
        "id": row.id,
        "line": row.line,
        "key": who(row, with_addresses=with_addresses),
        "state": row.state,
        "skip": row.skip or "",
        "variant": row.variant,
        "language": row.language,
        "bucket": row.bucket,
        "attempts": row.attempts,
        "changed": _time(row.changed),
        "dispatch_uuid": row.dispatch_uuid,
        "error": row.error,
        "code": row.code,
        "ended": False,
        "reached": "",
        "channel": "",
        "delivered_at": "",
        "read_at": "",
        "cost": "",
        "currency": "",
        "why": "" if is_reached(row) else why_missed(row),
    }
    if news is not None:
        cells |= {"ended": news.ended, "reached": news.reached, "channel": news.channel}
        cells |= {"delivered_at": _time(news.delivered_at), "read_at": _time(news.read_at)}
        cells |= {"cost": news.cost, "currency": news.currency, "code": row.code or news.code}
    if with_addresses:
        cells |= {"address": row.address, "fields": row.fields}
    return cells


def _as_json(cells: dict[str, Any]) -> str:
    return as_json(cells) + "\n"


def _as_csv(cells: dict[str, Any]) -> str:
    if "fields" in cells:
        cells = {**cells, "fields": msgspec.json.encode(cells["fields"]).decode()}
    return _csv_line(tuple(safe_cell(str(cell)) for cell in cells.values()))


def _csv_line(cells: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _time(epoch: float | None) -> str:
    """A time in UTC as ISO 8601, `""` for none."""
    if not epoch or not math.isfinite(epoch):
        return ""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
