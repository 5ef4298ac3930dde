"""What every `Ledger` promises of rows that an operator sends again; `conformance` says how to use it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import pytest

from nexmo_dispatch_async.bulk.ledger.conformance_claims import (
    NOW,
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
from nexmo_dispatch_async.bulk.ledger.conformance_results import claimed_rows, news, row_in
from nexmo_dispatch_async.bulk.ledger.records import Bounds, Cap
from nexmo_dispatch_async.exceptions import ConfigurationError, LedgerError

#: What names no rows.
NO_IDS: Final[tuple[object, ...]] = (
    [1, 1 << 63],
    [0],
    [1, -1],
    [1, True],
    [1.0],
    ["1"],
    [[1]],
    [None],
    "1",
    b"\x01",
    1,
)


class ResendConformance:
    """What an operator sends again, and what must not reach a person twice by it."""

    async def test_refused_rows_are_sent_again_after_the_cure(self, ledgers: Ledgers) -> None:
        """Only refused ones, each once, as a new attempt without the old error; the counts follow."""
        ledger, rows = await claimed_rows(ledgers, 4)
        await ledger.add([person(9)])
        await ledger.record(
            [
                *(result(r, "refused", error="BadRequestError", code="1020") for r in rows[:2]),
                result(rows[2], "unknown"),
            ]
        )

        assert await ledger.resend([1, 1, 3, 4, 5, 99], state="refused") == 1
        assert await ledger.resend([1, 2, 4, 5]) == 0

        assert await states(ledger) == ["pending", "refused", "unknown", "sending", "pending"]
        kept = await row(ledger, 1)
        assert (kept.error, kept.code) == ("", "")
        await assert_recount(ledger)
        claimed = await ledger.claim(request())
        assert [(c.id, c.attempts) for c in claimed] == [(1, 2), (5, 1)]
        await ledger.record([result(claimed[0])])
        assert (await row(ledger, 1)).state == "sent"
        await assert_recount(ledger)

    @pytest.mark.parametrize("ids", NO_IDS, ids=repr)
    async def test_what_is_no_id_is_refused(self, ledgers: Ledgers, ids: Any) -> None:
        """Every store says the same, and changes nothing, also where the other ids are right."""
        ledger, _ = await row_in(ledgers, "unknown")

        with pytest.raises(ConfigurationError, match=r"^(ids must be|the id of a row must be)"):
            await ledger.resend(ids)
        with pytest.raises(ConfigurationError, match=r"^(ids must be|the id of a row must be)"):
            await ledger.drop(ids)

        assert await states(ledger) == ["unknown"]
        assert await ledger.drop([(1 << 63) - 1]) == 0

    @pytest.mark.parametrize("state", ["pending", "sending", "sent", "skipped", "other"])
    async def test_rows_of_no_other_state_are_sent_again(self, ledgers: Ledgers, state: Any) -> None:
        """The call is refused, and changes nothing."""
        ledger, claimed = await row_in(ledgers, state)

        with pytest.raises(LedgerError, match="'unknown' or 'refused'"):
            await ledger.resend([claimed.id], state=state)

        assert (await row(ledger, 1)).state == (state if state != "other" else "sending")

    async def test_a_row_that_is_unknown_by_now_is_not_sent_again_as_refused(self, ledgers: Ledgers) -> None:
        """Of two operators the second one saw it refused: its message may have gone out since."""
        ledger, claimed = await row_in(ledgers, "refused")
        await ledger.resend([claimed.id], state="refused")
        (again,) = await ledger.claim(request())
        assert await ledger.resend([claimed.id], state="refused") == 0
        await ledger.record([result(again, "unknown")])

        assert await ledger.resend([claimed.id], state="refused") == 0

        assert await ledger.claim(request()) == []
        assert await states(ledger) == ["unknown"]

    async def test_the_result_of_the_refused_attempt_settles_no_new_one(self, ledgers: Ledgers) -> None:
        """A worker that lost the answer of its commit records the refusal again, at any time."""
        ledger, (first,) = await claimed_rows(ledgers)
        refused = result(first, "refused", code="1020")
        await ledger.record([refused])
        await ledger.resend([first.id], state="refused")

        await ledger.record([refused])
        assert await states(ledger) == ["pending"]
        (second,) = await ledger.claim(request(), [refused])
        await ledger.record([refused])
        assert await states(ledger) == ["sending"]
        await ledger.reap()
        await ledger.record([refused])
        assert await states(ledger) == ["unknown"]
        await ledger.record([result(second)])
        await ledger.record([refused])

        assert await states(ledger) == ["sent"]
        await assert_recount(ledger)

    @pytest.mark.parametrize("when", ["pending", "refused"])
    async def test_a_late_result_that_an_earlier_claim_was_sent_ends_the_row(
        self, ledgers: Ledgers, when: str
    ) -> None:
        """Its process slept: whatever became of the row meanwhile, the person has the message."""
        ledger, (first,) = await claimed_rows(ledgers)
        await ledger.reap()
        await ledger.resend([first.id])
        if when == "refused":
            await ledger.record([result(row, "refused") for row in await ledger.claim(request())])

        await ledger.record([result(first)])

        assert await states(ledger) == ["sent"]
        assert await ledger.resend([first.id], state="refused") == 0
        assert await ledger.claim(request()) == []
        kept = await row(ledger, 1)
        assert (kept.dispatch_uuid, kept.error, kept.code) == (uuid_of(1), "", "")
        await assert_recount(ledger)

    @pytest.mark.parametrize("after", ["sent", "refused", "unknown", "pending", "reap"])
    async def test_a_late_result_that_an_earlier_claim_was_sent_outlasts_the_present_one(
        self, ledgers: Ledgers, after: str
    ) -> None:
        """A row under way keeps it as a proof, so that it goes out no third time."""
        ledger, (first,) = await claimed_rows(ledgers)
        await ledger.reap()
        await ledger.resend([first.id])
        (second,) = await ledger.claim(request(now=NOW + 5))

        await ledger.record([result(first, at=NOW + 6)])
        kept = await row(ledger, 1)
        assert (kept.state, kept.changed, kept.dispatch_uuid) == ("sending", NOW + 5, uuid_of(1))
        if after == "reap":
            await ledger.reap()
        else:
            other = {"dispatch_uuid": uuid_of(77)} if after == "sent" else {}
            await ledger.record([result(second, after, at=NOW + 7, **other)])

        assert await states(ledger) == ["sent"]
        assert (await row(ledger, 1)).dispatch_uuid == uuid_of(1)
        assert await ledger.resend([1]) == await ledger.resend([1], state="refused") == 0
        assert (await assert_recount(ledger)).states == {"sent": 1}

    async def test_a_refused_row_that_a_callback_proved_stays_sent(self, ledgers: Ledgers) -> None:
        """Before the operator's decision or after it, as long as the row was not claimed again."""
        ledger, rows = await claimed_rows(ledgers, 2)
        await ledger.record([result(r, "refused") for r in rows])

        await ledger.observe([news(ledger, 1)])
        assert await ledger.resend([1, 2], state="refused") == 1
        await ledger.observe([news(ledger, 2)])

        assert await ledger.claim(request()) == []
        assert (await assert_recount(ledger)).states == {"sent": 2}

    @pytest.mark.parametrize("code", ["1050", "1240"])
    async def test_people_who_opted_out_are_skipped_when_their_row_is_sent_again(
        self, ledgers: Ledgers, code: str
    ) -> None:
        """The code of the refusal suppressed them, and so does a STOP that came since."""
        ledger, rows = await claimed_rows(ledgers, 3)
        await ledger.record(
            [result(rows[0], "refused", code=code), *(result(r, "refused") for r in rows[1:])]
        )
        await ledgers.opt_outs_of(ledger).suppress(rows[1].address, reason="stop")

        assert await ledger.resend([1, 2, 3], state="refused") == 3

        assert [c.id for c in await ledger.claim(request())] == [3]
        assert await states(ledger) == ["skipped", "skipped", "sending"]
        assert (await assert_recount(ledger)).skipped == {"suppressed": 2}

    async def test_a_row_whose_time_is_over_is_skipped(self, ledgers: Ledgers) -> None:
        """The cure came too late for it."""
        ledger = await ledgers.new()
        await ledger.add([person(0, expires=NOW + 60)])
        await ledger.record([result(r, "refused") for r in await ledger.claim(request())])

        assert await ledger.resend([1], state="refused") == 1

        assert await ledger.claim(request(now=NOW + 60)) == []
        assert (await assert_recount(ledger)).skipped == {"expired": 1}

    async def test_a_refused_message_is_not_counted_for_the_cap(self, ledgers: Ledgers) -> None:
        """What was refused takes no place of the person, and what is sent again takes one."""
        ledger = await ledgers.new()
        await ledger.add([person(0, key="a"), person(0, key="b")])
        capped = request(limit=1, cap=Cap(messages=1, window=3600))
        for attempt in (1, 2, 3):
            (claimed,) = await ledger.claim(capped)
            assert (claimed.id, claimed.attempts) == (1, attempt)
            if attempt < 3:
                await ledger.record([result(claimed, "refused")])
                await ledger.resend([1], state="refused")

        await ledger.record([result(claimed)])

        assert await ledger.claim(capped) == []
        assert (await assert_recount(ledger)).skipped == {"capped": 1}

    async def test_rows_that_are_sent_again_are_within_the_bounds(self, ledgers: Ledgers) -> None:
        """A canary counts each row once, and a budget no row that was refused."""
        ledger = await ledgers.new()
        await ledger.add(people(5))
        bounded = request(bounds=Bounds(sends=2, spend=Decimal(2), worst=Decimal(1)))
        first = await ledger.claim(bounded)
        await ledger.record([result(r, "refused") for r in first])
        assert await ledger.claim(bounded) == []  # the canary waits for a decision about its rows

        await ledger.resend([r.id for r in first], state="refused")

        assert [(c.id, c.attempts) for c in await ledger.claim(bounded)] == [(1, 2), (2, 2)]
        assert await ledger.claim(bounded) == []
        assert (await assert_recount(ledger)).sends == 2
