"""What the disk of a traced server holds after a loss of power: a folder that processes and threads write.

`power_loss` says what is taken for granted. Besides, a rename, a new folder and a new file are there at once,
as after a sync of their folder. What a call writes to a file that was opened with `O_SYNC` or `O_DSYNC` is
synced when it ends. Each call has its times by the clock of the machine: what a client was told before was
promised.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from tests.support.power_loss import Event, applied, apply, strace, survivors, text_of

__all__ = ["Call", "Folder", "calls_in", "tracer", "wait_for_tracer"]

T = TypeVar("T")

#: Those with `at` are of Go, the others of C. None of them may be missing on the machine.
_OF_PATHS: Final = frozenset(
    {"openat", "truncate", "link", "rename", "mkdir", "rmdir", "unlink", "renameat", "mkdirat", "unlinkat"}
)
_OF_FILES: Final = frozenset({"write", "pwrite64", "pwritev", "ftruncate", "fallocate", "fdatasync", "fsync"})
_END: Final = r"\) += (-?\d+).* <([\d.]+)>$"
_WHOLE: Final = re.compile(r"(\d+) +([\d.]+) (\w+)\((.*)" + _END)
_BEGUN: Final = re.compile(r"(\d+) +([\d.]+) (\w+)\((.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(\d+) +[\d.]+ <\.\.\. (\w+) resumed>(.*)" + _END)
_TEXTS: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
#: A path, and before it the folder that it is relative to, if the call names one.
_PATHS: Final = re.compile(r'(?:<((?:\\x[0-9a-f]{2})+)>, )?"((?:\\x[0-9a-f]{2})*)"')
_FILE: Final = re.compile(r"(\d+)<((?:\\x[0-9a-f]{2})+)>(\(deleted\))?")


@dataclass(frozen=True)
class Call:
    """One call of the system that succeeded.

    Attributes:
        at: When it began, in epoch seconds.
        ended: When it ended.
        begun: How many calls had ended when it began: a sync covers no write that came later.
        target: The second path of a call with two.
        descriptor: Of the file that it opened or wrote; 0 for others.
    """

    name: str
    path: str
    target: str
    arguments: str
    at: float
    ended: float
    begun: int
    descriptor: int


def tracer(output: Path) -> list[str]:
    """Return the command under which a server writes its calls to a file; the server keeps its process id.

    A server that is started again writes behind what is there.
    """
    return [
        strace or "strace",
        *("-D", "-f", "--seccomp-bpf", "-ttt", "-T", "-y", "-v", "-xx", "-s", "10000000"),
        *("-e", f"trace={','.join(sorted(_OF_PATHS | _OF_FILES))}", "-e", "signal=none"),
        *("-A", "-o", str(output)),
    ]


def wait_for_tracer(output: Path, pid: int) -> None:
    """Return once the tracer has noted the end of the server process, and so all before it."""
    deadline = time.monotonic() + 30
    while not (ends := [line for line in _lines(output) if " +++ " in line] or [""])[-1].startswith(
        f"{pid} "
    ):
        assert time.monotonic() < deadline, f"the tracer did not end: {ends[-1]}"
        time.sleep(0.1)


def calls_in(output: Path, root: Path) -> list[Call]:
    """Return the calls of a trace that changed or synced files below a folder, in the order of their ends."""
    return list(_calls(_lines(output), root))


def _lines(output: Path) -> Iterator[str]:
    with output.open(encoding="ascii", errors="replace") as file:
        yield from file


def _calls(lines: Iterator[str], root: Path) -> Iterator[Call]:
    number = 0
    begun: dict[str, tuple[float, int, str]] = {}
    for line in lines:
        if (part := _BEGUN.match(line)) is not None:
            begun[part[1]] = float(part[2]), number, part[4]
            continue
        if (resumed := _RESUMED.match(line)) is not None and resumed[1] in begun:
            at, before, first = begun.pop(resumed[1])
            name, arguments, code, seconds = resumed[2], first + resumed[3], int(resumed[4]), resumed[5]
        elif (whole := _WHOLE.match(line)) is not None:
            at, before = float(whole[2]), number
            name, arguments, code, seconds = whole[3], whole[4], int(whole[5]), whole[6]
        else:
            continue
        paths, descriptor = _paths(name, arguments, root) if code >= 0 else ([], 0)
        if paths:
            file = code if name == "openat" else descriptor
            yield Call(name, paths[0], paths[-1], arguments, at, at + float(seconds), before, file)
            number += 1


def _paths(name: str, arguments: str, root: Path) -> tuple[list[str], int]:
    """Return the paths of a call, and its descriptor; no path if it concerns a file elsewhere."""
    descriptor = 0
    if name in _OF_PATHS:
        # Where the call names no folder, the server works in the folder of its data.
        texts = [(text_of(base).decode(), text_of(text).decode()) for base, text in _PATHS.findall(arguments)]
        paths = [root / base / text for base, text in texts]
    elif (file := _FILE.match(arguments)) is None or file[3]:
        paths = []
    else:
        paths, descriptor = [Path(text_of(file[2]).decode())], int(file[1])
    return [str(path.relative_to(root)) for path in paths if path.is_relative_to(root)], descriptor


@dataclass
class _Opened:
    """An open file: where its next `write` goes, and whether what is written is synced at once."""

    position: int = 0
    direct: bool = False


@dataclass
class Folder:
    """The files below a folder: as they were synced, and what was written since.

    Attributes:
        synced: Content by path.
        since: By path the writes since, each with the number of its call.
        opened: By path and descriptor.
    """

    synced: dict[str, bytearray] = field(default_factory=dict[str, bytearray])
    since: dict[str, list[tuple[int, Event]]] = field(default_factory=dict[str, list[tuple[int, Event]]])
    folders: set[str] = field(default_factory=set[str])
    opened: dict[tuple[str, int], _Opened] = field(default_factory=dict[tuple[str, int], _Opened])

    @classmethod
    def read(cls, root: Path) -> Folder:
        """Return the folder of a server that was stopped in order."""
        folder = cls()
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if path.is_dir():
                folder.folders.add(name)
            elif path.is_file():
                folder.synced[name] = bytearray(path.read_bytes())
        return folder

    def play(self, number: int, call: Call) -> None:
        """Do what a call did."""
        path = call.path
        if call.name in {"fsync", "fdatasync"}:
            self._sync(path, call.begun)
        elif call.name in {"unlink", "unlinkat", "rmdir"}:
            self._remove(path)
        elif call.name == "link":
            self.synced[call.target] = self.synced[path]
            self.since[call.target] = list(self.since.get(path, []))
        elif call.name in {"rename", "renameat"}:
            self._rename(path, call.target)
        elif call.name in {"mkdir", "mkdirat"}:
            self.folders.add(path)
        elif call.name == "openat":
            self._open(number, call)
        else:
            self._write(number, call)

    def _sync(self, path: str, begun: int) -> None:
        writes = self.since.pop(path, [])
        if path in self.synced:
            apply(self.synced[path], [write for at, write in writes if at < begun])
        if later := [write for write in writes if write[0] >= begun]:
            self.since[path] = later

    def _remove(self, path: str) -> None:
        """Remove a file or a folder.

        A folder that could be removed was empty: a process that ended while it removed a file in there did
        so without an end of that call in the trace.
        """
        for name in [name for name in self.synced if name == path or name.startswith(f"{path}/")]:
            self.synced.pop(name)
            self.since.pop(name, None)
        self.folders.discard(path)

    def _rename(self, path: str, target: str) -> None:
        """Give a file another name, in place of the one that has it; or a folder, with all that is in it."""
        self.since.pop(target, None)
        _move(self.synced, path, target)
        _move(self.since, path, target)
        folders = dict.fromkeys(self.folders, True)
        _move(folders, path, target)
        self.folders = set(folders)

    def _open(self, number: int, call: Call) -> None:
        path = call.path
        self.opened[path, call.descriptor] = _Opened(
            direct="O_SYNC" in call.arguments or "O_DSYNC" in call.arguments
        )
        if "O_CREAT" in call.arguments:
            self.synced.setdefault(path, bytearray())
        if "O_TRUNC" in call.arguments:
            self._note(number, path, Event("truncate", path, 0))

    def _note(self, number: int, path: str, event: Event) -> None:
        if path in self.synced:  # else it was unlinked, and is only written by those that have it open
            self.since.setdefault(path, []).append((number, event))

    def _write(self, number: int, call: Call) -> None:
        path, numbers = call.path, call.arguments.rsplit(",", 2)
        if call.name == "fallocate":
            return  # more zeros behind the end: a file that lacks them is the harder case
        if call.name in {"ftruncate", "truncate"}:
            self._note(number, path, Event("truncate", path, int(numbers[-1])))
            return
        data = b"".join(text_of(text) for text in _TEXTS.findall(call.arguments))
        opened = self.opened.setdefault((path, call.descriptor), _Opened())
        if call.name == "write":
            offset = opened.position
            opened.position += len(data)
        else:
            offset = int(numbers[-1])
        self._note(number, path, Event("write", path, offset, data))
        if opened.direct:
            # A write of another descriptor, which this one does not sync, would be taken for synced.
            others = [write for _, write in self.since.get(path, [])[:-1] if write.kind == "write"]
            assert not others, f"{path} is written with O_SYNC and without"
            self._sync(path, number + 1)

    def after_power_loss(self, target: Path, seed: int) -> None:
        """Write a folder anew as it is when the power fails now; seed 0 loses all that was not synced."""
        self._make(target, lambda name, writes: survivors(writes, name, seed))

    def as_written(self, target: Path) -> None:
        """Write a folder anew as processes see it now, and as it is when they are killed."""
        self._make(target, lambda _, writes: writes)

    def _make(self, target: Path, kept: Callable[[str, list[Event]], list[Event]]) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name in sorted(self.folders):
            (target / name).mkdir(parents=True, exist_ok=True)
        for name, content in self.synced.items():
            writes = kept(name, [event for _, event in self.since.get(name, [])])
            (target / name).write_bytes(applied(bytes(content), writes) if writes else content)


def _move(content: dict[str, T], path: str, target: str) -> None:
    """Move what belongs to a path, and to those below it."""
    for name in [name for name in content if name == path or name.startswith(f"{path}/")]:
        content[target + name[len(path) :]] = content.pop(name)
