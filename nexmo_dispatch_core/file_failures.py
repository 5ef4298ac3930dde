"""Why the file of a store cannot be opened, read or written, with the cure: SQLite tells neither.

It looks at the file, its companions and its folder, and opens none of them: closing one would drop the locks
that SQLite holds in this process. The words name no path, which may be private.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path
from typing import Final

__all__ = ["companions_of", "obstacle_of", "reason_of"]

#: What SQLite and the stores keep beside a file.
_COMPANIONS: Final = ("-wal", "-shm", "-journal", "-worker", "-reserve", "-owner", "-guard")
_NO_ROOM: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})
#: The codes of SQLite behind which there is a failure of the system.
_OF_THE_SYSTEM: Final = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
#: Bytes below which SQLite cannot create its companions.
_LEAST_ROOM: Final = 64 * 1024
_MAKE_ROOM: Final = "make room on the disk (df -h and df -i show it)"
_CHANGE_OWNER: Final = "start this process as the owner, or give it to the user of this process (chown)"
_RESTORE: Final = "end each process that uses it, keep a copy, and put a backup in its place"
_RELEASE: Final = "another connection kept it locked for too long: end that backup, shell or transaction"
#: What to do about a failure of SQLite whose cause is not to be seen.
_CURES: Final = {
    sqlite3.SQLITE_BUSY: _RELEASE,
    sqlite3.SQLITE_LOCKED: _RELEASE,
    sqlite3.SQLITE_FULL: _MAKE_ROOM,  # also beyond the largest size of the file, on a disk with room
    sqlite3.SQLITE_READONLY: "let this process write the file, its companions and its folder, and restart it",
    sqlite3.SQLITE_IOERR: "the disk failed, or a limit of this process: read the log of the kernel (dmesg)",
    sqlite3.SQLITE_CORRUPT: _RESTORE,
    sqlite3.SQLITE_NOTADB: f"the file is another one, or its beginning was overwritten: {_RESTORE}",
}


def reason_of(path: str | os.PathLike[str], error: OSError | sqlite3.Error) -> str:
    """Return why an operation on a file failed, and what to do about it, in one sentence without a full stop.

    Args:
        path: The file.
        error: The failure.
    """
    file = Path(os.path.realpath(path))
    if isinstance(error, OSError):
        return _obstacle(file, error.errno or 0) or error.strerror or type(error).__name__
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _OF_THE_SYSTEM and (seen := _obstacle(file, 0)):
        return seen
    name: str = getattr(error, "sqlite_errorname", "")
    cure = _CURES.get(code)
    return str(error) if cure is None else f"{error} ({name}): {cure}"


def obstacle_of(path: str | os.PathLike[str]) -> str:
    """Return why this process cannot use a file, in the words of `reason_of`; `""` if it can."""
    return _obstacle(Path(os.path.realpath(path)), 0)


def companions_of(path: str | os.PathLike[str]) -> list[Path]:
    """Return where SQLite and the stores keep files beside a file, whether they exist or not."""
    file = Path(os.path.realpath(path))
    return [file.with_name(file.name + end) for end in _COMPANIONS]


def _obstacle(file: Path, number: int) -> str:
    return _of_the_folder(file.parent, number) or _of_the_files(file)


def _of_the_folder(folder: Path, number: int) -> str:
    try:
        folder.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"there is no such folder ({folder.name}): create it, or correct the path"
    except OSError as error:
        return f"the folder {folder.name} cannot be entered ({error.strerror}): {_CHANGE_OWNER}"
    room = _room(folder)
    if number == errno.EROFS or (room is not None and room.f_flag & os.ST_RDONLY):
        return (
            "the file system is read-only: mount it for writing, and read the log of the kernel (dmesg) if "
            "it was writable before"
        )
    if number in _NO_ROOM or (room is not None and _is_used_up(room)):
        return f"the disk has no space left: {_MAKE_ROOM}"
    return ""


def _is_used_up(room: os.statvfs_result) -> bool:
    return room.f_bavail * room.f_frsize < _LEAST_ROOM or (room.f_files > 0 and not room.f_favail)


def _of_the_files(file: Path) -> str:
    try:
        if file.is_dir():
            return "it is a folder: name a file"
    except OSError as error:  # a name that is too long
        return f"{error.strerror}: correct the path"
    for each in (file, *companions_of(file)):
        if os.path.lexists(each) and not _may(each, os.R_OK | os.W_OK):
            return f"permission denied: {each.name} {_owned(each)}: {_CHANGE_OWNER}"
    if not _may(file.parent, os.W_OK | os.X_OK):
        return (
            f"permission denied: the folder {file.parent.name}, in which SQLite keeps -wal and -shm, "
            f"{_owned(file.parent)}: {_CHANGE_OWNER}"
        )
    return ""


def _owned(path: Path) -> str:
    if not hasattr(os, "geteuid"):
        return "is not writable for this process"
    try:
        found = path.stat()
    except OSError:
        return "cannot be looked at"
    mode = found.st_mode & 0o7777
    return f"belongs to uid {found.st_uid} (mode {mode:04o}) and this process runs as uid {os.geteuid()}"


def _may(path: Path, what: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, what, effective_ids=effective)


def _room(folder: Path) -> os.statvfs_result | None:
    if not hasattr(os, "statvfs"):  # pragma: no cover - Windows
        return None
    try:
        return os.statvfs(folder)
    except OSError:
        return None
