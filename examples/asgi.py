"""The receiver in an ASGI framework: mounted in Starlette, served by uvicorn, posting to itself.

pip install starlette uvicorn
python examples/asgi.py
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from nexmo_dispatch_webhooks import InboundMessage, MessageStatus, Router
from nexmo_dispatch_webhooks.asgi import ASGIReceiver
from nexmo_dispatch_webhooks.testing import WebhookClient

SECRETS = {"a1b2c3d4": "example-signature-secret-not-for-production"}

router = Router()


@router.message_status(status=["delivered", "read"])
async def on_arrival(event: MessageStatus) -> None:
    print(f"message {event.message_uuid} was {event.status} on {event.channel}")


@router.inbound_message(content="text")
async def on_text(event: InboundMessage) -> None:
    print(f"a customer wrote {len(event.text or '')} characters")


receiver = ASGIReceiver(router, path="/webhooks", secrets=SECRETS)


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    async with receiver:  # a mounted application gets no lifespan of its own
        yield


# Last, at the root: a mount at /webhooks would redirect that URL, and the service follows no redirect.
app = Starlette(routes=[Mount("/", app=receiver)], lifespan=lifespan)


async def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/webhooks"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        serving = asyncio.create_task(server.serve([listener]))

        # Acts as the service; in production uvicorn serves `app` and the service posts.
        async with WebhookClient(url, secrets=SECRETS) as client:
            print((await client.post_status("read", channel="whatsapp", path="status")).status)
            print((await client.post_inbound("Hello")).status)
            print((await client.post(b"{}", signed=False)).status)

        server.should_exit = True
        await serving


asyncio.run(main())
