"""Receive with an inbox: store the event, respond at once, handle it afterwards, and retry a failure."""

import asyncio
import json
import sqlite3
import tempfile
import uuid
from contextlib import closing
from pathlib import Path

from aiohttp import ClientSession, web

from nexmo_dispatch_webhooks import Context, MessageStatus, Router, sign
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.inbox import HandlerRetryPolicy, SqliteInbox

SECRET = "example-signature-secret-not-for-production"
SCHEMA = "CREATE TABLE IF NOT EXISTS arrivals (channel TEXT PRIMARY KEY, n INTEGER NOT NULL);"

router = Router()
crm_is_up = False


@router.message_status(status="read")
async def count(event: MessageStatus, context: Context) -> None:
    # committed together with the mark that this handler is done: counted once, even after a crash
    context.transaction.execute(
        "INSERT INTO arrivals VALUES (?, 1) ON CONFLICT (channel) DO UPDATE SET n = n + 1", (event.channel,)
    )


@router.message_status(status="read")
async def tell_crm(event: MessageStatus) -> None:
    if not crm_is_up:
        raise ConnectionError("the CRM does not answer")
    print(f"the CRM knows that {event.message_uuid[:8]} was read")


async def main(folder: Path) -> None:
    global crm_is_up  # noqa: PLW0603 - simulates a system that recovers
    inbox = SqliteInbox(folder / "inbox.db", schema=SCHEMA, retry=HandlerRetryPolicy(attempts=1))
    app = web.Application()
    setup(app, router, path="/webhooks", secrets={"a1b2c3d4": SECRET}, inbox=inbox, health_path="/health")
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    body = json.dumps(
        {
            "message_uuid": str(uuid.uuid4()),
            "to": {"type": "whatsapp", "number": "447700900000"},
            "from": {"type": "whatsapp", "number": "447700900001"},
            "timestamp": "2025-01-01T14:00:00.000Z",
            "status": "read",
        }
    ).encode()
    async with ClientSession(headers={"Content-Type": "application/json"}) as session:
        for _ in range(2):  # the service may deliver a callback twice
            signed = sign(body, secret=SECRET, api_key="a1b2c3d4", jti=str(uuid.uuid4()))
            async with session.post(
                f"{url}/webhooks", data=body, headers={"Authorization": signed}
            ) as answer:
                print(f"answered {answer.status}")
        await inbox.idle()
        async with session.get(f"{url}/health") as answer:
            print(f"health: {await answer.text()}")

    for record in await inbox.list("quarantined"):
        print(f"record {record.id}: {record.kind}, failed: {record.failed[0].handler}")
    crm_is_up = True
    print(f"brought back: {await inbox.retry('all')}")
    await inbox.idle()
    await runner.cleanup()

    with closing(sqlite3.connect(folder / "inbox.db")) as db:
        print("counted:", db.execute("SELECT * FROM arrivals").fetchall())


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
