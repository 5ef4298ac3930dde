"""The same campaign has the same report, to the last number, wherever its rows are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.report.report import report_of
from tests.bulk.random_campaign import fill, now, random_campaign


@pytest.mark.parametrize(
    "place",
    [
        "file",
        pytest.param("database", marks=pytest.mark.engines),
        pytest.param("nats_url", marks=pytest.mark.engines),
    ],
)
async def test_a_report_is_the_same_on_each_store(
    place: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """For one seed: rows, channels, flows, errors, times and costs equal those of a ledger in memory."""
    where: str | Path = tmp_path / "a.db"
    if place != "file":
        where = join_url(request.getfixturevalue(place), "spring")
    async with await open_ledger(where, accept_loss=True, clock=now) as ledger:
        await fill(ledger, 400)
        found = await report_of(ledger, name="spring", clock=now)
        counts = await ledger.counts(verify=True)

    memory = await random_campaign(400)
    assert found == await report_of(memory, name="spring", clock=now)
    assert counts == await memory.counts()
    assert found.delivered > 200
