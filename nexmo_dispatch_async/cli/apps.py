"""`nexmo-dispatch apps`: the five calls about applications, with the account of the environment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
from msgspec import UNSET

from nexmo_dispatch_async.cli.screen import show, show_json
from nexmo_dispatch_async.client import DispatchClient
from nexmo_dispatch_async.exceptions import ConfigurationError, DispatchError, OutcomeUnknownError
from nexmo_dispatch_async.models.responses import Application
from nexmo_dispatch_core import private_files

__all__ = [
    "create_application",
    "delete_application",
    "list_applications",
    "show_application",
    "update_application",
    "worked",
]

DONE, FAILED, UNKNOWN = 0, 1, 3


async def worked(work: Callable[[DispatchClient], Awaitable[None]]) -> int:
    """Do the work with a client of the environment; return the exit code of the command."""
    try:
        async with DispatchClient.from_env(application_id=None, trust_env=True) as client:
            await work(client)
    except OutcomeUnknownError as error:
        show(f"unknown: {error}", error=True)
        return UNKNOWN
    except DispatchError as error:
        show(str(error), error=True)
        return FAILED
    except OSError as error:
        show(f"cannot use {error.filename}: {error.strerror}", error=True)
        return FAILED
    return DONE


async def list_applications(client: DispatchClient, *, json: bool) -> None:
    """Print a line for each application."""
    async for application in client.applications.iterate():
        if json:
            show_json(_fields(application))
        else:
            urls = " ".join(dict.fromkeys(filter(None, (application.status_url, application.inbound_url))))
            show(f"{application.id}  {application.type:<8}  {application.name}  {urls}".rstrip())


async def create_application(
    client: DispatchClient,
    *,
    name: str,
    status_url: str,
    inbound_url: str,
    public_key: Path | None,
    key_file: Path | None,
    json: bool,
) -> None:
    """Create an application, and store its private key if there is a file for it."""
    pem = await anyio.to_thread.run_sync(_text, public_key)
    file = None if key_file is None else await anyio.to_thread.run_sync(_new_file, key_file)
    try:
        application = await client.applications.create(
            name=name,
            status_url=status_url,
            inbound_url=inbound_url,
            public_key=UNSET if pem is None else pem,
        )
    except BaseException:
        if file is not None:
            file.unlink()
        raise
    if file is not None:
        await anyio.to_thread.run_sync(file.write_text, application.private_key)
    if json:
        show_json(_fields(application))
    else:
        show(application.id)


async def show_application(client: DispatchClient, *, application_id: str, json: bool) -> None:
    """Print one application."""
    _print(await client.applications.get(application_id), json=json)


async def update_application(
    client: DispatchClient,
    *,
    application_id: str,
    name: str | None,
    status_url: str | None,
    inbound_url: str | None,
    public_key: Path | None,
    json: bool,
) -> None:
    """Change an application; the fields that are not given are sent as they are (contract 4.3)."""
    pem = await anyio.to_thread.run_sync(_text, public_key)
    before = await client.applications.get(application_id)
    await client.applications.update(
        application_id,
        name=name or before.name,
        type=before.type or "messages",
        status_url=status_url or before.status_url or UNSET,
        status_method=before.status_method or UNSET,
        inbound_url=inbound_url or before.inbound_url or UNSET,
        inbound_method=before.inbound_method or UNSET,
        public_key=pem or before.public_key or UNSET,
    )
    _print(await client.applications.get(application_id), json=json)


async def delete_application(client: DispatchClient, *, application_id: str, json: bool) -> None:
    """Delete an application."""
    await client.applications.delete(application_id)
    if json:
        show_json({"deleted": application_id})
    else:
        show(f"deleted {application_id}")


def _print(application: Application, *, json: bool) -> None:
    fields = _fields(application)
    if json:
        show_json(fields)
        return
    for name, value in fields.items():
        show(f"{name:<15} {value}".rstrip())


def _fields(application: Application) -> dict[str, str]:
    """Return what may be shown: not the keys."""
    names = ("id", "name", "type", "status_url", "status_method", "inbound_url", "inbound_method")
    return {name: getattr(application, name) for name in names}


def _new_file(path: Path) -> Path:
    """Create a file that only its owner may read, before the call whose response goes into it.

    Raises:
        ConfigurationError: It exists: no private key is written over another.
        OSError: It cannot be created.
    """
    located = private_files.locate(path)
    if not private_files.create(located):
        raise ConfigurationError(f"{path} exists; name a new file, so that no other key is overwritten")
    return located


def _text(file: Path | None) -> str | None:
    return None if file is None else file.read_text("ascii")
