"""The promises of every store of an inbox, as tests that any store passes unchanged, your own included.

It needs pytest and pytest-asyncio, with `asyncio_mode = "auto"`. Subclass `InboxStoreConformance`, and for a
store whose events several processes handle `SharedInboxStoreConformance` too, with a fixture `stores`:

    class TestMyStore(InboxStoreConformance):
        @pytest.fixture
        async def stores(self, tmp_path): yield MyStores(tmp_path)
"""

from __future__ import annotations

import asyncio
import json
from typing import Protocol

import pytest

from nexmo_dispatch_webhooks.events import parse_event
from nexmo_dispatch_webhooks.exceptions import (
    InboxError,
    InvalidBodyError,
    LostClaimError,
    UnknownRecordError,
)
from nexmo_dispatch_webhooks.inbox.records import NewRecord, StoredFailure, make_record
from nexmo_dispatch_webhooks.inbox.store import InboxStore, SharedInboxStore
from nexmo_dispatch_webhooks.injection import Context
from nexmo_dispatch_webhooks.sansio import RawRequest
from nexmo_dispatch_webhooks.signature import Claims

__all__ = [
    "InboxStoreConformance",
    "InboxStores",
    "SharedInboxStoreConformance",
    "SharedInboxStores",
    "record",
]

_CLAIMS = Claims(iss="Vonage", iat=1.0, jti="j", api_key="k")
_LEASE = 30.0


class InboxStores(Protocol):
    """Makes stores of one kind; the fixture closes them."""

    #: What the clock of the stores says.
    now: float

    async def new(self) -> InboxStore:
        """Open a store without records; called once in a test."""
        ...


class SharedInboxStores(Protocol):
    """Makes stores of one kind that share their records."""

    #: What the clock of the stores says.
    now: float

    async def new(self) -> SharedInboxStore:
        """Open a store: the first one without records, each further one as another process would."""
        ...

    async def crash(self, store: SharedInboxStore) -> None:
        """Drop a store as if its process had died: it writes nothing more and gives up no claim."""


def record(
    number: int, workflow: str = "", *, at: float = 5.0, body: bytes = b"", path: str = ""
) -> NewRecord:
    """Return the record of a status.

    Args:
        number: Makes the `message_uuid`; a different number is a different event.
        workflow: Determines the lane; by default each record has a lane of its own.
        at: Time of arrival, in epoch seconds.
        body: Body of the request, instead of that of a status.
        path: Path below the mount point.
    """
    status = {
        "message_uuid": f"aaaaaaaa-bbbb-4ccc-8ddd-{number:012x}",
        "status": "delivered",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "_links": {"dispatch": {"dispatch_uuid": workflow or f"w{number}"}},
    }
    content = body or json.dumps(status).encode()
    try:
        event = parse_event(content)
    except InvalidBodyError:
        event = None
    return make_record(RawRequest({}, content, path), Context(path, at, _CLAIMS), event)


class InboxStoreConformance:
    """The promises of `InboxStore`."""

    async def test_new_records_get_ascending_ids_and_known_ones_none(self, stores: InboxStores) -> None:
        """An event is stored once, whether its key is known from this call or from an earlier one."""
        store = await stores.new()

        ids = [await store.add(record(n)) for n in (1, 2, 1)]
        broken = await store.add(record(0, body=b"no json"))
        together = await asyncio.gather(*(store.add(record(n)) for n in (3, 4, 3)))

        assert ids == [1, 2, None]
        assert broken is not None
        assert broken > 2
        assert sum(found is not None for found in together) == 2
        counts = await store.count()
        assert (counts.pending, counts.quarantined) == (4, 1)

    async def test_a_record_comes_back_as_it_was_stored(self, stores: InboxStores) -> None:
        """Half surrogates and NULs in path and ids included, which no text column of a database may hold."""
        store = await stores.new()
        body = b'{"message_uuid": "\\ud800\\u0000", "status": "read"}'

        first = await store.add(record(0, at=12.5, body=body, path="caf\u00e9\ud800\0"))
        found = await store.load(first or 0)

        assert (found.body, found.received_at.timestamp(), found.claims) == (body, 12.5, _CLAIMS)
        assert (found.path, found.size, found.state) == ("caf\u00e9\\ud800\0", len(body), "pending")

    async def test_results_are_kept(self, stores: InboxStores) -> None:
        """Finished, postponed and quarantined records; `pending` lists only records to be handled."""
        store = await stores.new()
        stores.now = 5.0
        for number in range(4):
            await store.add(record(number, at=7.0))
        failed = (StoredFailure("bad", "ValueError", message="a \0 b"),)

        store.finish(1)
        await store.postpone(2, attempts=1, due=99.0, done=["good"], failed=failed)
        await store.postpone(3, attempts=6, due=None, done=[], failed=failed)

        assert [(w.id, w.received_at, w.attempts, w.due, list(w.done)) for w in await store.pending()] == [
            (2, 7.0, 1, 99.0, ["good"]),
            (4, 7.0, 0, 0.0, []),
        ]
        records = await store.list(None, limit=10, after=0)
        assert [found.state for found in records] == ["handled", "pending", "quarantined", "pending"]
        assert records[0].finished_at is not None
        assert records[0].finished_at.timestamp() == 5.0
        assert records[1].next_attempt_at is not None
        assert records[1].next_attempt_at.timestamp() == 99.0
        assert records[1].done == ("good",)
        assert [failure.error for failure in records[2].failed] == ["ValueError"]

    async def test_a_handler_that_is_done_stays_done(self, stores: InboxStores) -> None:
        """An attempt whose process does not know of an earlier success removes it from no record."""
        store = await stores.new()
        await store.add(record(1))

        await store.postpone(1, attempts=1, due=1.0, done=["one"], failed=())
        await store.postpone(1, attempts=2, due=2.0, done=["other", "one"], failed=())
        await store.postpone(1, attempts=3, due=3.0, done=[], failed=())

        (found,) = await store.pending()
        assert (found.attempts, list(found.done)) == (3, ["one", "other"])

    async def test_lists_have_pages_and_no_bodies(self, stores: InboxStores) -> None:
        """Pages leave nothing out and repeat nothing; a state without records has an empty list."""
        store = await stores.new()
        for number in range(5):
            await store.add(record(number))
        store.finish(2)

        first = await store.list("pending", limit=2, after=0)
        second = await store.list("pending", limit=9, after=first[-1].id)

        assert [found.id for found in (*first, *second)] == [1, 3, 4, 5]
        assert {found.body for found in first} == {None}
        assert await store.list("quarantined", limit=9, after=0) == []

    async def test_retry_makes_due_what_failed(self, stores: InboxStores) -> None:
        """Quarantined records and those that wait for an attempt; by id, by kind, by handler."""
        store = await stores.new()
        for number in range(3):
            await store.add(record(number))
        bad, worse = StoredFailure("bad", "ValueError"), StoredFailure("worse", "KeyError")

        async def fail() -> None:
            await store.postpone(1, attempts=1, due=99.0, done=["good"], failed=(bad,))
            await store.postpone(2, attempts=6, due=None, done=[], failed=(bad, worse))

        await fail()
        assert await store.retry(2) == 1
        assert await store.retry("all") == 1
        assert await store.retry(77) == 0
        assert [(w.id, w.attempts, w.due, list(w.done)) for w in await store.pending()] == [
            (1, 0, 0.0, ["good"]),
            (2, 0, 0.0, []),
            (3, 0, 0.0, []),
        ]
        await fail()
        assert await store.retry("all", handler="worse") == 1
        assert await store.retry("all", kind="inbound-message") == 0
        assert await store.retry("all", kind="message-status", handler="bad") == 1

    async def test_failures_are_counted_by_handler_and_error(self, stores: InboxStores) -> None:
        """A body that no handler saw counts too; what was handled does not."""
        store = await stores.new()
        for number in range(3):
            await store.add(record(number, at=10.0 + number))
        await store.add(record(0, body=b"no json", at=3.0))
        bad = StoredFailure("bad", "ValueError")
        await store.postpone(1, attempts=1, due=99.0, done=[], failed=(bad,))
        await store.postpone(2, attempts=6, due=None, done=[], failed=(bad,))
        store.finish(3)

        found = {
            (tally.state, tally.kind, tally.handler, tally.error, tally.count, tally.oldest.timestamp())
            for tally in await store.summary()
        }

        assert found == {
            ("pending", "message-status", "bad", "ValueError", 1, 10.0),
            ("quarantined", "message-status", "bad", "ValueError", 1, 11.0),
            ("quarantined", "unparsable", None, None, 1, 3.0),
        }

    async def test_purged_content_is_gone_and_its_key_is_known(self, stores: InboxStores) -> None:
        """Personal data goes, the key stays."""
        store = await stores.new()
        for number in range(3):
            await store.add(record(number, at=10.0 * number, path="private"))
        for number in (1, 2):
            store.finish(number)

        assert await store.purge("all", states=("handled",), before=5.0) == 1
        assert await store.purge(2, states=("handled", "quarantined"), before=None) == 1
        assert await store.purge("all", states=("handled",), before=None) == 0
        gone = await store.load(1)
        assert (gone.state, gone.body, gone.path, gone.claims) == ("forgotten", None, "", None)
        assert await store.add(record(0)) is None

    async def test_the_retention_goes_by_measured_ages(self, stores: InboxStores) -> None:
        """Times of arrival do not matter; time known only from the wall clock counts for contents alone."""
        store = await stores.new()
        assert await store.aged_at() is None
        for number, body in enumerate([b"", b"no json", b""]):
            await store.add(record(number, at=-1e6 * number, body=body))
        store.finish(1)
        await store.age(measured=0.0, by_clock=0.0, epoch=100.0, newest=False)
        await store.age(measured=10.0, by_clock=100.0, epoch=101.0, newest=False)

        async def states(handled: float, quarantined: float, keys: float) -> list[str]:
            while await store.prune(handled=handled, quarantined=quarantined, keys=keys):
                pass
            records = [
                *await store.list(None, limit=9, after=0),
                *await store.list("forgotten", limit=9, after=0),
            ]
            return [found.state for found in sorted(records, key=lambda found: found.id)]

        assert await store.aged_at() == 101.0
        assert await states(101, 11, 11) == ["handled", "quarantined", "pending"]
        assert await states(100, 11, 11) == ["forgotten", "quarantined", "pending"]
        assert await states(100, 10, 11) == ["forgotten", "forgotten", "pending"]
        assert await states(100, 10, 10) == ["pending"]

    async def test_unknown_ids_are_named(self, stores: InboxStores) -> None:
        """The error for an id that does not exist contains the id."""
        store = await stores.new()
        with pytest.raises(UnknownRecordError) as caught:
            await store.load(7)

        assert str(caught.value) == "there is no record 7"

    async def test_one_process_keeps_its_claim(self, stores: InboxStores) -> None:
        """Claiming again changes nothing."""
        store = await stores.new()
        assert await store.claim()
        assert await store.claim()
        await store.changed()
        assert not await store.changed()
        assert await store.writable()

    async def test_a_closed_store_says_so(self, stores: InboxStores) -> None:
        """A second close has no effect, and a store that keeps its records may be opened again."""
        store = await stores.new()
        await store.add(record(1))
        await store.aclose()
        await store.aclose()
        await store.open()

        assert (await store.count()).pending == 1


class SharedInboxStoreConformance:
    """The promises of `SharedInboxStore` that `InboxStore` does not make."""

    async def test_an_event_goes_to_one_process(self, stores: SharedInboxStores) -> None:
        """Two processes that call `take` at the same instant get different events, with their contents."""
        one, other = await stores.new(), await stores.new()
        await asyncio.gather(*(one.add(record(n)) for n in range(40)))

        taken = await asyncio.gather(*(store.take(10, lease=_LEASE) for store in (one, other) * 2))

        found = [item for items in taken for item in items]
        assert len(found) == 40
        assert {item.id for item in found} == set(range(1, 41))
        assert all(item.content is not None and item.content.body for item in found)
        assert await one.take(10, lease=_LEASE) == []

    async def test_no_event_goes_to_two_processes_however_often_they_meet(
        self, stores: SharedInboxStores
    ) -> None:
        """Each of many rounds of claims of the same instant shares out all events, each once."""
        one, other = await stores.new(), await stores.new()
        for number in range(40):
            ids = await asyncio.gather(*(one.add(record(100 * number + n, f"w{n // 2}")) for n in range(40)))
            found: list[int] = []
            while len(found) < len(ids):
                taken = await asyncio.gather(
                    *(store.take(10, lease=_LEASE) for store in (one, other, one, other))
                )
                found += [item.id for items in taken for item in items]
                for store, items in zip((one, other, one, other), taken, strict=True):
                    for item in items:
                        store.finish(item.id, item.token)
            assert sorted(found) == sorted(record_id or 0 for record_id in ids)
            await one.count()
            await other.count()

    async def test_one_process_at_a_time_has_events_of_a_lane(self, stores: SharedInboxStores) -> None:
        """The first ones, in order; what is behind them waits for the process that has them."""
        one, other = await stores.new(), await stores.new()
        for number in range(6):
            await one.add(record(number, f"w{number % 2}"))

        first = await one.take(4, lease=_LEASE)
        assert await other.take(9, lease=_LEASE) == []
        rest = await one.take(9, lease=_LEASE)

        assert sorted(item.id for item in first) == [1, 2, 3, 4]
        assert sorted(item.id for item in rest) == [5, 6]
        for item in (*first, *rest):
            one.finish(item.id, item.token)
        assert (await one.count()).pending == 0

    async def test_a_lane_goes_on_elsewhere(self, stores: SharedInboxStores) -> None:
        """A postponed event holds up its lane until it is due, and then any process may have both."""
        one, other = await stores.new(), await stores.new()
        stores.now = 100.0
        for number in range(2):
            await one.add(record(number, "w"))
        first, second = await one.take(9, lease=1000.0)

        await one.postpone(first.id, attempts=1, due=110.0, done=["h"], failed=(), token=first.token)
        await one.release([second.id], second.token)
        assert await other.take(9, lease=1000.0) == []
        stores.now = 111.0
        taken = await other.take(9, lease=1000.0)

        assert [(item.id, item.attempts, list(item.done)) for item in taken] == [(1, 1, ["h"]), (2, 0, [])]

    async def test_claims_of_a_process_that_lives_last(self, stores: SharedInboxStores) -> None:
        """As long as it extends them, no other process gets the events."""
        one, other = await stores.new(), await stores.new()
        stores.now = 100.0
        await one.add(record(1))
        await one.take(1, lease=10.0)
        for _ in range(5):
            stores.now += 8.0
            assert await one.extend(lease=10.0)

        assert await other.take(1, lease=10.0) == []

    async def test_a_process_that_slept_past_its_lease_marks_nothing(self, stores: SharedInboxStores) -> None:
        """Another has its event by then: neither a mark, nor a failure, nor a transaction counts."""
        one, other = await stores.new(), await stores.new()
        stores.now = 100.0
        await one.add(record(1))
        (slept,) = await one.take(1, lease=10.0)
        stores.now = 111.0
        (taken,) = await other.take(1, lease=10.0)

        assert taken.id == slept.id
        assert taken.token != slept.token
        with pytest.raises(LostClaimError):
            await one.postpone(slept.id, attempts=1, due=None, done=[], failed=(), token=slept.token)
        if one.transactional:
            with pytest.raises(LostClaimError):
                await one.begin(slept.id, slept.token).commit("h", finish=True)
        one.finish(slept.id, slept.token)
        assert (await one.load(1)).state == "pending"
        assert not await one.extend(lease=10.0)
        other.finish(taken.id, taken.token)
        assert (await other.load(1)).state == "handled"

    async def test_a_process_that_lost_its_claims_may_take_again(self, stores: SharedInboxStores) -> None:
        """With another token, so that its own earlier attempt is fenced as well."""
        one = await stores.new()
        stores.now = 100.0
        await one.add(record(1))
        (before,) = await one.take(1, lease=10.0)
        stores.now = 200.0
        assert not await one.extend(lease=10.0)

        (after,) = await one.take(1, lease=10.0)

        assert after.token != before.token
        one.finish(before.id, before.token)
        assert (await one.load(1)).state == "pending"

    async def test_events_of_a_closed_store_are_free_at_once(self, stores: SharedInboxStores) -> None:
        """A process that ends in order makes no other process wait for its lease."""
        one, other = await stores.new(), await stores.new()
        await one.add(record(1))
        await one.take(1, lease=1e6)
        await one.aclose()

        assert [item.id for item in await other.take(1, lease=_LEASE)] == [1]

    async def test_claims_that_are_not_known_are_given_up(self, stores: SharedInboxStores) -> None:
        """After a `take` whose response was lost; what was finished is not given up."""
        one, other = await stores.new(), await stores.new()
        for number in range(3):
            await one.add(record(number))
        items = await one.take(3, lease=_LEASE)
        one.finish(items[1].id, items[1].token)

        await one.keep_only([items[0].id])

        assert [item.id for item in await other.take(9, lease=_LEASE)] == [items[2].id]

    async def test_a_new_event_wakes_the_other_processes(self, stores: SharedInboxStores) -> None:
        """The wait ends long before the poll; without an event it ends at its timeout."""
        one, other = await stores.new(), await stores.new()
        while await other.wake(0.5):
            pass
        wait = asyncio.create_task(other.wake(20.0))

        await one.add(record(1))

        assert await wait
        assert len(await other.take(1, lease=_LEASE)) == 1

    # --- crash points ---

    async def test_acknowledged_events_survive_a_crash(self, stores: SharedInboxStores) -> None:
        """Each event whose `add` returned is there, and so is the key that makes it known."""
        one = await stores.new()
        await asyncio.gather(*(one.add(record(n)) for n in range(50)))
        await stores.crash(one)

        other = await stores.new()

        assert (await other.count()).pending == 50
        assert await other.add(record(7)) is None

    async def test_events_of_a_crashed_process_are_handled_by_others(self, stores: SharedInboxStores) -> None:
        """After its lease, in the order of the lane, and with what it had marked before."""
        one, other = await stores.new(), await stores.new()
        stores.now = 100.0
        for number in range(3):
            await one.add(record(number, "w"))
        first, *_ = await one.take(3, lease=10.0)
        one.finish(first.id, first.token)
        assert (await one.load(first.id)).state == "handled"
        await stores.crash(one)

        stores.now = 109.0
        assert await other.take(9, lease=10.0) == []
        stores.now = 112.0
        assert [item.id for item in await other.take(9, lease=10.0)] == [2, 3]

    async def test_a_transaction_of_a_crashed_process_leaves_no_mark(self, stores: SharedInboxStores) -> None:
        """The handler runs again elsewhere, once."""
        one, other = await stores.new(), await stores.new()
        if not one.transactional:
            pytest.skip("the store has no transactions")
        stores.now = 100.0
        await one.add(record(1))
        (item,) = await one.take(1, lease=10.0)
        await one.begin(item.id, item.token).connection()
        await stores.crash(one)
        stores.now = 112.0

        (again,) = await other.take(1, lease=10.0)
        assert list(again.done) == []
        await other.begin(again.id, again.token).commit("h", finish=False)
        with pytest.raises(InboxError):
            await other.begin(again.id, again.token).commit("h", finish=True)
        assert (await other.load(1)).done == ("h",)
