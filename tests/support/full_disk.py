"""An inbox on a disk that is full, in a process of its own: each scene fills the disk and then makes room.

    python -m tests.support.full_disk SCENE FOLDER

The folder is the root of a small volume. A scene prints one line of JSON; a failure is a traceback.
"""

import asyncio
import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from nexmo_dispatch_webhooks import Event, InboxFullError
from nexmo_dispatch_webhooks.inbox import SqliteInbox
from tests.webhooks.inbox.support import ManualTime, frozen, put, status_bytes

#: More rounds of puts than any of the volumes holds.
_MOST = 2000


class Scene:
    """An inbox with the default size in a folder, and the numbers of the events that it took."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        self.time = ManualTime()
        self.inbox = self._make()

    def _make(self) -> SqliteInbox:
        clock = self.time
        return SqliteInbox(self.folder / "inbox.db", clock=clock, monotonic=clock, sleep=clock.sleep)

    async def start(self) -> None:
        async def handle(event: Event) -> None: ...

        await self.inbox.start(frozen(handle))

    async def restart(self) -> None:
        await self.inbox.aclose()
        self.inbox = self._make()
        await self.start()

    async def put(self, size: int = 3000) -> None:
        self.number += 1
        await put(self.inbox, status_bytes(self.number, client_ref="x" * size))

    async def fill(self, size: int = 3000) -> int:
        """Put, a few at a time, until the inbox refuses; return how many it took."""
        taken = 0
        for _ in range(_MOST):
            results = await asyncio.gather(*(self.put(size) for _ in range(8)), return_exceptions=True)
            refused = [result for result in results if result is not None]
            taken += len(results) - len(refused)
            for error in refused:
                if not isinstance(error, InboxFullError):
                    raise error
            if refused:
                await self.inbox.idle()
                await self.inbox.store.count()  # a commit, with the marks
                return taken
        raise AssertionError("the disk is not full")

    def occupy(self) -> None:
        """Another program takes all that is left of the disk."""
        with (self.folder / "other").open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise


async def purge(scene: Scene, size: int = 3000) -> dict[str, Any]:
    filled = await scene.fill(size)
    purged = await scene.inbox.purge()
    return {"filled": filled, "purged": purged, "again": await scene.fill(size)}


async def purge_twice(scene: Scene) -> dict[str, Any]:
    first = await purge(scene)
    second = await scene.inbox.purge()
    return {**first, "second": second, "third": await scene.fill()}


async def large(scene: Scene) -> dict[str, Any]:
    return await purge(scene, 400_000)


async def restart(scene: Scene) -> dict[str, Any]:
    filled = await scene.fill()
    await scene.restart()
    purged = await scene.inbox.purge()
    return {"filled": filled, "purged": purged, "again": await scene.fill()}


async def occupied(scene: Scene) -> dict[str, Any]:
    for _ in range(60):
        await scene.put()
    scene.occupy()
    filled = await scene.fill()
    scene.occupy()
    await scene.restart()
    purged = await scene.inbox.purge()
    return {"filled": filled + 60, "purged": purged, "again": await scene.fill()}


async def retention(scene: Scene) -> dict[str, Any]:
    filled = await scene.fill()
    await scene.time.advance(2)
    scene.occupy()
    return {"filled": filled, "purged": filled, "again": await scene.fill(), "ready": True}


async def killed(scene: Scene) -> dict[str, Any]:
    """Only fill: the parent starts `after` on the same volume."""
    filled = await scene.fill()
    print(json.dumps({"filled": filled}), flush=True)
    os._exit(9)


async def after(scene: Scene) -> dict[str, Any]:
    purged = await scene.inbox.purge()
    return {"purged": purged, "again": await scene.fill()}


async def main(name: str, folder: Path) -> None:
    scene = Scene(folder)
    await scene.start()
    result = await SCENES[name](scene)
    await scene.inbox.aclose()
    print(json.dumps(result))


SCENES = {
    scene.__name__: scene
    for scene in (purge, purge_twice, large, restart, occupied, retention, killed, after)
}

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
