"""Receive callbacks in aiohttp: mount the receiver on an application, and handle what the service posts.

The simulator plays the service: it signs each callback, and a stranger's is refused. It needs no account.
"""

import asyncio
import tempfile
from pathlib import Path

from aiohttp import ClientSession, web

from nexmo_dispatch_async import Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, MessageStatus, Router
from nexmo_dispatch_webhooks.aiohttp import setup

SHOP, ANN = "447418342140", "999200200001"  # the customer reads after 20 seconds

router = Router()


@router.message_status(status=["delivered", "read"])
async def on_arrival(event: MessageStatus) -> None:
    print(f"{event.client_ref}: {event.status} on {event.channel}")


@router.inbound_message(content="text")
async def on_text(event: InboundMessage) -> None:
    print(f"a customer wrote {len(event.text or '')} characters")


@router.final_report()
async def on_report(event: FinalReport) -> None:
    print(f"the workflow ended as {event.status} for {event.usage.price if event.usage else 'nothing'}")


async def main(folder: Path) -> None:
    async with Simulator() as sim:
        app = web.Application()
        receiver = setup(
            app,
            router,
            path="/webhooks",
            secrets={sim.api_key: sim.signature_secret},  # in production: secrets_from_env()
            inbox=folder / "inbox.db",  # stored before the answer, handled afterwards, also after a crash
            clock=sim.timestamp,  # in production: no clock
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"
        sim.create_application(status_url=url, inbound_url=url)

        async with sim.client() as client:
            template = whatsapp.template("ns:parcel", ["today"], locale="en-GB", from_=SHOP, to=ANN)
            fallback = sms.text("Your parcel is here", from_="31647356950", to=ANN)
            workflow = Workflow.failover(template.until("read", within=600), fallback)
            await client.send(workflow, client_ref="order-17")
            await sim.advance(60)
        sim.inbound("Thank you!", channel="whatsapp", from_=ANN, to=SHOP)
        await sim.advance(1)

        forged = {"Authorization": "Bearer of.bad.news", "Content-Type": "application/json"}
        async with ClientSession() as session, session.post(url, data=b"{}", headers=forged) as answer:
            print(f"a stranger was answered {answer.status}")
        await runner.cleanup()  # drains the inbox
        print("answers:", receiver.statistics().answers)


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
