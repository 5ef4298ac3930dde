"""A pause by the campaign itself, when the ledger fails or an operator has just asked for something else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from nexmo_dispatch_async.bulk.ledger.records import Change, Claimed, Control
from nexmo_dispatch_async.bulk.sending.safety import AbortWatch
from nexmo_dispatch_async.bulk.settings import AbortIf
from nexmo_dispatch_async.exceptions import BadRequestError, LedgerError
from tests.bulk.campaigns import filled, sender_of, until
from tests.bulk.fake_client import FakeClient
from tests.support.virtual_loop import run_virtually


def refusing() -> FakeClient:
    return FakeClient(lambda _address: BadRequestError("400", status=400))


def abort() -> AbortWatch:
    return AbortWatch(AbortIf(refused=1.0, last=20))


def test_a_pause_outlasts_a_ledger_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign pauses as soon as the ledger can store it, and sends nothing in between."""

    async def main() -> None:
        ledger, client, failures = await filled(500), refusing(), 2
        control = ledger.control

        async def failing(change: Change | None = None) -> Control:
            nonlocal failures
            if change is not None and failures:
                failures -= 1
                raise LedgerError("the ledger failed: the disk is full")
            return await control(change)

        monkeypatch.setattr(ledger, "control", failing)
        sender = sender_of(ledger, client, abort=abort())
        running = asyncio.ensure_future(sender.run())
        await until(lambda: sender.wait is not None and sender.wait.reason == "paused")

        assert (await ledger.control()).by == "abort_if"
        assert failures == 0
        assert len(client.sends) < 20 + 2 * 8
        sender.stop()
        await running

    run_virtually(main())


@pytest.mark.parametrize("state", ["stop", "pause"])
def test_a_word_of_an_operator_outlasts_a_pause(state: Any) -> None:
    """What another process asked for in the last second is not overwritten: the stop ends the run."""

    async def main() -> None:
        ledger, told = await filled(500), 0

        def answer(_address: str) -> BaseException:
            nonlocal told
            told += 1
            if told == 20:  # in the instant in which the campaign pauses by itself
                asked = Control().asked(state=state, by="command", reason="wrong text", rate=5.0)
                answering.append(asyncio.ensure_future(ledger.control(lambda _: asked)))
            return BadRequestError("400", status=400)

        answering: list[asyncio.Future[Control]] = []
        sender = sender_of(ledger, FakeClient(answer), abort=abort())
        running = asyncio.ensure_future(sender.run())
        if state == "stop":
            await asyncio.wait_for(running, 60)
        else:
            await until(lambda: sender.wait is not None and sender.wait.reason == "paused")
        control = await ledger.control()
        sender.stop()
        await running

        assert (control.state, control.rate) == (state, 5.0)
        assert control.held == (state == "stop")
        assert control.by == ("abort_if" if state == "stop" else "command")

    run_virtually(main())


def test_a_claim_that_is_committed_after_its_error_does_not_keep_the_campaign_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server may commit seconds after the connection broke: the rows end as unknown all the same."""

    async def main() -> None:
        ledger, client, claims = await filled(50), FakeClient(), 0
        claim, late = ledger.claim, list[int]()

        async def losing(*arguments: Any, **more: Any) -> list[Claimed]:
            nonlocal claims
            claims += 1
            rows = await claim(*arguments, **more)
            if claims != 3:
                return rows
            late.extend(row.id for row in rows)
            for row_id in late:
                ledger._rows[row_id].worker = "not committed yet"  # so that no one sees it
            raise LedgerError("the ledger failed: no response in time")

        monkeypatch.setattr(ledger, "claim", losing)
        running = asyncio.ensure_future(sender_of(ledger, client).run())
        await asyncio.sleep(30)  # all others were sent long ago
        for row_id in late:
            ledger._rows[row_id].worker = ""
        counts = await asyncio.wait_for(running, 60)

        assert counts.states == {"sent": 50 - len(late), "unknown": len(late)}
        assert late
        assert max(client.sends.values()) == 1

    run_virtually(main())
