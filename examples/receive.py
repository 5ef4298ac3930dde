"""Receive one signed callback: start the receiver, post to it as the service does, print the event."""

import asyncio
import json
import uuid

from aiohttp import ClientSession, web

from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, Router, sign
from nexmo_dispatch_webhooks.aiohttp import setup

SECRETS = {"a1b2c3d4": "example-signature-secret-not-for-production"}

router = Router()


@router.message_status(status=["delivered", "read"])
async def on_arrival(event: MessageStatus) -> None:
    print(f"message {event.message_uuid} was {event.status} on {event.channel}")


@router.inbound_message(content="text")
async def on_text(event: InboundMessage) -> None:
    print(f"a customer wrote {len(event.text or '')} characters")


@router.final_report()
async def on_report(event: FinalReport) -> None:
    print(f"workflow {event.dispatch_uuid} ended: {event.status}")


async def main() -> None:
    app = web.Application()
    receiver = setup(app, router, path="/webhooks", secrets=SECRETS)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]

    # As the service signs (contract 5.9): the token covers the bytes of the body.
    body = json.dumps(
        {
            "message_uuid": str(uuid.uuid4()),
            "to": {"type": "whatsapp", "number": "447700900000"},
            "from": {"type": "whatsapp", "number": "447700900001"},
            "timestamp": "2025-01-01T14:00:00.000Z",
            "status": "read",
        }
    ).encode()
    signed = sign(body, secret=SECRETS["a1b2c3d4"], api_key="a1b2c3d4", jti=str(uuid.uuid4()))
    url = f"http://{host}:{port}/webhooks/status"
    async with ClientSession(headers={"Content-Type": "application/json"}) as session:
        for authorization in (signed, "Bearer of.bad.news"):
            async with session.post(url, data=body, headers={"Authorization": authorization}) as answer:
                print(f"answered {answer.status}")

    print(receiver.statistics())
    await runner.cleanup()


asyncio.run(main())
