"""Send WhatsApp-then-SMS to three people and print the outcome of each while the callbacks arrive.

The service is the simulator and its clock is virtual, so ten minutes take no time; it needs no account.
"""

import asyncio

from aiohttp import web

from nexmo_dispatch_async import NotReachedError, Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_async.tracking import Tracker
from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup

# Test numbers of the simulator determine the behaviour of their recipients.
PEOPLE = {
    "reads after 20 s": "999200200001",
    "never reads": "999100000001",
    "cannot be reached": "999313000001",
}


def parcel_is_here(number: str) -> Workflow:
    return Workflow.failover(
        whatsapp.template("ns:parcel", ["today"], from_="447418342140", to=number, locale="en-GB").until(
            "read", within=600
        ),
        sms.text("Your parcel is here", from_="31647356950", to=number),
    )


async def main() -> None:
    router = Router()
    async with Simulator() as sim, Tracker() as tracker:
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
            sent = {who: await client.send(parcel_is_here(number)) for who, number in PEOPLE.items()}
        await sim.advance(700)

        # 3. Wait for each outcome.
        for who, dispatch in sent.items():
            result = await dispatch.wait(timeout=60)
            print(f"{who}: {result}")
            for step in result.steps:
                history = ", ".join(
                    f"{seen.status} at {seen.at:%H:%M:%S}" for seen in step.statuses if seen.at is not None
                )
                error = f" (error {step.error_code})" if step.error_code else ""
                print(f"  step {step.step}, {step.channel}: {history or 'not sent'}{error}")
        try:
            await sent["never reads"].wait("read", timeout=60)
        except NotReachedError as error:
            print(error)
        await runner.cleanup()


asyncio.run(main())
