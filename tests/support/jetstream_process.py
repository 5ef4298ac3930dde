"""A process that handles the events of an inbox on JetStream, and writes the key of each to a file.

Arguments: the URL, the file. It says `running` or `standby` on its output when it has started, and ends with
its input.
"""

import asyncio
import os
import sys
from pathlib import Path

from nexmo_dispatch_webhooks import Event, Router
from nexmo_dispatch_webhooks.inbox import JetStreamInbox


async def main(url: str, path: Path) -> None:
    router = Router()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle(event: Event) -> None:
        await asyncio.sleep(0)
        os.write(file, f"{event.raw['message_uuid']}\n".encode())

    router.add(handle, name="handle")
    router.freeze()
    inbox = JetStreamInbox(url, poll=0.2, lease=2.0)
    await inbox.start(router)
    sys.stdout.write(f"{inbox.health().state}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await inbox.aclose()


asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
