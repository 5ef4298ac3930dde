"""Tell three customers that their order is on its way, and follow each message to its outcome.

The service is the simulator and its clock is virtual, so ten minutes take no time; it needs no account.
"""

import asyncio

from aiohttp import web

from nexmo_dispatch_async import NotReachedError, Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Person, Simulator
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup

# Test numbers of the simulator determine the behaviour of their recipients.
READS, NEVER_READS, NO_WHATSAPP = "999200200001", "999100000001", "447700900123"
ORDERS = {"order-17": READS, "order-18": NEVER_READS, "order-19": NO_WHATSAPP}


def on_its_way(number: str) -> Workflow:
    return Workflow.failover(
        whatsapp.template("ns:parcel", ["today"], from_="447418342140", to=number, locale="en-GB").until(
            "read", within=600
        ),
        sms.text("Your order arrives today", from_="31647356950", to=number),
    )


async def main() -> None:
    router = Router()
    async with Simulator() as sim, Tracker() as tracker:
        absent = Person(outcome="rejected", code=1300)  # 1300: not a user of the channel
        sim.people.add(NO_WHATSAPP, absent, channel="whatsapp")

        # 1. The receiver passes the callbacks to the tracker.
        tracker.attach(router)
        app = web.Application()
        secrets = {sim.api_key: sim.signature_secret}
        setup(app, router, "/webhooks", secrets=secrets, clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sim.create_application(status_url=f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks")

        # 2. The client passes the workflows that it sends to the tracker.
        async with sim.client(tracker=tracker) as client:
            sent = {
                order: await client.send(on_its_way(number), client_ref=order)
                for order, number in ORDERS.items()
            }
        await sim.advance(700)

        # 3. Wait for each outcome.
        for order, dispatch in sent.items():
            result = await dispatch.wait(timeout=60)
            print(f"{order}: {result}")
            for step in result.steps:
                history = ", ".join(
                    f"{seen.status} at {seen.at:%H:%M:%S}" for seen in step.statuses if seen.at is not None
                )
                error = f" (error {step.error_code})" if step.error_code else ""
                print(f"  step {step.step}, {step.channel}: {history or 'not sent'}{error}")
        try:
            await sent["order-18"].wait("read", timeout=60)
        except NotReachedError as error:
            print(error)
        await runner.cleanup()


asyncio.run(main())
