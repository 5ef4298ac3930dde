"""What a process holds on Linux: memory, descriptors, sockets, threads and tasks, and how much they grow."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import msgspec

__all__ = ["Sample", "growth", "take_sample"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(msgspec.Struct, frozen=True):
    """What a process held at one moment.

    Attributes:
        seconds: Time of the sample since the begin of the run.
        memory: Resident memory in MiB.
        fds: Open file descriptors, sockets among them.
        sockets: Open sockets.
        threads: Threads of the process.
        tasks: Tasks of the event loop.
        objects: Objects that the garbage collector knows.
    """

    seconds: float
    memory: float
    fds: int
    sockets: int
    threads: int
    tasks: int
    objects: int


def take_sample(seconds: float) -> Sample:
    """Collect garbage and count; call it in the event loop whose tasks are counted."""
    gc.collect()
    links = [_target(link) for link in Path("/proc/self/fd").iterdir()]
    return Sample(
        seconds=round(seconds, 1),
        memory=round(resident_mib(), 2),
        fds=sum(1 for link in links if link),
        sockets=sum(1 for link in links if link.startswith("socket:")),
        threads=len(list(Path("/proc/self/task").iterdir())),
        tasks=len(asyncio.all_tasks()),
        objects=len(gc.get_objects()),
    )


def resident_mib(pid: int | str = "self") -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * _PAGE / 2**20


def growth(samples: Sequence[Sample]) -> dict[str, float]:
    """Return by how much the mean of each figure in the last third is above that in the first third."""
    third = max(1, len(samples) // 3)
    first, last = samples[:third], samples[-third:]
    return {
        name: mean(getattr(sample, name) for sample in last) - mean(getattr(sample, name) for sample in first)
        for name in Sample.__struct_fields__
        if name != "seconds"
    }


def _target(link: Path) -> str:
    """Return the target of a descriptor, "" for the one that lists the folder and is closed by now."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""
