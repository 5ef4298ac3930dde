"""`nexmo-dispatch inbox`: list the records of a receiver's inbox, retry or purge them.

It runs no handlers: a running receiver handles the records that `retry` makes due.
"""

import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from nexmo_dispatch_async.cli import screen
from nexmo_dispatch_async.cli.redactor import Redactor
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_core.jetstream.address import is_nats
from nexmo_dispatch_webhooks import (
    ConfigurationError,
    InvalidBodyError,
    UnknownRecordError,
    WebhookError,
    parse_event,
)
from nexmo_dispatch_webhooks.inbox import (
    JetStreamInbox,
    PostgresInbox,
    Record,
    RecordCounts,
    RecordState,
    SqliteInbox,
    StoreInbox,
)

__all__ = ["inbox_at", "purge", "retry", "show", "show_list", "summary"]

RecordChoice = int | Literal["all"]


async def show_list(
    place: Place, state: RecordState | None, limit: int, after: int, json: bool = False
) -> int:
    """Print one line per record."""

    async def work(inbox: StoreInbox) -> None:
        records = await inbox.list(state, limit=limit, after=after)
        for record in records:
            if json:
                screen.show_json(_as_object(record))
            else:
                screen.show(_line(record))
        if len(records) == limit:
            screen.show(f"more may follow: --after {records[-1].id}", error=True)

    return await _with(place, work)


async def show(place: Place, record_id: int, plain: bool, json: bool = False) -> int:
    """Print the details of a record, with its body redacted unless *plain*."""

    async def work(inbox: StoreInbox) -> None:
        record = await inbox.show(record_id)
        if json:
            screen.show_json({**_as_object(record), "body": _shown_body(record, plain=plain)})
            return
        screen.show(_line(record))
        for failure in record.failed:
            words = f": {failure.message}" if failure.message else ""
            screen.show(f"  failed: {failure.handler} ({failure.error}){words}")
            for line in failure.trace:
                screen.show(f"    {line}")
        for handler in record.done:
            screen.show(f"  done: {handler}")
        if record.next_attempt_at is not None:
            screen.show(f"  next attempt: {record.next_attempt_at:%Y-%m-%d %H:%M:%S} UTC")
        if record.body is None:
            screen.show("  the body is forgotten")
        elif plain:
            screen.show(record.body.decode("utf-8", "backslashreplace"), lines=True)
        else:
            screen.show(_redacted(record.body), lines=True)

    return await _with(place, work)


async def summary(place: Place, json: bool = False) -> int:
    """Print what is pending, and the failures, one line per handler and exception, most frequent first."""

    async def work(inbox: StoreInbox) -> None:
        counts, found = await inbox.count(), await inbox.summary()
        if counts.pending and not json:
            screen.show(_pending_in_words(counts, time.time()))
        for tally in found:
            if json:
                screen.show_json(tally)
                continue
            what = "the body is no JSON object"
            if tally.handler is not None:
                what = f"{tally.handler} ({tally.error})"
            oldest = f"{tally.oldest:%Y-%m-%d %H:%M:%S}"
            state = "waiting" if tally.state == "pending" else tally.state
            screen.show(f"{tally.count:>8}  {state:<11}  {tally.kind:<15}  oldest {oldest}  {what}")
        if json:
            since = None if counts.oldest is None else datetime.fromtimestamp(counts.oldest, UTC)
            screen.show_json({"pending": counts.pending, "quarantined": counts.quarantined, "oldest": since})
        elif not found:
            screen.show("nothing failed")

    return await _with(place, work)


def _pending_in_words(counts: RecordCounts, now: float) -> str:
    events = "1 event is" if counts.pending == 1 else f"{counts.pending:,} events are"
    lag = 0.0 if counts.oldest is None else max(0.0, now - counts.oldest)
    return (
        f"{events} pending, the oldest for {lag:.0f} s; a handler that hangs is not named below: "
        "`lag` of /health grows"
    )


async def retry(
    place: Place, which: RecordChoice, handler: str | None, kind: str | None, json: bool = False
) -> int:
    """Make records due now; return 1 for an id or a handler that is not there.

    Args:
        place: The store.
        which: An id, or `"all"`.
        handler: The name of a handler, in full or its end after a dot.
        kind: A kind of records.
        json: Print JSON.
    """

    async def work(inbox: StoreInbox) -> None:
        name = None if handler is None else await _handler(inbox, handler)
        found = await inbox.retry(which, handler=name, kind=kind)
        if which != "all" and not found:
            raise UnknownRecordError(f"no quarantined or waiting record has the id {which}")
        if json:
            screen.show_json({"retried": found} if name is None else {"retried": found, "handler": name})
            return
        screen.show(f"{_count(found)} to be handled again by the running receiver, or at its next start")

    return await _with(place, work)


async def _handler(inbox: StoreInbox, name: str) -> str:
    """Return the full name of a handler that failed.

    Raises:
        ConfigurationError: Others failed and this one did not, or several have names that end like this.
    """
    known = sorted({tally.handler for tally in await inbox.summary() if tally.handler is not None})
    found = [name] if name in known else [each for each in known if each.endswith(f".{name}")]
    if len(found) == 1 or not known:
        return found[0] if found else name
    if found:
        raise ConfigurationError(f"{name} may be {' or '.join(found)}: write one of them in full")
    raise ConfigurationError(f"no record waits for {name}: what failed is {', '.join(known)}")


async def purge(
    place: Place, record_id: int | None, state: RecordState, older_than: float | None, json: bool = False
) -> int:
    """Delete the content of finished records; return 1 if no record has the id."""

    async def work(inbox: StoreInbox) -> None:
        found = await inbox.purge(state, record_id=record_id, older_than=older_than)
        if record_id is not None and not found:
            raise UnknownRecordError(f"no handled or quarantined record has the id {record_id}")
        if json:
            screen.show_json({"forgotten": found})
        else:
            screen.show(f"{_count(found)} forgotten")
            if not found and older_than is not None:
                hours = f"{older_than / 3600:g} h"
                screen.show(
                    f"no {state} record is older than {hours}: without --older-than all are forgotten"
                )

    return await _with(place, work)


def inbox_at(place: Place) -> StoreInbox:
    """Return the inbox of a file or of a URL, which must be there; nothing in it is handled.

    Raises:
        ConfigurationError: It is the URL of no store, or an extra is not installed.
    """
    if isinstance(place, Path):
        return SqliteInbox(place, create=False)
    if is_nats(place):
        return JetStreamInbox(place, create=False)
    if place.partition("://")[0].lower() in {"postgresql", "postgres"}:
        return PostgresInbox(place, migrate=False)
    raise ConfigurationError(
        "an inbox is a file, postgresql://user@host/database or nats://host/name: the URL is none of these"
    )


async def _with(place: Place, work: Callable[[StoreInbox], Awaitable[None]]) -> int:
    try:
        async with inbox_at(place) as inbox:
            await work(inbox)
    except WebhookError as error:
        screen.show(str(error), error=True)
        return 1
    return 0


def _line(record: Record) -> str:
    received = f"{record.received_at:%Y-%m-%d %H:%M:%S}"
    line = f"{record.id:>8}  {record.state:<11}  {record.kind:<15}  {received}  {record.size:>7} B"
    if record.attempts:
        names = ", ".join(f"{failure.handler} ({failure.error})" for failure in record.failed)
        line += f"  {record.attempts} failed attempt{'' if record.attempts == 1 else 's'}: {names}"
    return line


def _as_object(record: Record) -> dict[str, Any]:
    """Return what a line of the list says, and the failures with their traces."""
    return {
        "id": record.id,
        "state": record.state,
        "kind": record.kind,
        "received_at": record.received_at,
        "size": record.size,
        "attempts": record.attempts,
        "next_attempt_at": record.next_attempt_at,
        "failed": record.failed,
        "done": record.done,
    }


def _shown_body(record: Record, *, plain: bool) -> Any:
    """Return the body as an object without personal data, as text if *plain*, None if it is forgotten."""
    if record.body is None:
        return None
    if plain:
        return record.body.decode("utf-8", "backslashreplace")
    try:
        raw: Any = parse_event(record.body).raw
    except InvalidBodyError:
        return None
    return Redactor().body(cast("dict[str, Any]", raw))


def _redacted(body: bytes) -> str:
    try:
        raw: Any = parse_event(body).raw
    except InvalidBodyError:
        return f"{len(body)} bytes that are no JSON object; --plain shows them"
    return json.dumps(Redactor().body(cast("dict[str, Any]", raw)), indent=2)


def _count(found: int) -> str:
    return "1 record" if found == 1 else f"{found} records"
