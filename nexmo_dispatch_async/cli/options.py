"""Arguments and options that several commands have, and the checks of their values."""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import typer

from nexmo_dispatch_async.cli.stores import STORE
from nexmo_dispatch_core.checks import LARGEST

if TYPE_CHECKING:
    from nexmo_dispatch_webhooks.signature import Secret

__all__ = [
    "LARGEST",
    "SECRETS",
    "AsJson",
    "HostOption",
    "JsonFile",
    "Secrets",
    "StoreOption",
    "cannot_listen",
    "check_url",
    "finite",
    "is_host",
    "secret_name",
    "secret_pairs",
]

#: The variable of the signature secrets.
SECRETS = "NEXMO_DISPATCH_SIGNATURE_SECRETS"


def is_host(text: str) -> bool:
    """Return whether a text may be a host: name lookup has an error of its own for what cannot."""
    try:
        return bool(text.encode("idna"))
    except UnicodeError:  # a part that is empty, too long, or of characters that no name has
        return False


def _host(text: str) -> str:
    if not is_host(text):
        raise typer.BadParameter("must be a host name or an address, such as 0.0.0.0 for all addresses")
    return text


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
HostOption = Annotated[str, typer.Option(metavar="ADDRESS", callback=_host, help="Address to listen on.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help=f"postgresql://user@host/database or nats://host/name; {STORE} by default."
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        metavar="API_KEY=SECRET",
        envvar=SECRETS,
        help="Signature secret; repeatable. Prefer the variable: all users of a machine can see commands.",
    ),
]
JsonFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Workflow as JSON, or - for standard input.", allow_dash=True)
]


def finite(value: float | None) -> float | None:
    """Refuse infinity and `nan`, which pass a minimum.

    Raises:
        typer.BadParameter: It is one of them.
    """
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("must be a finite number")
    return value


def check_url(url: str, option: str) -> None:
    """Refuse what is no URL of a web server.

    Raises:
        typer.BadParameter: The scheme is another one, or host or port cannot be.
    """
    try:
        parts = urlsplit(url)
        is_url = is_host(parts.hostname or "") and parts.port != 0
    except ValueError:  # a port that is no number, or a bracket without its pair
        is_url = False
    if not is_url or not url.startswith(("http://", "https://")):
        raise typer.BadParameter("must start with http:// or https:// and a host", param_hint=option)


def cannot_listen(host: str, port: int, error: OSError, option: str = "--port") -> str:
    """Return why a server cannot listen, and for a port that is in use the option that chooses another."""
    in_use = error.errno == errno.EADDRINUSE
    reason = f"the port is in use; choose another with {option}" if in_use else error.strerror
    return f"cannot listen on {host} port {port}: {reason}"


def secret_pairs(context: typer.Context, texts: list[str] | None) -> dict[str, Secret]:
    """Return signature secrets by api key; an account has two of them while its secret is rotated.

    Raises:
        typer.BadParameter: A text does not read API_KEY=SECRET.
    """
    found: dict[str, list[str | bytes]] = {}
    for text in texts or ():
        api_key, secret = _pair(text, secret_name(context))
        found.setdefault(api_key, []).append(secret)
    return dict(found)


def _pair(text: str, name: str) -> tuple[str, str]:
    api_key, equals, secret = text.partition("=")
    if not (api_key and equals and secret):
        raise typer.BadParameter("must read API_KEY=SECRET", param_hint=name)
    return api_key, secret


def secret_name(context: typer.Context) -> Literal["NEXMO_DISPATCH_SIGNATURE_SECRETS", "--secret"]:
    """Return the source of the secrets: the option, or its environment variable."""
    source = context.get_parameter_source("secret")
    return (
        "NEXMO_DISPATCH_SIGNATURE_SECRETS"
        if source is not None and source.name == "ENVIRONMENT"
        else "--secret"
    )
