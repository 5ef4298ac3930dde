"""What every `Ledger` promises of rows that are added and claimed; `conformance` says how to use it."""

from __future__ import annotations

import itertools
import re
from typing import Any, Protocol

import pytest

from nexmo_dispatch_async.bulk.ledger.ledger import Ledger
from nexmo_dispatch_async.bulk.ledger.opt_outs import OptOutList
from nexmo_dispatch_async.bulk.ledger.records import (
    Cap,
    Claimed,
    ClaimRequest,
    Control,
    Counts,
    Recipient,
    Result,
    State,
)
from nexmo_dispatch_async.exceptions import LedgerError, PlanChangedError

NOW = 1_800_000_000.0
SMS = "sms|447418342140"
WHATSAPP = "whatsapp|447418342140"


class Ledgers(Protocol):
    """Makes ledgers of one kind; the test closes none of them."""

    #: What `clock` of the ledgers says.
    now: float

    async def new(self, opt_outs: OptOutList | None = None) -> Ledger:
        """Open a new, empty ledger."""
        ...

    async def new_opt_outs(self) -> OptOutList:
        """Open a new, empty opt-out list that ledgers of this kind can share."""
        ...

    def opt_outs_of(self, ledger: Any) -> OptOutList:
        """Return the opt-out list that a ledger uses."""
        ...


def person(number: int, /, **changes: Any) -> Recipient:
    """Return a recipient with a number reserved for fiction."""
    address = f"4477009{number:05d}"
    fields = {"name": f"Name{number}", "code": "A"}
    given: dict[str, Any] = {"key": address, "address": address, "fields": fields, "bucket": SMS}
    return Recipient(**given | changes)


def people(count: int, /, first: int = 0, **changes: Any) -> list[Recipient]:
    """Return recipients in a row."""
    return [person(number, **changes) for number in range(first, first + count)]


def request(limit: int = 100, now: float = NOW, **more: Any) -> ClaimRequest:
    """Return a wish for rows."""
    return ClaimRequest(limit=limit, now=now, **more)


def result(row: Claimed, state: Any = "sent", /, at: float = NOW, **more: Any) -> Result:
    """Return what became of a claimed row."""
    given: dict[str, Any] = {"id": row.id, "state": state, "at": at, "attempts": row.attempts}
    if state == "sent":
        given["dispatch_uuid"] = uuid_of(row.id)
    return Result(**given | more)


def uuid_of(row_id: int) -> str:
    """Return an id of the service for a row."""
    return f"aaaaaaaa-bbbb-4ccc-8ddd-{row_id:012x}"


async def states(ledger: Ledger) -> list[State]:
    """Return the states of all rows, by id."""
    return [row.state for row in await ledger.scan(limit=10_000)]


async def row(ledger: Ledger, row_id: int) -> Any:
    """Return one row."""
    (found,) = await ledger.scan(after=row_id - 1, limit=1)
    assert found.id == row_id
    return found


async def assert_recount(ledger: Ledger) -> Counts:
    """The numbers equal those that are counted anew, and those of a scan."""
    counts = await ledger.counts()
    assert counts == await ledger.counts(verify=True)
    seen = await ledger.scan(limit=100_000)
    by_state = {state: len(list(group)) for state, group in itertools.groupby(sorted(r.state for r in seen))}
    assert counts.states == by_state
    assert counts.ended == sum(1 for r in seen if r.news is not None and r.news.ended)
    return counts


class AddConformance:
    """Adding rows, reading them, the plan, and what operators ask for."""

    async def test_a_new_ledger_is_empty(self, ledgers: Ledgers) -> None:
        """Nothing is due, counted or asked for."""
        ledger = await ledgers.new()

        assert (await assert_recount(ledger)).total == 0
        assert await ledger.claim(request()) == []
        assert await ledger.scan() == []
        assert (await ledger.due(), await ledger.zones(), await ledger.buckets()) == (
            None,
            frozenset(),
            frozenset(),
        )
        assert await ledger.control() == Control()

    async def test_references_are_short_and_differ(self, ledgers: Ledgers) -> None:
        """A `client_ref` is the reference, a dash and an id, and has room in 40 characters."""
        one, other = await ledgers.new(), await ledgers.new()

        assert one.reference != other.reference
        assert re.fullmatch(r"[0-9a-z]{8,16}", one.reference)

    async def test_a_row_is_kept_as_it_was_added(self, ledgers: Ledgers) -> None:
        """Each field comes back, through `claim` and through `scan`."""
        ledger = await ledgers.new()
        added = Recipient(
            key="row 7",
            address="447700900001",
            fields={"name": "Zoë", "empty": "", "text": 'a "quoted"\nline'},
            bucket=WHATSAPP,
            line=7,
            zone="Europe/Amsterdam",
            language="nl",
            variant="b",
            channels=("viber", "sms"),
            not_before=NOW - 1,
            expires=NOW + 60,
        )

        await ledger.add([added])
        (kept,) = await ledger.scan()
        (claimed,) = await ledger.claim(request())

        for name in set(added.__struct_fields__) - {"others"}:  # which the opt-out list keeps
            assert getattr(kept, name) == getattr(added, name), name
        for name in claimed.__struct_fields__:
            if name not in {"id", "attempts"}:
                assert getattr(claimed, name) == getattr(added, name), name
        assert (kept.state, kept.attempts, claimed.attempts) == ("pending", 0, 1)

    async def test_the_same_import_twice_adds_nothing(self, ledgers: Ledgers) -> None:
        """`add` is idempotent on the key, within a call and over calls, and tells which rows were there."""
        ledger = await ledgers.new()

        first = await ledger.add([person(1), person(2), person(1, line=3), person(3)])
        second = await ledger.add([person(4), person(2, fields={"name": "Other"}), person(1)])

        assert (first.added, first.duplicates) == (3, (2,))
        assert (second.added, second.duplicates) == (1, (1, 2))
        assert [r.id for r in await ledger.scan()] == [1, 2, 3, 4]
        assert (await row(ledger, 2)).fields["name"] == "Name2"
        assert (await assert_recount(ledger)).states == {"pending": 4}

    async def test_two_rows_may_share_an_address_under_two_keys(self, ledgers: Ledgers) -> None:
        """A household with one number: the key decides, not the address."""
        ledger = await ledgers.new()

        added = await ledger.add([person(1, key="ann"), person(1, key="bob")])

        assert added.added == 2
        assert [c.key for c in await ledger.claim(request())] == ["ann", "bob"]

    async def test_a_hold_out_is_skipped_from_the_beginning(self, ledgers: Ledgers) -> None:
        """It is counted and never claimed."""
        ledger = await ledgers.new()
        await ledger.add([person(1, skip="hold_out"), person(2)])

        assert [c.id for c in await ledger.claim(request())] == [2]
        counts = await assert_recount(ledger)
        assert (counts.states, counts.skipped) == ({"sending": 1, "skipped": 1}, {"hold_out": 1})

    async def test_scan_goes_by_id_state_and_page(self, ledgers: Ledgers) -> None:
        """Pages leave nothing out and repeat nothing."""
        ledger = await ledgers.new()
        await ledger.add(people(10))
        await ledger.claim(request(limit=4))

        first = await ledger.scan("pending", limit=4)
        second = await ledger.scan("pending", after=first[-1].id, limit=4)

        assert [r.id for r in (*first, *second)] == [5, 6, 7, 8, 9, 10]
        assert [r.id for r in await ledger.scan("sending")] == [1, 2, 3, 4]

    async def test_a_plan_is_frozen(self, ledgers: Ledgers) -> None:
        """The same plan may be described again, another one may not."""
        ledger = await ledgers.new()

        assert await ledger.describe() == b""
        assert await ledger.describe(b'{"a":1}') == b'{"a":1}'
        assert await ledger.describe(b'{"a":1}') == b'{"a":1}'
        with pytest.raises(PlanChangedError):
            await ledger.describe(b'{"a":2}')
        assert await ledger.describe() == b'{"a":1}'

    async def test_operators_changes_are_numbered(self, ledgers: Ledgers) -> None:
        """Each change gets the next version, whatever version it brings."""
        ledger = await ledgers.new()

        first = await ledger.control(lambda _: Control(state="pause", by="command", reason="lunch", rate=2.5))
        second = await ledger.control(lambda _: Control(version=77, state="stop", limit=3, release=True))

        assert (first.version, first.state, first.rate) == (1, "pause", 2.5)
        assert second == await ledger.control() == Control(version=2, state="stop", limit=3, release=True)

    async def test_a_change_that_changes_nothing_has_no_version(self, ledgers: Ledgers) -> None:
        """So it wakes no worker."""
        ledger = await ledgers.new()
        paused = await ledger.control(lambda known: known.paused("command", "lunch"))

        assert await ledger.control(lambda known: known.paused("abort_if", "too late")) == paused
        assert await ledger.control() == paused

    async def test_no_person_shows_in_a_repr(self, ledgers: Ledgers) -> None:
        """Neither rows nor the ledger show an address, a key or a field."""
        ledger = await ledgers.new()
        await ledger.add([person(1)])
        claimed = await ledger.claim(request())

        shown = repr((ledger, claimed, await ledger.scan(), person(1), ledgers.opt_outs_of(ledger)))

        assert "4477009" not in shown
        assert "Name1" not in shown

    async def test_a_closed_ledger_says_so(self, ledgers: Ledgers) -> None:
        """A call after the end is an error and stores nothing; closing twice is fine."""
        ledger = await ledgers.new()
        await ledger.aclose()
        await ledger.aclose()

        with pytest.raises(LedgerError, match="closed"):
            await ledger.add([person(1)])
        with pytest.raises(LedgerError, match="closed"):
            await ledger.claim(request())


class ClaimConformance:
    """Which rows a claim hands out."""

    async def test_rows_go_by_ascending_id_and_once(self, ledgers: Ledgers) -> None:
        """A row that was handed out is not handed out again."""
        ledger = await ledgers.new()
        await ledger.add(people(5))

        first, second, third = [[c.id for c in await ledger.claim(request(limit=2))] for _ in range(3)]

        assert (first, second, third) == ([1, 2], [3, 4], [5])
        assert await ledger.claim(request()) == []
        assert await ledger.due() is None
        assert (await assert_recount(ledger)).states == {"sending": 5}

    async def test_ids_of_several_buckets_and_zones_are_merged(self, ledgers: Ledgers) -> None:
        """The order is that of the ids, over all buckets."""
        ledger = await ledgers.new()
        zones = ["", "Europe/Paris", "Asia/Tokyo"]
        for n in range(12):
            await ledger.add([person(n, bucket=(SMS, WHATSAPP)[n % 2], zone=zones[n % 3])])

        assert [c.id for c in await ledger.claim(request(limit=7))] == [1, 2, 3, 4, 5, 6, 7]
        assert await ledger.buckets() == {SMS, WHATSAPP}
        assert await ledger.zones() == set(zones)

    async def test_each_bucket_gets_its_number(self, ledgers: Ledgers) -> None:
        """A bucket that is not named gets none; the limit holds over all."""
        ledger = await ledgers.new()
        await ledger.add([person(n, bucket=(SMS, WHATSAPP, "viber|X")[n % 3]) for n in range(12)])

        first = await ledger.claim(request(buckets={SMS: 2, WHATSAPP: 3}))
        second = await ledger.claim(request(limit=1, buckets={SMS: 2, WHATSAPP: 3}))

        assert [(c.id, c.bucket) for c in first] == [
            (1, SMS),
            (2, WHATSAPP),
            (4, SMS),
            (5, WHATSAPP),
            (8, WHATSAPP),
        ]
        assert [c.id for c in second] == [7]
        assert await ledger.claim(request(buckets={})) == []

    async def test_a_row_that_is_skipped_keeps_the_order_of_those_behind_it(self, ledgers: Ledgers) -> None:
        """A row that does not go leaves its room to the next one of its bucket, before rows behind that."""
        ledger = await ledgers.new()
        await ledger.add([person(1, bucket=WHATSAPP), person(2, bucket=WHATSAPP), person(2, key="again")])
        await ledgers.opt_outs_of(ledger).suppress(person(1).address)

        claimed = await ledger.claim(request(buckets={SMS: 2, WHATSAPP: 1}, cap=Cap(messages=1, window=60.0)))

        assert [row.id for row in claimed] == [2]
        assert (await ledger.counts()).skipped == {"capped": 1, "suppressed": 1}

    async def test_a_row_waits_for_its_time(self, ledgers: Ledgers) -> None:
        """`not_before` holds to the second, and `due` tells the first of them."""
        ledger = await ledgers.new()
        await ledger.add([person(1, not_before=NOW + 20), person(2, not_before=NOW + 10)])

        assert await ledger.claim(request()) == []
        assert await ledger.due() == NOW + 10
        assert [c.id for c in await ledger.claim(request(now=NOW + 10))] == [2]
        assert await ledger.due() == NOW + 20
        assert [c.id for c in await ledger.claim(request(now=NOW + 20))] == [1]

    async def test_a_clock_that_goes_back_sends_nothing_early(self, ledgers: Ledgers) -> None:
        """A row that was due for a moment is not any more."""
        ledger = await ledgers.new()
        await ledger.add([person(1), person(2, not_before=NOW + 5), person(3, not_before=NOW + 5)])

        assert [c.id for c in await ledger.claim(request(limit=1, now=NOW + 5))] == [1]
        assert await ledger.claim(request(now=NOW + 4)) == []
        assert [c.id for c in await ledger.claim(request(now=NOW + 5))] == [2, 3]

    async def test_closed_zones_wait(self, ledgers: Ledgers) -> None:
        """Quiet hours in one zone hold up no other; the empty zone is that of the campaign."""
        ledger = await ledgers.new()
        await ledger.add([person(1, zone="Asia/Tokyo"), person(2), person(3, zone="Europe/Paris")])

        closed = frozenset({"Asia/Tokyo", ""})

        assert [c.id for c in await ledger.claim(request(closed_zones=closed))] == [3]
        assert await ledger.zones() == {"Asia/Tokyo", ""}
        assert [c.id for c in await ledger.claim(request())] == [1, 2]

    async def test_an_expired_row_is_skipped_when_it_is_its_turn(self, ledgers: Ledgers) -> None:
        """Text that was for yesterday does not go out this morning, and takes no slot of the limit."""
        ledger = await ledgers.new()
        await ledger.add([person(1, expires=NOW), person(2, expires=NOW + 1)])

        assert [c.id for c in await ledger.claim(request(limit=1))] == [2]
        counts = await assert_recount(ledger)
        assert counts.skipped == {"expired": 1}

    async def test_many_expired_rows_hide_none_behind_them(self, ledgers: Ledgers) -> None:
        """A claim finds the first row that may go, however many before it may not."""
        ledger = await ledgers.new()
        await ledger.add([*people(3000, expires=NOW), person(3000)])

        assert [c.id for c in await ledger.claim(request(limit=1))] == [3001]
        assert (await assert_recount(ledger)).skipped == {"expired": 3000}

    async def test_expiry_goes_in_pieces(self, ledgers: Ledgers) -> None:
        """`expire` skips at most its limit, those that wait for their time included, and then no more."""
        ledger = await ledgers.new()
        await ledger.add([*people(5, expires=NOW), person(9, expires=NOW, not_before=NOW + 99), person(10)])
        await ledger.claim(request(limit=1, now=NOW - 1))

        found = [await ledger.expire(NOW, limit=3) for _ in range(3)]

        assert found == [3, 2, 0]
        assert await states(ledger) == ["sending", *["skipped"] * 5, "pending"]
        assert (await assert_recount(ledger)).skipped == {"expired": 5}

    async def test_suppression_is_looked_up_in_the_claim(self, ledgers: Ledgers) -> None:
        """A STOP that arrives while the row waits keeps it from being sent."""
        ledger = await ledgers.new()
        await ledger.add(people(3))
        await ledger.claim(request(limit=1))

        await ledgers.opt_outs_of(ledger).suppress(person(1).address)

        assert [c.id for c in await ledger.claim(request())] == [3]
        counts = await assert_recount(ledger)
        assert (counts.skipped, (await row(ledger, 2)).skip) == ({"suppressed": 1}, "suppressed")

    async def test_who_asks_for_messages_again_gets_them(self, ledgers: Ledgers) -> None:
        """What is off the list before its turn goes; numbers are compared in one form."""
        ledger = await ledgers.new()
        await ledger.add([person(1)])
        opted = ledgers.opt_outs_of(ledger)

        assert await opted.suppress("+" + person(1).address, person(1).address) == 1
        assert await opted.unsuppress("00" + person(1).address) == 1

        assert [c.id for c in await ledger.claim(request())] == [1]

    async def test_a_code_for_opting_out_suppresses(self, ledgers: Ledgers) -> None:
        """The service said that the person wants nothing: the next row of that address is skipped."""
        ledger = await ledgers.new()
        await ledger.add([person(1), person(1, key="second"), person(2)])
        (first,) = await ledger.claim(request(limit=1))

        claimed = await ledger.claim(request(), [result(first, "refused", code="1240", error="RefusedError")])

        assert [c.id for c in claimed] == [3]
        assert await states(ledger) == ["refused", "skipped", "sending"]
        entry = await ledgers.opt_outs_of(ledger).suppressed(person(1).address)
        assert entry is not None
        assert entry.reason == "1240"


class CapConformance:
    """The cap for each person, over a rolling window and all campaigns of an `OptOutList`."""

    async def test_who_is_over_the_cap_is_skipped(self, ledgers: Ledgers) -> None:
        """The second message to a person within the window is `capped`, in the same claim too."""
        ledger = await ledgers.new()
        await ledger.add([person(1), person(1, key="second"), person(2)])

        claimed = await ledger.claim(request(cap=Cap(messages=1, window=3600)))

        assert [c.id for c in claimed] == [1, 3]
        assert (await assert_recount(ledger)).skipped == {"capped": 1}

    async def test_who_is_over_the_cap_waits_until_the_window_allows_it(self, ledgers: Ledgers) -> None:
        """`defer`: due exactly when the oldest of the counted messages leaves the window."""
        ledger = await ledgers.new()
        cap = Cap(messages=2, window=3600, over="defer")
        await ledger.add([person(1, key=str(n)) for n in range(4)])

        first = await ledger.claim(request(limit=1, cap=cap))
        second = await ledger.claim(request(now=NOW + 600.3, cap=cap))

        assert ([c.id for c in first], [c.id for c in second]) == ([1], [2])
        assert await ledger.due() == NOW + 3600
        assert await ledger.claim(request(now=NOW + 3599.9, cap=cap)) == []
        assert [c.id for c in await ledger.claim(request(now=NOW + 3600, cap=cap))] == [3]
        due = NOW + 600.3 + 3600
        assert await ledger.due() == due
        assert [c.id for c in await ledger.claim(request(now=due, cap=cap))] == [4]

    @pytest.mark.parametrize(
        ("state", "next_ids"), [("refused", [2]), ("pending", [2]), ("unknown", []), ("sent", [])]
    )
    async def test_what_was_not_sent_does_not_count(
        self, ledgers: Ledgers, state: State, next_ids: list[int]
    ) -> None:
        """A refused or proven not-sent row is no message to its person; an unknown one may be."""
        ledger = await ledgers.new()
        cap = Cap(messages=1, window=3600)
        await ledger.add([person(1), person(1, key="second")])
        (first,) = await ledger.claim(request(limit=1, cap=cap))

        await ledger.record([result(first, state, not_before=NOW + 5)])

        assert [c.id for c in await ledger.claim(request(cap=cap))] == next_ids

    async def test_the_cap_counts_over_campaigns(self, ledgers: Ledgers) -> None:
        """Two campaigns that share an `OptOutList` see each other's messages and one opt-out list."""
        shared = await ledgers.new_opt_outs()
        one, other = await ledgers.new(shared), await ledgers.new(shared)
        await one.add([person(1)])
        await other.add([person(1), person(2), person(3)])
        await shared.suppress(person(3).address)

        assert len(await one.claim(request())) == 1

        claimed = await other.claim(request(now=NOW + 60, cap=Cap(messages=1, window=3600)))
        assert [c.id for c in claimed] == [2]
        assert (await assert_recount(other)).skipped == {"capped": 1, "suppressed": 1}
