"""Files for their owner only: made behind links, and never those of another user."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexmo_dispatch_core import private_files

#: A user who is neither root nor the user of the tests.
STRANGER = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder where every user may make files, in a process that has not the rights of root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        os.seteuid(STRANGER)
        yield Path(folder)
        os.seteuid(0)


def give_away(path: Path) -> None:
    os.seteuid(0)
    os.chown(path, STRANGER - 1, -1, follow_symlinks=False)
    os.seteuid(STRANGER)


def test_a_link_into_an_empty_folder_makes_a_private_file_there(tmp_path: Path) -> None:
    """As in a container, where /app/inbox.db points into a volume that is still empty."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "link").symlink_to("volume/file")

    path = private_files.locate(tmp_path / "link")
    made = private_files.create(path)

    assert (path, made) == (tmp_path / "volume" / "file", True)
    assert mode(tmp_path / "volume" / "file") == 0o600
    assert not private_files.create(path)


def test_who_else_may_read_a_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(0o640)

    assert private_files.exposure(path) == "may be used by others (mode 0640): chmod 600 ends that"
    path.chmod(0o600)
    assert private_files.exposure(path) is None


@as_root
def test_root_is_told_whose_file_it_is(tmp_path: Path) -> None:
    """Root works for other users, who may read and change their files."""
    path = tmp_path / "file"
    path.touch(0o600)
    os.chown(path, STRANGER, -1)

    assert private_files.exposure(path) == f"belongs to another user (uid {STRANGER})"


@as_root
def test_a_file_of_another_user_is_refused(shared: Path) -> None:
    """Its owner may read it whatever its mode says."""
    path = shared / "file"
    path.touch(0o666)
    give_away(path)

    with pytest.raises(PermissionError, match=f"belongs to another user .uid {STRANGER - 1}"):
        private_files.exposure(path)
    with pytest.raises(PermissionError, match="belongs to another user"):
        private_files.open_for_writing(path)


@as_root
def test_a_link_of_another_user_is_refused(shared: Path) -> None:
    """It was planted, in a folder that several users share."""
    link = shared / "link"
    link.symlink_to(shared / "target")
    give_away(link)

    with pytest.raises(PermissionError, match="is a link that another user"):
        private_files.locate(link)
    with pytest.raises(PermissionError, match="is a link that another user"):
        private_files.open_for_writing(link)


@pytest.mark.parametrize("append", [True, False])
def test_what_is_written_is_private(tmp_path: Path, append: bool) -> None:
    """Also in a file that was there before, and through a link of one's own."""
    path = tmp_path / "file"
    path.write_bytes(b"before ")
    path.chmod(0o644)
    (tmp_path / "link").symlink_to(path)

    with os.fdopen(private_files.open_for_writing(tmp_path / "link", append=append), "wb") as file:
        file.write(b"after")

    assert mode(path) == 0o600
    assert path.read_bytes() == (b"before after" if append else b"after")


def test_a_device_is_opened_as_it_is() -> None:
    """`--record /dev/stdout` is no file to be made."""
    os.close(private_files.open_for_writing("/dev/null"))
