"""A receiver with an inbox on Postgres, in a process of its own that is made to be killed or suspended.

It serves on the listening socket that it inherits, or only handles when there is none. One handler writes to
a table of its own, on a connection of `context.transaction`; the other one notes each call with a statement
of its own.

    python postgres_inbox_process.py URL SECRET [FD]
"""

import asyncio
import socket
import sys

from aiohttp import web

from nexmo_dispatch_webhooks import Context, MessageStatus, Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.inbox import PostgresInbox

#: Seconds without a sign of life after which the others take over.
LEASE = 3.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS effects (
    number bigint GENERATED ALWAYS AS IDENTITY, workflow text, message text PRIMARY KEY, times integer
);
CREATE TABLE IF NOT EXISTS more_effects (message text PRIMARY KEY, times integer);
"""
EFFECT = (
    "INSERT INTO effects AS e (workflow, message, times) VALUES (%s, %s, 1)"
    " ON CONFLICT (message) DO UPDATE SET times = e.times + 1"
)
MORE = (
    "INSERT INTO more_effects AS e (message, times) VALUES (:message, 1)"
    " ON CONFLICT (message) DO UPDATE SET times = e.times + 1"
)


def make_router() -> Router:
    router = Router()

    @router.message_status()
    async def own_connection(event: MessageStatus, context: Context) -> None:
        connection = await context.transaction.connection()
        await connection.execute(EFFECT, (event.dispatch_uuid, event.message_uuid))

    @router.message_status()
    async def statements(event: MessageStatus, context: Context) -> None:
        context.transaction.execute(MORE, {"message": event.message_uuid})

    return router


async def main(url: str, secret: str, fd: int | None) -> None:
    inbox = PostgresInbox(url, schema=SCHEMA, lease=LEASE, poll=0.5, timeout=10.0)
    router = make_router()
    if fd is None:
        router.freeze()
        await inbox.start(router)
        await asyncio.to_thread(sys.stdin.read)  # the end of the input is an orderly end
        await inbox.aclose()
        return
    app = web.Application()
    setup(app, router, secrets={"k": secret}, inbox=inbox, health_path="/health")
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.SockSite(runner, socket.socket(fileno=fd)).start()
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else None))
