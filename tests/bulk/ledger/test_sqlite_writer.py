"""How a ledger in a file shares commits, fails, waits for others, gives back and erases."""

from __future__ import annotations

import asyncio
import inspect
import re
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    assert_recount,
    people,
    person,
    request,
    result,
    states,
    uuid_of,
)
from nexmo_dispatch_async.bulk.ledger.records import News, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from nexmo_dispatch_async.exceptions import LedgerError


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    """A ledger with ten rows."""
    async with await SqliteLedger.open(tmp_path / "a.db", clock=lambda: NOW, busy_timeout=0.2) as opened:
        await opened.add(people(10))
        yield opened


def connection(ledger: SqliteLedger) -> sqlite3.Connection:
    file: Any = ledger._writer._file
    found: sqlite3.Connection = file.connection
    return found


def commits(ledger: SqliteLedger) -> list[str]:
    """Collect the commits from now on."""
    found: list[str] = []
    connection(ledger).set_trace_callback(lambda text: found.append(text) if text == "COMMIT" else None)
    return found


class Gate:
    """Holds the writer thread before its next statement, until it is opened.

    The callback stays: to take it off beside a running statement waits for SQLite, which waits for Python.
    """

    def __init__(self, ledger: SqliteLedger) -> None:
        self._open = threading.Event()
        connection(ledger).set_trace_callback(lambda _: self._open.wait(10) and None)

    def open(self) -> None:
        self._open.set()


class TestCommits:
    """One transaction for what comes together."""

    async def test_calls_that_come_together_share_a_commit(self, ledger: SqliteLedger) -> None:
        """The disk is waited for once."""
        seen = commits(ledger)

        claims = await asyncio.gather(*(ledger.claim(request(limit=2)) for _ in range(5)))

        assert [[row.id for row in rows] for rows in claims] == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
        assert len(seen) == 1

    async def test_it_tells_when_only_the_disk_is_waited_for(self, ledger: SqliteLedger) -> None:
        """The statements of a call are done then, and its commit is not; without a call it is so, too."""
        await ledger.computed()
        disk = threading.Event()
        connection(ledger).set_trace_callback(
            lambda text: disk.wait(10) and None if text == "COMMIT" else None
        )

        claiming = asyncio.create_task(ledger.claim(request(limit=2)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await ledger.computed()

        assert not claiming.done()
        disk.set()
        assert len(await claiming) == 2

    async def test_a_call_that_fails_needs_no_interpreter_any_more(self, ledger: SqliteLedger) -> None:
        """Also when it never came to its commit."""
        recording = asyncio.create_task(ledger.record([Result(id=77, state="refused", at=NOW)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        async with asyncio.timeout(10):
            await ledger.computed()
            with pytest.raises(LedgerError, match="no row 77"):
                await recording

    async def test_a_call_that_fails_takes_no_other_with_it(self, ledger: SqliteLedger) -> None:
        """What came together is done apart when one of it cannot be done."""
        strange = Result(id=77, state="sent", at=NOW)

        done = await asyncio.gather(
            ledger.add([person(70, bucket="new|bucket", fields={"new": "shape"})]),
            ledger.claim(request(limit=3), [strange]),
            ledger.claim(request(limit=1)),
            ledger.counts(),
            return_exceptions=True,
        )

        assert isinstance(done[1], LedgerError)
        assert not isinstance(done[2], BaseException)
        assert [row.id for row in done[2]] == [1]
        assert (await assert_recount(ledger)).states == {"pending": 10, "sending": 1}
        assert "new|bucket" in await ledger.buckets()
        assert (await ledger.scan(after=10))[0].fields == {"new": "shape"}

    async def test_synchronous_is_full_and_is_no_setting(self, ledger: SqliteLedger) -> None:
        """A commit has reached the disk when it returns; see the loss of power in `test_sqlite_crash`."""
        assert connection(ledger).execute("PRAGMA synchronous").fetchone() == (2,)
        assert "synchronous" not in inspect.signature(SqliteLedger.open).parameters

    async def test_numbers_are_not_counted_while_it_runs(self, ledger: SqliteLedger) -> None:
        """`counts` of a million rows costs what those of ten cost; `verify` counts them."""
        seen: list[str] = []
        connection(ledger).set_trace_callback(seen.append)

        await ledger.claim(request(limit=2))
        await ledger.counts()
        assert not [text for text in seen if "count(" in text]
        await ledger.counts(verify=True)
        assert [text for text in seen if "count(" in text]


class TestCancellation:
    """A caller that goes away in the middle of a claim."""

    async def test_rows_of_a_cancelled_claim_go_back(self, ledger: SqliteLedger) -> None:
        """They were handed to no one, so nothing was sent: they are pending, and none is unknown later."""
        gate = Gate(ledger)
        task = asyncio.ensure_future(ledger.claim(request(limit=3)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # it is with the thread
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

        gate.open()

        assert [row.id for row in await ledger.claim(request(limit=1))] in ([1], [4])
        await ledger.counts()
        assert sorted(await states(ledger)) == ["pending"] * 9 + ["sending"]
        await assert_recount(ledger)

    async def test_closing_finishes_what_was_asked(self, tmp_path: Path) -> None:
        """Results that were handed over before the end are in the file."""
        ledger = await SqliteLedger.open(tmp_path / "b.db")
        await ledger.add(people(2))
        rows = await ledger.claim(request())
        recording = asyncio.ensure_future(ledger.record([result(row) for row in rows]))
        await asyncio.sleep(0)

        await ledger.aclose()
        await recording

        async with await SqliteLedger.open(tmp_path / "b.db") as again:
            assert await states(again) == ["sent", "sent"]


class TestTrouble:
    """Files that others lock, remove or fill."""

    async def test_a_lock_of_another_is_waited_for_and_then_an_error(
        self, ledger: SqliteLedger, tmp_path: Path
    ) -> None:
        """A shell with an open transaction holds it up; nothing of the call is stored."""
        other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(LedgerError, match="locked"):
            await ledger.claim(request(limit=2))
        other.execute("ROLLBACK")
        other.close()

        assert [row.id for row in await ledger.claim(request(limit=2))] == [1, 2]
        await assert_recount(ledger)

    async def test_a_file_that_was_removed_hands_nothing_out(
        self, ledger: SqliteLedger, tmp_path: Path
    ) -> None:
        """A claim in a file without a name would be lost with the process."""
        (tmp_path / "a.db").rename(tmp_path / "moved.db")

        with pytest.raises(LedgerError, match=r"a\.db was removed or renamed"):
            await ledger.claim(request(limit=2))

        (tmp_path / "moved.db").rename(tmp_path / "a.db")
        assert [row.id for row in await ledger.claim(request(limit=2))] == [1, 2]
        await assert_recount(ledger)

    async def test_what_was_committed_is_not_done_again(
        self, ledger: SqliteLedger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failure after the commit fails all calls of it: a second try would claim other rows as well."""
        owner: Any = ledger._writer._owner

        def fail(_claims: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(owner, "note", fail)
        done = await asyncio.gather(
            *(ledger.claim(request(limit=1)) for _ in range(2)), return_exceptions=True
        )
        monkeypatch.undo()

        assert [type(error) for error in done] == [LedgerError, LedgerError]
        assert (await assert_recount(ledger)).states == {"pending": 8, "sending": 2}

    async def test_a_full_disk_stores_nothing_of_the_call(self, ledger: SqliteLedger) -> None:
        """What was there stays, and the numbers with it."""
        db = connection(ledger)
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")

        with pytest.raises(LedgerError, match="full"):
            await ledger.add(people(5000, first=100))

        assert (await assert_recount(ledger)).total == 10
        db.execute("PRAGMA max_page_count = 1000000")
        assert (await ledger.add(people(50, first=100))).added == 50
        await assert_recount(ledger)


class TestErasure:
    """Personal data that is to go."""

    async def test_no_byte_of_a_person_is_left(self, tmp_path: Path) -> None:
        """Neither in the file nor in its log, and those who are not over are all there."""
        path = tmp_path / "b.db"
        async with await SqliteLedger.open(path, clock=lambda: NOW) as ledger:
            gone = [
                person(n, key=f"Customer-{n * 7919 % 3000:05d}", fields={"name": f"Surname{n:05d}"})
                for n in range(3000)
            ]
            await ledger.add(gone)
            results: list[Result] = []
            while rows := await ledger.claim(request(limit=500), results):
                results = [result(row) for row in rows]
            await ledger.record(results)
            await ledger.observe(
                [News(dispatch_uuid=uuid_of(n), at=NOW, ended=True) for n in range(1, 3001, 3)]
            )
            await ledger.add(people(100, first=5000))

            assert await ledger.forget(NOW + 1) == 3000

            for name in ("b.db", "b.db-wal"):
                content = read(tmp_path / name)
                assert b"447700905" in content + read(tmp_path / "b.db")
                left = [
                    n for n in re.findall(rb"(?:4477009|Surname|Customer-)(\d{5})", content) if int(n) < 3000
                ]
                assert left == [], (name, len(left))
            assert all(row.address for row in await ledger.scan(after=3000))
            counts = await assert_recount(ledger)
            assert (counts.states, counts.ended) == ({"pending": 100, "sent": 3000}, 1000)

    async def test_a_reader_that_keeps_the_log_is_named(self, ledger: SqliteLedger, tmp_path: Path) -> None:
        """What is still in the log is no secret: the call says so, and works when it is made again."""
        await ledger.record([result(row) for row in await ledger.claim(request())])
        reader = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM state").fetchone()

        with pytest.raises(LedgerError, match="call forget"):
            await ledger.forget(NOW + 1)
        reader.close()
        await ledger.forget(NOW + 1)

        assert person(3).address.encode() not in read(tmp_path / "a.db") + read(tmp_path / "a.db-wal")


def read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
