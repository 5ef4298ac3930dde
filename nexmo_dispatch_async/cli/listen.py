"""`nexmo-dispatch listen`: receive callbacks and print each as it arrives.

It has no handlers of its own; callbacks are kept in a recording or in an inbox on request.
"""

import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
from aiohttp import web
from rich.console import Console

from nexmo_dispatch_async.cli import screen
from nexmo_dispatch_async.cli.ending import Ending
from nexmo_dispatch_async.cli.options import cannot_listen
from nexmo_dispatch_async.cli.recording import Recorder
from nexmo_dispatch_async.cli.redactor import Redactor
from nexmo_dispatch_async.cli.timeline import line
from nexmo_dispatch_webhooks import (
    Context,
    FinalReport,
    InboundMessage,
    MessageStatus,
    Router,
    UnknownEvent,
    WebhookError,
)
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.aiohttp_log import MalformedRequestFilter
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore
from nexmo_dispatch_webhooks.inbox.sqlite_claim import GRACE
from nexmo_dispatch_webhooks.refusals import WrongSignature
from nexmo_dispatch_webhooks.signature import Secret

#: Seconds for callbacks in progress and for stored events: together less than the ten of a container's stop.
_ANSWERING, _DRAIN = 3.0, 5.0


def _inbox(file: Path) -> SqliteInbox:
    return SqliteInbox(file, owner="nexmo-dispatch listen", drain=_DRAIN)


def printer(console: Console, *, json: bool = False) -> Router:
    """Return a router that prints every event.

    Args:
        console: Where to.
        json: Whether to print JSON: the body without personal data, as `--record` has it.
    """
    router, redactor = Router(), Redactor()

    async def show(
        event: MessageStatus | InboundMessage | FinalReport | UnknownEvent, context: Context
    ) -> None:
        if json:
            at = None if context.received_at is None else round(context.received_at.timestamp(), 3)
            record = {"at": at, "kind": event.kind, "body": redactor.body(event.raw)}
            screen.show_json(record, to=console)
        else:
            screen.show(*line(event), to=console)

    router.message_status()(show)
    router.inbound_message()(show)
    router.final_report()(show)
    router.unknown()(show)
    return router


async def run(
    host: str,
    port: int,
    path: str,
    secrets: Mapping[str, Secret] | None,
    record: Path | None = None,
    inbox: Path | None = None,
    wrong_signature: WrongSignature = 401,
    json: bool = False,
) -> int:
    """Serve until a signal; return exit code 0, or 1 if a setting, a file or the port prevents the start.

    At the end it accepts no more callbacks, answers those in progress, and prints those stored.
    """
    console = screen.Screen()
    router = printer(console, json=json)
    application = web.Application()
    logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())
    async with AsyncExitStack() as stack:
        ending = stack.enter_context(Ending())
        if record is not None:
            try:
                recorder = await stack.enter_async_context(Recorder(record))
            except OSError as error:
                return _cannot(f"cannot write {record}: {error.strerror}")
            router.add(recorder.write, name="record")
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=_ANSWERING)
        try:
            store = None if inbox is None else await stack.enter_async_context(_inbox(inbox))
            if store is not None and inbox is not None and (reason := await _claim(store, inbox)):
                return _cannot(reason)
            if secrets is None:
                setup(application, router, path=path, verification=None, inbox=store)
            else:
                setup(
                    application,
                    router,
                    path=path,
                    secrets=secrets,
                    wrong_signature=wrong_signature,
                    inbox=store,
                )
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
        except WebhookError as error:
            return _cannot(str(error))
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            return _cannot(cannot_listen(host, port, error))
        address = runner.addresses[0]
        checked = "signatures are checked" if secrets else "signatures are NOT checked"
        text = f"listening on http://{address[0]}:{address[1]}{path} ({checked}); Ctrl-C ends"
        # standard output has nothing but JSON where JSON is wanted
        screen.show(text, to=screen.Screen(error=True) if json else console)
        await ending.wait()
    return 0


async def _claim(inbox: SqliteInbox, file: Path) -> str | None:
    """Claim an inbox for `listen`; return the reason for a refusal, None on success.

    The claim is kept, so that no other process starts to handle the file: `listen` marks events as handled
    when it prints them.

    Raises:
        InboxError: The file belongs to another receiver.
    """
    claimed = await inbox.store.claim()
    if not claimed and isinstance(inbox.store, SqliteInboxStore) and inbox.store.is_waiting:
        await anyio.sleep(GRACE)  # the claim in a restored file may have no living owner
        claimed = await inbox.store.claim()
    if not claimed:
        return f"{file} is in use by a running listen: give --inbox a file of its own"
    if pending := (await inbox.store.count()).pending:
        screen.show(f"{file}: {pending} pending of a listen that was killed come first", error=True)
    return None


def _cannot(reason: str) -> int:
    screen.show(reason, error=True)
    return 1
