"""`bulk listen`, and `--listen` of `bulk run`: callbacks and replies, into the rows and the opt-out list.

People answer for days, and a campaign is sent within hours: `bulk listen` only receives.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from aiohttp import web
from msgspec import Struct

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.campaign_file import load, tariff_of
from nexmo_dispatch_async.bulk.ledger.records import Counts
from nexmo_dispatch_async.bulk.ledger.transitions import is_of_other_ledger
from nexmo_dispatch_async.cli.bulk_files import DONE, as_json, campaign_stores
from nexmo_dispatch_async.cli.bulk_words import line_of
from nexmo_dispatch_async.cli.ending import Ending
from nexmo_dispatch_async.cli.options import cannot_listen
from nexmo_dispatch_async.cli.screen import show
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from nexmo_dispatch_webhooks import MessageStatus, Router, WebhookError, secrets_from_env
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.signature import Secret

__all__ = ["ListenOptions", "listen", "receive", "secrets_of"]

#: Seconds between two looks for news, and between two lines about them.
_TOLD_EVERY_S: Final = 10.0

Secrets = Mapping[str, Secret]


class ListenOptions(Struct, frozen=True, kw_only=True):
    """Where callbacks arrive, and whether their signatures are checked."""

    host: str
    port: int
    path: str = "/webhooks"
    verified: bool = True


async def listen(file: Path, options: ListenOptions, *, json: bool) -> int:
    """Receive what is told of a campaign until a signal; see `bulk listen`."""
    settings, secrets = load(file), secrets_of(options)
    async with AsyncExitStack() as stack:
        ending = stack.enter_context(Ending())
        ledger, opt_outs = await campaign_stores(settings, stack, sends=False)
        campaign = Campaign(ledger, settings=settings, tariff=tariff_of(settings), opt_outs=opt_outs)
        await receive(campaign, options, secrets, stack)
        async with anyio.create_task_group() as group:
            group.start_soon(_tell, campaign, json)
            await ending.wait()
            group.cancel_scope.cancel()
    return DONE


async def receive(
    campaign: Campaign, options: ListenOptions, secrets: Secrets | None, stack: AsyncExitStack
) -> None:
    """Receive callbacks for as long as the stack is open.

    Args:
        campaign: Whose rows and opt-out list they change.
        options: Where they arrive.
        secrets: Signature secrets; `None` to check no signature.
        stack: Ends it.

    Raises:
        ConfigurationError: The path or the secrets are wrong, or the port cannot be used.
    """
    router, application = Router(), web.Application()
    router.add(partial(_refuse_other, campaign.ledger.reference), kind="message-status")
    campaign.attach(router)
    runner = web.AppRunner(application, access_log=None)
    try:
        if secrets is None:
            setup(application, router, path=options.path, verification=None)
        else:
            setup(application, router, path=options.path, secrets=secrets)
    except WebhookError as error:
        raise ConfigurationError(str(error)) from None
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port).start()
    except OSError as error:
        raise ConfigurationError(cannot_listen(options.host, options.port, error, "--listen")) from None
    host, port = runner.addresses[0][:2]
    checked = "signatures are checked" if secrets else "signatures are NOT checked"
    show(f"callbacks arrive at http://{host}:{port}{options.path} ({checked})", error=True)


async def _refuse_other(reference: str, event: MessageStatus) -> None:
    """Let the service repeat what another campaign needs: it may be the only proof that a row was sent."""
    if is_of_other_ledger(reference, event.client_ref or ""):
        raise LedgerError(
            "a status of another campaign arrived, which only its own listener can store; the service "
            "repeats it for 24 hours: nexmo-dispatch bulk listen FILE, with the file of that campaign"
        )


def secrets_of(options: ListenOptions) -> Secrets | None:
    """Return the signature secrets of the environment; `None` where signatures are not checked.

    Raises:
        ConfigurationError: The environment has none, or what it has is wrong.
    """
    if not options.verified:
        return None
    try:
        return dict(secrets_from_env())
    except WebhookError as error:
        raise ConfigurationError(f"callbacks are checked: {error}, or say --no-verification") from None


async def _tell(campaign: Campaign, json: bool) -> None:
    """Print where the campaign stands at first, and after news."""
    told: Counts | None = None
    failed = ""
    while True:
        try:
            status = await campaign.status()
        except LedgerError as error:  # callbacks are refused meanwhile, and the service repeats them
            if str(error) != failed:
                failed = str(error)
                show(f"{failed}; it is tried again", error=True)
        else:
            failed = ""
            if status.counts != told:
                told = status.counts
                name, zone = campaign.settings.name, campaign.settings.zone
                show(as_json({"status": status}) if json else line_of(name, status, zone))
        await anyio.sleep(_TOLD_EVERY_S)
