"""The status that a running `bulk run` leaves beside its ledger, for other terminals.

Only the process that sends knows why nothing moves. The file holds numbers and reasons, no personal data; one
that is older than a few seconds is of a process that is gone or stuck.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_core import private_files

__all__ = ["LiveStatus", "read_live"]

_FRESH_S: Final = 15.0


class _Left(msgspec.Struct, frozen=True):
    pid: int
    status: Status


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
            file.write(msgspec.json.encode(_Left(os.getpid(), status)))
        new.replace(self._path)

    def remove(self) -> None:
        """Take it away: nothing runs here any more."""
        self._path.unlink(missing_ok=True)


def read_live(ledger: Path, now: float) -> Status | None:
    """Return what a running process left, `None` when there is none that is fresh.

    Args:
        ledger: Beside which it lies.
        now: Epoch seconds.
    """
    try:
        left = msgspec.json.decode(_path(ledger).read_bytes(), type=_Left)
    except (OSError, msgspec.DecodeError):
        return None
    return left.status if abs(now - left.status.at) <= _FRESH_S else None


def _path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}-status")
