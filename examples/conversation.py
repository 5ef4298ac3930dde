"""Talk with a customer in both directions: free text within 24 hours of the last message, else a template.

The clock of the simulator is virtual, so a day takes no time; it needs no account.
"""

import asyncio
import tempfile
from pathlib import Path

from aiohttp import web

from nexmo_dispatch_async import CareWindow, Dispatch, DispatchClient, Workflow, reply, whatsapp
from nexmo_dispatch_async.care_window.sqlite import SqliteWindowStore
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import InboundMessage, Router
from nexmo_dispatch_webhooks.aiohttp import setup

SHOP, ANN = "447418342140", "447700900123"


async def tell(client: DispatchClient, window: CareWindow, number: str, text: str) -> Dispatch:
    """Send a text while the window is open, and otherwise the template that asks for a message."""
    free = whatsapp.text(text, from_=SHOP, to=number)
    if window.allows(free):
        return await client.send(free)
    asks = whatsapp.template("ns:please_write", ["your order"], locale="en-GB", from_=SHOP, to=number)
    return await client.send(Workflow.failover(asks))


def make_router(window: CareWindow) -> Router:
    router = Router()
    window.attach(router)  # first: a message opens the window before its own handler runs

    @router.inbound_message(channel="whatsapp", content="text")
    async def on_text(event: InboundMessage, client: DispatchClient) -> None:
        print(f"a customer wrote {len(event.text or '')} characters")
        await client.send(reply.text("Thank you, we look into it.", to=event))

    return router


async def main(folder: Path) -> None:
    # The store keeps the windows over a restart; its file holds numbers, readable for its owner only.
    with SqliteWindowStore(folder / "windows.db") as store:
        async with Simulator() as sim, sim.client() as client:
            window = CareWindow(store, clock=lambda: sim.time)  # in production: no clock
            app = web.Application()
            secrets, values = {sim.api_key: sim.signature_secret}, {"client": client}
            router = make_router(window)
            setup(app, router, "/webhooks", secrets=secrets, values=values, clock=sim.timestamp)
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            sim.create_application(inbound_url=f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks")

            sim.inbound("Where is my order?", channel="whatsapp", from_=ANN, to=SHOP)
            await sim.advance(3600)
            print("an hour later, open:", window.status(ANN).open)
            hour = await tell(client, window, ANN, "It arrives today between two and four.")
            await sim.advance(24 * 3600)
            print("a day later, open:", window.status(ANN).open)
            day = await tell(client, window, ANN, "Did it arrive?")
            await sim.advance(60)

            for name, dispatch in {"free text": hour, "template": day}.items():
                print(f"{name}: {sim.outcome(dispatch.dispatch_uuid)}")
            await runner.cleanup()


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
