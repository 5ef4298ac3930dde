"""A receiver in a process of its own, run as docs/receiver.md says, until its standard input ends.

Usage: receiver_process.py aiohttp|asgi SECRET BODY_TIMEOUT; prints its port.
"""

import asyncio
import logging
import socket
import sys
from typing import Any

import uvicorn
from aiohttp import web

from nexmo_dispatch_webhooks import Router
from nexmo_dispatch_webhooks.aiohttp import setup
from nexmo_dispatch_webhooks.aiohttp_log import MalformedRequestFilter
from nexmo_dispatch_webhooks.asgi import ASGIReceiver

router = Router()


@router.register()
async def accept(event: Any) -> None:
    """Take any event."""


async def serve_aiohttp(settings: dict[str, Any], ended: asyncio.Event) -> None:
    logging.getLogger("aiohttp.server").addFilter(MalformedRequestFilter())
    app = web.Application()
    setup(app, router, **settings)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await ended.wait()
    await runner.cleanup()


async def serve_asgi(settings: dict[str, Any], ended: asyncio.Event) -> None:
    app = ASGIReceiver(router, path="/webhooks", **settings)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    # with the protocol said, asyncio sets TCP_NODELAY, without which two small writes take 40 ms
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        print(listener.getsockname()[1], flush=True)
        serving = asyncio.create_task(server.serve([listener]))
        await ended.wait()
        server.should_exit = server.force_exit = True
        await serving


async def main(adapter: str, secret: str, body_timeout: str) -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    settings = {"secrets": {"k": secret}, "body_timeout": float(body_timeout)}
    await (serve_aiohttp if adapter == "aiohttp" else serve_asgi)(settings, ended)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
