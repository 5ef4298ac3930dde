"""A Messenger bot that only answers: it never writes first, so each message meets an open window.

The simulator plays the service and its customers, so it needs no account.
"""

import asyncio

from aiohttp import web

from nexmo_dispatch_async import DispatchClient, reply
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import InboundMessage, Router
from nexmo_dispatch_webhooks.aiohttp import setup

PAGE = "107083064136738"  # the Page ID of the shop
ANN, BEN = "1000000000000001", "1000000000000002"  # page-scoped ids of customers

ANSWERS = {
    "open": "We are open from 9 to 18, Monday to Saturday.",
    "where": "Harbour Street 1, beside the ferry.",
}
UNKNOWN = "Ask me when we are open, or where we are."

router = Router()


@router.inbound_message(channel="messenger", content="text")
async def on_question(event: InboundMessage, client: DispatchClient) -> None:
    words = (event.text or "").lower()
    answer = next((answer for keyword, answer in ANSWERS.items() if keyword in words), UNKNOWN)
    # On the channel of the question, from the page that it was written to.
    await client.send(reply.text(answer, to=event))


@router.inbound_message(channel="messenger")
async def on_anything_else(event: InboundMessage, client: DispatchClient) -> None:
    if event.text is None:
        await client.send(reply.text("I read text only. " + UNKNOWN, to=event))


async def main() -> None:
    async with Simulator() as sim, sim.client() as client:
        app = web.Application()
        secrets = {sim.api_key: sim.signature_secret}
        # `inbox="inbox.db"` also keeps the questions that arrive while the bot is restarted.
        setup(app, router, "/webhooks", secrets=secrets, values={"client": client}, clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sim.create_application(inbound_url=f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks")

        sim.inbound("When are you open?", channel="messenger", from_=ANN, to=PAGE)
        sim.inbound("Hello!", channel="messenger", from_=BEN, to=PAGE)
        photo = {"type": "image", "image": {"url": "https://example.com/shoe.jpg"}}
        sim.inbound(photo, channel="messenger", from_=ANN, to=PAGE)
        await sim.advance(5)

        print(f"{sim.accepted} answers on {', '.join(sim.sent_channels())}")
        print("callbacks answered:", [delivery.status for delivery in sim.deliveries])
        await runner.cleanup()


asyncio.run(main())
