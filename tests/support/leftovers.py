"""What the closes of a process left open: sockets, tasks, and threads of stores."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path

import pytest

__all__ = ["assert_left", "exceeds", "held", "needs_descriptors"]

_BOUND = 10.0
_DESCRIPTORS = Path("/proc/self/fd")

needs_descriptors = pytest.mark.skipif(
    not _DESCRIPTORS.exists(), reason="the system does not tell what is open"
)


def held() -> tuple[int, int, int]:
    """Return the numbers of sockets, tasks, and threads that belong to stores."""
    links: list[str] = []
    for link in _DESCRIPTORS.iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:  # the one that lists them
            continue
    writers = [thread for thread in threading.enumerate() if thread.name.endswith("-writer")]
    return sum(link.startswith("socket:") for link in links), len(asyncio.all_tasks()), len(writers)


def exceeds(now: tuple[int, int, int], before: tuple[int, int, int]) -> bool:
    """Return whether more is held than before; what an earlier test left to the loop may end meanwhile."""
    return any(present > past for present, past in zip(now, before, strict=True))


async def assert_left(before: tuple[int, int, int], *, collect: bool = False) -> None:
    """Wait until no more is held than before: the loop and a server need rounds to see an end.

    Args:
        before: What `held` returned.
        collect: Whether circles are freed first: psycopg leaves one when its connecting is cancelled.
    """
    deadline = asyncio.get_running_loop().time() + _BOUND
    while exceeds(now := held(), before):
        if collect:
            gc.collect()
        if asyncio.get_running_loop().time() > deadline:
            tasks = "\n".join(map(repr, asyncio.all_tasks()))
            pytest.fail(f"sockets, tasks and threads were {before}, and are {now}:\n{tasks}")
        await asyncio.sleep(0.005)
