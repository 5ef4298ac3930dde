"""Whose the file of a ledger is: one process at a time, and no copy or older state of it unnoticed."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.ledger import sqlite_file
from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    assert_recount,
    people,
    person,
    request,
    result,
    states,
)
from nexmo_dispatch_async.bulk.ledger.records import Control
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.exceptions import LedgerCopiedError, LedgerError, LedgerInUseError

ROOT = Path(__file__).parents[3]
PROGRAM = [sys.executable, "-m", "tests.support.ledger_process"]


@contextmanager
def process(mode: str, *arguments: str | Path) -> Generator[subprocess.Popen[str]]:
    """A process that opens the ledger; it ends with its input."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [*PROGRAM, mode, *map(str, arguments)], cwd=ROOT, stdin=pipe, stdout=pipe, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def line_of(started: subprocess.Popen[str]) -> list[str]:
    assert started.stdout is not None
    return started.stdout.readline().split()


@asynccontextmanager
async def opened(path: Path, *, restored: bool = False) -> AsyncGenerator[SqliteLedger]:
    ledger = await SqliteLedger.open(path, restored=restored)
    try:
        yield ledger
    finally:
        await ledger.aclose()


def names(folder: Path) -> list[str]:
    return sorted(found.name for found in folder.iterdir())


def read(path: Path) -> bytes:
    return path.read_bytes()


def write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)


async def half_sent(path: Path) -> None:
    """Leave a ledger with four rows, two of them sent."""
    async with opened(path) as ledger:
        await ledger.add(people(4))
        await ledger.record([result(row) for row in await ledger.claim(request(limit=2))])


class TestOneProcess:
    """A file is worked with by one process."""

    async def test_a_second_process_is_refused_with_pid_and_host_of_the_first(self, tmp_path: Path) -> None:
        """A second `bulk run` says which process has it, and changes nothing."""
        path, began = tmp_path / "a.db", time.time()
        with process("hold", path) as holder:
            assert line_of(holder)[0] == "open"

            with pytest.raises(LedgerInUseError) as caught:
                await SqliteLedger.open(path)

            assert (caught.value.pid, caught.value.host) == (holder.pid, socket.gethostname())
            assert str(holder.pid) in str(caught.value)
            since = re.search(
                r"since (\S+ \S+) UTC, .*: end that one first; one that is paused", str(caught.value)
            )
            assert since is not None
            opened_at = datetime.fromisoformat(since[1]).replace(tzinfo=UTC).timestamp()
            assert began - 1 <= opened_at <= time.time()
            assert str(tmp_path) not in str(caught.value)
            copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - of this test
            assert (copy.pid, copy.host, str(copy)) == (
                caught.value.pid,
                caught.value.host,
                str(caught.value),
            )

    async def test_the_same_process_is_refused_as_well(self, tmp_path: Path) -> None:
        """Two ledgers of one program on one file would claim side by side."""
        async with opened(tmp_path / "a.db"):
            with pytest.raises(LedgerInUseError, match=str(os.getpid())):
                await SqliteLedger.open(tmp_path / "a.db")

    @pytest.mark.parametrize("races", [5, pytest.param(20, marks=pytest.mark.long)])
    async def test_two_processes_at_the_same_instant(self, tmp_path: Path, races: int) -> None:
        """One of them gets a file that neither has seen before, the other is refused."""
        with process("race", tmp_path, str(races)) as started:
            pairs = [await asyncio.to_thread(line_of, started) for _ in range(races)]

        assert pairs == [["open", "refused"]] * races

    async def test_a_process_that_only_looks_at_the_lock_refuses_no_other(self, tmp_path: Path) -> None:
        """As another process does at the instant before it is refused itself."""
        (tmp_path / "a.db-owner").touch(mode=0o600)
        with closing(sqlite3.connect(tmp_path / "a.db-owner", isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM sqlite_master").fetchall()

            async with opened(tmp_path / "a.db") as ledger:
                assert await ledger.scan() == []

    async def test_a_ledger_that_another_process_makes_meanwhile_is_no_unknown_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Between two looks at the file it becomes a ledger: it is opened, not refused as something else."""
        path, look, looks = tmp_path / "a.db", sqlite_file._identity, itertools.count()

        def look_and_make(db: sqlite3.Connection) -> tuple[int, int]:
            found = look(db)
            if next(looks) == 0:
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    sqlite_file.make_ledger(other, "0123456789abcdef")
            return found

        monkeypatch.setattr(sqlite_file, "_identity", look_and_make)

        async with opened(path) as ledger:
            assert ledger.reference == "0123456789abcdef"

    async def test_a_killed_process_holds_nothing(self, tmp_path: Path) -> None:
        """The system frees the lock; what it was sending is unknown."""
        path = tmp_path / "a.db"
        await half_sent(path)
        with process("hold", path) as holder:
            assert line_of(holder)[0] == "open"
            holder.kill()
            holder.wait(10)

        async with opened(path) as ledger:
            assert await states(ledger) == ["sent", "sent", "pending", "pending"]

    async def test_removing_the_lock_gives_the_file_to_no_two(self, tmp_path: Path) -> None:
        """A second process that got in that way takes the file over: the first one claims nothing more."""
        path = tmp_path / "a.db"
        async with opened(path) as first:
            await first.add(people(4))
            (tmp_path / "a.db-owner").unlink()

            async with opened(path) as second:
                with pytest.raises(LedgerInUseError):
                    await first.claim(request(limit=1))
                assert [row.id for row in await second.claim(request(limit=1))] == [1]

    async def test_rows_in_flight_of_a_dead_process_are_unknown(self, tmp_path: Path) -> None:
        """`sending` never goes back to `pending`; the opening tells how many there were."""
        path = tmp_path / "a.db"
        async with opened(path) as ledger:
            await ledger.add(people(3))
            await ledger.claim(request(limit=2))

        async with opened(path) as ledger:
            assert ledger.reaped == 2
            assert await states(ledger) == ["unknown", "unknown", "pending"]
            await assert_recount(ledger)


class TestObserver:
    """Looking at a ledger that another has."""

    async def test_what_two_operators_ask_for_at_once_holds(self, tmp_path: Path) -> None:
        """A pace of one and a pause of the other, many times: none overwrites the other."""
        path = tmp_path / "a.db"
        async with (
            opened(path) as owner,
            Campaign.open(path, observer=True) as one,
            Campaign.open(path, observer=True) as two,
        ):
            for number in range(1, 21):
                await asyncio.gather(one.resume(), two.retune(rate=float(number)))

                found = await owner.control()
                assert (found.resumed, found.rate, found.version) == (number, number, 2 * number)

    async def test_an_observer_counts_reads_and_asks(self, tmp_path: Path) -> None:
        """`status` and `pause` from another terminal: numbers and rows, and the owner hears of the change."""
        path = tmp_path / "a.db"
        async with opened(path) as owner:
            await owner.add(people(3))
            await owner.claim(request(limit=1))
            observer = await SqliteLedger.open(path, observer=True)

            assert await observer.counts() == await owner.counts()
            assert [row.state for row in await observer.scan()] == ["sending", "pending", "pending"]
            await observer.control(lambda _: Control(state="pause", by="command"))
            assert (await owner.control()).state == "pause"
            await owner.claim(request(limit=1))
            assert (await observer.counts()).states == {"sending": 2, "pending": 1}
            assert await observer.due() == 0.0
            assert await observer.zones() == {""}

            for refused in (observer.claim(request()), observer.add([person(9)]), observer.reap()):
                with pytest.raises(LedgerError, match="observer"):
                    await refused
            await observer.aclose()

    async def test_an_observer_makes_no_file(self, tmp_path: Path) -> None:
        """A mistyped name is an error, not an empty campaign."""
        with pytest.raises(LedgerError, match=r"no ledger b\.db"):
            await SqliteLedger.open(tmp_path / "b.db", observer=True)
        with pytest.raises(LedgerError, match=r"no ledger b\.db"):
            await SqliteLedger.open(tmp_path / "b.db", create=False)

        assert names(tmp_path) == []


class TestCopies:
    """A file that was copied or restored does not resume without a word."""

    async def test_a_copy_does_not_resume_and_the_original_does(self, tmp_path: Path) -> None:
        """The pending rows of a copy may have been sent from the other file."""
        path, copy = tmp_path / "a.db", tmp_path / "copy.db"
        await half_sent(path)
        for companion in ("", "-guard"):
            shutil.copy2(f"{path}{companion}", f"{copy}{companion}")

        with pytest.raises(LedgerCopiedError, match="copy"):
            await SqliteLedger.open(copy)
        async with opened(path) as ledger:
            assert len(await ledger.claim(request())) == 2
        async with opened(copy, restored=True) as ledger:
            assert await states(ledger) == ["sent", "sent", "pending", "pending"]
        async with opened(copy) as ledger:  # told once, it is the file that goes on
            assert (await ledger.counts()).open == 2

    async def test_an_older_state_in_the_same_place_does_not_resume(self, tmp_path: Path) -> None:
        """Put back from a backup, over the file that was sent from: same inode, same name."""
        path = tmp_path / "a.db"
        await half_sent(path)
        backup = read(path)
        async with opened(path) as ledger:
            await ledger.claim(request(limit=1))
        write(path, backup)

        with pytest.raises(LedgerCopiedError, match="older state"):
            await SqliteLedger.open(path)
        async with opened(path, restored=True) as ledger:
            assert await states(ledger) == ["sent", "sent", "pending", "pending"]

    async def test_an_older_state_of_the_same_opening_does_not_resume(self, tmp_path: Path) -> None:
        """The guard knows how often rows were claimed, so that the same nonce is not enough."""
        path = tmp_path / "a.db"
        ledger = await SqliteLedger.open(path)
        await ledger.add(people(3))
        await ledger.claim(request(limit=1))
        backup = {name: read(Path(f"{path}{name}")) for name in ("", "-wal")}
        await ledger.claim(request(limit=1))
        await ledger.aclose()
        for name, content in backup.items():
            write(Path(f"{path}{name}"), content)

        with pytest.raises(LedgerCopiedError, match="older state"):
            await SqliteLedger.open(path)

    async def test_a_file_without_its_guard_does_not_resume(self, tmp_path: Path) -> None:
        """A file that was moved alone may as well be one of two."""
        await half_sent(tmp_path / "a.db")
        (tmp_path / "a.db-guard").unlink()

        with pytest.raises(LedgerCopiedError, match="guard"):
            await SqliteLedger.open(tmp_path / "a.db")

    async def test_another_machine_does_not_resume(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A volume that two machines see has the same inode on both."""
        await half_sent(tmp_path / "a.db")
        monkeypatch.setattr("nexmo_dispatch_async.bulk.ledger.owner._MACHINE_IDS", ())
        monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")

        with pytest.raises(LedgerCopiedError, match="another machine"):
            await SqliteLedger.open(tmp_path / "a.db")

    async def test_a_crash_between_the_file_and_its_guard_is_no_copy(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file is written first: the guard of the opening before is its own as well."""
        path = tmp_path / "a.db"
        await half_sent(path)
        guard = read(Path(f"{path}-guard"))
        async with opened(path):
            pass
        write(Path(f"{path}-guard"), guard)

        async with opened(path) as ledger:
            assert (await ledger.counts()).open == 2


class TestFiles:
    """What else may lie at the path."""

    @pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 30, b""])
    async def test_a_file_of_something_else_is_left_as_it_was(self, tmp_path: Path, content: bytes) -> None:
        """A mistyped name does not spoil a file; an empty one becomes a ledger."""
        path = tmp_path / "a.db"
        write(path, content)
        if not content:
            async with opened(path) as ledger:
                assert (await ledger.counts()).total == 0
            return

        with pytest.raises(LedgerError, match=r"a\.db is no ledger"):
            await SqliteLedger.open(path)

        assert read(path) == content
        assert names(tmp_path) == ["a.db"]

    async def test_files_are_for_their_owner_only(self, tmp_path: Path) -> None:
        """They hold numbers and names."""
        async with opened(tmp_path / "a.db") as ledger:
            await ledger.add([person(1)])
            modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in names(tmp_path)}

        assert set(modes.values()) == {0o600}
        assert {"a.db", "a.db-owner", "a.db-guard"} <= set(modes)
