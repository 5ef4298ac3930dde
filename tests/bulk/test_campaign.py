"""`Campaign`: the parts together, against the simulator or in virtual time, and the complaints it answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from nexmo_dispatch_async import sms
from nexmo_dispatch_async.bulk import (
    Campaign,
    Governor,
    MemoryLedger,
    Variants,
    WorkflowTemplate,
)
from nexmo_dispatch_async.bulk.ledger.records import Control, News
from nexmo_dispatch_async.exceptions import (
    BadRequestError,
    ConfigurationError,
    OutcomeUnknownError,
    PlanChangedError,
    RateLimitError,
)
from nexmo_dispatch_async.sansio import Response
from nexmo_dispatch_async.simulator import Settings, Simulator
from nexmo_dispatch_async.tariff import Tariff
from tests.bulk.campaigns import EPOCH, TEMPLATE, phone, until, wall
from tests.bulk.fake_client import FakeClient, accepted
from tests.support.virtual_loop import run_virtually


def people(count: int, start: int = 0) -> list[dict[str, str]]:
    return [{"phone": phone(number), "name": f"Person {number}"} for number in range(start, start + count)]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(settings=Settings(quota_limit=100_000)) as simulator:
        yield simulator


def opened(
    client: FakeClient, ledger: MemoryLedger | None = None, **more: Any
) -> AbstractAsyncContextManager[Campaign]:
    keeper = ledger if ledger is not None else MemoryLedger(clock=wall)
    settings: dict[str, Any] = {"template": TEMPLATE, "governor": Governor(), "wall_clock": wall, "limit": 8}
    return Campaign.open(keeper, client=cast("Any", client), **settings | more)


async def test_a_list_is_sent_and_reported(tmp_path: Path, sim: Simulator) -> None:
    """From rows to a report in five lines, each person once."""
    async with (
        sim.client() as client,
        Campaign.open(tmp_path / "spring.db", client=client, template=TEMPLATE, rate="500/s") as campaign,
    ):
        taken = await campaign.add(people(40))
        counts = await campaign.run()
        status = await campaign.status(verify=True)
        report = await campaign.report()

    assert (taken.added, taken.rejected) == (40, 0)
    assert counts.states == {"sent": 40}
    assert (status.state, status.counts) == ("finished", counts)
    assert (report.rows, report.accepted) == (40, 40)
    assert sim.accepted == 40


async def test_a_household_with_one_number_gets_one_message(sim: Simulator) -> None:
    """Two names, one number, in two spellings: one send, one reject with its line."""
    async with (
        sim.client() as client,
        Campaign.open(":memory:", client=client, template=TEMPLATE, country="NL") as campaign,
    ):
        rows = [
            {"phone": number, "name": "A"} for number in ("+31 6 12345678", "0031612345678", "316 12345678")
        ]
        taken = await campaign.add(rows)
        await campaign.run()

    assert (taken.added, taken.duplicates) == (1, 2)
    assert sim.accepted == 1


async def test_a_test_send_goes_to_oneself_and_changes_nothing(sim: Simulator) -> None:
    """One of each variant, to the number given, and the ledger is as it was."""
    template = WorkflowTemplate(
        sms.text("A {name}", from_="31647356950", to="{phone}"),
        variants={"b": WorkflowTemplate(sms.text("B {name}", from_="31647356950", to="{phone}"))},
    )
    variants = Variants(shares={"a": 1, "b": 1})
    async with (
        sim.client() as client,
        Campaign.open(":memory:", client=client, template=template, variants=variants) as campaign,
    ):
        await campaign.add(people(50))
        before = await campaign.ledger.counts()
        dispatches = await campaign.test("+999 100 000 001")
        assert await campaign.ledger.counts() == before

    steps = [
        json.loads(request.body)["workflow"][0]
        for request in sim.requests
        if request.path.endswith("dispatch")
    ]
    assert len(dispatches) == len(steps) == 2
    assert {step["to"]["number"] for step in steps} == {"999100000001"}
    assert {step["message"]["content"]["text"][0] for step in steps} == {"A", "B"}


async def test_only_the_plan_that_was_approved_is_run() -> None:
    """Another row, or another limit, is another plan; without one in the ledger nothing is approved."""
    rows = people(5)
    async with Campaign.open(":memory:", template=TEMPLATE) as campaign:
        approved = (await campaign.plan(rows)).hash
        with pytest.raises(PlanChangedError, match=approved):
            await campaign.add(people(6), plan=approved)
        assert (await campaign.ledger.counts()).total == 0
        await campaign.add(rows, plan=approved)

        with pytest.raises(ConfigurationError, match="client"):
            await campaign.run(plan=approved)


async def test_another_template_does_not_continue_a_campaign(tmp_path: Path) -> None:
    """A text that was edited after the rows were added is another campaign."""
    other = WorkflowTemplate(sms.text("Bye {name}", from_="31647356950", to="{phone}"))
    async with Campaign.open(tmp_path / "c.db", template=TEMPLATE) as campaign:
        await campaign.add(people(3))
    async with Campaign.open(tmp_path / "c.db", template=other) as campaign:
        with pytest.raises(PlanChangedError, match="template"):
            await campaign.add(people(3, start=10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rate": "fast"}, "rate must be a rate"),
        ({"over": "soon"}, "over must be a duration"),
        ({"limit": 0}, "limit must be a whole number, at least 1, not 0"),
        ({"max_spend": Decimal(5)}, "tariff"),
        ({"quite": None}, "no such setting of a campaign: quite"),
        ({"canary": 5}, r"canary must be of type Canary, not int: write Canary\(first=100\)"),
        ({"abort_if": 0.1}, "abort_if must be of type AbortIf, not float"),
        ({"quiet": "21:00"}, "quiet must be of type QuietHours, not str"),
        ({"pace": 20}, "pace must be of type Pace, not int"),
        ({"people": "opt-outs.db"}, "people must be of type PeopleSettings, not str"),
    ],
)
async def test_wrong_settings_are_refused_at_the_opening(settings: dict[str, object], message: str) -> None:
    """And not in the middle of the night: the message names the setting and what it may be."""
    with pytest.raises(ConfigurationError, match=message):
        async with Campaign.open(":memory:", template=TEMPLATE, **settings):  # type: ignore[arg-type]  # on purpose
            raise AssertionError("it was opened")


# --- in virtual time -------------------------------------------------------------------------------


def test_a_campaign_is_finished_only_when_no_row_is_left() -> None:
    """Complaint 3: pause, a new limit, a resume, a stop, a new run: finished once, at the end."""

    async def main() -> None:
        client, ledger = FakeClient(), MemoryLedger(clock=wall)
        async with opened(client, ledger, rate=20) as campaign:
            await campaign.add(people(400))
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(3)
            paused_at = wall()
            await campaign.pause("a check")
            await asyncio.sleep(5)
            status = await campaign.status()
            assert (status.state, str(status.wait)) == ("paused", "paused by operator: a check")
            assert status.wait is not None
            assert status.wait.since == paused_at
            await campaign.retune(limit=2)
            await campaign.resume()
            await asyncio.sleep(3)
            await campaign.stop()
            assert (await running).open > 0
            assert (await campaign.status()).state == "idle"
        async with opened(client, ledger) as campaign:
            assert (await campaign.run()).states == {"sent": 400}
            assert (await campaign.status()).state == "finished"
        assert set(client.sends.values()) == {1}

    run_virtually(main())


def test_status_tells_rate_and_end_and_why_nothing_moves() -> None:
    """Complaint 11: while it sends, the rate and the end; while it sleeps, for what and until when."""

    async def main() -> None:
        async with opened(FakeClient(), rate=20) as campaign:
            await campaign.add(people(1000))
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(20)
            status = await campaign.status()
            assert status.state == "running"
            assert status.rate == pytest.approx(20, rel=0.1)
            assert status.eta == pytest.approx(EPOCH + 50, abs=3)
            await campaign.retune(rate=1 / 3600)
            await asyncio.sleep(10)
            status = await campaign.status()
            assert status.wait is not None
            assert (status.state, status.wait.reason, status.eta) == ("waiting", "rate", None)
            assert status.wait.until is not None
            assert status.wait.until > EPOCH + 3000
            await campaign.stop()
            await running

    run_virtually(main())


def test_limits_change_live_and_per_bucket() -> None:
    """Complaint 12: 100 -> 10 -> 100 sends per second without a pause or a restart."""

    async def main() -> None:
        client = FakeClient()
        async with opened(client, rate=100, limit=64) as campaign:
            await campaign.add(people(3000))
            running = asyncio.ensure_future(campaign.run())
            sent: list[int] = []
            for rate in (100.0, 10.0, 100.0):
                await campaign.retune(rate=rate)
                before = len(client.moments)
                await asyncio.sleep(10)
                sent.append(len(client.moments) - before)
            await campaign.stop()
            await running
        assert sent == [pytest.approx(1000, abs=15), pytest.approx(100, abs=5), pytest.approx(1000, abs=15)]

    run_virtually(main())


def test_what_is_not_sent_in_time_expires() -> None:
    """Complaint 13: text with a time goes out before `send_until`, or not at all."""

    async def main() -> None:
        client = FakeClient()
        async with opened(client, rate=10, send_until=EPOCH + 20) as campaign:
            await campaign.add(people(500))
            counts = await campaign.run()
        assert max(client.moments) < 1020
        assert counts.skipped["expired"] == 500 - counts.states["sent"]

    run_virtually(main())


def test_numbers_equal_a_recount_whatever_happened() -> None:
    """Complaint 15: derived from rows, also while it runs, is paused, loses answers and is cancelled."""

    async def main() -> None:
        kinds: Counter[int] = Counter()

        def answer(address: str) -> Response | BaseException:
            kind = int(address) % 7
            kinds[kind] += 1
            if kind == 0 and kinds[kind] % 2:
                return RateLimitError("429", retry_after=0.3)
            if kind == 1:
                return BadRequestError("400", status=400)
            return OutcomeUnknownError("lost") if kind == 2 else accepted(1)

        client, ledger = FakeClient(answer), MemoryLedger(clock=wall)
        for _ in range(6):
            async with opened(client, ledger) as campaign:
                await campaign.add(people(700))
                running = asyncio.ensure_future(campaign.run())
                for _ in range(5):
                    await asyncio.sleep(0.33)
                    assert await ledger.counts() == await ledger.counts(verify=True)
                running.cancel()
                await asyncio.wait([running])
                assert await ledger.counts() == await ledger.counts(verify=True)
        async with opened(client, ledger) as campaign:
            counts = await campaign.run()
        assert counts == await ledger.counts(verify=True)
        assert counts.states["refused"] + counts.states["sent"] + counts.states["unknown"] == 700

    run_virtually(main())


def test_stop_while_a_row_is_queued_keeps_it_from_going_out() -> None:
    """Complaint 17: the opt-out list is looked into with each claim, however long the row waits."""

    async def main() -> None:
        client, ledger = FakeClient(), MemoryLedger(clock=wall)
        async with opened(client, ledger, rate=10) as campaign:
            await campaign.add(people(100))
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(2)
            await ledger.opt_outs.suppress(phone(90), reason="STOP")
            counts = await running
        assert counts.skipped == {"suppressed": 1}
        assert client.sends[phone(90)] == 0
        assert sum(client.sends.values()) == 99

    run_virtually(main())


def test_a_budget_is_kept_with_the_prices_of_the_rows() -> None:
    """0.07 + 0.002 for each SMS of one segment at most: 13 of 1.00 EUR."""

    async def main() -> None:
        client = FakeClient()
        tariff = Tariff({"sms": "0.07"})
        async with opened(client, max_spend=Decimal("1.00"), tariff=tariff) as campaign:
            await campaign.add(people(100))
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(60)
            status = await campaign.status()
            assert status.wait is not None
            assert status.wait.reason == "max_spend"
            assert len(client.moments) == 13
            await campaign.stop()
            await running

    run_virtually(main())


def test_a_budget_counts_dear_rows_that_are_in_flight_elsewhere() -> None:
    """Five of 0.14 have no report yet, when a run begins whose own rows cost half: there is room for two."""

    async def main() -> None:
        ledger, tariff = MemoryLedger(clock=wall), Tariff({"sms": "0.07"}, fee="0")
        dear = [{"phone": phone(number), "name": "x" * 200} for number in range(5)]
        for rows, most, sent in ((dear, "0.75", 5), (people(50, start=5), "1.00", 7)):
            client = FakeClient()
            async with opened(client, ledger, max_spend=Decimal(most), tariff=tariff) as campaign:
                await campaign.add(rows)
                running = asyncio.ensure_future(campaign.run())
                await asyncio.sleep(10)
                assert (await ledger.counts()).states["sent"] == sent
                await campaign.stop()
                await running

    run_virtually(main())


def test_a_list_that_is_refused_row_by_row_is_not_burnt() -> None:
    """A wrong sender or template: without a word in the settings the campaign pauses after 50 in a row."""

    async def main() -> None:
        client = FakeClient(lambda _address: BadRequestError("400", status=400))
        async with opened(client) as campaign:
            await campaign.add(people(500))
            running = asyncio.ensure_future(campaign.run())
            await until(
                lambda: (wait := campaign._sender and campaign._sender.wait) and wait.by == "abort_if"
            )
            status = await campaign.status()
            assert status.wait is not None
            assert status.wait.reason == "paused"
            assert status.wait.since is not None
            assert status.wait.since <= wall()
            assert status.wait.words == (
                "50 of the last 50 rows are refused, 100% is too much; most often BadRequestError"
            )
            assert status.counts.states["refused"] < 50 + 2 * 8

            client.answer = None
            await campaign.resume()
            counts = await running
            assert counts.states == {
                "refused": status.counts.states["refused"],
                "sent": 500 - status.counts.states["refused"],
            }

    run_virtually(main())


def test_rows_that_are_added_while_it_runs_are_sent_too() -> None:
    """The run goes on until they have an outcome, too."""

    async def main() -> None:
        client = FakeClient()
        async with opened(client, rate=10) as campaign:
            await campaign.add(people(50))
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(2)
            await campaign.add(people(50, start=50))
            assert (await running).states == {"sent": 100}

    run_virtually(main())


def test_leaving_the_context_drains_a_run_of_another_task() -> None:
    """Nothing is left `sending`, and the task ends by itself."""

    async def main() -> None:
        client, ledger = FakeClient(latency=1), MemoryLedger(clock=wall)
        async with opened(client, ledger) as campaign:
            await campaign.add(people(100))
            running = asyncio.ensure_future(campaign.run())
            await until(lambda: client.in_flight == 8)
        await running
        assert (await ledger.counts()).states == {"sent": 8, "pending": 92}

    run_virtually(main())


def test_a_stop_from_another_process_is_no_stop_for_ever() -> None:
    """The next run is started on purpose; a pause stays until it is resumed."""

    async def main() -> None:
        client, ledger = FakeClient(), MemoryLedger(clock=wall)
        async with opened(client, ledger) as campaign:
            await campaign.add(people(100))
            await ledger.control(lambda _: Control(state="stop", by="command"))
            assert (await campaign.run()).states == {"sent": 100}

    run_virtually(main())


def test_a_pause_outlasts_a_stop() -> None:
    """Nothing is sent until it is resumed, not even by a run that begins afterwards."""

    async def main() -> None:
        client, ledger = FakeClient(), MemoryLedger(clock=wall)
        async with opened(client, ledger) as campaign:
            await campaign.add(people(100))
            await campaign.pause("the shop is down", by="command")
            for _ in range(2):
                await campaign.stop("restart", by="deploy")
            running = asyncio.ensure_future(campaign.run())
            await until(lambda: (sender := campaign._sender) is not None and sender.wait is not None)
            status = await campaign.status()
            assert status.wait is not None
            assert (status.state, status.wait.by, status.wait.words) == (
                "paused",
                "command",
                "the shop is down",
            )
            assert not client.sends

            await campaign.resume()
            assert (await running).states == {"sent": 100}
            assert not (await ledger.control()).held

    run_virtually(main())


def test_a_higher_budget_is_followed_by_the_next_run() -> None:
    """The pause of a budget that was spent ends with its run: the next one looks at the amount it has."""

    async def main() -> None:
        client, ledger = FakeClient(), MemoryLedger(clock=wall)
        tariff = Tariff({"sms": "0.10"}, fee="0")
        for most, sent in (("0.50", 5), ("0.50", 5), ("1.20", 12)):
            async with opened(client, ledger, max_spend=Decimal(most), tariff=tariff) as campaign:
                await campaign.add(people(30))
                running = asyncio.ensure_future(campaign.run())
                await asyncio.sleep(20)
                rows = await ledger.scan("sent", limit=100)
                await ledger.observe(
                    [
                        News(dispatch_uuid=row.dispatch_uuid, at=1.0, ended=True, cost="0.10", currency="EUR")
                        for row in rows
                    ]
                )
                await asyncio.sleep(20)
                wait = (await campaign.status()).wait
                assert wait is not None
                assert (wait.reason, wait.by) == ("paused", "max_spend")
                assert f"of {most} allowed" in wait.words
                assert sum(client.sends.values()) == sent
                running.cancel()  # as Ctrl-C does: no operator resumes it
                with pytest.raises(asyncio.CancelledError):
                    await running

        async with opened(client, ledger) as campaign:  # an operator's pause stays
            await campaign.pause("lunch")
            running = asyncio.ensure_future(campaign.run())
            await asyncio.sleep(20)
            assert sum(client.sends.values()) == 12
            await campaign.stop()
            await running

    run_virtually(main())
