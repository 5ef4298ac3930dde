"""What is over leaves the file of a tracker: in bounded pieces, and without a trace."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from nexmo_dispatch_async.exceptions import TrackingStoreError
from nexmo_dispatch_async.tracking import sqlite as sqlite_module
from nexmo_dispatch_async.tracking.reducer import WorkflowState
from nexmo_dispatch_async.tracking.sqlite import SqliteTrackingStore
from nexmo_dispatch_async.tracking.store import TrackingRetention

RETENTION = TrackingRetention(ended=100, open=100, unclaimed=100, max_unclaimed=500)
DAY = 86_400.0


def followed(name: str) -> WorkflowState:
    return WorkflowState(name, followed=True)


async def fill(path: Path, names: list[str], *, kind: str = "open") -> SqliteTrackingStore:
    """An open store with rows that are as old as the store."""
    store = SqliteTrackingStore(path)
    await store.merge(followed("first"), now=0, retention=RETENTION)
    rows = [(name, kind, 0.0, msgspec.json.encode(followed(name))) for name in names]
    with closing(sqlite3.connect(path)) as other:
        other.executemany("INSERT INTO tracking_workflow VALUES (?, ?, ?, ?)", rows)
        other.commit()
    return store


def count(path: Path, like: str = "%") -> int:
    query = "SELECT count(*) FROM tracking_workflow WHERE dispatch_uuid LIKE ?"
    with closing(sqlite3.connect(path)) as other:
        return int(other.execute(query, (like,)).fetchone()[0])


def contents(folder: Path) -> bytes:
    return b"".join(found.read_bytes() for found in folder.iterdir())


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


@pytest.mark.parametrize("rows", [4_000, pytest.param(20_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["open", "unclaimed"])
async def test_each_merge_deletes_a_bounded_piece(tmp_path: Path, kind: str, rows: int) -> None:
    """However much is over: the caller waits for a piece, and the log holds a few of them."""
    path = tmp_path / "tracking.db"
    store = await fill(path, [f"{n * 7919 % rows:05}-old" for n in range(rows)], kind=kind)
    before, left, largest, merges = 0, count(path, "%-old"), 0, 0
    while left:
        before = left
        await store.merge(followed(f"new-{merges}"), now=DAY, retention=RETENTION)
        left, largest, merges = count(path, "%-old"), max(largest, log_of(path).stat().st_size), merges + 1
        assert before - left <= sqlite_module._PIECE
        assert merges <= 200

    assert merges > rows // sqlite_module._PIECE
    assert largest < 12 * 1024**2
    await store.aclose()


async def test_too_many_unclaimed_workflows_go_in_pieces(tmp_path: Path) -> None:
    """The oldest first, as many as are too many."""
    path = tmp_path / "tracking.db"
    store = await fill(path, [f"{n:05}-old" for n in range(1500)], kind="unclaimed")

    for number in range(70):
        await store.merge(followed(f"new-{number}"), now=50, retention=RETENTION)

    assert count(path) == RETENTION.max_unclaimed + 71
    await store.aclose()


async def test_nothing_is_left_of_a_workflow_that_is_over(tmp_path: Path) -> None:
    """Neither in the file nor in its log, once the change that deleted it has returned."""
    path = tmp_path / "tracking.db"
    names = [f"{n * 7919 % 2000:05}-gone" for n in range(2000)]
    store = await fill(path, names)
    for number in range(100):
        await store.merge(followed(f"new-{number}"), now=DAY, retention=RETENTION)

    assert contents(tmp_path).count(b"-gone") == 0
    assert b"new-99" in contents(tmp_path)
    await store.aclose()


@pytest.mark.parametrize("companion", ["", "-wal"])
async def test_nothing_is_promised_without_its_file(tmp_path: Path, companion: str) -> None:
    """The receiver answers 500, or its inbox tries again; once the file is back all is well."""
    path = tmp_path / "tracking.db"
    store = await fill(path, ["a"])
    lost = tmp_path / f"tracking.db{companion}"
    lost.rename(tmp_path / "elsewhere")

    for name in ("b", "c"):
        with pytest.raises(TrackingStoreError, match=r"the tracker, tracking.db, .* removed or renamed"):
            await store.merge(followed(name), now=1, retention=RETENTION)
    (tmp_path / "elsewhere").rename(lost)

    assert (await store.merge(followed("d"), now=1, retention=RETENTION)).followed
    await store.aclose()
