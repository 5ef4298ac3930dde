"""What the disk of a traced server holds after a loss of power: a whole folder, written by many processes.

`power_loss` says what is taken for granted. Besides, a rename, a new folder and a new file are there at once,
as after a sync of their folder. Each event has the time at which its call began, by the clock of the machine:
what a client was told before it was promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.power_loss import Event, applied, apply, strace, survivors, text_of

__all__ = ["Call", "Folder", "calls_of", "tracer"]

_CALLS: Final = "openat,write,pwrite64,pwritev,ftruncate,fallocate,fdatasync,fsync,unlink,link,rename,mkdir"
_WHOLE: Final = re.compile(r"(\d+) +([\d.]+) (\w+)\((.*)\) += (-?\d+)")
_BEGUN: Final = re.compile(r"(\d+) +([\d.]+) (\w+)\((.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(\d+) +[\d.]+ <\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")
_TEXTS: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE: Final = re.compile(r"\d+<((?:\\x[0-9a-f]{2})+)>(\(deleted\))?")


@dataclass(frozen=True)
class Call:
    """One call of the system that succeeded.

    Attributes:
        at: When it began, in epoch seconds.
        begun: How many calls had ended when it began: a sync covers no write that came later.
        target: The second path of a call with two.
    """

    name: str
    path: str
    target: str
    arguments: str
    at: float
    begun: int


def tracer(output: Path) -> list[str]:
    """Return the command under which a server writes its calls to a file; the server keeps its process id."""
    return [
        strace or "strace",
        *("-D", "-f", "--seccomp-bpf", "-ttt", "-y", "-v", "-xx", "-s", "10000000"),
        *("-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(output)),
    ]


def calls_of(lines: Iterator[str], root: Path) -> list[Call]:
    """Return the calls that changed or synced files below a folder, in the order in which they ended."""
    found: list[Call] = []
    begun: dict[str, tuple[float, int, str]] = {}
    for line in lines:
        if (part := _BEGUN.match(line)) is not None:
            begun[part[1]] = float(part[2]), len(found), part[4]
            continue
        if (resumed := _RESUMED.match(line)) is not None and resumed[1] in begun:
            at, number, first = begun.pop(resumed[1])
            name, arguments, code = resumed[2], first + resumed[3], resumed[4]
        elif (whole := _WHOLE.match(line)) is not None:
            at, number = float(whole[2]), len(found)
            name, arguments, code = whole[3], whole[4], whole[5]
        else:
            continue
        paths = _paths(name, arguments, root) if int(code) >= 0 else []
        if paths:
            found.append(Call(name, paths[0], paths[-1], arguments, at, number))
    return found


def _paths(name: str, arguments: str, root: Path) -> list[str]:
    """Return the paths of a call below the folder; none for a call that concerns another file."""
    if name in {"openat", "unlink", "link", "rename", "mkdir"}:
        texts = [text_of(text).decode() for text in _TEXTS.findall(arguments)]
        paths = [root / text for text in texts]  # the server works in the folder of its data
    else:
        file = _FILE.match(arguments)
        paths = [] if file is None or file[2] else [Path(text_of(file[1]).decode())]
    return [str(path.relative_to(root)) for path in paths if path.is_relative_to(root)]


@dataclass
class Folder:
    """The files below a folder: as they were synced, and what was written since.

    Attributes:
        synced: Content by path.
        since: By path the writes since, each with the number of its call.
    """

    synced: dict[str, bytearray] = field(default_factory=dict[str, bytearray])
    since: dict[str, list[tuple[int, Event]]] = field(default_factory=dict[str, list[tuple[int, Event]]])
    folders: set[str] = field(default_factory=set[str])
    positions: dict[str, int] = field(default_factory=dict[str, int])

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
            writes = self.since.pop(path, [])
            covered = [write for at, write in writes if at < call.begun]
            if path in self.synced:
                apply(self.synced[path], covered)
            if later := [write for write in writes if write[0] >= call.begun]:
                self.since[path] = later
        elif call.name == "unlink":
            self.synced.pop(path, None)
            self.since.pop(path, None)
        elif call.name in {"rename", "link"}:
            self._name_anew(call)
        elif call.name == "mkdir":
            self.folders.add(path)
        elif call.name == "openat":
            self.positions[path] = 0
            if "O_CREAT" in call.arguments:
                self.synced.setdefault(path, bytearray())
            if "O_TRUNC" in call.arguments:
                self._note(number, path, Event("truncate", path, 0))
        else:
            for event in self._writes(call):
                self._note(number, path, event)

    def _name_anew(self, call: Call) -> None:
        self.since.pop(call.target, None)
        self.synced[call.target] = self.synced[call.path]
        if call.path in self.since:
            self.since[call.target] = list(self.since[call.path])
        if call.name == "rename":
            self.synced.pop(call.path)
            self.since.pop(call.path, None)

    def _note(self, number: int, path: str, event: Event) -> None:
        if path in self.synced:  # else it was unlinked, and is only written by those that have it open
            self.since.setdefault(path, []).append((number, event))

    def _writes(self, call: Call) -> list[Event]:
        path, numbers = call.path, call.arguments.rsplit(",", 2)
        if call.name == "ftruncate":
            return [Event("truncate", path, int(numbers[-1]))]
        if call.name == "fallocate":
            return []  # more zeros behind the end: a file that lacks them is the harder case
        data = b"".join(text_of(text) for text in _TEXTS.findall(call.arguments))
        if call.name == "write":
            offset = self.positions.get(path, 0)
            self.positions[path] = offset + len(data)
        else:
            offset = int(numbers[-1])
        return [Event("write", path, offset, data)]

    def after_power_loss(self, target: Path, seed: int) -> None:
        """Write the files as they are when the power fails now; seed 0 loses all that was not synced."""
        for name in sorted(self.folders):
            (target / name).mkdir(parents=True, exist_ok=True)
        for name, content in self.synced.items():
            kept = survivors([event for _, event in self.since.get(name, [])], name, seed)
            (target / name).write_bytes(applied(bytes(content), kept) if kept else content)
