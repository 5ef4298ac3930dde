"""A receiver with an inbox, in a process of its own that is made to be killed.

It serves on the listening socket that it inherits, so that connections of a restart wait instead of
failing. Handlers: one notes the message in a file, one counts it with `context.transaction`.

    python inbox_process.py FOLDER FD SECRET
"""

import asyncio
import os
import socket
import sys
from pathlib import Path

from aiohttp import web

from nexmo_dispatch_webhooks import Context, MessageStatus, Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.inbox import SqliteInbox

SCHEMA = "CREATE TABLE IF NOT EXISTS effects (message TEXT PRIMARY KEY, times INTEGER NOT NULL);"
EFFECT = "INSERT INTO effects VALUES (?, 1) ON CONFLICT (message) DO UPDATE SET times = times + 1"


def make_router(notes: int) -> Router:
    router = Router()

    @router.message_status()
    async def at_least_once(event: MessageStatus) -> None:
        os.write(notes, f"{event.message_uuid}\n".encode())

    @router.message_status()
    async def exactly_once(event: MessageStatus, context: Context) -> None:
        await asyncio.sleep(0)
        context.transaction.execute(EFFECT, (event.message_uuid,))

    return router


async def main(folder: Path, fd: int, secret: str) -> None:
    notes = os.open(folder / "notes.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    app = web.Application()
    inbox = SqliteInbox(folder / "inbox.db", schema=SCHEMA)
    setup(app, make_router(notes), secrets={"k": secret}, inbox=inbox, health_path="/health")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=fd)).start()
    await asyncio.to_thread(sys.stdin.read)  # the end of the input is an orderly end
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
