"""What a process said before it died, held against what the ledger tells afterwards."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nexmo_dispatch_async.bulk.ledger.conformance_claims import assert_recount
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.sqlite import SqliteLedger
from tests.support.ledger_process import IN_FLIGHT, NOW, ROWS, campaign

#: What a row may be after a restart, by the last that was said of it.
_AFTER = {
    "post": {"unknown", "sent", "refused"},
    "sent": {"sent"},
    "told": {"sent"},
    "refused": {"refused"},
    "unknown": {"unknown"},
    "pending": {"pending", "unknown", "skipped"},  # it may have been claimed again, without a word of it
}


async def assert_kept(
    path: Path, said: list[str], *, restored: bool = False, opt_outs: Path | None = None
) -> int:
    """No promise is broken by the restart, and the campaign goes on to its end with no one messaged twice.

    Returns:
        How many rows were in flight.
    """
    shared = OptOutList.open(opt_outs) if opt_outs is not None else None
    ledger = await SqliteLedger.open(path, opt_outs=shared, clock=lambda: NOW, restored=restored)
    last = {words[1]: words[0] for line in said if (words := line.split())[0] != "added"}
    added = max((int(line.split()[1]) for line in said if line.startswith("added")), default=0)
    rows = {str(row.id): row for row in await ledger.scan(limit=10_000)}
    assert len(rows) >= added
    for row_id, word in last.items():
        assert rows[row_id].state in _AFTER[word], (row_id, word)
    assert not [row for row in rows.values() if row.state == "sending"]
    assert ledger.reaped <= IN_FLIGHT
    await assert_recount(ledger)
    reaped = ledger.reaped

    again: list[str] = []
    await campaign(ledger, again.append)
    counts = await assert_recount(ledger)
    assert (counts.total, counts.open) == (ROWS, 0)
    assert_no_row_twice(said + again)
    await ledger.aclose()
    if shared is not None:
        await shared.aclose()
    return reaped


def assert_no_row_twice(said: list[str]) -> None:
    """A row is posted once, and once more for each time that it was provably not sent."""
    words = Counter((line.split()[0], line.split()[1]) for line in said)
    for (word, row_id), times in words.items():
        if word == "post":
            # The word of a not-sent one may be lost with the process; a row that says so does it once.
            not_sent = max(words["pending", row_id], int(row_id) % 7 == 3)
            assert times <= 1 + not_sent, row_id
