"""`bulk unknown`, `refused`, `withdraw`, `export` and `forget`: the rows of a campaign, one by one."""

from __future__ import annotations

import csv
import io
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

import anyio
import msgspec
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks
from nexmo_dispatch_async.bulk.campaign_file import load
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger, TellsLife, rows_of
from nexmo_dispatch_async.bulk.ledger.opt_outs import normal_address
from nexmo_dispatch_async.bulk.ledger.records import Resendable, Row, State
from nexmo_dispatch_async.bulk.ledger.transitions import OPT_OUT_CODES
from nexmo_dispatch_async.bulk.plan import listed, unlisted
from nexmo_dispatch_async.bulk.report.counting import MOST, is_reached, refusal, who, why_missed
from nexmo_dispatch_async.bulk.rows.seen import Seen
from nexmo_dispatch_async.bulk.safe_cells import safe_cell
from nexmo_dispatch_async.bulk.settings import CampaignSettings
from nexmo_dispatch_async.bulk.unmatched_callbacks import Candidate
from nexmo_dispatch_async.cli.bulk_control import next_step
from nexmo_dispatch_async.cli.bulk_files import DONE, FAILED, as_json, opened, settings_of
from nexmo_dispatch_async.cli.inbox import inbox_at
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_async.exceptions import ConfigurationError
from nexmo_dispatch_core import private_files
from nexmo_dispatch_webhooks import InvalidBodyError, MessageStatus, WebhookError, parse_event

if TYPE_CHECKING:
    from nexmo_dispatch_async.bulk.ledger.jetstream import JetStreamLedger
    from nexmo_dispatch_async.bulk.ledger.owner import Holder
    from nexmo_dispatch_async.bulk.ledger.postgres import PostgresLedger
    from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger

__all__ = ["COLUMNS", "change_rows", "export", "forget", "list_refused", "list_unknown", "withdraw"]

Which = list[int] | Literal["all"]

#: Columns of an export, in their order; `address` and the fields only when asked for.
COLUMNS: Final = (
    *("id", "line", "key", "state", "skip", "variant", "language", "bucket", "attempts", "changed"),
    *("dispatch_uuid", "error", "code", "ended", "reached", "channel", "delivered_at", "read_at"),
    *("cost", "currency", "why"),
)
_PAGE: Final = 500
#: Maximum number of different reasons of a code that are counted.
_REASONS: Final = 100
#: In place of an error: the process ended, or lost its ledger, before it recorded a result.
_NO_RESULT = "no result was recorded"
#: In place of a code: the row has none, and no error.
_NO_CODE = "none"


async def list_unknown(place: Place, inbox: Place | None, *, with_addresses: bool, json: bool) -> int:
    """Print the unknown rows, and what they may have been; see `bulk unknown list`."""
    candidates = [] if inbox is None else await _candidates(inbox)
    async with opened(place, observer=True) as ledger:
        hints: dict[int, list[Any]] = {}
        for hint in await CampaignCallbacks(ledger).suggest(candidates=candidates):
            hints.setdefault(hint.id, []).append(hint)
        count = 0
        async for row in rows_of(ledger, "unknown"):
            count += 1
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
    if not count and not sending and not json:
        show("no row is unknown")
    if sending and not json:
        are = "row is" if sending == 1 else "rows are"
        show(f"{sending:,} {are} in flight, or of a process that has ended: the next run tells which")
    return DONE


async def list_refused(place: Place, *, json: bool) -> int:
    """Print for each code why rows were refused, and how many; see `bulk refused list`."""
    rows, reasons = Counter[str](), dict[str, Counter[str]]()
    others = erased = 0
    async with opened(place, observer=True) as ledger:
        async for row in rows_of(ledger, "refused"):
            code = _code_of(row)
            if not row.address:
                erased += 1
            elif code not in rows and len(rows) >= MOST:
                others += 1
            else:
                rows[code] += 1
                known, reason = reasons.setdefault(code, Counter()), refusal(row)
                if reason in known or len(known) < _REASONS:
                    known[reason] += 1
    for code, count in sorted(rows.items(), key=lambda item: (-item[1], item[0])):
        meaning, opted_out = reasons[code].most_common(1)[0][0], code in OPT_OUT_CODES
        if json:
            show(as_json({"code": code, "meaning": meaning, "rows": count, "opted_out": opted_out}))
            continue
        several = ", the most frequent of several reasons" if len(reasons[code]) > 1 else ""
        again = ": skipped when sent again" if opted_out else ""
        show(f"{count:>8}  {code:<20}  {meaning}{several}{again}")
    if others and json:
        show(as_json({"code": None, "meaning": "", "rows": others, "opted_out": False}))
    elif others:
        have = "row has another code" if others == 1 else "rows have other codes"
        lists = "lists it" if others == 1 else "lists them"
        show(f"{others:,} {have}: nexmo-dispatch bulk export --state refused {lists}")
    if not rows and not erased and not json:
        show("no row is refused")
    if erased and not json:
        are = "row is" if erased == 1 else "rows are"
        show(f"{erased:,} {are} erased, and cannot be sent again")
    return DONE


async def change_rows(
    place: Place,
    state: Resendable,
    which: Which,
    action: Literal["resend", "drop"],
    *,
    codes: Collection[str] = (),
    json: bool,
) -> int:
    """Send unknown or refused rows again, or give unknown ones up; see `bulk unknown` and `bulk refused`.

    With a campaign file no row is sent again whose line was taken out of the list.

    Args:
        place: The campaign file or its ledger.
        state: The state of the rows.
        which: Their ids, or all.
        action: `drop` is for unknown rows.
        codes: Of all rows only those with one of these codes; all of them without a code.
        json: Print JSON.
    """
    changed, missing, gone = 0, set(codes), 0
    settings = settings_of(place) if action == "resend" else None
    async with AsyncExitStack() as stack:
        keys = None if settings is None else await _listed(settings, stack)

        def may_go(row: Row) -> bool:
            nonlocal gone
            is_gone = keys is not None and bool(row.address) and row.key not in keys
            gone += is_gone
            return not is_gone

        ledger = await stack.enter_async_context(opened(place))
        change = (
            partial(ledger.resend, state=state)
            if action == "resend"
            else partial(ledger.drop, state="unknown")
        )
        if which == "all":
            # By ascending id: where others send, a row may have the state again, and is not resent once more.
            after = 0
            while page := await ledger.scan(state, after=after, limit=_PAGE):
                after = page[-1].id
                chosen = [row for row in page if not codes or _code_of(row) in codes]
                missing.difference_update(map(_code_of, chosen))
                changed += await change([row.id for row in chosen if may_go(row)])
        else:
            found = [row for row_id in sorted(set(which)) if (row := await _row_in(ledger, row_id, state))]
            changed = await change([row.id for row in found if may_go(row)])
            for row_id in sorted(set(which) - {row.id for row in found}):
                show(f"row {row_id} is not {state}: it stays as it is", error=True)
    if gone and settings is not None:
        are, stay = ("row is", "stays as it is") if gone == 1 else ("rows are", "stay as they are")
        source = Path(settings.source.file).name
        show(f"{gone:,} {are} no longer in {source}, and {stay}", error=True)
    for code in sorted(missing):
        show(f"no row is {state} with the code {code}", error=True)
    words = "will be sent again by the next run" if action == "resend" else "given up"
    show(as_json({action: changed}) if json else f"{changed} row{'' if changed == 1 else 's'} {words}")
    if action == "resend" and changed and not json:
        show(await next_step(place))
    is_done = not missing if which == "all" else changed == len(set(which))
    return DONE if is_done else FAILED


async def withdraw(file: Path, *, yes: bool, json: bool) -> int:
    """Give up pending rows that are no longer in the list; see `bulk withdraw`."""
    settings, piece, found, count = load(file), list[int](), 0, 0
    async with opened(file, observer=True) as ledger:
        holder = await _holder(ledger)
        words = "a process may have the ledger, also while it is paused"
        advice = f"{words}: nexmo-dispatch bulk stop {file} first"
        if isinstance(ledger, TellsLife):  # beside it no command is refused
            advice = f"a process sends, and may claim rows first: nexmo-dispatch bulk stop {file} ends it"
        elif yes:  # the command is refused beside another process
            holder = None
    async with opened(file, observer=not yes) as ledger:
        pending = (await ledger.counts()).states.get("pending", 0)
        async for row_id in unlisted(settings, ledger):
            found += 1
            if yes:
                piece.append(row_id)
            if len(piece) == _PAGE:
                count += await ledger.drop(piece, state="pending")
                piece.clear()
        if piece:
            count += await ledger.drop(piece, state="pending")
    number = count if yes else found
    are = "row is" if number == 1 else "rows are"
    done = "given up" if yes else "no longer in the list: --yes gives them up"
    words = f"{number:,} of {pending:,} pending {are} {done}"
    show(as_json({"withdrawn" if yes else "unlisted": number}) if json else words)
    if taken := found - number:
        are, stay = ("row is", "stays as it is") if taken == 1 else ("rows are", "stay as they are")
        show(f"{taken:,} more {are} not pending any more, and {stay}", error=True)
    if found and holder == "sender":
        show(advice, error=True)
    elif found and holder == "listener":
        words = "a process that listens has the ledger: end nexmo-dispatch bulk listen first"
        show(words, error=True)
    return FAILED if taken else DONE


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


def _code_of(row: Row) -> str:
    """Return the code of a refused row, or the name of its error where the service gave no code."""
    return " ".join(row.code.split()) or row.error.partition(": ")[0] or _NO_CODE


async def _holder(ledger: SqliteLedger | PostgresLedger | JetStreamLedger) -> Holder | None:
    if isinstance(ledger, TellsLife):
        return "sender" if (await ledger.life()).senders else None
    return await ledger.holder()


async def _listed(settings: CampaignSettings, stack: AsyncExitStack) -> Seen | None:
    source = Path(settings.source.file)
    if await anyio.Path(source).is_file():  # a pipe is read once only
        return await stack.enter_async_context(listed(settings))
    words = "rows whose lines were taken out of it before are sent again, too"
    show(f"{source} is gone: {words}", error=True)
    return None


async def _row_in(ledger: Ledger, row_id: int, state: State) -> Row | None:
    rows = await ledger.scan(after=row_id - 1, limit=1)
    return rows[0] if rows and rows[0].id == row_id and rows[0].state == state else None


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
