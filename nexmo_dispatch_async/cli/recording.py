"""Recordings of callbacks without personal data: JSON lines, for `listen --record` and `replay`.

It handles files; the redaction of bodies is in `redactor.py`.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import msgspec

from nexmo_dispatch_async.cli.redactor import Redactor
from nexmo_dispatch_core.lenient import without_mark
from nexmo_dispatch_core.private_files import open_for_writing
from nexmo_dispatch_webhooks import Context, Event

__all__ = ["Recorded", "Recorder", "RecordingError", "read"]

_PATH = re.compile(r"[a-z/_-]{0,100}")


class RecordingError(Exception):
    """A recording cannot be read; the message names the place without quoting the content."""


class Recorded(msgspec.Struct, frozen=True):
    """One callback of a recording."""

    body: bytes
    #: Path below the mount point.
    path: str = ""
    #: Arrival in epoch seconds; None if unknown.
    at: float | None = None


class Recorder:
    """Appends redacted callbacks to a file that only its owner can read; `write` flushes each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._redactor = Redactor()
        self._lock = anyio.Lock()
        self._file: anyio.AsyncFile[bytes] | None = None

    async def __aenter__(self) -> Self:
        descriptor = await anyio.to_thread.run_sync(partial(open_for_writing, self._path, append=True))
        self._file = await anyio.open_file(descriptor, "ab")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            await self._file.aclose()
            self._file = None

    async def write(self, event: Event, context: Context) -> None:
        """Append one callback."""
        line = {
            "at": None if context.received_at is None else round(context.received_at.timestamp(), 3),
            "path": context.path if _PATH.fullmatch(context.path) else "",
            "body": self._redactor.body(event.raw),
        }
        if self._file is None:
            raise RuntimeError("the recorder is not open")
        async with self._lock:
            await self._file.write(json.dumps(line).encode() + b"\n")
            await self._file.flush()


def read(source: Path) -> list[Recorded]:
    """Return the callbacks of a recording, of one body in a file, or of the `*.json` bodies below a folder.

    Raises:
        RecordingError: The source cannot be read, is empty, or has another format.
    """
    try:
        if source.is_dir():
            found = [Recorded(without_mark(path.read_bytes())) for path in sorted(source.rglob("*.json"))]
        else:
            found = list(_lines(without_mark(source.read_bytes()), source.name))
    except OSError as error:
        raise RecordingError(f"cannot read {source.name}: {error.strerror}") from None
    if not found:
        raise RecordingError(f"{source.name} holds no callbacks")
    return found


def _lines(data: bytes, name: str) -> Iterator[Recorded]:
    if _is_object(data, without="body"):
        yield Recorded(data)
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                recorded = _LINE.decode(line)
            except (ValueError, RecursionError):
                recorded = None
            # lines of `simulate --record` also have a `body`, but as a string
            if recorded is None or bytes(recorded.body)[:1] != b"{":
                raise RecordingError(
                    f"{name}, line {number}: no callback recorded by 'nexmo-dispatch listen --record'"
                )
            yield Recorded(bytes(recorded.body), recorded.path, recorded.at)


def _is_object(data: bytes, *, without: str) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and without not in value


class _Line(msgspec.Struct):
    body: msgspec.Raw
    path: str = ""
    at: float | None = None


_LINE = msgspec.json.Decoder(_Line)
