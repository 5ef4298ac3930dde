"""The commands and their options; each command has a module of its own."""

import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import anyio
import typer

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.cli import screen
from nexmo_dispatch_async.cli.bulk import bulk
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.cli.stores import STORE, place_of, split

InboxState = Literal["pending", "quarantined", "handled", "forgotten"]
RecordKind = Literal["message-status", "inbound-message", "final-report", "unknown", "unparsable"]
Purgeable = Literal["handled", "quarantined"]

app: typer.Typer = typer.Typer(
    help="Send failover workflows through the Dispatch API, receive its callbacks, and simulate the service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # `screen.report` prints them, escaped and without locals
    add_completion=False,
)
app.add_typer(bulk, name="bulk")


def _version(show: bool) -> None:
    if show:
        screen.show(f"nexmo-dispatch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Define the options of all commands."""
    # the commands report it themselves, once
    logging.getLogger("nexmo_dispatch_async").addHandler(logging.NullHandler())


@app.command()
def demo() -> None:
    """Run the documented workflows against the simulator and print the events; needs no account.

    Ends with 0 only if every callback arrived, verified, and every outcome was the expected one.
    """
    from nexmo_dispatch_async.cli.demo import run

    raise typer.Exit(anyio.run(run))


@app.command()
def migrate(
    store: Annotated[
        str | None, typer.Option(metavar="URL", help=f"postgresql://user@host/database; {STORE} by default.")
    ] = None,
    grant: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Give this role the least rights that stores need.")
    ] = None,
) -> None:
    """Bring the tables of a Postgres database to the version of this release."""
    from nexmo_dispatch_async.cli import postgres_store

    raise typer.Exit(anyio.run(postgres_store.migrate, str(place_of(store)), grant))


@app.command()
def doctor(
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Look at this database alone: postgresql://user@host/database.",
        ),
    ] = None,
    only: Annotated[
        list[Part] | None,
        typer.Option("--only", metavar="PART", help=f"Look at a part: {', '.join(Part)}."),
    ] = None,
    no_callbacks: Annotated[
        bool, typer.Option("--no-callbacks", help="Post no test callbacks to the URLs of the application.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 for risks as well.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Look for what is wrong with settings, service, application, receiver, store and versions.

    Prints what it found, each problem with its code and its cure, and changes nothing.

    Exit code: 0 when nothing is bad, 1 when something is, 2 for a wrong command line.
    """
    from nexmo_dispatch_async.cli.doctor import run

    parts: set[Part] = set(only or Part)
    if store is not None:
        parts = {Part.STORE}
    if no_callbacks:
        parts.discard(Part.CALLBACKS)
    url = store or os.environ.get(STORE, "")
    if store is None and "://" not in url:
        url = ""  # the file of an inbox
    options = DoctorOptions(parts=frozenset(parts), store=url, json=json, strict=strict)
    raise typer.Exit(anyio.run(run, options))


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8701,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name that requests may use besides loopback, such as that of a container; repeatable.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of ids, delays and credentials; random by default."),
    ] = None,
    speed: Annotated[float, typer.Option(min=0.001, help="Simulated seconds per second.")] = 1.0,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="TOML file of people, faults and switches."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False, help="File that keeps account, applications and tokens across restarts."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="File for all events, one JSON object per line; overwritten. Not for replay.",
        ),
    ] = None,
    callback_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL of your receiver; by default http://127.0.0.1:8702/webhooks, that of listen.",
        ),
    ] = None,
) -> None:
    """Run the simulated service until Ctrl-C; print its settings and credentials."""
    from nexmo_dispatch_async.cli.simulate import run

    if callback_url is not None:
        _check_url(callback_url, "--callback-url")
    raise typer.Exit(
        anyio.run(
            run,
            host,
            port,
            seed,
            speed,
            config,
            state,
            record,
            callback_url,
            tuple(allowed_host or ()),
        )
    )


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="Workflow as JSON, or - for standard input.", allow_dash=True)],
    check: Annotated[bool, typer.Option("--check", help="Only check the workflow; send nothing.")] = False,
    extra: Annotated[
        bool, typer.Option("--extra", help="Send unknown members, with a warning for each.")
    ] = False,
) -> None:
    """Send the workflow in FILE and print its dispatch_uuid.

    Settings come from the environment: NEXMO_DISPATCH_CLIENT_ID, NEXMO_DISPATCH_CLIENT_SECRET,
    NEXMO_DISPATCH_APPLICATION_ID and, for another service, NEXMO_DISPATCH_BASE_URL and
    NEXMO_DISPATCH_TOKEN_URL.

    Exit code: 0 sent, 1 not sent, 3 unknown (do not simply repeat the command).
    """
    from nexmo_dispatch_async.cli.send import run

    raise typer.Exit(anyio.run(run, file, check, extra))


_SECRETS = "NEXMO_DISPATCH_SIGNATURE_SECRETS"
_Secret = Annotated[
    list[str] | None,
    typer.Option(
        metavar="API_KEY=SECRET",
        envvar=_SECRETS,
        help="Signature secret; repeatable. Prefer the variable: all users of a machine can see commands.",
    ),
]


@app.command()
def listen(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8702,
    path: Annotated[
        str, typer.Option(help="Path of the callbacks, including all paths below it.")
    ] = "/webhooks",
    secret: _Secret = None,
    no_verification: Annotated[
        bool, typer.Option("--no-verification", help="Accept unsigned callbacks, which any client can post.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Append each callback without personal data, for replay."),
    ] = None,
    inbox: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="Store each callback in this SQLite file before answering; not the file of a receiver.",
        ),
    ] = None,
    repeat_wrong_signature: Annotated[
        bool,
        typer.Option(
            "--repeat-wrong-signature",
            help="Answer a wrong signature with 503, so that the service repeats the callback, not with 401.",
        ),
    ] = False,
) -> None:
    """Receive callbacks and print each one with masked numbers, until Ctrl-C."""
    from nexmo_dispatch_async.cli.listen import run

    secrets = _pairs(context, secret)
    if bool(secrets) == no_verification:
        raise typer.BadParameter(
            f"set {_SECRETS} to API_KEY=SECRET or give --secret, or give --no-verification; not both",
            param_hint=_name_of_secret(context),
        )
    status: Literal[401, 503] = 503 if repeat_wrong_signature else 401
    raise typer.Exit(anyio.run(run, host, port, path, secrets or None, record, inbox, status))


@app.command()
def replay(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A recording of listen, one body, or a folder of bodies (*.json)."
        ),
    ],
    to: Annotated[str, typer.Option(help="URL of the receiver.")],
    secret: _Secret = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Factor of the recorded speed; by default each callback follows the previous response.",
        ),
    ] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Post in a random order.")] = False,
    duplicate: Annotated[bool, typer.Option("--duplicate", help="Post each callback twice.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of --shuffle.")] = 0,
) -> None:
    """Post recorded callbacks to a receiver and summarise the responses.

    They are signed with the first secret; without a secret they are unsigned.

    Exit code: 0 only if every response was 2xx.
    """
    from nexmo_dispatch_async.cli.replay import Plan, run

    _check_url(to, "--to")
    plan = Plan(speed, shuffle, duplicate, seed)
    raise typer.Exit(anyio.run(run, source, to, _pairs(context, secret) or None, plan))


@app.command()
def worker(
    store: Annotated[
        str | None, typer.Option(metavar="URL", help=f"postgresql://user@host/database; {STORE} by default.")
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two lines of progress.")] = 10.0,
    lease: Annotated[
        float,
        typer.Option(min=2, help="Seconds without a sign of life until its rows in flight are unknown."),
    ] = 120.0,
    once: Annotated[bool, typer.Option("--once", help="End when no campaign has rows to send.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Send for the campaigns of a Postgres database, beside other workers, until SIGTERM or Ctrl-C.

    Settings of the account come from the environment, as for `send`. A signal lets what is in flight end; a
    second one gives it up, and those rows are unknown.

    Ends as `bulk run`: 0 when all is sent, 3 when rows are unknown, 4 when rows are left, 1 when it cannot
    work.
    """
    from nexmo_dispatch_async.cli.bulk_files import ended
    from nexmo_dispatch_async.cli.worker import WorkerOptions, run

    place = place_of(store)
    options = WorkerOptions(every=every, lease=lease, once=once, json=json)
    raise typer.Exit(anyio.run(ended, lambda: run(place, options)))


_inbox = typer.Typer(
    help="List the records of a receiver's inbox, retry or purge them.", no_args_is_help=True
)
app.add_typer(_inbox, name="inbox")

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


@_inbox.command("list")
def list_(
    store: _Store = None,
    state: Annotated[
        InboxState | None,
        typer.Option(help="Only records in this state; by default all but the forgotten ones."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of records.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Only ids above this one.")] = 0,
) -> None:
    """Print a line for each record: id, state, kind, arrival (UTC), size, and what failed."""
    from nexmo_dispatch_async.cli.inbox import show_list

    raise typer.Exit(anyio.run(show_list, place_of(store), state, limit, after))


@_inbox.command()
def show(
    words: _StoreAndId,
    plain: Annotated[
        bool, typer.Option("--plain", help="Print the body unredacted, with texts and numbers in full.")
    ] = False,
) -> None:
    """Print the details of a record, with its body redacted."""
    from nexmo_dispatch_async.cli.inbox import show as run

    place, text = split(words, "an id")
    record = _which(text)
    if record == "all":
        raise typer.BadParameter("must be an id", param_hint="ID")
    raise typer.Exit(anyio.run(run, place, record, plain))


@_inbox.command()
def summary(store: _Store = None) -> None:
    """Print the failures: number of records by state, kind, handler and exception, and the oldest (UTC)."""
    from nexmo_dispatch_async.cli.inbox import summary as run

    raise typer.Exit(anyio.run(run, place_of(store)))


@_inbox.command()
def retry(
    words: _StoreAndIds,
    handler: Annotated[
        str | None, typer.Option(help="With all: only records in which this handler failed.")
    ] = None,
    kind: Annotated[RecordKind | None, typer.Option(help="With all: only records of this kind.")] = None,
) -> None:
    """Retry a quarantined or waiting record, or all of them, for instance after a fix."""
    from nexmo_dispatch_async.cli.inbox import retry as run

    place, text = split(words, "an id, or all")
    record = _which(text)
    for name, value in (("--handler", handler), ("--kind", kind)):
        if value is not None and record != "all":
            raise typer.BadParameter("requires all instead of an id", param_hint=name)
    raise typer.Exit(anyio.run(run, place, record, handler, kind))


@_inbox.command()
def purge(
    words: _StoreAndIds,
    state: Annotated[Purgeable, typer.Option(help="With all: the state of the records.")] = "handled",
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="Only records that arrived longer ago.")
    ] = None,
) -> None:
    """Delete the content of a finished record, or of all; late repetitions are still recognised."""
    from nexmo_dispatch_async.cli.inbox import purge as run

    place, text = split(words, "an id, or all")
    record = _which(text)
    seconds = None if older_than is None else older_than * 3600
    raise typer.Exit(anyio.run(run, place, None if record == "all" else record, state, seconds))


def _which(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if not (text.isascii() and text.isdecimal()) or len(text) > 18:
        raise typer.BadParameter("must be an id, or all", param_hint="ID|all")
    return int(text)


def _check_url(url: str, option: str) -> None:
    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter("must start with http:// or https://", param_hint=option)


def _pairs(context: typer.Context, texts: list[str] | None) -> dict[str, str]:
    return dict(_pair(text, _name_of_secret(context)) for text in texts or ())


def _pair(text: str, name: str) -> tuple[str, str]:
    api_key, equals, secret = text.partition("=")
    if not (api_key and equals and secret):
        raise typer.BadParameter("must read API_KEY=SECRET", param_hint=name)
    return api_key, secret


def _name_of_secret(context: typer.Context) -> str:
    """Return the source of the secrets: the option, or its environment variable."""
    source = context.get_parameter_source("secret")
    return _SECRETS if source is not None and source.name == "ENVIRONMENT" else "--secret"
