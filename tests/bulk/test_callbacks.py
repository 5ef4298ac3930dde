"""Callbacks move the rows of a campaign, and `wait` knows when nothing more will come."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from nexmo_dispatch_async.bulk.callbacks import CampaignCallbacks, attach
from nexmo_dispatch_async.bulk.campaign import Campaign
from nexmo_dispatch_async.bulk.ledger.memory import MemoryLedger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import ClaimRequest, News, Observed, Recipient, Result, Row
from nexmo_dispatch_async.bulk.settings import CampaignSettings, PeopleSettings, Source
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError
from nexmo_dispatch_webhooks import Router
from tests.bulk.callbacks import BEGIN, report, status, uuid_of
from tests.bulk.ledger.test_opt_outs import reply

HOUR = 3600.0


class Clock:
    """Time that moves when it is told to; its `sleep` takes no real time."""

    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


class WatchedLedger(MemoryLedger):
    """A ledger that counts its transactions, and fails as often as it is told to."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.observed: list[int] = []
        self.failures = 0
        self.slow = anyio.Event()
        self.slow.set()

    async def observe(self, news: Sequence[News]) -> Observed:
        await self.slow.wait()
        self.observed.append(len(news))
        if self.failures:
            self.failures -= 1
            raise LedgerError("the disk is full")
        return await super().observe(news)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> WatchedLedger:
    return WatchedLedger(clock)


@pytest.fixture
def callbacks(ledger: WatchedLedger, clock: Clock) -> CampaignCallbacks:
    return CampaignCallbacks(ledger, clock=clock, sleep=clock.sleep)


async def send(
    ledger: MemoryLedger, count: int, state: Any = "sent", *, bucket: str = "whatsapp|447"
) -> None:
    """Add so many rows, claim them and bring their results; row n has workflow n."""
    recipients = [
        Recipient(key=f"k{n}", address=f"99900000{n:04d}", fields={}, bucket=bucket)
        for n in range(1, count + 1)
    ]
    await ledger.add(recipients)
    claimed = await ledger.claim(ClaimRequest(limit=count, now=BEGIN))
    if state != "sending":
        await ledger.record(
            [
                Result(id=c.id, state=state, at=BEGIN, dispatch_uuid=uuid_of(c.id) if state == "sent" else "")
                for c in claimed
            ]
        )


async def row(ledger: MemoryLedger, number: int = 1) -> Row:
    return (await ledger.scan(after=number - 1, limit=1))[0]


async def test_callbacks_reach_their_rows_through_a_router(ledger: WatchedLedger, clock: Clock) -> None:
    """Statuses and the report of a workflow end its row; those of others change nothing."""
    await send(ledger, 2)
    router = Router()
    attach(router, ledger, clock=clock)

    for event in (
        status(1, 1, "read", at=8, price="0.05"),
        report(1, "completed", ("whatsapp", "read", "0.05"), at=8.1),
        status(77, 1, "read", at=8),
    ):
        assert (await router.dispatch(event)).failures == ()

    news = (await row(ledger)).news
    assert news is not None
    assert (news.ended, news.reached, news.channel, news.cost) == (True, "read", "whatsapp", "0.052")
    counts = await ledger.counts(verify=True)
    assert (counts.ended, counts.reached, counts.cost) == (1, {"read": 1}, {"EUR": "0.052"})


async def test_the_reference_proves_what_an_unknown_row_was(
    ledger: WatchedLedger, callbacks: CampaignCallbacks
) -> None:
    """A status that repeats the client_ref turns the row into a sent one, with its workflow."""
    await send(ledger, 1, "unknown")

    await callbacks.receive(status(1, 1, "delivered", at=3, client_ref=f"{ledger.reference}-1"))

    found = await row(ledger)
    assert (found.state, found.dispatch_uuid) == ("sent", uuid_of(1))


async def test_a_report_that_comes_first_waits_for_the_reference(
    ledger: WatchedLedger, callbacks: CampaignCallbacks
) -> None:
    """A report has no client_ref: it is kept until a status of its workflow proves the row."""
    await send(ledger, 1, "unknown")

    await callbacks.receive(report(1, "completed", ("whatsapp", "delivered"), at=5))
    assert (await row(ledger)).state == "unknown"
    await callbacks.receive(status(1, 1, "submitted", at=0.1, client_ref=f"{ledger.reference}-1"))

    found = await row(ledger)
    assert found.news is not None
    assert (found.state, found.news.ended, found.news.reached) == ("sent", True, "delivered")


async def test_callbacks_that_overtake_the_result_are_not_lost(
    ledger: WatchedLedger, callbacks: CampaignCallbacks
) -> None:
    """The row's result comes last and no callback follows it: they are brought again."""
    await send(ledger, 1, "sending")
    await callbacks.receive(report(1, "completed", ("whatsapp", "delivered"), at=5))

    await ledger.record([Result(id=1, state="sent", at=BEGIN, dispatch_uuid=uuid_of(1))])
    assert await callbacks.reconcile() == 1

    assert (await ledger.counts()).ended == 1
    assert await callbacks.reconcile() == 0


async def test_address_and_time_suggest_and_decide_nothing(
    ledger: WatchedLedger, callbacks: CampaignCallbacks, clock: Clock
) -> None:
    """Without a reference an operator gets a hint; the row stays unknown."""
    await send(ledger, 3, "unknown")
    await callbacks.receive(status(9, 1, "delivered", at=4, to="999000000002"))
    await callbacks.receive(status(8, 1, "delivered", at=-9 * HOUR, to="999000000003"))

    (hint,) = await callbacks.suggest(within=HOUR)

    assert (hint.id, hint.dispatch_uuid, hint.seconds) == (2, uuid_of(9), 4)
    assert "99900" not in repr(hint)
    assert (await ledger.counts()).states == {"unknown": 3}


async def test_callbacks_at_the_same_time_share_a_transaction(
    ledger: WatchedLedger, callbacks: CampaignCallbacks
) -> None:
    """One commit for all that arrive while the one before is written; each is answered after its own."""
    await send(ledger, 100)
    ledger.slow = anyio.Event()

    async with anyio.create_task_group() as group:
        for number in range(1, 101):
            group.start_soon(callbacks.receive, status(number, 1, "delivered", at=2))
        await anyio.wait_all_tasks_blocked()
        ledger.slow.set()

    assert ledger.observed == [100]
    assert (await ledger.counts()).reached == {"delivered": 100}


async def test_what_could_not_be_stored_is_said(ledger: WatchedLedger, callbacks: CampaignCallbacks) -> None:
    """The caller of a failed transaction gets the error, the others their own try; nothing counts twice."""
    await send(ledger, 3)
    ledger.slow, ledger.failures = anyio.Event(), 1
    failed: list[int] = []

    async def receive(number: int) -> None:
        try:
            await callbacks.receive(status(number, 1, "delivered", at=2))
        except LedgerError:
            failed.append(number)

    async with anyio.create_task_group() as group:
        for number in (1, 2, 3):
            group.start_soon(receive, number)
        await anyio.wait_all_tasks_blocked()
        ledger.slow.set()

    assert len(failed) == 1
    await callbacks.receive(status(failed[0], 1, "delivered", at=2))
    assert (await ledger.counts(verify=True)).reached == {"delivered": 3}


async def test_a_cancelled_callback_leaves_the_others_alone(
    ledger: WatchedLedger, callbacks: CampaignCallbacks
) -> None:
    """The one that writes for all is cancelled: the rest write themselves."""
    await send(ledger, 2)
    ledger.slow = anyio.Event()

    async with anyio.create_task_group() as group:
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await callbacks.receive(status(1, 1, "delivered", at=2))

        group.start_soon(cancelled)
        await anyio.wait_all_tasks_blocked()
        group.start_soon(callbacks.receive, status(2, 1, "delivered", at=2))
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.wait_all_tasks_blocked()
        ledger.slow.set()

    assert (await row(ledger, 2)).news is not None
    assert repr(callbacks) == "<CampaignCallbacks, 0 being stored, 0 of no row>"


async def test_callbacks_of_callers_that_have_left_do_not_pile_up(
    ledger: WatchedLedger, callbacks: CampaignCallbacks
) -> None:
    """They left while another one wrote for them, and failed: the service repeats their callbacks."""
    await send(ledger, 3)
    gates = [anyio.Event(), anyio.Event()]
    limits = {number: anyio.CancelScope() for number in (1, 2, 3)}
    failed: list[int] = []

    async def receive(number: int) -> None:
        with limits[number]:
            try:
                await callbacks.receive(status(number, 1, "delivered", at=2))
            except LedgerError:
                failed.append(number)

    ledger.slow = gates[0]
    async with anyio.create_task_group() as group:
        for number in limits:
            group.start_soon(receive, number)
            await anyio.wait_all_tasks_blocked()
        ledger.slow = gates[1]
        gates[0].set()  # the second call writes for the third one too
        await anyio.wait_all_tasks_blocked()
        limits[3].cancel()
        await anyio.wait_all_tasks_blocked()
        ledger.failures = 1
        gates[1].set()

    assert (failed, ledger.observed) == ([2], [1, 2])
    assert repr(callbacks) == "<CampaignCallbacks, 0 being stored, 0 of no row>"


@pytest.mark.parametrize("code", [1050, 1240])
async def test_codes_for_people_who_opted_out_reach_the_list(
    ledger: WatchedLedger, clock: Clock, code: int
) -> None:
    """The service knows of a STOP that the application never saw."""
    opt_outs, router = OptOutList(clock=clock), Router()
    attach(router, ledger, opt_outs, clock=clock)

    await router.dispatch(status(1, 1, "rejected", at=2, code=code, to="999000000007"))
    await router.dispatch(status(2, 1, "rejected", at=2, code=1300, to="999000000008"))

    assert [entry.address for entry in await opt_outs.list()] == ["999000000007"]


async def test_unmatched_callbacks_are_bounded_in_number_and_age(ledger: WatchedLedger, clock: Clock) -> None:
    """A router that serves other campaigns too costs no more than it was allowed to."""
    callbacks = CampaignCallbacks(ledger, clock=clock, keep_unmatched=60, max_unmatched=5)
    for number in range(50):
        await callbacks.receive(status(number, 1, "delivered", at=2))
    assert "5 of no row" in repr(callbacks)

    clock.now += 61
    await callbacks.receive(status(99, 1, "delivered", at=2))
    assert "1 of no row" in repr(callbacks)

    tries = len(ledger.observed)
    for second in range(60):
        clock.now += 1
        await callbacks.receive(status(99, 1, "delivered", at=2 + second))
    assert sum(ledger.observed[tries:]) == 60


async def test_wait_returns_when_all_have_ended(
    ledger: WatchedLedger, callbacks: CampaignCallbacks, clock: Clock
) -> None:
    """The last report ends the wait at once, without another look at the clock."""
    await send(ledger, 2)
    await callbacks.receive(report(1, "completed", ("whatsapp", "delivered"), at=5))

    async def never(_: float) -> None:
        await anyio.sleep_forever()

    waiting = CampaignCallbacks(ledger, clock=clock, sleep=never)

    async def last() -> None:
        await anyio.wait_all_tasks_blocked()
        await waiting.receive(report(2, "error", ("whatsapp", "rejected"), at=6))

    waited, _ = await asyncio.gather(waiting.wait(), last())

    assert (waited.ended, waited.given_up, waited.open) == (2, 0, 0)


@pytest.mark.parametrize(
    ("channel", "hours"), [("sms", 72), ("viber_service_msg", 14 * 24), ("whatsapp", 30 * 24)]
)
async def test_wait_gives_up_what_can_not_end(
    ledger: WatchedLedger, callbacks: CampaignCallbacks, clock: Clock, channel: str, hours: int
) -> None:
    """A message that stays submitted never ends; it counts until its channel's statuses are over."""
    await send(ledger, 2, bucket=f"{channel}|me")
    await callbacks.receive(status(1, 1, "submitted", at=HOUR, channel="sms"))

    waited = await callbacks.wait(every=HOUR)

    assert (waited.ended, waited.given_up, waited.open) == (0, 2, 0)
    assert clock.now - BEGIN == pytest.approx((hours + 1) * HOUR, abs=HOUR)


async def test_wait_for_so_long_and_no_longer(
    ledger: WatchedLedger, callbacks: CampaignCallbacks, clock: Clock
) -> None:
    """A timeout is an answer with what is open: also rows that are not sent yet, and unknown ones."""
    await send(ledger, 2)
    await ledger.add([Recipient(key="p", address="999000000099", fields={}, bucket="sms|me")])

    waited = await callbacks.wait(timeout=60)

    assert (waited.ended, waited.open, clock.now) == (0, 3, BEGIN + 60)


async def test_wait_for_what_a_callback_may_still_prove(
    ledger: WatchedLedger, callbacks: CampaignCallbacks, clock: Clock
) -> None:
    """An unknown row is open for the 24 hours in which the service repeats a callback (contract 5.10)."""
    await send(ledger, 2, "unknown")

    waited = await callbacks.wait(timeout=600)

    assert (waited.open, waited.given_up, clock.now) == (2, 0, BEGIN + 600)

    await callbacks.receive(status(1, 1, "read", at=3, client_ref=f"{ledger.reference}-1"))
    await callbacks.receive(report(1, "completed", ("whatsapp", "read"), at=4))
    waited = await callbacks.wait(every=HOUR)

    assert (waited.ended, waited.given_up, waited.open) == (1, 1, 0)
    assert clock.now - BEGIN == pytest.approx(24 * HOUR, abs=HOUR)


async def test_wait_of_a_shorter_patience(
    ledger: WatchedLedger, callbacks: CampaignCallbacks, clock: Clock
) -> None:
    """The caller may know better how long a channel is worth waiting for."""
    await send(ledger, 1)

    waited = await callbacks.wait(latest={"whatsapp": 600}, every=60)

    assert waited.given_up == 1
    assert clock.now - BEGIN == pytest.approx(600, abs=60)


def test_settings_are_checked(ledger: WatchedLedger) -> None:
    """A negative bound is refused, with its name."""
    with pytest.raises(ConfigurationError, match="max_unmatched"):
        CampaignCallbacks(ledger, max_unmatched=-1)


async def test_the_words_of_a_campaign_opt_out_too(ledger: WatchedLedger) -> None:
    """`[people] stop_words` adds the words of a language, and the usual ones still count."""
    opt_outs, router = OptOutList(), Router()
    settings = CampaignSettings(
        name="spring", ledger="", source=Source(file=""), people=PeopleSettings(stop_words=("afmelden",))
    )
    campaign = Campaign(ledger, settings=settings, opt_outs=opt_outs)
    campaign.attach(router)

    for number, text in ((1, "Afmelden!"), (2, "STOP"), (3, "Hallo")):
        (await router.dispatch(reply(text, sender=f"99900000000{number}"))).raise_for_failures()

    assert [entry.address for entry in await opt_outs.list()] == ["999000000001", "999000000002"]
