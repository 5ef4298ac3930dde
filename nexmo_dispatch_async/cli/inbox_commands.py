"""`nexmo-dispatch inbox`: its commands and their options; `inbox` does the work."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import anyio
import typer

from nexmo_dispatch_async.cli.help import Commands
from nexmo_dispatch_async.cli.options import LARGEST, AsJson, finite
from nexmo_dispatch_async.cli.stores import STORE, place_of, split

__all__ = ["inbox"]

InboxState = Literal["pending", "quarantined", "handled", "forgotten"]
RecordKind = Literal["message-status", "inbound-message", "final-report", "unknown", "unparsable"]
#: A hundred years.
_LONGEST_H = 876_000
Purgeable = Literal["handled", "quarantined"]


def _words(choice: Any) -> str:  # Any: a Literal is no type
    *first, last = get_args(choice)
    return f"{', '.join(first)} or {last}"


inbox: Commands = Commands("List the records of a receiver's inbox, retry or purge them.")

_Store = Annotated[
    str | None,
    typer.Argument(
        metavar="[STORE]",
        help=f"The SQLite file of the inbox, postgresql://… or nats://…; by default that of {STORE}. "
        "Prefer the variable for a URL: all users of a machine can see commands.",
        show_default=False,
    ),
]
_StoreAndId = Annotated[
    list[str], typer.Argument(metavar="[STORE] ID", help=f"By default the store of {STORE}.")
]
_StoreAndIds = Annotated[
    list[str], typer.Argument(metavar="[STORE] ID|all", help=f"By default the store of {STORE}.")
]


@inbox.command("list")
def list_(
    store: _Store = None,
    state: Annotated[
        InboxState | None,
        typer.Option(
            help=f"Only records in this state: {_words(InboxState)}; by default all but the forgotten ones."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST, help="Maximum number of records.")] = 100,
    after: Annotated[
        int, typer.Option(metavar="ID", min=0, max=LARGEST, help="Only ids above this one.")
    ] = 0,
    json: AsJson = False,
) -> None:
    """Print a line for each record: id, state, kind, arrival (UTC), size, and what failed."""
    from nexmo_dispatch_async.cli.inbox import show_list

    raise typer.Exit(anyio.run(show_list, place_of(store), state, limit, after, json))


@inbox.command()
def show(
    words: _StoreAndId,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print the body unredacted, with texts and numbers in full.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print the details of a record, with its body redacted."""
    from nexmo_dispatch_async.cli.inbox import show as run

    place, text = split(words, "an id")
    record = _which(text)
    if record == "all":
        raise typer.BadParameter("must be an id", param_hint="ID")
    raise typer.Exit(anyio.run(run, place, record, plain, json))


@inbox.command()
def summary(store: _Store = None, json: AsJson = False) -> None:
    """Print the failures: number of records by state, kind, handler and exception, and the oldest (UTC)."""
    from nexmo_dispatch_async.cli.inbox import summary as run

    raise typer.Exit(anyio.run(run, place_of(store), json))


@inbox.command()
def retry(
    words: _StoreAndIds,
    handler: Annotated[
        str | None,
        typer.Option(
            help="With all: only records in which this handler failed; the end of its name will do."
        ),
    ] = None,
    kind: Annotated[
        RecordKind | None, typer.Option(help=f"With all: only records of this kind: {_words(RecordKind)}.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Retry a quarantined or waiting record, or all of them, for instance after a fix."""
    from nexmo_dispatch_async.cli.inbox import retry as run

    place, text = split(words, "an id, or all")
    record = _which(text)
    for name, value in (("--handler", handler), ("--kind", kind)):
        if value is not None and record != "all":
            raise typer.BadParameter("requires all instead of an id", param_hint=name)
    raise typer.Exit(anyio.run(run, place, record, handler, kind, json))


@inbox.command()
def purge(
    words: _StoreAndIds,
    state: Annotated[
        Purgeable, typer.Option(help=f"With all: the state of the records: {_words(Purgeable)}.")
    ] = "handled",
    older_than: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=_LONGEST_H,
            callback=finite,
            metavar="HOURS",
            help="Only records that arrived longer ago.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Delete the content of a finished record, or of all; late repetitions are still recognised."""
    from nexmo_dispatch_async.cli.inbox import purge as run

    place, text = split(words, "an id, or all")
    record = _which(text)
    seconds = None if older_than is None else older_than * 3600
    raise typer.Exit(anyio.run(run, place, None if record == "all" else record, state, seconds, json))


def _which(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise typer.BadParameter("must be an id, or all", param_hint="ID|all")
    return int(text)
