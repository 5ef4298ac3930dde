"""What every `Ledger` promises of results, callbacks and erasure; `conformance` says how to use it."""

from __future__ import annotations

import itertools
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
    SMS,
    Ledgers,
    assert_recount,
    people,
    person,
    request,
    result,
    row,
    states,
    uuid_of,
)
from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.records import Claimed, News, Observed, Resendable, Result, State
from nexmo_dispatch_async.exceptions import CampaignError, ConfigurationError, LedgerError

#: What is no epoch seconds; the milliseconds of now are a number of seconds far away.
NO_TIMES: Final = (
    datetime(2020, 1, 1, tzinfo=UTC),
    date(2020, 1, 1),
    "2020-01-01",
    b"",
    None,
    True,
    math.nan,
    math.inf,
    NOW * 1000,
)


async def claimed_rows(ledgers: Ledgers, count: int = 1) -> tuple[Ledger, list[Claimed]]:
    """Return a ledger and its rows, all `sending`."""
    ledger = await ledgers.new()
    await ledger.add(people(count))
    return ledger, await ledger.claim(request(limit=count))


async def row_in(ledgers: Ledgers, state: State) -> tuple[Ledger, Claimed]:
    """Return a ledger and its only row, once claimed and now in a state."""
    ledger, (claimed,) = await claimed_rows(ledgers)
    if state in {"sent", "refused", "unknown", "pending"}:
        await ledger.record([result(claimed, state)])
    elif state == "skipped":
        await ledger.record([result(claimed, "unknown")])
        await ledger.drop([claimed.id])
    return ledger, claimed


def news(ledger: Ledger, row_id: int, at: float = NOW + 60, **more: Any) -> News:
    """Return news of a row that was sent with its `client_ref`."""
    ref = f"{ledger.reference}-{row_id}"
    ids: dict[str, Any] = {"dispatch_uuid": uuid_of(row_id), "client_ref": ref, "at": at}
    return News(**ids | more)


class ResultConformance:
    """What results do to rows."""

    @pytest.mark.parametrize("state", ["sent", "refused", "unknown", "pending"])
    async def test_a_result_settles_a_row(self, ledgers: Ledgers, state: State) -> None:
        """State, time, error and id are those of the result."""
        ledger, (claimed,) = await claimed_rows(ledgers)
        failed = {} if state == "sent" else {"error": "APIError", "code": "1000"}

        await ledger.record([result(claimed, state, at=NOW + 2, **failed)])

        kept = await row(ledger, 1)
        assert (kept.state, kept.changed, kept.attempts) == (state, NOW + 2, 1)
        assert (kept.error, kept.code) == (failed.get("error", ""), failed.get("code", ""))
        assert kept.dispatch_uuid == (uuid_of(1) if state == "sent" else "")
        assert (await assert_recount(ledger)).states == {state: 1}

    @pytest.mark.parametrize("before", ["pending", "sent", "refused", "unknown", "skipped"])
    @pytest.mark.parametrize("late", ["sent", "refused", "unknown", "pending"])
    async def test_a_late_result_puts_no_row_back(self, ledgers: Ledgers, before: State, late: State) -> None:
        """Nothing but `sending` becomes `pending`; `refused` mends an `unknown`, and `sent` is a proof."""
        ledger, claimed = await row_in(ledgers, before)

        await ledger.record([result(claimed, late)])

        mended = late == "sent" or (before == "unknown" and late == "refused")
        assert await states(ledger) == [late if mended else before]
        assert (await row(ledger, 1)).skip == ("dropped" if before == "skipped" and not mended else None)
        await assert_recount(ledger)

    async def test_a_wave_carries_results_and_claims(self, ledgers: Ledgers) -> None:
        """Results count before the claim: a proven not-sent row may go again in the same call."""
        ledger, (first, second) = await claimed_rows(ledgers, 2)

        claimed = await ledger.claim(request(), [result(first), result(second, "pending")])

        assert [(c.id, c.attempts) for c in claimed] == [(2, 2)]
        assert await states(ledger) == ["sent", "sending"]

    async def test_a_row_that_was_not_sent_waits_as_told(self, ledgers: Ledgers) -> None:
        """`not_before` of a result is that of the row from then on; its turn is by its id again."""
        ledger, (first, *_) = await claimed_rows(ledgers, 2)
        await ledger.add([person(9)])
        await ledger.record([result(first, "pending", not_before=NOW + 30)])

        assert [c.id for c in await ledger.claim(request(limit=1))] == [3]
        await ledger.add([person(10)])
        assert [c.id for c in await ledger.claim(request(now=NOW + 30))] == [1, 4]

    async def test_the_result_of_an_earlier_claim_changes_nothing(self, ledgers: Ledgers) -> None:
        """Given up, sent anew and then answered: the old answer neither frees nor settles the new claim."""
        ledger, (old,) = await claimed_rows(ledgers)
        await ledger.reap()
        await ledger.resend([1])
        (new,) = await ledger.claim(request())

        for state in ("pending", "refused", "unknown"):
            await ledger.record([result(old, state)])
        assert await states(ledger) == ["sending"]

        await ledger.record([result(new)])
        assert await states(ledger) == ["sent"]

    async def test_one_strange_result_spoils_the_call(self, ledgers: Ledgers) -> None:
        """A call is atomic: a row that does not exist leaves the others as they were."""
        ledger, (claimed,) = await claimed_rows(ledgers)

        with pytest.raises(LedgerError, match="row 77"):
            await ledger.claim(request(), [result(claimed), Result(id=77, state="sent", at=NOW)])

        assert await states(ledger) == ["sending"]
        await assert_recount(ledger)

    async def test_reaping_makes_unknown_what_was_in_flight(self, ledgers: Ledgers) -> None:
        """Of one worker or of all; never `pending`."""
        ledger = await ledgers.new()
        await ledger.add(people(3))
        for worker in ("a", "b", "a"):
            await ledger.claim(request(limit=1), worker=worker)

        assert await ledger.reap("a") == 2
        assert await states(ledger) == ["unknown", "sending", "unknown"]
        assert await ledger.reap() == 1
        assert await ledger.reap() == 0
        assert (await assert_recount(ledger)).states == {"unknown": 3}

    async def test_operators_decide_about_unknown_rows(self, ledgers: Ledgers) -> None:
        """`resend` and `drop` take only rows of their state, and leave the rest alone."""
        ledger, rows = await claimed_rows(ledgers, 4)
        await ledger.add([person(9)])
        await ledger.record([result(r, "unknown", error="OutcomeUnknownError") for r in rows[:3]])

        assert await ledger.resend([1, 1, 4, 5, 99]) == 1
        assert await ledger.drop([2, 2, 4, 5, 99]) == 1
        assert await ledger.drop([1, 3, 4], state="pending") == 1
        assert await ledger.drop([3, 4, 5, 99], state="pending") == 1
        assert await ledger.resend([3], state="unknown") == 1
        assert await ledger.drop([1, 3, 4, 5]) == 0

        assert await states(ledger) == ["skipped", "skipped", "pending", "sending", "skipped"]
        assert (await row(ledger, 3)).error == ""
        assert [(c.id, c.attempts) for c in await ledger.claim(request())] == [(3, 2)]
        assert (await assert_recount(ledger)).skipped == {"dropped": 3}

    @pytest.mark.parametrize("state", ["unknown", "refused", "sent", "pending"])
    async def test_what_was_claimed_after_an_operator_looked_is_not_given_up(
        self, ledgers: Ledgers, state: State
    ) -> None:
        """A row that may have been sent stays `unknown`, for an operator to decide on."""
        ledger = await ledgers.new()
        await ledger.add(people(3))
        seen = [row.id for row in await ledger.scan("pending")]
        sent, later = await ledger.claim(request(limit=2))
        await ledger.record([result(sent, state), result(later, "pending", not_before=NOW + 60)])

        left = [1, 3] if state == "pending" else [3]
        assert await ledger.drop(seen, state="pending") == len(left) + 1

        assert await states(ledger) == ["skipped" if state == "pending" else state, "skipped", "skipped"]
        assert (await assert_recount(ledger)).skipped == {"dropped": len(left) + 1}

    async def test_what_was_sent_again_meanwhile_is_not_given_up(self, ledgers: Ledgers) -> None:
        """Two operators decide about an unknown row: the one who sends it again keeps it."""
        ledger, (claimed,) = await claimed_rows(ledgers)
        await ledger.record([result(claimed, "unknown")])
        seen = [row.id for row in await ledger.scan("unknown")]
        assert await ledger.resend(seen) == 1

        assert await ledger.drop(seen, state="unknown") == 0

        assert await states(ledger) == ["pending"]

    @pytest.mark.parametrize("state", ["sending", "sent", "refused", "skipped", ""])
    async def test_rows_of_no_other_state_are_given_up(self, ledgers: Ledgers, state: Any) -> None:
        """The state is checked, also where no row has it."""
        ledger = await ledgers.new()
        await ledger.add([person(1)])

        with pytest.raises(LedgerError, match="'unknown' or 'pending'"):
            await ledger.drop([1], state=state)

        assert await states(ledger) == ["pending"]


class NewsConformance:
    """What callbacks do to rows."""

    async def test_news_find_their_row_by_either_id(self, ledgers: Ledgers) -> None:
        """By `dispatch_uuid` in any case, or by the `client_ref`; news of others change nothing."""
        ledger, rows = await claimed_rows(ledgers, 2)
        await ledger.record([result(r) for r in rows])

        by_uuid = News(dispatch_uuid=f" {uuid_of(1).upper()}", at=NOW, reached="delivered", channel="sms")
        by_ref = news(ledger, 2, ended=True)
        other = News(dispatch_uuid=uuid_of(77), client_ref="other-1", at=NOW)

        assert await ledger.observe([by_uuid, other, by_ref]) == Observed(2, unmatched=(1,))
        assert await ledger.observe([by_uuid, other, by_ref]) == Observed(0, unmatched=(1,))
        kept = await row(ledger, 1)
        assert (kept.news.reached, kept.news.channel, kept.news.dispatch_uuid) == (
            "delivered",
            "sms",
            uuid_of(1),
        )
        counts = await assert_recount(ledger)
        assert (counts.ended, counts.reached) == (1, {"delivered": 1})

    @pytest.mark.parametrize("before", ["pending", "refused", "unknown", "skipped"])
    async def test_a_callback_proves_that_a_row_was_sent(self, ledgers: Ledgers, before: State) -> None:
        """Whatever the ledger believed, also when it was restored: that person is not messaged again."""
        ledger, _ = await row_in(ledgers, before)

        assert await ledger.observe([news(ledger, 1)]) == Observed(1)

        kept = await row(ledger, 1)
        assert (kept.state, kept.skip, kept.dispatch_uuid) == ("sent", None, uuid_of(1))
        assert await ledger.claim(request(now=NOW + 99)) == []
        assert (await assert_recount(ledger)).states == {"sent": 1}

    @pytest.mark.parametrize("after", ["sent", "refused", "unknown", "pending", "reap"])
    async def test_a_callback_that_overtakes_the_result_wins(self, ledgers: Ledgers, after: str) -> None:
        """The row waits for its result as `sending`, and is `sent` then whatever that says."""
        ledger, (claimed,) = await claimed_rows(ledgers)
        await ledger.observe([news(ledger, 1)])
        assert await states(ledger) == ["sending"]

        if after == "reap":
            await ledger.reap()
        else:
            await ledger.record([result(claimed, after)])

        assert await states(ledger) == ["sent"]
        assert (await row(ledger, 1)).dispatch_uuid == uuid_of(1)
        await assert_recount(ledger)

    async def test_news_of_a_row_before_its_turn_are_kept(self, ledgers: Ledgers) -> None:
        """A row that was never claimed here, as in a restored file, is `sent` and keeps its numbers."""
        ledger = await ledgers.new()
        await ledger.add(people(2))

        await ledger.observe([news(ledger, 2, reached="read", cost="0.05", currency="EUR")])

        assert [c.id for c in await ledger.claim(request())] == [1]
        counts = await assert_recount(ledger)
        assert (counts.reached, counts.cost) == ({"read": 1}, {"EUR": "0.05"})

    async def test_news_merge_in_any_order_and_number(self, ledgers: Ledgers) -> None:
        """Lost, doubled and reordered callbacks: the same row comes of every order."""
        seen: list[Any] = []
        for order in itertools.permutations(range(3)):
            ledger, (claimed,) = await claimed_rows(ledgers)
            await ledger.record([result(claimed)])
            told = [
                news(ledger, 1, at=NOW + 1, reached="delivered", delivered_at=NOW + 1, channel="viber"),
                news(ledger, 1, at=NOW + 9, reached="read", read_at=NOW + 9, cost="0.0100", currency="EUR"),
                news(ledger, 1, at=NOW + 5, ended=True, code="1000", steps=b"[1]", delivered_at=NOW + 2),
            ]
            for n in (*order, *reversed(order)):
                await ledger.observe([told[n]])
            kept = (await row(ledger, 1)).news
            seen.append(
                {name: getattr(kept, name) for name in kept.__struct_fields__ if name != "client_ref"}
            )
            await assert_recount(ledger)

        assert all(one == seen[0] for one in seen)
        assert (seen[0]["reached"], seen[0]["ended"], seen[0]["delivered_at"]) == ("read", True, NOW + 1)

    async def test_costs_are_exact_by_currency(self, ledgers: Ledgers) -> None:
        """A hundred times 0.0123 is 1.23, and currencies are not added up."""
        ledger, rows = await claimed_rows(ledgers, 101)
        await ledger.record([result(r) for r in rows])

        await ledger.observe([news(ledger, r.id, cost="0.0123", currency="EUR") for r in rows[:100]])
        await ledger.observe([news(ledger, 101, cost="2", currency="USD")])
        await ledger.observe([news(ledger, 1, cost="0.0200", currency="EUR")])

        counts = await assert_recount(ledger)
        assert counts.cost == {"EUR": str(Decimal("1.2377")), "USD": "2"}

    async def test_a_cost_that_is_no_number_is_refused(self, ledgers: Ledgers) -> None:
        """Nothing of the call is stored."""
        ledger, rows = await claimed_rows(ledgers, 2)
        await ledger.record([result(r) for r in rows])

        with pytest.raises(CampaignError, match=r"News\.cost"):
            await ledger.observe([news(ledger, 1, ended=True), news(ledger, 2, cost="free")])

        assert (await assert_recount(ledger)).ended == 0


class ForgetConformance:
    """Erasing personal data."""

    async def test_rows_that_are_over_lose_their_person_and_keep_their_count(self, ledgers: Ledgers) -> None:
        """Address, key and fields go; states, costs and ids stay; rows that are not over stay whole."""
        ledger, rows = await claimed_rows(ledgers, 4)
        await ledger.add([person(9)])
        await ledger.record(
            [result(rows[0]), result(rows[1], "unknown"), result(rows[2], at=NOW + 100)],
        )
        await ledger.observe([news(ledger, 1, at=NOW + 1, cost="0.5", currency="EUR", ended=True)])
        before = await ledger.counts()

        assert await ledger.forget(NOW + 50) == 2
        assert await ledger.forget(NOW + 50) == 0

        kept = await ledger.scan()
        assert [bool(r.address) for r in kept] == [False, False, True, True, True]
        assert [bool(r.key or r.fields) for r in kept] == [False, False, True, True, True]
        assert (kept[0].dispatch_uuid, kept[0].bucket) == (uuid_of(1), SMS)
        assert await assert_recount(ledger) == before

    @pytest.mark.parametrize("time", NO_TIMES, ids=repr)
    async def test_what_is_no_time_erases_and_expires_nothing(self, ledgers: Ledgers, time: Any) -> None:
        """A store that compares it with numbers may find each row older: then all are sent a second time."""
        ledger, (claimed,) = await claimed_rows(ledgers)
        await ledger.record([result(claimed)])
        await ledger.add([person(9, expires=NOW + 60)])

        with pytest.raises(ConfigurationError, match=r"^before must be epoch seconds"):
            await ledger.forget(time)
        with pytest.raises(ConfigurationError, match=r"^now must be epoch seconds"):
            await ledger.expire(time)

        assert all(row.address for row in await ledger.scan())
        assert await states(ledger) == ["sent", "pending"]
        assert (await ledger.add([person(0)])).added == 0

    async def test_late_news_keep_a_row(self, ledgers: Ledgers) -> None:
        """The last callback counts as the end of a row, not its POST."""
        ledger, (claimed,) = await claimed_rows(ledgers)
        await ledger.record([result(claimed)])
        await ledger.observe([news(ledger, 1, at=NOW + 90)])

        assert await ledger.forget(NOW + 50) == 0
        assert await ledger.forget(NOW + 91) == 1

    @pytest.mark.parametrize("state", ["unknown", "refused"])
    async def test_what_was_erased_cannot_be_sent_again(self, ledgers: Ledgers, state: Resendable) -> None:
        """The address is gone, so that it cannot be sent; the person may be added anew."""
        ledger, claimed = await row_in(ledgers, state)
        await ledger.forget(NOW + 1)

        assert await ledger.resend([claimed.id], state=state) == 0
        assert (await ledger.add([person(0)])).added == 1
        assert [c.id for c in await ledger.claim(request())] == [2]
