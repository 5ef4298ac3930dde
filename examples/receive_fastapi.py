"""Receive callbacks in FastAPI: the receiver is a mount, and lives as long as the application.

The simulator plays the service, so it needs no account. `pip install fastapi uvicorn`
A service that also sends and waits, and its tests, are on the page "Client and receiver in one FastAPI".
"""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from nexmo_dispatch_async import Workflow, sms, whatsapp
from nexmo_dispatch_async.simulator import Simulator
from nexmo_dispatch_webhooks import FinalReport, InboundMessage, Router
from nexmo_dispatch_webhooks.asgi import ASGIReceiver

SHOP, ANN = "447418342140", "999100000001"  # the customer never reads

router = Router()


@router.inbound_message(content="text")
async def on_text(event: InboundMessage) -> None:
    print(f"a customer wrote {len(event.text or '')} characters")


@router.final_report()
async def on_report(event: FinalReport) -> None:
    print(f"the workflow ended as {event.status} for {event.usage.price if event.usage else 'nothing'}")


def make_app(receiver: ASGIReceiver) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with receiver:  # a mounted application gets no lifespan of its own
            yield

    app = FastAPI(lifespan=lifespan)
    # Last, at the root: a mount at /webhooks would redirect that URL, and the service follows no redirect.
    app.mount("/", receiver)
    return app


async def main(folder: Path) -> None:
    async with Simulator() as sim:
        receiver = ASGIReceiver(
            router,
            path="/webhooks",
            secrets={sim.api_key: sim.signature_secret},  # in production: secrets_from_env()
            inbox=folder / "inbox.db",  # stored before the answer, handled afterwards, also after a crash
            clock=sim.timestamp,  # in production: no clock
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = uvicorn.Server(uvicorn.Config(make_app(receiver), log_level="warning"))
            serving = asyncio.create_task(server.serve([listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks"
            sim.create_application(status_url=url, inbound_url=url)

            async with sim.client() as client:
                template = whatsapp.template("ns:parcel", ["today"], locale="en-GB", from_=SHOP, to=ANN)
                fallback = sms.text("Your parcel is here", from_="31647356950", to=ANN)
                await client.send(Workflow.failover(template.until("read", within=600), fallback))
                await sim.advance(660)
            sim.inbound("Thank you!", channel="whatsapp", from_=ANN, to=SHOP)
            await sim.advance(1)

            server.should_exit = True
            await serving  # drains the inbox
        print("answers to callbacks:", [delivery.status for delivery in sim.deliveries])


with tempfile.TemporaryDirectory() as name:
    asyncio.run(main(Path(name)))
