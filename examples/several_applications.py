"""Send for two brands, each with an application of its own, over one token, and receive both at one place.

It runs against the simulator and needs no account.
"""

import asyncio
from contextlib import AsyncExitStack

from aiohttp import web

from nexmo_dispatch_async import DispatchClient, KpnOAuth, Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, Router
from nexmo_dispatch_webhooks.aiohttp import setup

SENDERS = {"shoes": ("447418342140", "31647356950"), "books": ("447418342141", "31647356951")}
ANN = "999100000001"  # never reads WhatsApp


def make_router(brand: str) -> Router:
    """Return the handlers of one brand; its callbacks come to a path of its own."""
    router = Router()

    @router.final_report()
    async def on_report(event: FinalReport) -> None:
        print(f"{brand}: the workflow ended as {event.status}")

    @router.inbound_message(content="text")
    async def on_text(event: InboundMessage) -> None:
        print(f"{brand}: a customer wrote on {event.channel}")

    return router


def notice(brand: str, number: str) -> Workflow:
    shop, sender = SENDERS[brand]
    template = whatsapp.template("ns:parcel", ["today"], locale="en-GB", from_=shop, to=number)
    return Workflow.failover(
        template.until("read", within=600), sms.text("Your parcel is here", from_=sender, to=number)
    )


async def main() -> None:
    async with Simulator() as sim, AsyncExitStack() as stack:
        # 1. One server, one path for each brand.
        app = web.Application()
        secrets = {sim.api_key: sim.signature_secret}  # the secret belongs to the account
        for brand in SENDERS:
            setup(app, make_router(brand), f"/webhooks/{brand}", secrets=secrets, clock=sim.timestamp)
        runner = web.AppRunner(app, access_log=None)
        stack.push_async_callback(runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks"

        # 2. One application and one client for each brand. They share the credentials, so also the token.
        auth = KpnOAuth(sim.client_id, sim.client_secret, token_url=sim.token_url)
        first = await stack.enter_async_context(DispatchClient(auth=auth, base_url=sim.base_url))
        clients: dict[str, DispatchClient] = {}
        for brand in SENDERS:
            path = f"{url}/{brand}"
            made = await first.applications.create(name=brand, status_url=path, inbound_url=path)
            client = DispatchClient(auth=auth, base_url=sim.base_url, application_id=made.id)
            clients[brand] = await stack.enter_async_context(client)

        # 3. Each sends with its own application, so its callbacks come to its own path.
        for brand, client in clients.items():
            await client.send(notice(brand, ANN))
        await sim.advance(660)
        shop, _ = SENDERS["books"]
        books = next(each for each in sim.applications if each.name == "books")
        sim.inbound("Thank you", channel="whatsapp", from_="447700900123", to=shop, application=books)
        await sim.advance(1)
        print(f"{sim.accepted} workflows of {len(clients)} applications, {sim.tokens_issued} token")


asyncio.run(main())
