"""The status that a running `bulk run` leaves beside its ledger, for other terminals.

Only the process that sends knows why nothing moves. The file holds numbers and reasons, no personal data. One
of a process that is gone, or one that is older than a few seconds, says nothing.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_core import private_files

__all__ = ["LiveStatus", "read_live"]

_FRESH_S: Final = 15.0


class _Note(msgspec.Struct, frozen=True):
    """The content of the file.

    Attributes:
        pid: Id of the process that sends.
        status: Its status.
        processes: The scope of the id, from `_processes()`; `""` when unknown.
    """

    pid: int
    status: Status
    processes: str = ""


class LiveStatus:
    """Writes the status, whole or not at all.

    Args:
        ledger: Beside which it lies.
    """

    def __init__(self, ledger: Path) -> None:
        self._path = _path(ledger)

    def write(self, status: Status) -> None:
        """Leave a status.

        Raises:
            OSError: It cannot be written.
        """
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with os.fdopen(private_files.open_for_writing(new), "wb") as file:
            file.write(msgspec.json.encode(_Note(os.getpid(), status, _processes())))
        new.replace(self._path)

    def remove(self) -> None:
        """Take it away: nothing runs here any more."""
        self._path.unlink(missing_ok=True)


def read_live(ledger: Place, now: float) -> Status | None:
    """Return what a running process left; `None` for nothing fresh, or when that process is gone.

    Args:
        ledger: Beside which it lies.
        now: Epoch seconds.
    """
    if not isinstance(ledger, Path):  # several processes send, and each counts in the database
        return None
    try:
        note = msgspec.json.decode(_path(ledger).read_bytes(), type=_Note)
    except (OSError, msgspec.DecodeError):
        return None
    return note.status if abs(now - note.status.at) <= _FRESH_S and not _is_gone(note) else None


def _is_gone(note: _Note) -> bool:
    """Whether the process was killed, as far as this process can tell."""
    if not note.processes or note.processes != _processes():
        return False  # another machine or container: its ids are other processes here
    try:
        os.kill(note.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # a process of another user
        return False
    return False


@cache
def _processes() -> str:
    """Return the scope in which a process id is unique: one start of a machine, and one container.

    Returns:
        The scope; `""` on systems that do not tell it, and on Windows, where signal 0 would end the process.
    """
    if sys.platform == "win32":
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}-status")
