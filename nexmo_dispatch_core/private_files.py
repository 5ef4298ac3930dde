"""Files that only their owner may read: created with mode 0600, at the target of a link.

It reads and writes no content; `sqlite` opens databases with it, the command line opens its recordings.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["create", "exposure", "locate", "open_for_writing"]

#: Linux and macOS have it. Windows has neither links that need it nor owners.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_ROOT = 0


def locate(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a file with all links resolved, whether the file exists or not.

    Raises:
        PermissionError: The path is a link of another user, who chose the file.
    """
    try:
        link = os.lstat(path)
    except OSError:
        link = None  # missing or inaccessible: opening it raises the error
    if link is not None and stat.S_ISLNK(link.st_mode) and not _is_trusted(link):
        raise PermissionError(errno.EPERM, f"is a link that another user (uid {link.st_uid}) made", str(path))
    return Path(os.path.realpath(path))


def create(path: Path) -> bool:
    """Create an empty file that only its owner may read; return False when the file exists.

    An existing file is never opened: closing it would drop the locks that SQLite holds in this process.

    Args:
        path: The result of `locate`; a link that is created there meanwhile is not followed.

    Raises:
        OSError: The file cannot be created.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600))
    except FileExistsError:
        return False
    return True


def exposure(path: Path) -> str | None:
    """Return why other users may read a file, in words that follow its name; None when they may not.

    Raises:
        PermissionError: The file belongs to another user, who may read and change it whatever its mode. For
            root this is only a reason in the result: root works for other users.
        OSError: There is no such file.
    """
    found = path.stat()
    if not _is_trusted(found):
        raise PermissionError(errno.EPERM, f"belongs to another user (uid {found.st_uid})", str(path))
    if not hasattr(os, "geteuid"):
        return None
    reasons: list[str] = []
    if found.st_uid not in {_ROOT, os.geteuid()}:
        reasons.append(f"belongs to another user (uid {found.st_uid})")
    if found.st_mode & 0o077:
        reasons.append(f"may be used by others (mode {stat.S_IMODE(found.st_mode):04o}): chmod 600 ends that")
    return " and ".join(reasons) or None


def open_for_writing(path: str | os.PathLike[str], *, append: bool = False) -> int:
    """Open a file for its owner only and return its descriptor; a device or a pipe is opened unchanged.

    Args:
        path: The file; its links are resolved.
        append: Whether to keep the content; otherwise the file is truncated.

    Raises:
        OSError: The file cannot be opened, or belongs to another user.
    """
    flags = os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | (os.O_APPEND if append else 0)
    try:
        special = not stat.S_ISREG(Path(path).stat().st_mode)
    except OSError:
        special = False
    if special:
        return os.open(path, flags)
    descriptor = os.open(locate(path), flags | os.O_CREAT | _NO_LINK, 0o600)
    try:
        found = os.fstat(descriptor)
        if not _is_trusted(found):
            raise PermissionError(errno.EPERM, f"belongs to another user (uid {found.st_uid})", str(path))
        if hasattr(os, "fchmod") and _is_own(found):
            os.fchmod(descriptor, 0o600)
        if not append:
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _is_trusted(found: os.stat_result) -> bool:
    """Whether a file or link belongs to this user or to root; root itself may use the files of all users."""
    return _is_own(found) or found.st_uid == _ROOT or os.geteuid() == _ROOT
