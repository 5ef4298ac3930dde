"""The commands and their options; each command has a module of its own."""

import logging
import os
from pathlib import Path
from typing import Annotated, Literal

import anyio
import typer

from nexmo_dispatch_async._version import __version__
from nexmo_dispatch_async.cli import screen
from nexmo_dispatch_async.cli.apps_commands import apps
from nexmo_dispatch_async.cli.bulk import bulk
from nexmo_dispatch_async.cli.doctor_options import DoctorOptions, Part
from nexmo_dispatch_async.cli.help import Commands, why_no_text
from nexmo_dispatch_async.cli.inbox_commands import inbox
from nexmo_dispatch_async.cli.options import (
    LARGEST,
    SECRETS,
    AsJson,
    HostOption,
    JsonFile,
    Secrets,
    StoreOption,
    check_url,
    finite,
    secret_name,
    secret_pairs,
)
from nexmo_dispatch_async.cli.stores import STORE, place_of
from nexmo_dispatch_async.cli.trigger_options import Kind, TriggerOptions

_DAY_S = 86_400

app: Commands = Commands(
    "Send failover workflows through the Dispatch API, receive its callbacks, and simulate the service.",
    completion=True,
)
app.add_typer(apps, name="apps")
app.add_typer(inbox, name="inbox")
app.add_typer(bulk, name="bulk")


def _version(show: bool) -> None:
    if show:
        screen.show(f"nexmo-dispatch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Define the options of all commands.

    Raises:
        typer.BadParameter: A variable is no text.
    """
    for name, value in os.environ.items():
        if name.startswith("NEXMO_DISPATCH_") and (why := why_no_text(value)):
            raise typer.BadParameter(why, param_hint=name)
    # the commands report it themselves, once
    logging.getLogger("nexmo_dispatch_async").addHandler(logging.NullHandler())


@app.command()
def demo(
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            callback=finite,
            help="Simulated seconds per second, to watch it; by default ten minutes pass at once.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run the documented workflows against the simulator and print the events; needs no account.

    Ends with 0 only if every callback arrived, verified, and every outcome was the expected one.
    """
    from nexmo_dispatch_async.cli.demo import DemoOptions, run

    raise typer.Exit(anyio.run(run, None, DemoOptions(speed=speed, json=json)))


@app.command()
def migrate(
    store: StoreOption = None,
    grant: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Give this role the least rights that stores need.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring the tables of a Postgres database to the version of this release."""
    from nexmo_dispatch_async.cli import postgres_store

    raise typer.Exit(anyio.run(postgres_store.migrate, str(place_of(store)), grant, json))


@app.command()
def doctor(
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="STORE",
            help="Look at this store alone: a file, postgresql://user@host/database or nats://host/name.",
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
    json: AsJson = False,
) -> None:
    """Look for what is wrong with settings, service, application, receiver, store and versions.

    Prints what it found, each problem with its code and its cure.

    Exit code: 0 when nothing is bad, 1 when something is, 2 for a wrong command line.
    """
    from nexmo_dispatch_async.cli.doctor import run

    parts: set[Part] = set(only or Part)
    if store is not None:
        parts = {Part.STORE}
    if no_callbacks:
        parts.discard(Part.CALLBACKS)
    place = store or os.environ.get(STORE, "")
    options = DoctorOptions(parts=frozenset(parts), store=place, json=json, strict=strict)
    raise typer.Exit(anyio.run(run, options))


@app.command()
def simulate(
    host: HostOption = "127.0.0.1",
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
        typer.Option(min=0, max=LARGEST, help="Seed of ids, delays and credentials; random by default."),
    ] = None,
    speed: Annotated[
        float, typer.Option(min=0.001, callback=finite, help="Simulated seconds per second.")
    ] = 1.0,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="TOML file of people, faults and switches."
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="File that keeps account, applications and tokens across restarts.",
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="File for all events, one JSON object per line; overwritten. Not for replay.",
        ),
    ] = None,
    env: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="File for the settings, as a shell reads them; only a simulator that has started writes it.",
        ),
    ] = None,
    callback_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL of your receiver; by default http://127.0.0.1:8702/webhooks, that of listen.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Run the simulated service until Ctrl-C; print its settings and credentials."""
    from nexmo_dispatch_async.cli.simulate import run

    if callback_url is not None:
        check_url(callback_url, "--callback-url")
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
            env,
            callback_url,
            tuple(allowed_host or ()),
            json,
        )
    )


@app.command()
def send(
    file: JsonFile,
    check: Annotated[bool, typer.Option("--check", help="Only check the workflow; send nothing.")] = False,
    extra: Annotated[
        bool, typer.Option("--extra", help="Send unknown members, with a warning for each.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Send the workflow in FILE and print its dispatch_uuid.

    Settings come from the environment: NEXMO_DISPATCH_CLIENT_ID, NEXMO_DISPATCH_CLIENT_SECRET,
    NEXMO_DISPATCH_APPLICATION_ID and, for another service, NEXMO_DISPATCH_BASE_URL and
    NEXMO_DISPATCH_TOKEN_URL.

    Exit code: 0 sent, 1 not sent, 3 unknown (do not simply repeat the command).
    """
    from nexmo_dispatch_async.cli.send import run

    raise typer.Exit(anyio.run(run, file, check, extra, json))


@app.command()
def lint(
    file: JsonFile,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", metavar="RULE", help="Also apply this rule, which is off by default; repeatable."
        ),
    ] = None,
    off: Annotated[
        list[str] | None, typer.Option("--off", metavar="RULE", help="Do not apply this rule; repeatable.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 for warnings as well.")] = False,
    extra: Annotated[bool, typer.Option("--extra", help="Let unknown members pass, with a warning.")] = False,
    json: AsJson = False,
) -> None:
    """Check the workflow in FILE against every rule, without a network; print what is wrong and what to do.

    Exit code: 0 without errors, 1 with some, or when the file cannot be read.
    """
    from nexmo_dispatch_async.cli.lint import LintOptions, run

    options = LintOptions(on=tuple(on or ()), off=tuple(off or ()), strict=strict, extra=extra, json=json)
    raise typer.Exit(anyio.run(run, file, options))


@app.command()
def listen(
    context: typer.Context,
    host: HostOption = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8702,
    path: Annotated[
        str, typer.Option(help="Path of the callbacks, including all paths below it.")
    ] = "/webhooks",
    secret: Secrets = None,
    no_verification: Annotated[
        bool, typer.Option("--no-verification", help="Accept unsigned callbacks, which any client can post.")
    ] = False,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="Append each callback without personal data, for replay."
        ),
    ] = None,
    inbox: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
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
    json: AsJson = False,
) -> None:
    """Receive callbacks and print each one with masked numbers, until Ctrl-C."""
    from nexmo_dispatch_async.cli.listen import run

    secrets = secret_pairs(context, secret)
    if bool(secrets) == no_verification:
        raise typer.BadParameter(
            f"set {SECRETS} to API_KEY=SECRET or give --secret, or give --no-verification; not both",
            param_hint=secret_name(context),
        )
    status: Literal[401, 503] = 503 if repeat_wrong_signature else 401
    raise typer.Exit(anyio.run(run, host, port, path, secrets or None, record, inbox, status, json))


@app.command()
def replay(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A recording of listen, one body, or a folder of bodies (*.json)."
        ),
    ],
    to: Annotated[str, typer.Option(metavar="URL", help="URL of the receiver.")],
    secret: Secrets = None,
    speed: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            callback=finite,
            help="Factor of the recorded speed; by default each callback follows the previous response.",
        ),
    ] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Post in a random order.")] = False,
    duplicate: Annotated[bool, typer.Option("--duplicate", help="Post each callback twice.")] = False,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST, help="Seed of --shuffle.")] = 0,
    json: AsJson = False,
) -> None:
    """Post recorded callbacks to a receiver and summarise the responses.

    They are signed with the first secret; without a secret they are unsigned.

    Exit code: 0 only if every response was 2xx.
    """
    from nexmo_dispatch_async.cli.replay import Plan, run

    check_url(to, "--to")
    plan = Plan(speed, shuffle, duplicate, seed)
    raise typer.Exit(anyio.run(run, source, to, secret_pairs(context, secret) or None, plan, json))


@app.command()
def trigger(
    context: typer.Context,
    kind: Annotated[
        Kind,
        typer.Argument(
            metavar="KIND",
            help=f"What to post: {', '.join(Kind)}. The first five are statuses of a message, the last two "
            "of a final report.",
        ),
    ],
    *,
    to: Annotated[
        str,
        typer.Option("--to", "--url", metavar="URL", help="URL of the receiver; by default that of listen."),
    ] = "http://127.0.0.1:8702/webhooks",
    secret: Secrets = None,
    channel: Annotated[
        str,
        typer.Option(
            help="sms, mms, whatsapp, viber or messenger; by default whatsapp for read, rejected and "
            "inbound, sms for the others."
        ),
    ] = "",
    text: Annotated[str | None, typer.Option(help="With inbound: what the customer wrote.")] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="ADDRESS", help="Number or id of the sender.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option("--recipient", metavar="ADDRESS", help="Number or id of the recipient.")
    ] = None,
    client_ref: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="With a status: the reference of the step.")
    ] = None,
    message_uuid: Annotated[str | None, typer.Option(metavar="UUID", help="Of the message.")] = None,
    dispatch_uuid: Annotated[str | None, typer.Option(metavar="UUID", help="Of the workflow.")] = None,
    error: Annotated[
        int | None,
        typer.Option(
            metavar="CODE", min=0, max=LARGEST, help="With a failed status: the error code, such as 1340."
        ),
    ] = None,
    body: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="Members as JSON, instead of those made up.",
        ),
    ] = None,
    unsigned: Annotated[bool, typer.Option("--unsigned", help="Post without a signature.")] = False,
    wrong_signature: Annotated[
        bool, typer.Option("--wrong-signature", help="Sign with another secret than that of the account.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Post one callback to a receiver, signed with the first secret, as the service does.

    What is not given is made up, with new ids and with addresses reserved for fiction. The simulator knows
    nothing of it: a free answer to a triggered inbound message is rejected with 1340 there, unless the
    customer wrote to the simulator, with POST /control/inbound.

    Exit code: 0 if the response was 2xx, otherwise 1.
    """
    from nexmo_dispatch_async.cli.trigger import run

    check_url(to, "--to")
    if unsigned and wrong_signature:
        raise typer.BadParameter("cannot be given with --unsigned", param_hint="--wrong-signature")
    options = TriggerOptions(
        kind=kind,
        channel=channel,
        text=text,
        sender=from_,
        recipient=recipient,
        client_ref=client_ref,
        message_uuid=message_uuid,
        dispatch_uuid=dispatch_uuid,
        error=error,
        body=body,
        unsigned=unsigned,
        wrong_signature=wrong_signature,
        json=json,
    )
    secrets = {} if unsigned else secret_pairs(context, secret)
    raise typer.Exit(anyio.run(run, to, secrets, options))


@app.command()
def worker(
    store: StoreOption = None,
    every: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.1,
            max=_DAY_S,
            callback=finite,
            help="Seconds between two lines of progress.",
        ),
    ] = 10.0,
    lease: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=2,
            max=_DAY_S,
            callback=finite,
            help="Seconds without a sign of life until its rows in flight are unknown.",
        ),
    ] = 120.0,
    once: Annotated[bool, typer.Option("--once", help="End when no campaign has rows to send.")] = False,
    json: AsJson = False,
) -> None:
    """Send for the campaigns of a store on Postgres or NATS, beside other workers, until SIGTERM or Ctrl-C.

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
