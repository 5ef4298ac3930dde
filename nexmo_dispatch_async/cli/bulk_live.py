"""The status that a running `bulk run` leaves beside its ledger, for other terminals.

Only the process that sends knows why nothing moves. The file holds numbers and reasons, no personal data. One
that is older than a few seconds says nothing; whether its process lives still, the ledger tells.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from nexmo_dispatch_async.bulk.progress import Status
from nexmo_dispatch_async.cli.stores import Place
from nexmo_dispatch_core import private_files

__all__ = ["LiveStatus", "read_live"]

_FRESH_S: Final = 15.0


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
            file.write(msgspec.json.encode(status))
        new.replace(self._path)

    def remove(self) -> None:
        """Take it away: nothing runs here any more."""
        self._path.unlink(missing_ok=True)


def read_live(ledger: Place, now: float) -> Status | None:
    """Return what the process that sends left, which may be gone; `None` for nothing fresh.

    Args:
        ledger: Beside which it lies.
        now: Epoch seconds.
    """
    if not isinstance(ledger, Path):  # several processes send, and each counts in the database
        return None
    try:
        status = msgspec.json.decode(_path(ledger).read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return None
    return status if abs(now - status.at) <= _FRESH_S else None


def _path(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}-status")
