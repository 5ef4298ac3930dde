"""The owner of a ledger's file: one process at a time; copies and older states of the file are refused.

The lock is on a companion file, `-owner`, and the system releases it when the process dies. The ledger itself
names the owner, for error messages, and each transaction checks that name. A second companion, `-guard`,
identifies the file and its progress: a copy has another inode, and a restored file has fewer claims.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import sqlite3
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerError, LedgerInUseError
from nexmo_dispatch_core import private_files
from nexmo_dispatch_core.file_failures import reason_of
from nexmo_dispatch_core.sqlite import SqliteFile, is_locked

__all__ = ["Holder", "Owner", "here", "holder_of"]

_TRIES: Final = 10
#: Digits of the number of claims at the beginning of the guard.
_DIGITS: Final = 20
_MACHINE_IDS: Final[tuple[str, ...]] = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_BOOT_ID: Final = "/proc/sys/kernel/random/boot_id"


class Identity(Struct, frozen=True):
    """The identity of a ledger's file, stored in the file.

    Attributes:
        device: Number of the device; compared only until the machine restarts.
        inode: Number of the file on the device.
        host: Digest that identifies the machine.
        boot: Identifier of the start of the machine, or `""`.
        nonce: Random value of this opening; the guard has the same value.
        previous: The nonce of the previous opening, for a crash between the writes of the two files.
        pid: Id of the process.
        name: Name of the machine, for error messages.
        container: Namespace in which the id of the process is unique, or `""`.
        at: Time of this opening, in epoch seconds.
        sends: Whether the process sends, and does not only hear callbacks.
    """

    device: int
    inode: int
    host: str
    boot: str
    nonce: str
    previous: str = ""
    pid: int = 0
    name: str = ""
    container: str = ""
    at: float = 0.0
    sends: bool = True


#: What the process does that has a file.
Holder = Literal["sender", "listener"]


class Owner:
    """The claim of this process on a file.

    Args:
        file: An open file that is a ledger or empty.

    Raises:
        LedgerInUseError: Another process, or another ledger of this process, uses the file.
        LedgerError: The companion cannot be created.
    """

    def __init__(self, file: SqliteFile) -> None:
        if file.path is None:
            raise LedgerError("a ledger in SQLite needs a file: MemoryLedger keeps one in memory")
        self._file = file
        self._path: Path = file.path
        self._guard: int | None = None
        self._nonce = secrets.token_hex(8)
        self._packed = b""
        self._lock = self._take()

    def verify(self, claims: int, *, restored: bool, sends: bool) -> None:
        """Refuse a copied or restored file; otherwise become its owner.

        Args:
            claims: Number of claims in the file.
            restored: Whether the caller guarantees that the original is not used.
            sends: Whether this process sends.

        Raises:
            LedgerCopiedError: The file was copied or restored.
        """
        known, now = _read(self._file.connection), here(self._path)
        why = None if known is None else self._doubt(known, now, claims)
        if why is not None and not restored:
            raise LedgerCopiedError(
                f"the ledger {self._path.name} {why}: rows that are pending here may have been sent since. "
                "If the other one is not used and was not used since, open it with restored=True (--restored)"
            )
        previous = known.nonce if known is not None else ""
        self._own(replace(now, nonce=self._nonce, previous=previous, sends=sends), claims)

    def check(self, db: sqlite3.Connection) -> None:
        """Check that this process still owns the file; called in a transaction.

        Raises:
            LedgerInUseError: The companion was removed, and another process took the file.
        """
        row = db.execute("SELECT value FROM meta WHERE name = 'owner'").fetchone()
        if row is None or row[0] != self._packed:
            raise _in_use(self._path.name, _read(db))

    def note(self, claims: int) -> None:
        """Store the number of claims in the guard, without a sync: an older state of the file has fewer.

        Raises:
            OSError: The guard cannot be written.
        """
        if self._guard is not None:
            os.lseek(self._guard, 0, os.SEEK_SET)
            os.write(self._guard, b"%0*d" % (_DIGITS, claims))

    def release(self) -> None:
        """Release the file."""
        if self._guard is not None:
            os.close(self._guard)
            self._guard = None
        self._lock.close()

    # --- the lock ---

    def _take(self) -> SqliteFile:
        companion = self._path.with_name(self._path.name + "-owner")
        for _ in range(_TRIES):
            try:
                lock = SqliteFile(companion, busy_timeout=0)
            except OSError as error:
                why = reason_of(companion, error)
                raise LedgerError(
                    f"the companion {companion.name} of the ledger cannot be made: {why}"
                ) from None
            try:
                # Not EXCLUSIVE, which readers prevent: two at one instant read both, and both were refused.
                lock.connection.execute("BEGIN IMMEDIATE")
            except sqlite3.Error as error:
                lock.close()
                if is_locked(error):
                    raise _in_use(self._path.name, _read(self._file.connection)) from None
                raise
            if lock.damage() is None:
                return lock
            lock.close()  # the file was removed meanwhile: the lock is on a file without a name
        raise LedgerError(f"the companion {companion.name} of the ledger is removed again and again")

    # --- the identity ---

    def _doubt(self, known: Identity, now: Identity, claims: int) -> str | None:
        """Return why this may not be the latest state of the file, in words that follow its name."""
        if known.host != now.host:
            return f"comes from another machine, {known.name}"
        if known.inode != now.inode or (known.boot == now.boot and known.device != now.device):
            return "is a copy of the file that was sent from"
        guard = self._read_guard()
        if guard is None:
            return "came without its companion -guard, so that it cannot be told from a copy"
        noted, nonce = guard
        if nonce not in {known.nonce, known.previous} or noted > claims:
            return "is an older state of the file, put back from a backup"
        return None

    def _read_guard(self) -> tuple[int, str] | None:
        try:
            claims, nonce = self._guard_path.read_text("ascii").split()
            return int(claims), nonce
        except (OSError, ValueError):
            return None

    def _own(self, identity: Identity, claims: int) -> None:
        packed = msgspec.json.encode(identity)
        db = self._file.connection
        db.execute("BEGIN IMMEDIATE")
        db.execute("REPLACE INTO meta VALUES ('owner', ?)", (packed,))
        db.execute("COMMIT")
        self._packed = packed
        self._write_guard(claims)

    def _write_guard(self, claims: int) -> None:
        path = private_files.locate(self._guard_path)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # not overwritten: a link or a file of another user must not be written
        private_files.create(path)
        self._guard = os.open(path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        os.write(self._guard, b"%0*d %s\n" % (_DIGITS, claims, self._nonce.encode()))
        os.fsync(self._guard)
        if sys.platform != "win32":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @property
    def _guard_path(self) -> Path:
        return self._path.with_name(self._path.name + "-guard")


def holder_of(db: sqlite3.Connection) -> Holder | None:
    """Return what the process does that owned a file last; `None` when it does not live.

    Where its id says nothing, it may live.
    """
    known = _read(db)
    if known is None or not _may_live(known):
        return None
    return "sender" if known.sends else "listener"


def _may_live(known: Identity) -> bool:
    if known.name != socket.gethostname():
        return True
    if known.boot != _first_line(_BOOT_ID):
        return False
    # In another container the id is that of another process, and on Windows signal 0 would end it.
    if known.container != _container() or sys.platform == "win32":
        return True
    try:
        os.kill(known.pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True


def here(path: Path) -> Identity:
    """Return what tells a file and this process apart from others.

    In a container without `/etc/machine-id` the name of the machine is what tells machines apart.
    """
    found = path.stat()
    lines = [_first_line(path) for path in _MACHINE_IDS]
    machine = next((line for line in lines if line), socket.gethostname())
    return Identity(
        device=found.st_dev,
        inode=found.st_ino,
        host=hashlib.sha256(f"nexmo-dispatch {machine}".encode()).hexdigest()[:16],
        boot=_first_line(_BOOT_ID),
        nonce="",
        pid=os.getpid(),
        name=socket.gethostname(),
        container=_container(),
        at=time.time(),
    )


def _container() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text("utf-8").strip()
    except OSError:
        return ""


def _read(db: sqlite3.Connection) -> Identity | None:
    row: tuple[Any] | None
    try:
        row = db.execute("SELECT value FROM meta WHERE name = 'owner'").fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=Identity)
    except (sqlite3.OperationalError, msgspec.DecodeError):  # the first opening is still making the tables
        return None


def _in_use(name: str, owner: Identity | None) -> LedgerInUseError:
    if owner is None:
        return LedgerInUseError(f"the ledger {name} is in use by another process")
    since = f"{datetime.fromtimestamp(owner.at, UTC):%Y-%m-%d %H:%M:%S} UTC"
    return LedgerInUseError(
        f"the ledger {name} is in use by process {owner.pid} on {owner.name} since {since}, and two would "
        "message people twice: end that one first; one that is paused keeps the ledger too",
        pid=owner.pid,
        host=owner.name,
    )
