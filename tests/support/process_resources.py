"""What a process holds on Linux: memory, descriptors, sockets, threads and tasks, and how much they grow.

Resident memory includes freed memory that the allocators keep for later: the heaps of glibc, of which each
thread may have one, and the arenas of Python. It varies by megabytes, and tells no leak from a gap. Memory in
use does not: `heap` counts the bytes that `malloc` gave out, and `blocks` the small objects of Python, which
has an allocator of its own for them.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import msgspec

__all__ = ["Sample", "growth", "heap_is_known", "heap_mib", "take_sample"]


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later, see mallinfo(3)."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    )


class Sample(msgspec.Struct, frozen=True):
    """What a process held at one moment.

    Attributes:
        seconds: Time of the sample since the begin of the run.
        memory: Resident memory in MiB.
        heap: Memory in MiB that `malloc` has given out and that is not freed, among it the pages and compiled
            statements of SQLite, and objects of Python of more than 512 bytes.
        blocks: Smaller objects of Python, also those that the garbage collector does not know.
        fds: Open file descriptors, sockets among them.
        sockets: Open sockets.
        threads: Threads of the process.
        tasks: Tasks of the event loop.
        objects: Objects that the garbage collector knows.
    """

    seconds: float
    memory: float
    heap: float
    blocks: int
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
        heap=round(heap_mib(), 2),
        blocks=sys.getallocatedblocks(),
        fds=sum(1 for link in links if link),
        sockets=sum(1 for link in links if link.startswith("socket:")),
        threads=len(list(Path("/proc/self/task").iterdir())),
        tasks=len(asyncio.all_tasks()),
        objects=len(gc.get_objects()),
    )


def resident_mib(pid: int | str = "self") -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def heap_is_known() -> bool:
    """Return whether `heap_mib` works: on Linux with glibc 2.33 or later."""
    return sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallinfo2")


def heap_mib() -> float:
    """Return the memory in MiB that `malloc` has given out, in all heaps of the process."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return float(found.uordblks + found.hblkhd) / 2**20


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
