"""`nexmo-dispatch listen`: receive callbacks and print each as it arrives.

It handles nothing: what it keeps, it keeps in a recording or in an inbox.
"""

import logging
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from aiohttp import web
from rich.console import Console

from nexmo_dispatch_async.cli.recording import Recorder
from nexmo_dispatch_async.cli.timeline import line
from nexmo_dispatch_webhooks import (
    FinalReport,
    InboundMessage,
    MessageStatus,
    Router,
    UnknownEvent,
    WebhookError,
)
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.aiohttp_log import MalformedRequestFilter


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


async def run(
    host: str,
    port: int,
    path: str,
    secrets: Mapping[str, str] | None,
    record: Path | None = None,
    inbox: Path | None = None,
) -> int:
    """Serve until cancelled; return 1 when it cannot start: a setting, a file or the port."""
    console = Console(highlight=False)
    router = printer(console)
    application = web.Application()
    logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())
    async with AsyncExitStack() as stack:
        if record is not None:
            try:
                recorder = await stack.enter_async_context(Recorder(record))
            except OSError as error:
                return _cannot(f"cannot write {record}: {error.strerror}")
            router.add(recorder.write, name="record")
        runner = web.AppRunner(application, access_log=None)
        try:
            if secrets is None:
                setup(application, router, path=path, verification=None, inbox=inbox)
            else:
                setup(application, router, path=path, secrets=secrets, inbox=inbox)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
        except WebhookError as error:
            return _cannot(str(error))
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            return _cannot(f"cannot listen on {host} port {port}: {error.strerror}")
        address = runner.addresses[0]
        checked = "signatures are checked" if secrets else "signatures are NOT checked"
        console.print(f"listening on http://{address[0]}:{address[1]}{path} ({checked}); Ctrl-C ends")
        await anyio.sleep_forever()
    return 0


def _cannot(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1
