"""The commands and their options; each hands over to a module of its own."""

from pathlib import Path
from typing import Annotated

import anyio
import typer

from nexmo_dispatch_async._version import __version__

app: typer.Typer = typer.Typer(
    help="Send failover workflows through the Dispatch API, receive its callbacks, and simulate the service.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # locals hold tokens and phone numbers
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nexmo-dispatch {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Hold the options that every command shares."""


@app.command()
def demo() -> None:
    """Run the documented workflows against the simulator and show what happens; needs no account.

    Ends with 0 only if every callback arrived, verified, and every outcome was the expected one.
    """
    from nexmo_dispatch_async.cli.demo import run

    raise typer.Exit(anyio.run(run))


@app.command()
def simulate(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8701,
    seed: Annotated[int, typer.Option(help="Same seed, same ids and delays.")] = 0,
    speed: Annotated[float, typer.Option(min=0.001, help="Simulated seconds per second.")] = 1.0,
    rules: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML file that scripts the recipients.")
    ] = None,
) -> None:
    """Run the simulated service until Ctrl-C and print how to reach it."""
    from nexmo_dispatch_async.cli.simulate import run

    raise typer.Exit(anyio.run(run, host, port, seed, speed, rules))


@app.command()
def send(
    file: Annotated[Path, typer.Argument(help="Workflow as JSON, or - for standard input.", allow_dash=True)],
    check: Annotated[bool, typer.Option("--check", help="Only check the workflow; send nothing.")] = False,
) -> None:
    """Send the workflow in FILE and print its dispatch_uuid.

    Settings come from the environment: NEXMO_DISPATCH_CLIENT_ID, NEXMO_DISPATCH_CLIENT_SECRET,
    NEXMO_DISPATCH_APPLICATION_ID and, for another service, NEXMO_DISPATCH_BASE_URL and
    NEXMO_DISPATCH_TOKEN_URL.

    Ends with 0 when sent, 1 when it was not sent, 3 when nobody can know (do not simply repeat it).
    """
    from nexmo_dispatch_async.cli.send import run

    raise typer.Exit(anyio.run(run, file, check))


@app.command()
def listen(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 picks a free one.")] = 8702,
    path: Annotated[
        str, typer.Option(help="Where callbacks arrive; anything below it counts too.")
    ] = "/webhooks",
    secret: Annotated[
        list[str] | None,
        typer.Option(
            metavar="API_KEY=SECRET",
            envvar="NEXMO_DISPATCH_SIGNATURE_SECRETS",
            help="Signature secret; repeatable.",
        ),
    ] = None,
    no_verification: Annotated[
        bool, typer.Option("--no-verification", help="Accept unsigned callbacks: anybody can post them.")
    ] = False,
) -> None:
    """Receive callbacks and print each as it arrives, numbers masked, until Ctrl-C."""
    from nexmo_dispatch_async.cli.listen import run

    secrets = dict(_pair(text) for text in secret or ())
    if bool(secrets) == no_verification:
        raise typer.BadParameter(
            "say either --secret API_KEY=SECRET or --no-verification", param_hint="--secret"
        )
    raise typer.Exit(anyio.run(run, host, port, path, secrets or None))


def _pair(text: str) -> tuple[str, str]:
    api_key, equals, secret = text.partition("=")
    if not (api_key and equals and secret):
        raise typer.BadParameter("must read API_KEY=SECRET", param_hint="--secret")
    return api_key, secret
