"""The loop of a campaign in virtual time: each recipient once, none left out, and why nothing moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, ClaimRequest, Control, Counts, Result
from nexmo_dispatch_async.bulk.sending.sender import Sender
from nexmo_dispatch_async.bulk.settings import Pace, Rate
from nexmo_dispatch_async.exceptions import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    LedgerError,
    NotFoundError,
    OutcomeUnknownError,
    PaymentRequiredError,
    PermissionDeniedError,
    RateLimitError,
)
from nexmo_dispatch_async.sansio import Response
from tests.bulk.campaigns import EPOCH, filled, phone, recipients, sender_of, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually


async def verified(ledger: MemoryLedger) -> Counts:
    """Return the numbers, which equal a recount."""
    counts = await ledger.counts()
    assert counts == await ledger.counts(verify=True)
    return counts


def test_every_row_is_sent_once_and_no_more_are_in_flight_than_the_limit() -> None:
    """100 rows, 8 slots: 100 people, each once, each with a `client_ref` that names its row."""

    async def main() -> None:
        ledger, client = await filled(100), FakeClient()
        await sender_of(ledger, client).run()

        assert client.sends == dict.fromkeys(map(phone, range(100)), 1)
        assert client.most_in_flight == 8
        assert sorted(client.refs) == sorted(f"{ledger.reference}-{number}" for number in range(1, 101))
        assert (await verified(ledger)).states == {"sent": 100}

    run_virtually(main())


def test_a_row_is_sending_in_the_ledger_before_its_post_leaves() -> None:
    """Whatever the POST meets with, the ledger knew of it."""

    async def main() -> None:
        ledger = await filled(30)
        seen: list[int] = []

        def answer(_address: str) -> Response:
            seen.append(ledger._tally.states["sending"])
            return accepted(len(seen))

        client = FakeClient(answer)
        await sender_of(ledger, client).run()

        assert min(seen) >= 1
        assert max(seen) <= 8

    run_virtually(main())


def test_a_429_is_not_sent_and_refuses_no_row() -> None:
    """A storm of 429s: every row goes back to its place, and all are sent in the end, each once."""

    async def main() -> None:
        ledger = await filled(200)
        storm = iter(range(120))

        def answer(_address: str) -> Response | BaseException:
            number = next(storm, None)
            return RateLimitError("429", retry_after=1) if number is not None else accepted(1)

        client = FakeClient(answer)
        await sender_of(ledger, client, pace=Pace(limit=64)).run()

        assert (await verified(ledger)).states == {"sent": 200}
        assert sum(client.sends.values()) <= 200 + 120

    run_virtually(main())


def test_one_bad_row_stops_no_row_behind_it() -> None:
    """Refused by the service, by the rules, or for a missing field: a state of the row, and no more."""

    async def main() -> None:
        ledger = MemoryLedger(clock=wall)
        rows = recipients(300)
        for number in range(0, 300, 100):
            fields = {**rows[number].fields, "name": "x" * 9000}
            rows[number] = replace(rows[number], fields=fields)
            rows[number + 1] = replace(rows[number + 1], fields={})
        await ledger.add(rows)
        bad = {phone(number + 2) for number in range(0, 300, 100)}
        client = FakeClient(
            lambda address: BadRequestError("400", status=400) if address in bad else accepted(1)
        )

        counts = await sender_of(ledger, client).run()

        assert counts.states == {"sent": 291, "refused": 9}
        errors = [row.error for row in await ledger.scan("refused")]
        assert sorted(errors) == ["BadRequestError"] * 3 + ["RowError"] * 6

    run_virtually(main())


def test_unknown_is_never_sent_again() -> None:
    """No answer: the row is unknown, and stays it over any number of runs."""

    async def main() -> None:
        ledger = await filled(50)
        lost = {phone(7), phone(30)}
        client = FakeClient(lambda a: OutcomeUnknownError("no answer") if a in lost else accepted(1))

        for _ in range(3):
            await sender_of(ledger, client).run()

        assert set(client.sends.values()) == {1}
        assert (await verified(ledger)).states == {"sent": 48, "unknown": 2}

    run_virtually(main())


def test_a_service_that_fails_for_all_does_not_make_every_row_unknown() -> None:
    """The brake: after 20 in a row it tries one at a time, and after the last pause the campaign pauses."""

    async def main() -> None:
        ledger = await filled(1000)
        client = FakeClient(lambda _address: OutcomeUnknownError("no answer"))
        sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await until(lambda: sender.wait is not None and sender.wait.reason == "paused", seconds=300)

        assert sender.wait is not None
        assert sender.wait.by == "service"
        assert len(client.moments) <= 20 + 8 + 6
        sender.stop()
        assert (await running).states["pending"] >= 960

    run_virtually(main())


def test_a_service_that_cannot_be_reached_is_waited_for() -> None:
    """No connection for ten minutes: nothing is lost, no row is unknown, one send at a time tries again."""

    async def main() -> None:
        ledger = await filled(50)
        down_until = asyncio.get_running_loop().time() + 600

        def answer(_address: str) -> Response | BaseException:
            down = asyncio.get_running_loop().time() < down_until
            return APIConnectionError("refused", phase="connect") if down else accepted(1)

        client = FakeClient(answer)
        sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(300)
        assert sender.wait is not None
        assert sender.wait.reason == "unreachable"

        counts = await running
        assert counts.states == {"sent": 50}
        assert len(client.moments) < 50 + 8 + 25

    run_virtually(main())


@pytest.mark.parametrize(
    "error",
    [
        PaymentRequiredError("402", status=402),
        AuthenticationError("the credentials were rejected"),
        PermissionDeniedError("403", status=403),
        NotFoundError("404", status=404),
    ],
)
def test_what_would_refuse_every_row_pauses_and_refuses_none(error: Exception) -> None:
    """No balance, credentials, right or such path: the campaign pauses and says so; the rows stay pending."""

    async def main() -> None:
        ledger, client = await filled(500), FakeClient(lambda _address: error)
        sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await until(lambda: sender.wait is not None and sender.wait.reason == "paused")
        assert sender.wait is not None
        assert (sender.wait.by, sender.wait.words) == ("service", str(error))

        client.answer = None
        sender.follow(await ledger.control(lambda _: Control()))

        assert (await running).states == {"sent": 500}

    run_virtually(main())


def test_a_claim_whose_response_was_lost_does_not_keep_the_campaign_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its rows are `sending` in the name of a sender that does not know them: they end as unknown, unsent."""

    async def main() -> None:
        ledger, client, claims = await filled(50), FakeClient(), 0
        claim = ledger.claim

        async def losing(*arguments: Any, **more: Any) -> list[Claimed]:
            nonlocal claims
            claims += 1
            rows = await claim(*arguments, **more)
            if claims == 3:
                raise LedgerError("the ledger failed: the connection was cut")
            return rows

        monkeypatch.setattr(ledger, "claim", losing)  # the connection is cut after the commit
        counts = await sender_of(ledger, client).run()

        assert counts.states["sent"] + counts.states["unknown"] == 50
        assert 0 < counts.states["unknown"] <= 8
        assert max(client.sends.values()) == 1
        assert len(client.sends) == counts.states["sent"]

    run_virtually(main())


def test_a_closed_client_ends_the_run_and_no_row_is_lost() -> None:
    """The error comes out, the rows are pending."""

    async def main() -> None:
        ledger = await filled(50)
        client = FakeClient(lambda _address: ClientClosedError("the client is closed"))

        with pytest.raises(ClientClosedError):
            await sender_of(ledger, client).run()

        assert (await verified(ledger)).states == {"pending": 50}

    run_virtually(main())


# --- stop, pause, cancel ---------------------------------------------------------------------------


def test_a_stop_drains() -> None:
    """What is in flight is answered and recorded, the rest is pending."""

    async def main() -> None:
        ledger, client = await filled(100), FakeClient(latency=1.0)
        sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(2.5)
        sender.stop()

        assert (await running).states == {"sent": 24, "pending": 76}

    run_virtually(main())


def test_a_second_stop_gives_up_what_is_in_flight() -> None:
    """Bytes left: unknown, honestly; and never sent again."""

    async def main() -> None:
        ledger, client = await filled(100), FakeClient(latency=1.0)
        sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(2.5)
        sender.stop()
        sender.stop()

        assert (await running).states == {"sent": 16, "unknown": 8, "pending": 76}
        await sender_of(ledger, client).run()
        assert set(client.sends.values()) == {1}

    run_virtually(main())


def test_a_cancelled_run_records_what_it_knows() -> None:
    """The same by cancelling the task, also while a claim is under way."""

    async def main() -> None:
        for moment in (0.0, 0.05, 1.0, 1.01, 2.5):
            ledger, client = await filled(100), FakeClient(latency=1.0)
            running = asyncio.ensure_future(sender_of(ledger, client).run())
            await asyncio.sleep(moment)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

            states = (await verified(ledger)).states
            assert "sending" not in states
            assert states.get("unknown", 0) <= 8
            await sender_of(ledger, client).run()
            assert set(client.sends.values()) == {1}

    run_virtually(main())


def test_a_pause_and_a_resume_and_a_new_rate_from_another_process() -> None:
    """What is asked for through the ledger is followed within a second or so, without a restart."""

    async def main() -> None:
        ledger, client = await filled(1000), FakeClient()
        sender = sender_of(ledger, client, pace=Pace(rates=(Rate(10),)))
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(5)
        await ledger.control(lambda _: Control(state="pause", by="command", reason="lunch"))
        await asyncio.sleep(3)
        before = len(client.moments)
        assert sender.wait is not None
        assert str(sender.wait) == "paused by command: lunch"
        await asyncio.sleep(100)
        assert len(client.moments) == before

        await ledger.control(lambda _: Control(state="run", by="command", rate=100.0))
        await asyncio.sleep(4)
        assert 250 <= len(client.moments) - before <= 410
        assert (await running).states == {"sent": 1000}

    run_virtually(main())


def test_a_stop_ends_a_wait_for_a_quota() -> None:
    """A stop while the quota of the day is spent: the run ends at once, the rows are pending."""

    async def main() -> None:
        ledger = await filled(100)
        spent = {
            "quota-limit": "20",
            "quota-interval": "1",
            "quota-time-unit": "day",
            "quota-used": "20",
            "quota-reset-UTC": "2027-01-15T09:00:00Z",
        }
        client = FakeClient(lambda _address: accepted(1, spent))
        sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(30)
        assert sender.wait is not None
        assert (sender.wait.reason, sender.wait.bucket) == ("quota", "gateway")
        assert sender.wait.until == pytest.approx(EPOCH + 3600, abs=1)

        sender.stop()
        counts = await asyncio.wait_for(running, 1)

        assert counts.states == {"sent": 8, "pending": 92}
        assert counts.open == 92

    run_virtually(main())


# --- the ledger fails ------------------------------------------------------------------------------


class FailingLedger(MemoryLedger):
    """Fails for a number of calls, from the moment it is told to."""

    failures = 0

    async def claim(
        self, request: ClaimRequest, results: Sequence[Result] = (), *, worker: str = ""
    ) -> list[Claimed]:
        self._fail()
        return await super().claim(request, results, worker=worker)

    async def record(self, results: Sequence[Result]) -> None:
        self._fail()
        await super().record(results)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise LedgerError("the disk is full")


def test_a_ledger_that_fails_for_a_while_loses_no_result() -> None:
    """Results wait for it, nothing is sent meanwhile, and status says so."""

    async def main() -> None:
        ledger, client = FailingLedger(clock=wall), FakeClient()
        await ledger.add(recipients(100))
        sender: Sender = sender_of(ledger, client)
        running = asyncio.ensure_future(sender.run())
        await asyncio.sleep(0.55)
        ledger.failures = 4
        await asyncio.sleep(1.0)
        sends = len(client.moments)
        assert sender.wait is not None
        assert (sender.wait.reason, sender.wait.words) == ("store", "the disk is full")
        await asyncio.sleep(1.0)
        assert len(client.moments) == sends

        assert (await running).states == {"sent": 100}
        assert set(client.sends.values()) == {1}

    run_virtually(main())


def test_a_ledger_that_fails_for_good_ends_the_run() -> None:
    """The error comes out; what is not recorded is `sending`, and unknown after the next start."""

    async def main() -> None:
        ledger, client = FailingLedger(clock=wall), FakeClient()
        await ledger.add(recipients(100))
        running = asyncio.ensure_future(sender_of(ledger, client).run())
        await asyncio.sleep(0.55)
        ledger.failures = 1000
        with pytest.raises(LedgerError, match="full"):
            await running

        ledger.failures = 0
        counts = await sender_of(ledger, client).run()
        assert counts.states["unknown"] <= 8
        assert set(client.sends.values()) == {1}

    run_virtually(main())
