"""Files for the eyes of their owner only: made with mode 0600, at the place where a link points to.

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
    """The absolute path of a file behind all links, whether the file exists or not.

    Raises:
        PermissionError: the path is a link that another user made, so that user chose the file.
    """
    try:
        link = os.lstat(path)
    except OSError:
        link = None  # missing or inaccessible: opening it raises the error
    if link is not None and stat.S_ISLNK(link.st_mode) and not _is_trusted(link):
        raise PermissionError(errno.EPERM, f"is a link that another user (uid {link.st_uid}) made", str(path))
    return Path(os.path.realpath(path))


def create(path: Path) -> bool:
    """Make an empty file that its owner alone may read; return False when there is one already.

    A file that exists is never opened: closing it would drop the locks that SQLite holds in this process.

    Args:
        path: from `locate`: a link that is put there in between is not followed.

    Raises:
        OSError: the file cannot be made.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600))
    except FileExistsError:
        return False
    return True


def exposure(path: Path) -> str | None:
    """Why others than this user may read a file, in words that follow its name; None when they may not.

    Raises:
        PermissionError: it belongs to another user, who may read and change it whatever its mode says. For
            root that is only told: root works for other users.
        OSError: there is no such file.
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
    """Open a file for its owner only and return its descriptor; a device or a pipe is opened as it is.

    Args:
        path: the file; it is made behind its links.
        append: keep what is there. Otherwise the file is emptied.

    Raises:
        OSError: it cannot be opened, or belongs to another user.
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
    """Whether a file or link is this user's or root's; root itself may use those of everyone."""
    return _is_own(found) or found.st_uid == _ROOT or os.geteuid() == _ROOT
