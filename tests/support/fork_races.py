"""Races: two forks try the same at one instant, again and again.

python -m tests.support.fork_races FOLDER RACES    two forks claim the events of a new inbox
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from nexmo_dispatch_webhooks.inbox.sqlite import SqliteInboxStore

__all__ = ["Attempt", "race"]

#: What a fork tries: the number of the race, where it says how that went, and what ends once both have.
Attempt = Callable[[int, int, int], Coroutine[None, None, None]]


def race(races: int, attempt: Attempt) -> None:
    """Let two forks make an attempt at one instant, a number of times; print what each pair says."""
    for number in range(races):
        start, go = os.pipe()
        leave, end = os.pipe()
        outputs: list[int] = []
        for _ in range(2):
            output, said = os.pipe()
            outputs.append(output)
            if os.fork() == 0:
                os.read(start, 1)
                asyncio.run(attempt(number, said, leave))
                os._exit(0)
            os.close(said)
        os.write(go, b"12")
        words = sorted(os.read(output, 100).decode() for output in outputs)
        os.write(end, b"12")
        for _ in range(2):
            os.wait()
        for descriptor in (start, go, leave, end, *outputs):
            os.close(descriptor)
        print(*words, flush=True)


async def _claim_once(path: Path, said: int, leave: int) -> None:
    store = SqliteInboxStore(path, clock=lambda: 0.0)
    await store.open()
    os.write(said, b"claimed" if await store.claim() else b"stands-by")
    os.read(leave, 1)
    await store.aclose()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    race(int(sys.argv[2]), lambda number, said, leave: _claim_once(folder / f"{number}.db", said, leave))
