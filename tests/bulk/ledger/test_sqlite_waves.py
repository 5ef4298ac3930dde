"""What a wave of a campaign in SQLite costs: it waits for its commit, and so does the next one."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    SMS,
    assert_recount,
    people,
    person,
    request,
    result,
)
from nexmo_dispatch_async.bulk.ledger.records import Claimed, News, Result
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from tests.bulk.ledger.test_sqlite_writer import connection

WAVE = 48


async def wave(ledger: SqliteLedger, results: Sequence[Result], limit: int = WAVE) -> list[Claimed]:
    return await ledger.claim(request(limit=limit, buckets={SMS: limit}), results)


def with_ids(rows: Sequence[Claimed]) -> list[Result]:
    """Return results with ids in no order, as those of the service."""
    return [
        Result(id=row.id, state="sent", at=NOW + row.id, dispatch_uuid=str(uuid.uuid4()), attempts=1)
        for row in rows
    ]


def pages(log: Path, of: int = 0) -> int:
    """Return the number of pages in the log, or of those behind its first ones."""
    content = log.read_bytes()
    salt, frames = content[16:24], 0
    while content[32 + frames * 4120 + 8 : 32 + frames * 4120 + 16] == salt:
        frames += 1
    return frames - of


async def test_a_wave_is_a_fixed_number_of_statements(tmp_path: Path) -> None:
    """Each statement gives the interpreter away once: none is for a single row, in any order."""
    async with await SqliteLedger.open(tmp_path / "a.db") as ledger:
        await ledger.add(people(4 * WAVE))
        results = with_ids(await wave(ledger, []))
        random.Random(1).shuffle(results)
        seen: list[str] = []
        connection(ledger).set_trace_callback(seen.append)

        claimed = await wave(ledger, results)

        connection(ledger).set_trace_callback(None)
        assert len(claimed) == WAVE
        assert len(seen) <= 8, seen
        found = await ledger.scan("sent")
        assert {row.dispatch_uuid for row in found} == {each.dispatch_uuid for each in results}
        assert [row.changed for row in found] == [NOW + row.id for row in found]
        await assert_recount(ledger)


async def test_a_wave_changes_few_pages(tmp_path: Path) -> None:
    """Rows that follow one another share pages; the ids of the service, in no order, have no index yet."""
    path = tmp_path / "a.db"
    async with await SqliteLedger.open(path) as ledger:
        await ledger.add(people(3000))
        results: list[Result] = []
        for _ in range(40):
            results = with_ids(await wave(ledger, results))
        before = pages(tmp_path / "a.db-wal")

        for _ in range(10):
            results = with_ids(await wave(ledger, results))

        assert pages(tmp_path / "a.db-wal", before) <= 10 * 8


async def test_the_first_callback_finds_a_row_by_the_id_of_the_service(tmp_path: Path) -> None:
    """The index is made when it is needed, also in a campaign of which much is sent, and is kept."""
    path = tmp_path / "a.db"
    async with await SqliteLedger.open(path) as ledger:
        await ledger.add(people(200))
        results = with_ids(await wave(ledger, [], 100))
        await ledger.record(results)

        observed = await ledger.observe(
            [News(dispatch_uuid=results[70].dispatch_uuid, at=NOW, ended=True, reached="read")]
        )

        assert (observed.changed, observed.unmatched) == (1, ())
        later = with_ids(await wave(ledger, [], 100))
        await ledger.record(later)
        await ledger.observe([News(dispatch_uuid=later[3].dispatch_uuid, at=NOW, ended=True)])
        ended = [row.id for row in await ledger.scan("sent") if row.news is not None]
        assert ended == [results[70].id, later[3].id]
        await assert_recount(ledger)
    async with await SqliteLedger.open(path) as again:
        observed = await again.observe([News(dispatch_uuid=results[9].dispatch_uuid, at=NOW, ended=True)])
        assert observed.changed == 1
        await assert_recount(again)


@pytest.mark.parametrize("count", [1, 16, 17, 64, 65, 200])
async def test_any_number_of_results_is_recorded(tmp_path: Path, count: int) -> None:
    """Also a result that comes twice, and one of an earlier claim, which changes nothing."""
    async with await SqliteLedger.open(tmp_path / "a.db") as ledger:
        await ledger.add(people(count + 1))
        claimed = await wave(ledger, [], count + 1)
        results = [result(row) for row in claimed[:-1]]
        stale: Any = result(claimed[-1], attempts=7)

        await ledger.record([*results, results[0], stale])

        assert (await ledger.counts()).states == {"sending": 1, "sent": count}
        await assert_recount(ledger)


async def test_any_text_comes_back_from_a_claim(tmp_path: Path) -> None:
    """Rows are read as JSON, which changes none of their characters."""
    texts = ['"', "\\", "\x00\x1f\x7f", "null", "1e5", "\u2028", "👩‍👩‍👧", " é\t\r\n", "[]", ""]
    rows = [
        person(n, key=f"k{text}", fields={"name": text, text: "x"}, language=text, variant=text, line=n)
        for n, text in enumerate(texts)
    ]
    rows.append(person(50, channels=("sms", "whatsapp"), language="nl"))
    async with await SqliteLedger.open(tmp_path / "a.db") as ledger:
        await ledger.add(rows)

        claimed = await wave(ledger, [])

    assert [(r.key, r.fields, r.language, r.variant, r.line, r.channels, r.attempts) for r in claimed] == [
        (r.key, r.fields, r.language, r.variant, r.line, r.channels, 1) for r in rows
    ]


async def test_the_log_has_room_for_the_waves_to_come(tmp_path: Path) -> None:
    """A sync of a log that grows stores its length, too; a file that is looked at keeps its size."""
    path, log = tmp_path / "a.db", tmp_path / "a.db-wal"
    async with await SqliteLedger.open(path) as ledger:
        await ledger.add(people(200))
        assert log.stat().st_size < 1_000_000

        claimed = await wave(ledger, [])
        size = log.stat().st_size
        for _ in range(3):
            claimed = await wave(ledger, [result(row) for row in claimed])

        assert size > 4_000_000
        assert log.stat().st_size == size
        await ledger.record([result(row) for row in claimed])
        await assert_recount(ledger)
    async with await SqliteLedger.open(path) as again:
        assert (await again.counts()).states == {"pending": 200 - 4 * WAVE, "sent": 4 * WAVE}
