"""`nexmo-dispatch apps`: its commands and their options; `apps` does the work."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from nexmo_dispatch_async.cli.help import Commands
from nexmo_dispatch_async.cli.options import AsJson, check_url

__all__ = ["apps"]

apps: Commands = Commands("List, create, show, update and delete the applications of the account.")

_Id = Annotated[str, typer.Argument(metavar="ID", help="The id of the application.")]
_Url = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Both the status URL and the inbound URL.")
]
_StatusUrl = Annotated[
    str | None, typer.Option("--status-url", metavar="URL", help="URL of statuses and final reports.")
]
_InboundUrl = Annotated[
    str | None, typer.Option("--inbound-url", metavar="URL", help="URL of messages of customers.")
]
_PublicKey = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", exists=True, dir_okay=False, help="A public key of your own, as a PEM file."
    ),
]


@apps.command("list")
def list_(json: AsJson = False) -> None:
    """Print a line for each application: id, name, and its two URLs.

    A sandbox account may not list its applications.
    """
    from nexmo_dispatch_async.cli.apps import list_applications, worked

    raise typer.Exit(anyio.run(worked, partial(list_applications, json=json)))


@apps.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A friendly name; it need not be unique.")],
    url: _Url = None,
    status_url: _StatusUrl = None,
    inbound_url: _InboundUrl = None,
    public_key: _PublicKey = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="File for the private key, which is shown only once."
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Create an application and print its id, for NEXMO_DISPATCH_APPLICATION_ID.

    Without --key-file the private key of the response is dropped; Dispatch at KPN does not need it.
    """
    from nexmo_dispatch_async.cli.apps import create_application, worked

    status, inbound = _checked(status_url or url, inbound_url or url)
    if status is None or inbound is None:
        raise typer.BadParameter("give --url, or both --status-url and --inbound-url", param_hint="--url")
    raise typer.Exit(
        anyio.run(
            worked,
            partial(
                create_application,
                name=name,
                status_url=status,
                inbound_url=inbound,
                public_key=public_key,
                key_file=key_file,
                json=json,
            ),
        )
    )


@apps.command()
def show(application_id: _Id, json: AsJson = False) -> None:
    """Print one application: id, name, type, URLs and their methods."""
    from nexmo_dispatch_async.cli.apps import show_application, worked

    raise typer.Exit(anyio.run(worked, partial(show_application, application_id=application_id, json=json)))


@apps.command()
def update(
    application_id: _Id,
    name: Annotated[str | None, typer.Option(help="A new name.")] = None,
    url: _Url = None,
    status_url: _StatusUrl = None,
    inbound_url: _InboundUrl = None,
    public_key: _PublicKey = None,
    json: AsJson = False,
) -> None:
    """Change an application; what is not given stays as it is.

    The command reads the application first and sends all its fields: what becomes of an omitted one is not
    documented.
    """
    from nexmo_dispatch_async.cli.apps import update_application, worked

    status, inbound = _checked(status_url or url, inbound_url or url)
    if name is None and status is None and inbound is None and public_key is None:
        raise typer.BadParameter("give what is to change: --name, --url, …", param_hint="--name")
    raise typer.Exit(
        anyio.run(
            worked,
            partial(
                update_application,
                application_id=application_id,
                name=name,
                status_url=status,
                inbound_url=inbound,
                public_key=public_key,
                json=json,
            ),
        )
    )


@apps.command()
def delete(
    application_id: _Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Delete an application, which cannot be undone.

    Stop sending 24 hours before: queued callbacks of the application may still arrive until then.
    """
    from nexmo_dispatch_async.cli.apps import delete_application, worked

    if not yes:
        typer.confirm(f"Delete the application {application_id} for good?", abort=True)
    raise typer.Exit(anyio.run(worked, partial(delete_application, application_id=application_id, json=json)))


def _checked(status_url: str | None, inbound_url: str | None) -> tuple[str | None, str | None]:
    for option, url in (("--status-url", status_url), ("--inbound-url", inbound_url)):
        if url is not None:
            check_url(url, option)
    return status_url, inbound_url
