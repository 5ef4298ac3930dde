"""`nexmo-dispatch listen`: receive callbacks and print each as it arrives."""

from collections.abc import Mapping

import anyio
from aiohttp import web
from rich.console import Console

from nexmo_dispatch_async.cli.timeline import line
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, Router, UnknownEvent
from nexmo_dispatch_webhooks.aiohttp import setup


def printer(console: Console) -> Router:
    """Return a router that prints every event."""
    router = Router()

    async def show(event: MessageStatus | InboundMessage | FinalReport | UnknownEvent) -> None:
        console.print(line(event), soft_wrap=True)

    router.message_status()(show)
    router.inbound_message()(show)
    router.final_report()(show)
    router.unknown()(show)
    return router


async def run(host: str, port: int, path: str, secrets: Mapping[str, str] | None) -> int:
    """Serve until cancelled; return 0."""
    console = Console(highlight=False)
    application = web.Application()
    if secrets is None:
        setup(application, printer(console), path=path, verification=None)
    else:
        setup(application, printer(console), path=path, secrets=secrets)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        address = runner.addresses[0]
        checked = "signatures are checked" if secrets else "signatures are NOT checked"
        console.print(f"listening on http://{address[0]}:{address[1]}{path} ({checked}); Ctrl-C ends")
        await anyio.sleep_forever()
    finally:
        await runner.cleanup()
    return 0
