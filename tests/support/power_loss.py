"""What a disk holds after a loss of power, from the traced writes of a process.

What was synced is there. Of what was written since, any part may be: none, all, or what a seed chooses, torn
at sectors of 512 bytes. Names of files are taken to be there as soon as they are made.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Disk", "Event", "applied", "apply", "strace", "survivors", "text_of", "trace"]

_SECTOR = 512
_CALL = re.compile(r"^(\d+)\s+(\w+)\((.*?)(?:\)\s+=\s+(-?\d+).*| <unfinished \.\.\.>)$")
_RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>(.*?)\)?\s*=\s+(-?\d+)")
_FILE = re.compile(r"^\d+<((?:\\x[0-9a-f]{2})+)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')

strace = shutil.which("strace")


@dataclass(frozen=True)
class Event:
    """One call of the system: what was written, and where."""

    kind: Literal["write", "truncate", "sync", "unlink"]
    path: str
    offset: int = 0
    data: bytes = b""


def trace(command: list[str], output: Path, *, timeout: float = 60) -> list[Event]:
    """Run a command and return what it wrote, in order.

    Raises:
        subprocess.CalledProcessError: It failed, or cannot be traced.
    """
    calls = "pwrite64,write,ftruncate,fdatasync,fsync,unlink,rename"
    traced = [
        strace or "strace",
        "-f",
        "-y",
        "-xx",
        "-s",
        "10000000",
        "-e",
        f"trace={calls}",
        "-o",
        str(output),
    ]
    subprocess.run([*traced, *command], check=True, timeout=timeout, capture_output=True)
    return list(_events(output.read_text("ascii").splitlines()))


def _events(lines: list[str]) -> Iterator[Event]:
    begun: dict[str, str] = {}
    for line in lines:
        if (resumed := _RESUMED.match(line)) is not None:
            thread, call, rest, code = resumed.groups()
            arguments = begun.pop(thread, "") + rest
        elif (whole := _CALL.match(line)) is not None:
            thread, call, arguments, code = whole.groups()
            if code is None:  # another thread called in between: it counts when it is done
                begun[thread] = arguments
                continue
        else:
            continue
        if int(code) >= 0 and (event := _event(call, arguments)) is not None:
            yield event


def _event(call: str, arguments: str) -> Event | None:
    if call == "unlink":
        text = _TEXT.match(arguments)
        return None if text is None else Event("unlink", text_of(text[1]).decode())
    file = _FILE.match(arguments)
    if file is None:
        return None
    path = text_of(file[1]).decode()
    if call in {"fsync", "fdatasync"}:
        return Event("sync", path)
    if call == "ftruncate":
        return Event("truncate", path, int(arguments.rsplit(",", 1)[1]))
    data = _TEXT.search(arguments)
    if data is None:
        return None
    if call == "write":
        return Event("write", path, -1, text_of(data[1]))
    return Event("write", path, int(arguments.rsplit(",", 1)[1]), text_of(data[1]))


def text_of(text: str) -> bytes:
    """Return the bytes of a text as strace writes it with `-xx`."""
    return bytes.fromhex(text.replace("\\x", ""))


@dataclass
class Disk:
    """The files of a folder, as they were synced and as they were written since."""

    folder: Path
    synced: dict[str, bytes] = field(default_factory=dict[str, bytes])
    since: dict[str, list[Event]] = field(default_factory=dict[str, list[Event]])

    def play(self, event: Event) -> None:
        """Do what a call of the system did."""
        path = Path(event.path)
        if path.parent != self.folder:
            return
        if event.kind == "unlink":
            self.synced.pop(path.name, None)
            self.since.pop(path.name, None)
        elif event.kind == "sync":
            self.synced[path.name] = applied(self.synced.get(path.name, b""), self.since.pop(path.name, []))
        else:
            self.synced.setdefault(path.name, b"")
            self.since.setdefault(path.name, []).append(event)

    def after_power_loss(self, name: str, seed: int) -> bytes:
        """Return the content of a file when the power fails now.

        Args:
            name: Of the file.
            seed: 0 loses all that was not synced; another one loses a part of it.
        """
        return applied(self.synced.get(name, b""), survivors(self.since.get(name, []), name, seed))

    def now(self, name: str) -> bytes:
        """Return the content of a file as processes see it."""
        return applied(self.synced.get(name, b""), self.since.get(name, []))


def survivors(writes: list[Event], name: str, seed: int) -> list[Event]:
    """Return what is kept of writes that were not synced: nothing with seed 0, else any part of them."""
    if not seed:
        return []
    chance = random.Random(f"{seed} {name}")
    share = chance.random()
    return [piece for write in writes for piece in _sectors(write) if chance.random() < share]


def _sectors(event: Event) -> list[Event]:
    if event.kind != "write" or event.offset < 0:
        return [event]
    pieces: list[Event] = []
    start = event.offset
    end = event.offset + len(event.data)
    while start < end:
        stop = min(end, (start // _SECTOR + 1) * _SECTOR)
        data = event.data[start - event.offset : stop - event.offset]
        pieces.append(Event("write", event.path, start, data))
        start = stop
    return pieces


def applied(content: bytes, events: list[Event]) -> bytes:
    """Return the content of a file after writes."""
    result = bytearray(content)
    apply(result, events)
    return bytes(result)


def apply(content: bytearray, events: list[Event]) -> None:
    """Change the content of a file by writes."""
    for event in events:
        if event.kind == "truncate":
            del content[event.offset :]
            content.extend(bytes(event.offset - len(content)))
            continue
        offset = len(content) if event.offset < 0 else event.offset
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(event.data)] = event.data
