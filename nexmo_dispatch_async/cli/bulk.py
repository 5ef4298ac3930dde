"""`nexmo-dispatch bulk`: its commands and their options; each hands over to a module of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from nexmo_dispatch_async.cli.help import Commands
from nexmo_dispatch_async.cli.options import LARGEST, AsJson, finite, is_host
from nexmo_dispatch_async.cli.stores import STORE, Place, place_of, store_and_words

if TYPE_CHECKING:
    from nexmo_dispatch_async.cli.bulk_listen import ListenOptions

__all__ = ["bulk"]

#: As in `bulk.ledger.records`, whose import would slow down the start of every command.
RowState = Literal["pending", "sending", "sent", "refused", "unknown", "skipped"]

bulk: Commands = Commands("Send a campaign: a list of people, one message each, no person twice.")
_unknown = Commands("Rows of which no record tells whether they were sent: see, send again, or give up.")
bulk.add_typer(_unknown, name="unknown")
_refused = Commands(
    "Rows that were refused, so that nothing was sent: see why, or send again after the cure."
)
bulk.add_typer(_refused, name="refused")
_opt_out = Commands("People who get nothing: those who replied STOP, and those whom you add.")
bulk.add_typer(_opt_out, name="opt-out")

_Campaign = Annotated[
    Path,
    typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="The campaign's TOML file."),
]
_Store = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        envvar=STORE,
        help="The campaign's TOML file, its ledger, or postgresql://… or nats://…?campaign=NAME. "
        "Prefer the variable for a URL: all users of a machine can see commands.",
    ),
]
_HookPath = Annotated[str, typer.Option(help="Where callbacks arrive; anything below it counts too.")]
_NoVerification = Annotated[
    bool, typer.Option("--no-verification", help="Accept unsigned callbacks: any peer can post them.")
]
_Addresses = Annotated[
    bool, typer.Option("--with-addresses", help="Keys and numbers in full; without it they are masked.")
]


def _place(store: str) -> Place:
    return place_of(store, exists=True)


def _run(work: Callable[[], Awaitable[int]]) -> None:
    from nexmo_dispatch_async.cli.bulk_files import ended

    raise typer.Exit(anyio.run(ended, work))


@bulk.command()
def plan(
    file: _Campaign,
    samples: Annotated[
        bool, typer.Option("--samples", help="Show the messages of one row of each kind, with its fields.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Read the whole list and print what would happen: counts, rejects, cost, duration, and the plan's hash.

    Sends nothing. Ends with 0, or with 5 when nothing would be sent or strict rows are rejected.
    """
    from nexmo_dispatch_async.cli.bulk_report import plan as work

    _run(lambda: work(file, samples=samples, json=json))


@bulk.command()
def run(
    file: _Campaign,
    plan_hash: Annotated[
        str | None, typer.Option("--plan", metavar="HASH", help="Refuse anything but the plan of this hash.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(metavar="NUMBER", help="Send one row of each variant to this number only, and end."),
    ] = None,
    restored: Annotated[
        bool,
        typer.Option(
            "--restored",
            help="Go on with a ledger that was copied or put back from a backup: only an operator can know "
            "that the original sent nothing since.",
        ),
    ] = False,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss",
            help="Use a store that may lose what it acknowledged: a person may get a message twice then.",
        ),
    ] = False,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Receive callbacks there, for outcomes and opt-outs."),
    ] = None,
    path: _HookPath = "/webhooks",
    no_verification: _NoVerification = False,
    wait: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help='Wait for the last outcome at most so long after the last send: "2h", "3d".',
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Add the list to the ledger and send it; run it again to go on after a stop or a crash.

    Settings of the account come from the environment, as for `send`. Ctrl-C lets what is in flight end; a
    second one gives it up, and those rows are unknown.

    Ends with 0 when all is sent, 3 when rows are unknown or refused, 4 when it was stopped before the end,
    5 when the plan or the list was refused, 1 when it cannot work.
    """
    from nexmo_dispatch_async.cli.bulk_run import RunOptions
    from nexmo_dispatch_async.cli.bulk_run import run as work

    options = RunOptions(
        plan=plan_hash,
        test=test,
        restored=restored,
        accept_loss=accept_loss,
        listen=None if listen is None else _listen_options(listen, path, no_verification),
        wait=None if wait is None else _seconds(wait, "--wait"),
        json=json,
    )
    _run(lambda: work(file, options))


@bulk.command()
def listen(
    file: _Campaign,
    where: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Receive callbacks there.")
    ] = "127.0.0.1:8702",
    path: _HookPath = "/webhooks",
    no_verification: _NoVerification = False,
    json: AsJson = False,
) -> None:
    """Receive callbacks and STOP replies of a campaign until Ctrl-C, and send nothing.

    People reply for days after the last send. Outcomes go to the ledger, people who reply STOP to the
    opt-out list.
    """
    from nexmo_dispatch_async.cli.bulk_listen import listen as work

    options = _listen_options(where, path, no_verification)
    _run(lambda: work(file, options, json=json))


@bulk.command()
def status(
    store: _Store,
    verify: Annotated[
        bool, typer.Option("--verify", help="Count the rows anew; 1 when the numbers differ.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print how far it is, how fast, why nothing moves and until when.

    Ends with 0 when all is sent, 3 when rows are unknown or refused, 4 when rows are left to send.
    """
    from nexmo_dispatch_async.cli.bulk_control import show_status

    _run(lambda: show_status(_place(store), verify=verify, json=json))


_Reason = Annotated[str, typer.Option(help="Why, for the status.")]


@bulk.command()
def pause(store: _Store, reason: _Reason = "", json: AsJson = False) -> None:
    """Send nothing more until it is resumed; what is in flight is answered."""
    from nexmo_dispatch_async.cli.bulk_control import ask

    _run(lambda: ask(_place(store), "pause", reason=reason, json=json))


@bulk.command()
def resume(
    store: _Store,
    release: Annotated[bool, typer.Option("--release", help="Let the canary pass.")] = False,
    rate: Annotated[
        float | None,
        typer.Option(min=0, callback=finite, help="Sends per second from now on; 0 for those of the file."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=0, max=1_000_000_000, help="Sends in flight from now on; 0 for those of the file."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Go on after a pause, at once where a raised quota ends a wait, or with another pace while it runs."""
    from nexmo_dispatch_async.cli.bulk_control import ask

    _run(lambda: ask(_place(store), "run", rate=rate, limit=limit, release=release, json=json))


@bulk.command()
def stop(store: _Store, reason: _Reason = "", json: AsJson = False) -> None:
    """End the run once what is in flight is answered; a later run goes on."""
    from nexmo_dispatch_async.cli.bulk_control import ask

    _run(lambda: ask(_place(store), "stop", reason=reason, json=json))


@bulk.command()
def withdraw(
    file: _Campaign,
    yes: Annotated[
        bool, typer.Option("--yes", help="Give them up; without it they are only counted.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Give up, for good, the rows to send whose lines were taken out of the list; end the run first."""
    from nexmo_dispatch_async.cli.bulk_lists import withdraw as work

    _run(lambda: work(file, yes=yes, json=json))


@_unknown.command("list")
def list_(
    store: _Store,
    inbox: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            help="A receiver's inbox, to suggest what a row may be: a file, or the URL of a store.",
        ),
    ] = None,
    with_addresses: _Addresses = False,
    json: AsJson = False,
) -> None:
    """Print a line for each unknown row: id, line of the list, time, who, what failed.

    Suggestions are by address and time; they decide nothing.
    """
    from nexmo_dispatch_async.cli.bulk_lists import list_unknown

    receiver = None if inbox is None else place_of(inbox, exists=True)
    _run(lambda: list_unknown(_place(store), receiver, with_addresses=with_addresses, json=json))


_Which = Annotated[
    list[str],
    typer.Argument(
        metavar="[FILE] ID...|all", help=f"Numbers of rows, or all; FILE is that of {STORE} by default."
    ),
]


@_unknown.command()
def resend(which: _Which, json: AsJson = False) -> None:
    """Let the next run send these rows again, if still in the list: who got the message gets it twice."""
    from nexmo_dispatch_async.cli.bulk_lists import change_rows

    place, words = store_and_words(which)
    rows = _ids(words)
    _run(lambda: change_rows(place, "unknown", rows, "resend", json=json))


@_unknown.command()
def drop(which: _Which, json: AsJson = False) -> None:
    """Give these rows up: they are not sent again."""
    from nexmo_dispatch_async.cli.bulk_lists import change_rows

    place, words = store_and_words(which)
    rows = _ids(words)
    _run(lambda: change_rows(place, "unknown", rows, "drop", json=json))


@_refused.command("list")
def list_refused(store: _Store, json: AsJson = False) -> None:
    """Print a line for each code: how many rows, the code or the name of the error, what it means."""
    from nexmo_dispatch_async.cli.bulk_lists import list_refused as work

    _run(lambda: work(_place(store), json=json))


@_refused.command("resend")
def resend_refused(
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [ID...|all]",
            help=f"Numbers of rows, or all; FILE is that of {STORE} by default.",
        ),
    ] = None,
    code: Annotated[
        list[str] | None,
        typer.Option(
            "--code", metavar="CODE", help="All rows with this code, as the list names it; repeatable."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Let the next run send these rows again, if still in the list, once the account or sender is cured.

    Not after another campaign took them with exclude: people would get both messages.
    """
    from nexmo_dispatch_async.cli.bulk_lists import change_rows

    place, words = store_and_words(which or [])
    if bool(words) == bool(code):
        raise typer.BadParameter("name rows, all, or codes with --code", param_hint="ID...|all")
    rows = "all" if code else _ids(words)
    _run(lambda: change_rows(place, "refused", rows, "resend", codes=code or (), json=json))


@_opt_out.command("list")
def list_opt_outs(store: _Store, with_addresses: _Addresses = False, json: AsJson = False) -> None:
    """Print a line for each entry: address, time, and why it is there, such as stop."""
    from nexmo_dispatch_async.cli.bulk_opt_outs import show_opt_outs

    _run(lambda: show_opt_outs(_place(store), with_addresses=with_addresses, json=json))


_Numbers = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE] [NUMBER...]",
        help=f"Numbers, as the campaign reads them; FILE is that of {STORE} by default.",
    ),
]
_NumbersFile = Annotated[
    Path | None,
    typer.Option("--file", metavar="LIST", exists=True, dir_okay=False, help="Text, a number a line."),
]


@_opt_out.command()
def add(
    words: _Numbers = None,
    source: _NumbersFile = None,
    reason: Annotated[str, typer.Option(help="Why, for the list; no names.")] = "",
    json: AsJson = False,
) -> None:
    """Add people: no campaign that shares the list sends to them, from the next claim on.

    Ends with 1 when a line is no number; the others are added.
    """
    from nexmo_dispatch_async.cli.bulk_opt_outs import change_opt_outs

    place, numbers = store_and_words(words or [])
    _some(numbers, source)
    _run(lambda: change_opt_outs(place, "add", numbers, source, reason=reason, json=json))


@_opt_out.command()
def remove(words: _Numbers = None, source: _NumbersFile = None, json: AsJson = False) -> None:
    """Remove people who want messages again. Rows that were skipped stay skipped."""
    from nexmo_dispatch_async.cli.bulk_opt_outs import change_opt_outs

    place, numbers = store_and_words(words or [])
    _some(numbers, source)
    _run(lambda: change_opt_outs(place, "remove", numbers, source, json=json))


@bulk.command()
def report(
    store: _Store,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write one page that needs nothing else."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write the figures as CSV.")
    ] = None,
    missed: Annotated[
        int,
        typer.Option(
            metavar="COUNT",
            min=0,
            max=LARGEST,
            help="List so many who were not reached in --html, --csv and --json; the words count them by "
            "reason, and bulk export --missed has all.",
        ),
    ] = 1000,
    with_addresses: Annotated[
        bool,
        typer.Option(
            "--with-addresses",
            help="Keys and numbers in full in --html, --csv and --json; without it they are masked.",
        ),
    ] = False,
    json: AsJson = False,
) -> None:
    """Print, or write, who was reached where, how soon and at what cost, and who was not and why."""
    from nexmo_dispatch_async.cli.bulk_report import report as work

    _run(
        lambda: work(
            _place(store),
            html=html,
            csv_file=csv,
            missed=missed,
            with_addresses=with_addresses,
            json=json,
        )
    )


@bulk.command()
def export(
    store: _Store,
    state: Annotated[RowState | None, typer.Option(help="Only rows of this state.")] = None,
    missed: Annotated[bool, typer.Option("--missed", help="Only people who were not reached.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="File to write, for its owner only."),
    ] = None,
    with_addresses: _Addresses = False,
    json: Annotated[bool, typer.Option("--json", help="An object a line instead of CSV.")] = False,
) -> None:
    """Write the rows as CSV: state, outcome, times, cost, and why a person was not reached."""
    from nexmo_dispatch_async.cli.bulk_lists import export as work

    _run(
        lambda: work(
            _place(store),
            state=state,
            missed=missed,
            with_addresses=with_addresses,
            out=out,
            json=json,
        )
    )


@bulk.command()
def forget(
    store: _Store,
    older: Annotated[str, typer.Option(metavar="TIME", help='Only rows that ended longer ago: "30d".')],
    json: AsJson = False,
) -> None:
    """Erase keys, numbers and fields of rows that are over, and keep the counts."""
    from nexmo_dispatch_async.cli.bulk_lists import forget as work

    seconds = _seconds(older, "--older")
    _run(lambda: work(_place(store), seconds, json=json))


def _some(numbers: list[str] | None, source: Path | None) -> None:
    if not numbers and source is None:
        raise typer.BadParameter("name numbers, or a file of them with --file", param_hint="NUMBER...")


def _seconds(text: str, option: str) -> float:
    from nexmo_dispatch_async.bulk.units import duration

    try:
        return duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _ids(texts: list[str]) -> list[int] | Literal["all"]:
    if texts == ["all"]:
        return "all"
    for text in texts:
        if not (text.isascii() and text.isdecimal()) or len(text) > 18:
            raise typer.BadParameter("must be numbers of rows, or all", param_hint="ID...|all")
    return [int(text) for text in texts]


def _listen_options(where: str, path: str, no_verification: bool) -> ListenOptions:
    from nexmo_dispatch_async.cli.bulk_listen import ListenOptions

    host, port = _host_and_port(where)
    return ListenOptions(host=host, port=port, path=path, verified=not no_verification)


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    is_port = port.isdecimal() and port.isascii() and len(port) <= 5 and int(port) <= 65535
    if not (is_port and is_host(host)):
        raise typer.BadParameter("must read HOST:PORT, such as 127.0.0.1:8702", param_hint="--listen")
    return host, int(port)
