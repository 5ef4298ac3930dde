"""What a `Ledger` of several processes promises; `conformance` says how to use it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_bounds import BOUNDS_OF_25, send_within
from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    SMS,
    WHATSAPP,
    assert_recount,
    people,
    person,
    request,
    result,
    states,
)
from nexmo_dispatch_async.bulk.ledger.conformance_results import news
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import Bounds, Cap, Claimed, Control
from nexmo_dispatch_async.exceptions import LedgerError

__all__ = ["SharedLedgerConformance", "SharedLedgers"]


class SharedLedgers(Protocol):
    """Opens campaigns as several processes would; the fixture closes them."""

    #: What `clock` of the ledgers says.
    now: float

    async def open(self, name: str, **settings: Any) -> Ledger:
        """Open a campaign; *settings* are `opt_outs`, `observer` and `create`, as for `PostgresLedger`."""
        ...

    async def new_opt_outs(self) -> OptOutList:
        """Open a new, empty opt-out list that campaigns of this kind can share."""
        ...

    async def die(self, ledger: Any, /) -> None:
        """End a ledger as the death or sleep of its process would; others take it for dead then."""
        ...


class SharedLedgerConformance:
    """The promises over several processes. It needs a fixture `shared_ledgers`, of type `SharedLedgers`."""

    async def test_senders_share_the_rows_out(self, shared_ledgers: SharedLedgers) -> None:
        """Four claim and record at the same instants, callbacks beside them: each row goes once."""
        senders = [await shared_ledgers.open("spring") for _ in range(4)]
        await senders[0].add(people(600))
        claims: list[Claimed] = []

        async def send(ledger: Ledger, number: int) -> None:
            done: list[Claimed] = []
            while True:
                rows = await ledger.claim(
                    request(limit=7), [result(row) for row in done], worker=f"w{number}"
                )
                if not rows:
                    return
                claims.extend(rows)
                done = rows
                await senders[(number + 1) % 4].observe(
                    [news(ledger, row.id, reached="read") for row in rows]
                )

        async with asyncio.timeout(60):
            await asyncio.gather(*(send(ledger, number) for number, ledger in enumerate(senders)))

        assert sorted(row.id for row in claims) == list(range(1, 601))
        counts = await assert_recount(senders[3])
        assert counts.reached == {"read": 600}
        assert counts.states == {"sent": 600}

    async def test_lists_that_are_added_at_the_same_instant_make_one_row_for_each_key(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """Lists of two processes overlap: a key has one row, and each process knows which were there."""
        one, other = await shared_ledgers.open("spring"), await shared_ledgers.open("spring")

        added = await asyncio.gather(one.add(people(700)), other.add(people(700, first=300)))

        assert sum(each.added for each in added) == 1000
        assert sum(len(each.duplicates) for each in added) == 400
        rows = await one.scan(limit=2000)
        assert len({row.key for row in rows}) == len(rows) == 1000
        await assert_recount(other)

    async def test_rows_of_a_sender_that_died_become_unknown(self, shared_ledgers: SharedLedgers) -> None:
        """Never `pending`; those of a sender that lives stay; a late result still mends what is unknown."""
        one, other = await shared_ledgers.open("spring"), await shared_ledgers.open("spring")
        await one.add(people(6))
        lost = await one.claim(request(limit=2))
        kept = await other.claim(request(limit=2))
        await shared_ledgers.die(one)

        third = await shared_ledgers.open("spring")

        found = dict(zip(range(1, 7), await states(third), strict=True))
        assert [found[row.id] for row in lost] == ["unknown", "unknown"]
        assert [found[row.id] for row in kept] == ["sending", "sending"]
        assert sorted(found.values()) == ["pending", "pending", "sending", "sending", "unknown", "unknown"]
        await one.record([result(lost[0]), result(lost[1], "pending")])
        await other.record([result(row) for row in kept])
        found = dict(zip(range(1, 7), await states(third), strict=True))
        assert [found[row.id] for row in lost] == ["sent", "unknown"]
        assert [found[row.id] for row in kept] == ["sent", "sent"]
        assert sorted(found.values()) == ["pending", "pending", "sent", "sent", "sent", "unknown"]
        await assert_recount(third)

    async def test_a_sender_that_slept_sends_no_row_that_it_claimed_before(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """Its rows are `unknown` or of another sender by now; what it claims afterwards, it may send."""
        one = await shared_ledgers.open("spring")
        await one.add(people(100))
        row, guard = await _claimed_to_send(one)
        await shared_ledgers.die(one)

        third = await shared_ledgers.open("spring")
        await third.resend([row.id])
        await third.claim(request(limit=50))
        with pytest.raises(LedgerError, match="too old"):
            guard()
        await one.record([result(row, "pending")])
        await _claimed_to_send(one)

        with pytest.raises(LedgerError, match="too old"):
            guard()
        assert (await states(third))[row.id - 1] != "pending"

    async def test_operators_who_resend_at_the_same_instant_send_each_row_once(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """Two operators put back the same refused rows while a sender takes them: each goes out once more."""
        one, other, sender = [await shared_ledgers.open("spring") for _ in range(3)]
        await one.add(people(300))
        await one.record([result(row, "refused") for row in await one.claim(request(limit=300))])
        claims: list[Claimed] = []

        async def send() -> None:
            while len(claims) < 300:
                rows = await sender.claim(request(limit=50))
                claims.extend(rows)
                await sender.record([result(row, "unknown" if row.id % 2 else "sent") for row in rows])

        ids = range(1, 301)
        async with asyncio.timeout(60):
            *put_back, _ = await asyncio.gather(
                one.resend(ids, state="refused"), other.resend(reversed(ids), state="refused"), send()
            )

        assert sum(put_back) == 300
        assert sorted((row.id, row.attempts) for row in claims) == [(row_id, 2) for row_id in ids]
        assert (await assert_recount(one)).states == {"sent": 150, "unknown": 150}

    async def test_a_process_that_comes_later_knows_what_was_sent_again(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """What it reads of the store is what the others know, and a late refusal changes no new attempt."""
        one, other = await shared_ledgers.open("spring"), await shared_ledgers.open("spring")
        await one.add(people(3))
        first = await one.claim(request())
        refused = [result(row, "refused", code="1020") for row in first]
        await one.record(refused)
        await other.resend([1, 2], state="refused")
        (again,) = await other.claim(request(limit=1))

        third = await shared_ledgers.open("spring")

        # which of the two comes first depends on the processes that share the rows
        left = 3 - again.id
        expected = {again.id: "sending", left: "pending", 3: "refused"}
        assert again.attempts == 2
        for _ in range(2):
            assert dict(enumerate(await states(third), 1)) == expected
            await one.record(refused)
        assert [(row.id, row.attempts) for row in await third.claim(request())] == [(left, 2)]
        await other.record([result(again)])
        assert (await assert_recount(third)).states == {"sent": 1, "sending": 1, "refused": 1}

    async def test_the_cap_holds_over_senders(self, shared_ledgers: SharedLedgers) -> None:
        """Two campaigns and four senders at the same instant: no person gets more messages than the cap."""
        shared = await shared_ledgers.new_opt_outs()
        names = ("spring", "summer", "spring", "summer")
        senders = [await shared_ledgers.open(name, opt_outs=shared) for name in names]
        for ledger in senders[:2]:
            await ledger.add([person(n % 25, key=f"k{n}") for n in range(50)])
        cap = Cap(messages=1, window=3600)

        claims = await asyncio.gather(
            *(ledger.claim(request(limit=20, cap=cap)) for _ in range(3) for ledger in senders)
        )

        sent = [row.address for rows in claims for row in rows]
        assert len(sent) == len(set(sent)) == 25
        await assert_recount(senders[0])

    @pytest.mark.parametrize("bounds", BOUNDS_OF_25)
    async def test_canary_and_budget_hold_over_senders(
        self, shared_ledgers: SharedLedgers, bounds: Bounds
    ) -> None:
        """Two processes, claims of different rows at the same instants: together exactly 25 rows go."""
        one, other = await shared_ledgers.open("spring"), await shared_ledgers.open("spring")
        await one.add([*people(100), *people(100, first=100, bucket=WHATSAPP)])

        async with asyncio.timeout(60):
            sent = await asyncio.gather(
                *(send_within(one, SMS, bounds) for _ in range(3)),
                *(send_within(other, WHATSAPP, bounds) for _ in range(3)),
            )

        assert sum(sent) == 25
        assert (await assert_recount(other)).sends == 25

    async def test_an_observer_asks_and_changes_nothing_else(self, shared_ledgers: SharedLedgers) -> None:
        """It reads, counts and asks for something; its end gives up no row."""
        one = await shared_ledgers.open("spring")
        await one.add(people(2))
        await one.claim(request(limit=1))

        watcher = await shared_ledgers.open("spring", observer=True)
        await watcher.control(lambda _: Control(state="pause", by="command"))
        with pytest.raises(LedgerError, match="for looking at it"):
            await watcher.claim(request())
        await watcher.aclose()

        assert (await one.control()).state == "pause"
        assert await states(one) == ["sending", "pending"]
        with pytest.raises(LedgerError, match="no campaign of this name"):
            await shared_ledgers.open("autumn", observer=True, create=False)

    async def test_what_operators_ask_for_at_the_same_instant_holds(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """Each change is made of the one before it, and none overwrites another."""
        ledgers = [await shared_ledgers.open("spring", observer=n > 0) for n in range(3)]

        async def ask(ledger: Ledger, number: int) -> None:
            for _ in range(10):
                await ledger.control(lambda known: known.asked(state="run"))
            await ledger.control(
                lambda known: known.asked(rate=5.0) if number else known.paused("abort_if", "refused")
            )

        async with asyncio.timeout(60):
            await asyncio.gather(*(ask(ledger, number) for number, ledger in enumerate(ledgers)))

        found = await ledgers[0].control()
        # the same rate twice is one change
        assert (found.resumed, found.rate, found.version) == (30, 5.0, 32)
        assert await ledgers[1].control() == found

    async def test_a_sender_that_ends_in_order_leaves_what_it_claimed_unknown(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """At once, without its lease."""
        one, other = await shared_ledgers.open("spring"), await shared_ledgers.open("spring")
        await one.add(people(2))
        await one.claim(request(limit=1))
        await one.aclose()

        assert await states(other) == ["unknown", "pending"]

    async def test_a_claim_whose_caller_was_cancelled_goes_back(self, shared_ledgers: SharedLedgers) -> None:
        """Whenever that was: its rows were not sent."""
        ledger = await shared_ledgers.open("spring")
        await ledger.add(people(4))
        for rounds in range(4):
            claiming = asyncio.create_task(ledger.claim(request(limit=2)))
            for _ in range(rounds):
                await asyncio.sleep(0)
            claiming.cancel()
            with pytest.raises(asyncio.CancelledError):
                await claiming
        # a call waits for those before it, the ones that put rows back included
        for _ in range(10):
            await ledger.counts()
        assert (await assert_recount(ledger)).states == {"pending": 4}

    async def test_a_callback_that_another_process_hears_leaves_a_row_in_flight(
        self, shared_ledgers: SharedLedgers
    ) -> None:
        """The process that sends the row records its result."""
        one, other = await shared_ledgers.open("spring"), await shared_ledgers.open("spring")
        await one.add(people(1))
        (claimed,) = await one.claim(request())
        await other.observe([news(other, claimed.id)])

        await one.counts()  # it reads the callback
        await one.add(people(1, first=1))
        assert await states(one) == ["sending", "pending"]
        await one.record([result(claimed)])
        assert await states(other) == ["sent", "pending"]


async def _claimed_to_send(ledger: Ledger) -> tuple[Claimed, Callable[[], object]]:
    """Claim a row that may be sent: the first try may be late where a lease is short."""
    async with asyncio.timeout(20):
        while True:
            guard = ledger.guard()
            assert guard is not None
            (row,) = await ledger.claim(request(limit=1))
            with contextlib.suppress(LedgerError):
                guard()
                return row, guard
