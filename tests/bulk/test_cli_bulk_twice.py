"""What must not reach a person twice: rows that fail while they are resent, and a list after `forget`."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from nexmo_dispatch_async.bulk.ledger.places import join_url, open_ledger
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, Resendable, Result
from nexmo_dispatch_async.cli import bulk_lists
from nexmo_dispatch_async.simulator import Simulator
from tests.bulk.campaigns import recipients
from tests.bulk.service import run

CAMPAIGN = """
[campaign]
name = "spring"
ledger = "spring.db"
[rows]
file = "customers.csv"
[template]
[[template.message]]
channel = "sms"
from = "31647356950"
to = "{phone}"
text = "Hello {name}"
"""
ROWS = 12


@pytest.fixture(params=["database", "nats_url"])
def store(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, on each engine."""
    return str(request.getfixturevalue(request.param))


@pytest.mark.engines
@pytest.mark.parametrize("state", ["unknown", "refused"])
async def test_a_row_that_fails_again_is_not_resent_once_more(
    store: str, state: Resendable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`resend all` sends each row again once, however fast a worker beside it fails with it."""
    monkeypatch.setattr(bulk_lists, "_PAGE", 1)
    place, attempts = join_url(store, "spring"), dict[int, int]()
    async with await open_ledger(place, accept_loss=True) as ledger:
        await ledger.add(recipients(ROWS))

        async def fail_once() -> int:
            claimed = await ledger.claim(ClaimRequest(limit=ROWS, now=time.time()))
            attempts.update((row.id, row.attempts) for row in claimed)
            now = time.time()
            await ledger.record([Result(id=row.id, state=state, at=now) for row in claimed])
            return len(claimed)

        async def fail() -> None:
            while True:
                await fail_once()
                await asyncio.sleep(0.001)

        assert await fail_once() == ROWS
        worker = asyncio.create_task(fail())
        try:
            async with asyncio.timeout(60):
                code = await bulk_lists.change_rows(place, state, "all", "resend", json=True)
        finally:
            worker.cancel()
            await asyncio.wait([worker])

    assert code == 0
    assert max(attempts.values()) <= 2


def test_a_list_is_not_sent_again_after_its_people_were_forgotten(
    tmp_path: Path, service: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Erased people cannot be told from new ones, so `run` reads the list no more, and says so."""
    lines = [f"+99900000{n:04d},Name {n}" for n in range(5)]
    (tmp_path / "customers.csv").write_text("\n".join(["phone,name", *lines]), "utf-8")
    file = tmp_path / "spring.toml"
    file.write_text(CAMPAIGN, "utf-8")
    assert run("run", file)[0] == 0
    assert service.accepted == 5

    assert "0 rows forgotten" in run("forget", file, "--older", "30d")[1]
    code, out, _ = run("run", file)
    assert (code, service.accepted) == (0, 5)
    assert "5 were there" in out

    monkeypatch.setattr(bulk_lists, "time", SimpleNamespace(time=lambda: time.time() + 3600))
    assert "5 rows forgotten" in run("forget", file, "--older", "1s")[1]
    code, _, err = run("run", file)
    assert (code, service.accepted) == (0, 5)
    assert "is not read: people were forgotten" in err
